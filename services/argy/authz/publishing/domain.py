"""Proposals of policies, their approvals, and the rules by which one comes in force."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Literal
from uuid import UUID

import msgspec

from argy.base.errors import Aborted, FailedPrecondition, InvalidArgument, PermissionDenied
from argy.policy.bundle import Bundle
from argy.policy.compare.changes import AccessChange, PolicyDiff
from argy.policy.statements import Approval, Kind

MAX_CHANGES: Final = 1_000
"""Changes that are kept and shown; the digest covers all."""
_MAX_CHANGES_BYTES: Final = 2 * 1024 * 1024
_MAX_RULES: Final = 50
_MAX_TEXT: Final = 4_096
"""Characters of what held before or holds after, in a change that is shown."""
_MAX_AHEAD_S: Final = 86_400
"""How far an author's clock may be ahead of ours."""

State = Literal["OPEN", "REJECTED", "ACTIVATED"]


@dataclass(frozen=True, slots=True)
class Difference:
    """What a proposal would change, against one policy in force."""

    base_digest: str
    diff_digest: str
    changes: tuple[AccessChange, ...]
    change_count: int
    escalates: bool

    @property
    def approvals_needed(self) -> int:
        """Two people for what gives more power away than a role had, else one."""
        return 2 if self.escalates else 1


@dataclass(frozen=True, slots=True)
class PolicyName:
    """Which bundle: its digest, the policy's revision, and the git commit if it has one."""

    digest: str
    revision: str
    commit: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenApproval:
    """An approval as it is kept; ``statement`` is what was signed. Times are Unix milliseconds."""

    proposal_id: UUID
    approver: str
    bundle_digest: str
    diff_digest: str
    comment: str
    statement: bytes = field(repr=False)
    signed_in: Mapping[str, object] | None = None
    """What conditions saw as ``ctx`` of how the approver had signed in; None for no token."""
    created_at_ms: int
    asker_may_grant: bool = False
    """Whether a maker could then have given, at will, what the approver approved by."""

    def counts_for(self, proposal: "Proposal") -> bool:
        """Whether it approves what the proposal is now, and by somebody else than made it."""
        return (
            self.bundle_digest == proposal.policy.digest
            and self.diff_digest == proposal.diff_digest
            and self.approver not in proposal.everybody
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A policy that waits to be put in force. Times are milliseconds since the Unix epoch."""

    id: UUID
    policy: PolicyName
    base: PolicyName
    diff_digest: str
    changes: tuple[AccessChange, ...] = field(repr=False)
    change_count: int
    approvals_needed: int
    title: str
    description: str
    author: str
    state: State = "OPEN"
    rejection: str = ""
    created_at_ms: int
    shadow_until_ms: int | None = None
    request_id: UUID | None = None
    approvals: tuple[GivenApproval, ...] = ()
    makers: tuple[str, ...] = ()
    """Whose key signed the bundle and who wrote it, as subjects; as far as that is known."""
    unknown_makers: tuple[str, ...] = ()
    """Addresses of such people that are nobody's in the platform tenant."""
    signed_in: Mapping[str, object] | None = None
    """What conditions saw as ``ctx`` of how the proposer had signed in; None for no token."""

    @property
    def everybody(self) -> frozenset[str]:
        """Everybody who made it, the proposer among them: none of them approves it."""
        return frozenset((self.author, *self.makers))

    @property
    def approved(self) -> bool:
        """Whether enough people approved what it is now."""
        people = {given.approver for given in self.approvals if given.counts_for(self)}
        return len(people) >= self.approvals_needed


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivationRow:
    """An activation as it is listed."""

    sequence: int
    policy: PolicyName
    kind: Kind
    proposal_id: UUID | None
    activated_by: str
    reason: str
    created_at_ms: int


def difference_of(diff: PolicyDiff, base_digest: str) -> Difference:
    """A diff as it is kept and approved."""
    return Difference(
        base_digest=base_digest,
        diff_digest=diff.digest(),
        changes=shown(diff.changes),
        change_count=len(diff.changes),
        escalates=diff.escalates,
    )


def shown(changes: Iterable[AccessChange]) -> tuple[AccessChange, ...]:
    """The first changes, as many as are kept: bounded in number and in bytes.

    Escalations come first, so that no flood of small changes hides one from who approves.
    """
    kept: list[AccessChange] = []
    size = 0
    for change in sorted(changes, key=lambda change: not change.escalation):
        one = replace(
            change,
            before=_cut(change.before),
            after=_cut(change.after),
            rules=change.rules[:_MAX_RULES],
        )
        size += len(msgspec.json.encode(one))
        if len(kept) >= MAX_CHANGES or size > _MAX_CHANGES_BYTES:
            break
        kept.append(one)
    return tuple(kept)


def _cut(text: str) -> str:
    return text if len(text) <= _MAX_TEXT else f"{text[:_MAX_TEXT]}…"


def check_not_older(proposed: Bundle, in_force: Bundle | None) -> None:
    """Refuse a policy of an older commit than the one in force, or of none when that has one.

    Raises:
        FailedPrecondition: ``POLICY_OLDER``.
    """
    running_s = 0 if in_force is None else in_force.manifest.commit_time_s
    if proposed.manifest.commit_time_s < running_s:
        raise FailedPrecondition(
            "the policy is older than the one in force, or of no commit: to return to an earlier "
            "policy use rollback",
            reason="POLICY_OLDER",
            metadata={
                "commit_time_s": str(proposed.manifest.commit_time_s),
                "in_force_s": str(running_s),
            },
        )


def check_not_ahead(proposed: Bundle, now_ms: int) -> None:
    """Refuse a policy of a commit that is not made yet: every later one would be older.

    Raises:
        InvalidArgument: ``COMMIT_AHEAD``.
    """
    if proposed.manifest.commit_time_s > now_ms // 1000 + _MAX_AHEAD_S:
        raise InvalidArgument(
            "the policy's commit is more than a day ahead of now: commit it anew",
            reason="COMMIT_AHEAD",
            field="bundle",
        )


def check_open(proposal: Proposal) -> None:
    """Refuse to go on with a proposal that has ended.

    Raises:
        FailedPrecondition: ``PROPOSAL_CLOSED``.
    """
    if proposal.state != "OPEN":
        raise FailedPrecondition(
            f"the proposal is {proposal.state.lower()}", reason="PROPOSAL_CLOSED"
        )


def check_person(caller: str) -> None:
    """Refuse the approval of a service or an agent, whatever role it holds.

    Raises:
        PermissionDenied: ``NOT_A_PERSON``.
    """
    if not caller.startswith("user:"):
        raise PermissionDenied("Only people approve", reason="NOT_A_PERSON")


def check_not_author(caller: str, proposal: Proposal) -> None:
    """Refuse the approval of who proposed, signed or wrote the policy, whatever policy says.

    Raises:
        PermissionDenied: ``AUTHOR_APPROVES``.
    """
    if caller in proposal.everybody:
        raise PermissionDenied(
            "whoever proposed, signed or wrote a policy can't approve it: ask somebody else",
            reason="AUTHOR_APPROVES",
        )


def check_proposer(proposal: Proposal, *, may_propose: bool) -> None:
    """Refuse to activate what its proposer may not propose any more.

    Raises:
        FailedPrecondition: ``PROPOSER_NO_LONGER_GOOD``.
    """
    if not may_propose:
        raise FailedPrecondition(
            f"{proposal.author} proposed this and may not propose any more: have somebody who may "
            "propose it again",
            reason="PROPOSER_NO_LONGER_GOOD",
            metadata={"proposer": proposal.author},
        )


def check_bundle(proposal: Proposal, digest: str) -> None:
    """Refuse an approval of other bytes than the proposal's.

    Raises:
        FailedPrecondition: ``BUNDLE_MISMATCH``.
    """
    if digest != proposal.policy.digest:
        raise FailedPrecondition(
            "the approval is of another bundle than the proposal's",
            reason="BUNDLE_MISMATCH",
            field="bundle_digest",
        )


def diff_changed(proposal_id: UUID, now: str) -> FailedPrecondition:
    """The refusal of what was said about a diff that is another one now."""
    return FailedPrecondition(
        "what the proposal would change is not what was approved: look at it with "
        f"`argy policy show {proposal_id}`",
        reason="DIFF_CHANGED",
        field="diff_digest",
        metadata={"diff_digest": now},
    )


def counting(proposal: Proposal, approvals: Sequence[Approval]) -> list[int]:
    """The places of the approvals that count, one a person.

    ``approvals`` are signed statements; what the rows beside them say is not asked.
    """
    wanted = (str(proposal.id), proposal.policy.digest, proposal.diff_digest, proposal.author)
    people: dict[str, int] = {}
    for place, given in enumerate(approvals):
        is_of = (given.proposal_id, given.bundle_digest, given.diff_digest, given.author)
        if is_of == wanted and given.approver not in proposal.everybody:
            people.setdefault(given.approver, place)
    return sorted(people.values())


def check_approved(found: int, needed: int, lapsed: Collection[str] = ()) -> None:
    """Refuse to activate what too few people approved.

    ``lapsed``: who approved it as well, and might not any more, or not as another than its makers.

    Raises:
        FailedPrecondition: ``APPROVALS_MISSING``, or ``APPROVAL_NO_LONGER_GOOD``.
    """
    if found < needed and lapsed:
        whose = ", ".join(sorted(lapsed))
        raise FailedPrecondition(
            f"the approval of {whose} counts no more: they might not approve it today, or only by "
            "what who made it gave them. The proposal has "
            f"{found} of the {needed} approvals that it needs: ask somebody else",
            reason="APPROVAL_NO_LONGER_GOOD",
            metadata={
                "approvers": whose,
                "approvals": str(found),
                "approvals_needed": str(needed),
            },
        )
    if found < needed:
        raise FailedPrecondition(
            f"the proposal has {found} of the {needed} approvals that it needs",
            reason="APPROVALS_MISSING",
            metadata={"approvals": str(found), "approvals_needed": str(needed)},
        )


def concurrent_activation() -> Aborted:
    """The error of an activation that another one overtook."""
    return Aborted(
        "another policy came in force meanwhile: look at it, then try again",
        reason="CONCURRENT_ACTIVATION",
    )
