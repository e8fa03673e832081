"""Roles that people take for a while: just in time, or by breaking the glass. Pure."""

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final, Literal
from uuid import UUID

from argy.authz.approvals.domain import Action, requirement_of
from argy.authz.domain import not_permitted
from argy.base.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    PermissionDenied,
)
from argy.policy import Decision

Review = Literal["NOT_NEEDED", "OPEN", "JUSTIFIED", "UNJUSTIFIED"]

MAX_GLASS_S: Final = 3_600
"""Seconds for which a broken glass gives a role."""
ELEVATE: Final = "elevate"
BREAK_GLASS: Final = "break_glass"
READ_ANY: Final = "read_any"
END_ANY: Final = "end_any"
ELEVATION_RESOURCE: Final = "authz.elevation:-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What somebody asks for, for themselves. ``org_id`` None means the whole tenant."""

    role: str
    duration_s: int
    reason: str
    break_glass: bool
    org_id: UUID | None
    approval_id: UUID | None
    request_id: UUID | None

    def action(self, subject: str) -> Action:
        """What the policy is asked, and what an approval must be for."""
        return Action(
            subject=subject,
            action=BREAK_GLASS if self.break_glass else ELEVATE,
            resource=f"authz.{self.role}",
            request_digest=elevation_digest(self.role, self.duration_s),
            org_id=self.org_id,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Elevation:
    """A role held for a while. Times are milliseconds since the Unix epoch."""

    id: UUID
    assignment_id: UUID
    subject: str
    role: str
    org_id: UUID | None
    reason: str
    break_glass: bool
    created_at_ms: int
    expires_at_ms: int
    ended_at_ms: int | None = None
    review: Review = "NOT_NEEDED"
    reviewed_by: str = ""
    review_comment: str = ""
    asker_may_grant: bool = False
    """Whether whoever broke the glass could give, at will, what the reviewer reviewed by."""
    org_slug: str = ""
    org_gone: bool = False
    """Whether the org was deleted since."""

    def over(self, now_ms: int) -> bool:
        """Whether the role is no longer held by it."""
        return self.ended_at_ms is not None or now_ms >= self.expires_at_ms

    def fulfils(self, wish: Wish, subject: str) -> bool:
        """Whether this is what ``wish`` asks for, so that a repeated call may return it."""
        return (
            self.subject,
            self.role,
            self.org_id,
            self.reason,
            self.break_glass,
            self.expires_at_ms - self.created_at_ms,
        ) == (
            subject,
            wish.role,
            wish.org_id,
            wish.reason,
            wish.break_glass,
            wish.duration_s * 1_000,
        )


def elevation_digest(role: str, duration_s: int) -> str:
    """What an approval of an elevation is bound to: the role and for how long it is taken."""
    return hashlib.sha256(f"argy elevation v1\n{role}\n{duration_s}".encode()).hexdigest()


def check_wish(wish: Wish, subject: str) -> None:
    """Refuse what nobody may ask for.

    Raises:
        PermissionDenied: ``NOT_A_PERSON``.
        InvalidArgument: a glass broken for longer than ``MAX_GLASS_S``.
    """
    if not subject.startswith("user:"):
        raise PermissionDenied(
            "Only people take a role for a while; services and agents hold theirs",
            reason="NOT_A_PERSON",
        )
    if wish.break_glass and wish.duration_s > MAX_GLASS_S:
        raise InvalidArgument(
            f"A broken glass gives a role for at most {MAX_GLASS_S} seconds", field="duration_s"
        )


def check_not_held(role: str, held: Collection[str]) -> None:
    """Refuse a role that the subject has anyway.

    Raises:
        AlreadyExists: ``ROLE_ALREADY_HELD``.
    """
    if role in held:
        raise AlreadyExists(
            f"You hold {role} here already", reason="ROLE_ALREADY_HELD", field="role"
        )


def check_decision(
    decision: Decision, action: Action, facts: Mapping[str, object], *, approval_given: bool
) -> None:
    """Refuse what the policy does not allow, or not without an approval that wasn't given.

    Raises:
        PermissionDenied: ``ACCESS_DENIED``, or ``SCOPE_INSUFFICIENT``.
        FailedPrecondition: ``APPROVAL_NEEDED``, with what to ask approval for; ``context`` is JSON.
    """
    if decision.allowed:
        return
    if decision.effect == "DENY":
        raise not_permitted(decision, action.action, action.resource)
    if approval_given:
        return
    needs = [requirement_of(rule) for rule in decision.approvals]
    told = "; ".join(f"{line.approvals} of {' or '.join(line.roles)}" for line in needs)
    raise FailedPrecondition(
        f"This needs approval: {told}. Request it for '{action.action}' on '{action.resource}', "
        "then come back with it",
        reason="APPROVAL_NEEDED",
        field="approval_id",
        metadata={
            "action": action.action,
            "resource": action.resource,
            "request_digest": action.request_digest,
            "context": json.dumps(dict(facts)),
        },
    )


def review_open() -> FailedPrecondition:
    """Return the error of a glass that was broken before and not looked at since."""
    return FailedPrecondition(
        "You broke the glass before, and nobody has closed the review yet",
        reason="REVIEW_OPEN",
    )


def check_review(found: Elevation, *, reviewer: str, now_ms: int) -> None:
    """Refuse a review by the wrong person, of the wrong thing, or too early.

    Raises:
        PermissionDenied: ``OWN_REVIEW``.
        FailedPrecondition: ``REVIEW_NOT_OPEN``, or ``ELEVATION_LIVE`` before its end.
    """
    if reviewer == found.subject:
        raise PermissionDenied("Nobody reviews what they did themselves", reason="OWN_REVIEW")
    if found.review != "OPEN":
        raise FailedPrecondition("There is no open review", reason="REVIEW_NOT_OPEN")
    if not found.over(now_ms):
        raise FailedPrecondition(
            "The role is still held: end the elevation, or wait for its end",
            reason="ELEVATION_LIVE",
        )
