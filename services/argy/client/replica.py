"""A copy of one tenant, kept current by the platform's stream, to decide from in this process."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final
from uuid import UUID

from argy.api.authz.v1 import replication_pb2 as pb
from argy.base.clock import SystemClock
from argy.base.errors import FailedPrecondition
from argy.base.revisions import revision_token
from argy.client.token_replica import TokenReplica
from argy.policy import Assignment, CompiledPolicy, Membership, TenantSnapshot, compile_policy
from argy.policy.statements import (
    PolicyTrust,
    PolicyUntrusted,
    open_activation,
    verify_activation,
)

LARGE: Final = 5_000
"""Facts from this many items on are indexed in a thread."""


class ReplicaState(Enum):
    """How far a replica can be believed."""

    LOADING = "LOADING"
    """Nothing was received yet: there are no answers."""
    CURRENT = "CURRENT"
    STALE = "STALE"
    """Nothing was heard for too long: a revocation may have been missed."""


@dataclass(frozen=True, slots=True)
class ReplicaStatus:
    """A replica for people and for metrics."""

    tenant_id: UUID
    tenant: str
    state: ReplicaState
    silent_s: float
    """Seconds since the platform was last heard."""
    sequence: int
    """Of the policy's activation."""
    policy_revision: str
    revision: int
    """Of the tenant's facts."""
    subjects: int
    problem: str
    """Why the stream broke last; empty while it stands."""
    tokens_silent_s: float
    """Seconds since the platform last said which tokens were ended; infinite when it never did."""


@dataclass(frozen=True, slots=True)
class VerifiedPolicy:
    """A policy of which signatures were checked, ready to decide."""

    sequence: int
    digest: str
    policy: CompiledPolicy


class PolicyReader:
    """Verifies and compiles what the stream brings; a bundle is compiled once for all tenants."""

    def __init__(self, trust: PolicyTrust) -> None:
        self._trust = trust
        self._compiled: dict[str, CompiledPolicy] = {}

    def read(self, message: pb.ReplicatedPolicy, known: VerifiedPolicy | None) -> VerifiedPolicy:
        """Return the policy, or raise and leave everything as it was; takes milliseconds.

        Raises:
            UntrustedSignature, PolicyUntrusted: unsigned or altered, approved by too few, older
                than what is known, or not the bundle that was activated.
            BundleError, PolicyError: for a bundle that does not load.
        """
        above = known.sequence if known is not None else 0
        if not message.bundle:
            return self._again(message.activation, known, above)
        activation, bundle = verify_activation(
            message.activation, message.bundle, self._trust, above=above
        )
        policy = self._compiled.get(bundle.digest)
        if policy is None:
            policy = compile_policy(bundle.source)
            # The present one and the one before, in case of a rollback.
            kept = list(self._compiled.items())[-1:]
            self._compiled = {**dict(kept), bundle.digest: policy}
        return VerifiedPolicy(activation.sequence, bundle.digest, policy)

    def _again(self, statement: bytes, known: VerifiedPolicy | None, above: int) -> VerifiedPolicy:
        """The bundle that is here already, activated once more."""
        activation = open_activation(statement, self._trust.control)
        if known is None or activation.bundle_digest != known.digest:
            raise PolicyUntrusted("the bundle is not the activated one", reason="BUNDLE_MISMATCH")
        if activation.sequence <= above:
            raise PolicyUntrusted(
                f"activation {activation.sequence} is not newer than {above}, which is here",
                reason="SEQUENCE_NOT_ABOVE",
            )
        return VerifiedPolicy(activation.sequence, known.digest, known.policy)


class TenantReplica:
    """What is known of one tenant. Changes are collected, and count when they are complete."""

    def __init__(self, tenant_id: UUID) -> None:
        self.tenant_id = tenant_id
        self.policy: VerifiedPolicy | None = None
        self.snapshot: TenantSnapshot | None = None
        self.orgs: dict[UUID, str] = {}
        self.heard_s = float("-inf")
        """When the platform last said that the copy is current, by ``time.monotonic``."""
        self.problem = ""
        self.tokens = TokenReplica(tenant_id, SystemClock())
        self.revision = 0
        self.tenant = ""
        self.token = ""
        self._assignments: set[Assignment] = set()
        self._memberships: set[Membership] = set()
        self._disabled: set[str] = set()
        self._orgs: dict[UUID, str] = {}
        self._based = False
        self.whole = False
        """Whether the facts that are collected are those of one revision."""

    def collect(self, change: pb.TenantFactsChange) -> bool:
        """Take a part; True when a new snapshot can be built.

        Raises:
            FailedPrecondition: ``REPLICA_OUT_OF_STEP``; ask for everything anew.
        """
        if change.reset:
            self._assignments, self._memberships = set(), set()
            self._disabled, self._orgs = set(), {}
            self._based = True
        if not self._based:
            raise FailedPrecondition("a change without its base", reason="REPLICA_OUT_OF_STEP")
        self._assignments.difference_update(map(_assignment, change.removed))
        self._assignments.update(map(_assignment, change.added))
        self._memberships.difference_update(map(_membership, change.left))
        self._memberships.update(map(_membership, change.joined))
        self._disabled.difference_update(change.enabled)
        self._disabled.update(change.disabled)
        if change.replace_orgs:
            self._orgs = {}
        self._orgs.update((UUID(org.org_id), org.slug) for org in change.orgs)
        self.whole = change.complete
        if change.complete:
            self.tenant, self.revision = change.tenant, change.revision
        return change.complete and self.policy is not None

    def forget(self) -> None:
        """Say that the stream broke: changes may be missed, so everything must come anew."""
        self._based = self.whole = False
        self.tokens.forget()

    @property
    def large(self) -> bool:
        """Whether building a snapshot takes long enough to be done in a thread."""
        return len(self._assignments) + len(self._memberships) > LARGE

    @property
    def known(self) -> int:
        """Subjects that hold something."""
        return len({item.subject for item in self._assignments})

    def builder(self) -> Callable[[], TenantSnapshot]:
        """What builds the snapshot of what is collected; may run in a thread.

        Nothing may be collected before ``install``.
        """
        verified = self.policy
        if verified is None:
            raise FailedPrecondition("no policy was received", reason="REPLICA_LOADING")

        def build() -> TenantSnapshot:
            return TenantSnapshot(
                verified.policy,
                self.tenant,
                self._assignments,
                self._memberships,
                revision=self.revision,
                disabled=self._disabled,
            )

        return build

    def install(self, snapshot: TenantSnapshot) -> None:
        """Decide from ``snapshot`` from now on."""
        self.orgs = dict(self._orgs)
        self.token = revision_token(
            self.tenant_id, self.revision, self.policy.sequence if self.policy else 0
        )
        self.snapshot = snapshot

    def hear(self, now_s: float) -> None:
        """Note that the platform spoke: the copy is current, unless half of a change is missing.

        A stream that breaks in the middle, over and over, must not keep an old copy alive.
        """
        if self.whole:
            self.heard_s = now_s

    def status(self, now_s: float, max_silence_s: float) -> ReplicaStatus:
        """As it is now."""
        verified = self.policy
        return ReplicaStatus(
            tenant_id=self.tenant_id,
            tenant=self.tenant,
            state=self.state(now_s, max_silence_s),
            silent_s=now_s - self.heard_s,
            sequence=verified.sequence if verified else 0,
            policy_revision=verified.policy.revision if verified else "",
            revision=self.revision,
            subjects=self.known,
            problem=self.problem,
            tokens_silent_s=now_s - self.tokens.heard_s,
        )

    def state(self, now_s: float, max_silence_s: float) -> ReplicaState:
        """How far it can be believed now."""
        if self.snapshot is None:
            return ReplicaState.LOADING
        stale = now_s - self.heard_s > max_silence_s
        return ReplicaState.STALE if stale else ReplicaState.CURRENT


def _assignment(item: pb.FactAssignment) -> Assignment:
    return Assignment(item.subject, item.role, item.org, item.expires_at_ms or None)


def _membership(item: pb.FactMembership) -> Membership:
    return Membership(item.group, item.member)
