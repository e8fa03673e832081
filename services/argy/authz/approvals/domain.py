"""Approvals of single actions: what they are, and who may do what with one. Pure.

An approval is good for one action on one resource by one subject, in one scope, for one request
body, once. It never allows what the policy denies: the policy is asked when it is requested and
again when it is used, and the votes count by the roles that the voters hold at that moment, as
others than those who ask (``argy.authz.provenance``).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal
from uuid import UUID

from argy.authz.domain import not_permitted
from argy.authz.provenance.domain import appointed
from argy.base.errors import (
    FailedPrecondition,
    InvalidArgument,
    PermissionDenied,
    ResourceExhausted,
)
from argy.policy import ApprovalRule, Decision

State = Literal["PENDING", "GRANTED", "REJECTED", "CANCELLED", "REDEEMED", "EXPIRED"]

MAX_REQUIREMENTS: Final = 20
"""Lines that one action may have to meet."""
MAX_OPEN: Final = 100
"""Requests of one requester that are open at a time."""
REQUEST_FOR: Final = "request_for"
REDEEM_FOR: Final = "redeem_for"
READ_ANY: Final = "read_any"
CANCEL_ANY: Final = "cancel_any"
APPROVAL_RESOURCE: Final = "authz.approval:-"

Roles = Callable[[str], frozenset[str]]
"""The roles that a subject holds now where the action takes place, inherited ones included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirement:
    """One line of the policy's approvals, as it was when the approval was requested."""

    rule_id: str
    file: str
    line: int
    text: str
    approvals: int
    roles: tuple[str, ...]
    expires_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Vote:
    """One approver's vote; ``approved`` is false for a rejection."""

    approver: str
    approved: bool
    comment: str
    created_at_ms: int
    asker_may_grant: bool = False
    """Whether an asker could then have given, at will, what the vote counts by."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """What would be done. Two requests for the same action are for the same approval."""

    subject: str
    action: str
    resource: str
    request_digest: str
    org_id: UUID | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """One request with its votes. Times are milliseconds since the Unix epoch."""

    id: UUID
    wanted: Action
    org_slug: str
    requester: str
    reason: str
    requirements: tuple[Requirement, ...]
    policy_revision: str
    state: State
    created_at_ms: int
    expires_at_ms: int
    votes: tuple[Vote, ...] = ()

    def state_at(self, now_ms: int) -> State:
        """Where it stands: what is open ends by the clock, without anybody's doing."""
        if self.state in ("PENDING", "GRANTED") and now_ms >= self.expires_at_ms:
            return "EXPIRED"
        return self.state

    @property
    def askers(self) -> frozenset[str]:
        """Whose it is: nobody of them votes, nor do those whom they appointed."""
        return frozenset((self.requester, self.wanted.subject))

    @property
    def approvers(self) -> tuple[str, ...]:
        """Who agreed."""
        return tuple(vote.approver for vote in self.votes if vote.approved)


def requirement_of(rule: ApprovalRule) -> Requirement:
    """What a line asks for."""
    return Requirement(
        rule_id=rule.id,
        file=rule.file,
        line=rule.line,
        text=rule.text,
        approvals=rule.approvals,
        roles=rule.roles,
        expires_s=rule.expires_s,
    )


def requirements_of(decision: Decision, action: Action) -> tuple[Requirement, ...]:
    """What must be met before ``action`` is allowed.

    Raises:
        PermissionDenied: when the policy denies it, with or without approvals.
        FailedPrecondition: ``APPROVAL_NOT_NEEDED``, or ``TOO_MANY_REQUIREMENTS``.
    """
    if decision.allowed:
        raise FailedPrecondition(
            "The policy allows this without an approval",
            reason="APPROVAL_NOT_NEEDED",
            metadata={"decision": decision.reason},
        )
    check_not_denied(decision, action)
    if len(decision.approvals) > MAX_REQUIREMENTS:
        raise too_many_requirements()
    return tuple(requirement_of(rule) for rule in decision.approvals)


def too_many_requirements() -> FailedPrecondition:
    """Return the error of an action that more lines speak about than an approval can hold."""
    return FailedPrecondition(
        f"More than {MAX_REQUIREMENTS} lines of the policy, or very long ones, ask for approval",
        reason="TOO_MANY_REQUIREMENTS",
    )


def check_not_denied(decision: Decision, action: Action) -> None:
    """Refuse what no approval can allow.

    Raises:
        PermissionDenied: ``ACCESS_DENIED``, or ``SCOPE_INSUFFICIENT``.
    """
    if decision.effect == "DENY":
        raise not_permitted(
            decision, action.action, action.resource, more="; an approval would not change that"
        )


def check_actor(subject: str) -> None:
    """Refuse an approval for a group: groups hold roles, and do nothing.

    Raises:
        InvalidArgument: on field ``subject``.
    """
    if subject.startswith("group:"):
        raise InvalidArgument("A group doesn't act: name who would", field="subject")


def check_open_count(count: int) -> None:
    """Refuse a requester who has too many requests open.

    Raises:
        ResourceExhausted: ``TOO_MANY_OPEN_APPROVALS``.
    """
    if count >= MAX_OPEN:
        raise ResourceExhausted(
            f"{MAX_OPEN} of your requests for approval are open: cancel some",
            reason="TOO_MANY_OPEN_APPROVALS",
        )


def expiry_of(requirements: Iterable[Requirement], created_at_ms: int) -> int:
    """When a request ends, granted or not: at the earliest that a line says."""
    return created_at_ms + 1_000 * min(line.expires_s for line in requirements)


def unmet(
    requirements: Iterable[Requirement], approvers: Iterable[str], roles: Roles
) -> tuple[Requirement, ...]:
    """The lines that lack approvers who hold one of their roles now."""
    held = {approver: roles(approver) for approver in approvers}
    return tuple(
        line
        for line in requirements
        if sum(not mine.isdisjoint(line.roles) for mine in held.values()) < line.approvals
    )


def check_voter(
    approval: Approval,
    lines: Sequence[Requirement],
    *,
    voter: str,
    held: frozenset[str],
    independent: frozenset[str],
) -> None:
    """Refuse a vote of the wrong person; ``lines`` are those on which a vote may count.

    ``held`` are the voter's roles where the action takes place, ``independent`` those of them that
    no asker gave.

    Raises:
        PermissionDenied: ``NOT_A_PERSON``, ``OWN_APPROVAL`` for requester and subject,
            ``NOT_AN_APPROVER`` for who holds none of the lines' roles, or ``APPOINTED_BY_ASKER``.
    """
    if not voter.startswith("user:"):
        raise PermissionDenied("Only people approve", reason="NOT_A_PERSON")
    if voter in approval.askers:
        raise PermissionDenied(
            "Neither the requester nor the subject of an approval may vote on it",
            reason="OWN_APPROVAL",
        )
    if not any(not held.isdisjoint(line.roles) for line in lines):
        wanted = sorted({role for line in lines for role in line.roles})
        raise PermissionDenied(
            f"To vote on this you must hold one of: {', '.join(wanted)}",
            reason="NOT_AN_APPROVER",
            metadata={"roles": " ".join(wanted)},
        )
    if not any(not independent.isdisjoint(line.roles) for line in lines):
        raise appointed()


_CLOSED: Final[Mapping[str, tuple[str, str]]] = {
    "PENDING": ("APPROVAL_PENDING", "The approval is not granted yet"),
    "GRANTED": ("APPROVAL_GRANTED", "The approval is granted already"),
    "REJECTED": ("APPROVAL_REJECTED", "The approval was rejected"),
    "CANCELLED": ("APPROVAL_CANCELLED", "The approval was withdrawn"),
    "REDEEMED": ("APPROVAL_USED", "The approval was used; it is good once"),
    "EXPIRED": ("APPROVAL_EXPIRED", "The approval is too old: ask for a new one"),
}


def check_state(approval: Approval, *allowed: State, now_ms: int) -> None:
    """Refuse an approval that stands elsewhere.

    Raises:
        FailedPrecondition: with a reason for each state, such as ``APPROVAL_USED``.
    """
    state = approval.state_at(now_ms)
    if state not in allowed:
        reason, message = _CLOSED[state]
        raise FailedPrecondition(message, reason=reason, field="approval_id")


def check_same_action(approval: Approval, action: Action) -> None:
    """Refuse to use an approval for anything but exactly what was approved.

    Raises:
        FailedPrecondition: ``APPROVAL_MISMATCH`` with the field that differs.
    """
    for name in ("subject", "action", "resource", "request_digest", "org_id"):
        if getattr(approval.wanted, name) != getattr(action, name):
            raise FailedPrecondition(
                f"The approval is for another {name}",
                reason="APPROVAL_MISMATCH",
                field=name,
            )


def check_still_good(approval: Approval, decision: Decision, roles: Roles, *, now_ms: int) -> None:
    """Hold the votes to the policy of this moment, by the roles of this moment.

    Raises:
        PermissionDenied: when the policy denies the action by now.
        FailedPrecondition: ``APPROVAL_OUTDATED``, when the votes would not suffice today.
    """
    if decision.allowed:
        return
    check_not_denied(decision, approval.wanted)
    today = tuple(requirement_of(rule) for rule in decision.approvals)
    if now_ms >= expiry_of(today, approval.created_at_ms) or unmet(
        today, approval.approvers, roles
    ):
        lines = ", ".join(f"{line.file}:{line.line}" for line in today[:MAX_REQUIREMENTS])
        raise FailedPrecondition(
            "Policy or roles have changed since this was approved: ask for a new approval",
            reason="APPROVAL_OUTDATED",
            field="approval_id",
            metadata={"lines": lines},
        )
