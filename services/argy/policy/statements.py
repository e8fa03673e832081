"""What is signed about a policy besides its bundle: who approved it, and that it came in force.

Statements are canonical JSON in DSSE envelopes, sealed by the control plane's key ring. A replica
believes these, not the rows that they are kept in: whatever writes to the database can hold an
activation back, but can't make, alter or reuse one.
"""

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final, Literal

import msgspec

from argy.base.dsse import SigningKeys, TrustedKeys, seal, unseal
from argy.base.errors import FailedPrecondition
from argy.policy.bundle import Bundle, open_bundle

APPROVAL_TYPE: Final = "application/vnd.argy.policy-approval.v1+json"
ACTIVATION_TYPE: Final = "application/vnd.argy.policy-activation.v1+json"
MAX_STATEMENT: Final = 262_144
MAX_APPROVALS: Final = 50

Kind = Literal["BOOTSTRAP", "FOLDER", "PROPOSAL", "ROLLBACK"]
Origin = Literal["BOOTSTRAP", "FOLDER", "PROPOSAL"]


class PolicyUntrusted(FailedPrecondition):
    """A signed statement that does not put a policy in force here."""

    default_reason: ClassVar[str] = "POLICY_UNTRUSTED"


class Approval(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One person's approval of one bundle with one diff. Digests are SHA-256 in hexadecimal."""

    proposal_id: str
    bundle_digest: str
    diff_digest: str
    author: str
    """Of the proposal, as the approver saw it."""
    approver: str
    time_ms: int
    """Milliseconds since the Unix epoch."""


class Activation(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A bundle comes in force. Of two activations the one with the higher sequence counts."""

    sequence: int
    kind: Kind
    origin: Origin
    """How the bundle came in force first; for a rollback, that of what it returns to."""
    bundle_digest: str
    policy_revision: str
    previous_digest: str
    """The bundle that was in force before; empty for the first."""
    activated_by: str
    reason: str
    time_ms: int
    restores: int = 0
    """The activation that a rollback returns to."""
    proposal_id: str = ""
    author: str = ""
    diff_digest: str = ""
    escalates: bool = False
    approvals_needed: int = 0
    approvals: tuple[str, ...] = ()
    """The approvals' envelopes, base64."""


@dataclass(frozen=True, slots=True)
class PolicyTrust:
    """Whose signatures put a policy in force here."""

    control: TrustedKeys
    """The control plane's: statements, and the bundles that it makes of a folder."""
    authors: TrustedKeys
    """Those of authors and CI: the bundles of proposals."""
    unsafe_folder: bool = False
    """Whether an unreviewed folder may come in force."""

    @classmethod
    def load(cls, control: Path, authors: Path, *, unsafe_folder: bool = False) -> "PolicyTrust":
        """Read the public keys from files; raises as ``TrustedKeys.load``."""
        return cls(TrustedKeys.load(control), TrustedKeys.load(authors), unsafe_folder)


def seal_approval(approval: Approval, keys: SigningKeys) -> bytes:
    """The approval's envelope."""
    return seal(_encode(approval), payload_type=APPROVAL_TYPE, keys=keys)


def open_approval(envelope: bytes, trusted: TrustedKeys) -> Approval:
    """The approval in an envelope.

    Raises:
        UntrustedSignature: unsigned, altered, or signed by another.
        PolicyUntrusted: signed, and no approval.
    """
    payload = unseal(_bounded(envelope), payload_type=APPROVAL_TYPE, keys=trusted)
    try:
        return msgspec.json.decode(payload, type=Approval)
    except msgspec.DecodeError as error:
        raise PolicyUntrusted("the statement is no approval") from error


def seal_activation(activation: Activation, keys: SigningKeys) -> bytes:
    """The activation's envelope.

    Raises:
        PolicyUntrusted: for what no replica would accept by itself.
    """
    check_activation(activation, keys.public())
    return _bounded(seal(_encode(activation), payload_type=ACTIVATION_TYPE, keys=keys))


def open_activation(envelope: bytes, trusted: TrustedKeys) -> Activation:
    """The activation in an envelope, with its approvals checked; raises as ``open_approval``."""
    payload = unseal(_bounded(envelope), payload_type=ACTIVATION_TYPE, keys=trusted)
    try:
        activation = msgspec.json.decode(payload, type=Activation)
    except msgspec.DecodeError as error:
        raise PolicyUntrusted("the statement is no activation") from error
    check_activation(activation, trusted)
    return activation


def verify_activation(
    statement: bytes, bundle: bytes, trust: PolicyTrust, *, above: int
) -> tuple[Activation, Bundle]:
    """Prove that an activation puts this bundle in force here, and open the bundle.

    ``above`` is the sequence of what is in force; 0 when nothing is.

    Raises:
        UntrustedSignature: when statement or bundle is not signed as it is by whom we trust.
        PolicyUntrusted: when it was signed and still is not to come in force; the reason says why.
        BundleError, PolicyError: when the bundle does not load.
    """
    activation = open_activation(statement, trust.control)
    if activation.sequence <= above:
        raise PolicyUntrusted(
            f"activation {activation.sequence} is not newer than {above}, which is in force",
            reason="SEQUENCE_NOT_ABOVE",
        )
    if activation.origin == "FOLDER" and not trust.unsafe_folder:
        raise PolicyUntrusted(
            "an unreviewed folder was activated by a server with ARGY_UNSAFE_FOLLOW_POLICY_DIR",
            reason="FOLDER_REFUSED",
        )
    signers = trust.authors if activation.origin == "PROPOSAL" else trust.control
    opened = open_bundle(bundle, signers)
    if (opened.digest, opened.source.revision) != (
        activation.bundle_digest,
        activation.policy_revision,
    ):
        raise PolicyUntrusted("the bundle is not the activated one", reason="BUNDLE_MISMATCH")
    return activation, opened


def check_activation(activation: Activation, trusted: TrustedKeys) -> None:
    """Hold an activation to the rules of its kind.

    Raises:
        UntrustedSignature, PolicyUntrusted: the reason says which rule it breaks.
    """
    proposed = activation.kind == "PROPOSAL"
    if activation.sequence < 1 or (activation.kind == "BOOTSTRAP" and activation.sequence != 1):
        raise PolicyUntrusted("only the first activation is a bootstrap", reason="NOT_THE_FIRST")
    if activation.kind not in ("ROLLBACK", activation.origin):
        raise PolicyUntrusted("the activation's kind is not its origin", reason="ORIGIN_MISMATCH")
    if (activation.kind == "ROLLBACK") != (0 < activation.restores < activation.sequence):
        raise PolicyUntrusted("a rollback returns to an earlier one", reason="NOT_EARLIER")
    if proposed != bool(activation.proposal_id):
        raise PolicyUntrusted("a proposal is named, and only then", reason="NO_PROPOSAL")
    if proposed:
        _check_approvals(activation, trusted)


def _check_approvals(activation: Activation, trusted: TrustedKeys) -> None:
    wanted = (
        activation.proposal_id,
        activation.bundle_digest,
        activation.diff_digest,
        activation.author,
    )
    if len(activation.approvals) > MAX_APPROVALS:
        raise PolicyUntrusted(f"more than {MAX_APPROVALS} approvals")
    approvers = set()
    for text in activation.approvals:
        try:
            envelope = base64.b64decode(text, validate=True)
        except ValueError as error:  # also for what is not ASCII
            raise PolicyUntrusted("an approval is not base64") from error
        given = open_approval(envelope, trusted)
        if (given.proposal_id, given.bundle_digest, given.diff_digest, given.author) != wanted:
            raise PolicyUntrusted(
                "an approval is of another proposal, bundle or diff", reason="APPROVAL_OF_ANOTHER"
            )
        if not given.approver.startswith("user:"):
            raise PolicyUntrusted("people approve policies", reason="APPROVED_BY_NOBODY")
        if given.approver == activation.author:
            raise PolicyUntrusted("the author approved", reason="APPROVED_BY_AUTHOR")
        approvers.add(given.approver)
    needed = max(activation.approvals_needed, 2 if activation.escalates else 1)
    if len(approvers) < needed:
        raise PolicyUntrusted(
            f"{len(approvers)} of {needed} approvals: more people have to approve it",
            reason="APPROVALS_TOO_FEW",
        )


def _encode(statement: msgspec.Struct) -> bytes:
    return msgspec.json.encode(statement, order="sorted")


def _bounded(envelope: bytes) -> bytes:
    if len(envelope) > MAX_STATEMENT:
        raise PolicyUntrusted(f"the statement has more than {MAX_STATEMENT} bytes")
    return envelope
