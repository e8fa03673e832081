"""Role assignments, and the facts that decisions stand on."""

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from argy.base.errors import (
    FailedPrecondition,
    InvalidArgument,
    PermissionDenied,
)
from argy.policy import SCOPE_INSUFFICIENT, Assignment, Decision, Membership
from argy.rpc.delegation import ENDLESS_MS

ASSIGNMENT_RESOURCE: Final = "authz.role_assignment:-"
_ROLES_SHOWN: Final = 50
_UUID: Final = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_LISTED: Final = re.compile(rf"(?:user|group):({_UUID})")
_OURS: Final = re.compile(rf"(?:(?:service|agent):.+|(?:user|group):{_UUID})")


@dataclass(frozen=True, slots=True)
class TenantFacts:
    """What one tenant's decisions stand on: one state of the database."""

    tenant_id: UUID
    slug: str
    revision: int
    assignments: tuple[Assignment, ...] = ()
    memberships: tuple[Membership, ...] = ()
    disabled: frozenset[str] = frozenset()
    orgs: tuple[tuple[UUID, str], ...] = ()
    """Each org's id and slug, by id."""
    foreign_subjects: bool = False
    """Whether subjects that the directory does not list hold the roles assigned to them."""

    @property
    def size(self) -> int:
        """Rows held, to bound memory by."""
        return len(self.assignments) + len(self.memberships) + len(self.disabled) + len(self.orgs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """A wish to give a role. ``org_id`` None means the whole tenant."""

    subject: str
    role: str
    org_id: UUID | None
    expires_at_ms: int | None
    reason: str
    request_id: UUID | None

    @property
    def last_ms(self) -> int:
        """The last moment at which the role would be held."""
        return ENDLESS_MS if self.expires_at_ms is None else self.expires_at_ms - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleGrant:
    """A role that a subject holds. Times are milliseconds since the Unix epoch."""

    id: UUID
    subject: str
    role: str
    org_id: UUID | None
    expires_at_ms: int | None
    reason: str
    created_by: str
    created_at_ms: int

    def fulfils(self, grant: Grant) -> bool:
        """Whether this is what ``grant`` asks for, so that a repeated call may return it."""
        return (self.subject, self.role, self.org_id, self.expires_at_ms, self.reason) == (
            grant.subject,
            grant.role,
            grant.org_id,
            grant.expires_at_ms,
            grant.reason,
        )


def check_role_defined(role: str, *, defined: Collection[str]) -> None:
    """Refuse a role that the active policy does not define.

    Raises:
        InvalidArgument: listing the roles that exist.
    """
    if role in defined:
        return
    names = sorted(name for name in defined if name.startswith("role:"))
    shown = ", ".join(names[:_ROLES_SHOWN]) + (", …" if len(names) > _ROLES_SHOWN else "")
    raise InvalidArgument(
        f"The policy defines no role {role!r}; it defines: {shown or 'none'}",
        reason="UNKNOWN_ROLE",
        field="role",
    )


def check_expiry(expires_at_ms: int | None, *, now_ms: int) -> None:
    """Refuse a grant that would have ended already.

    Raises:
        InvalidArgument: on field ``expire_time``.
    """
    if expires_at_ms is not None and expires_at_ms <= now_ms:
        raise InvalidArgument(
            "expire_time must be in the future", reason="EXPIRY_IN_PAST", field="expire_time"
        )


def scope_of_grant(requested: UUID | None, *, call_org: UUID | None) -> UUID | None:
    """Return the org of a grant: a call in an org grants in that org only.

    Raises:
        PermissionDenied: when the request names another org.
    """
    if call_org is None or requested == call_org:
        return requested
    if requested is None:
        return call_org
    raise PermissionDenied(
        "A call in an org can grant roles in that org only",
        reason="OUTSIDE_CALL_ORG",
        field="org_id",
    )


def directory_id(subject: str) -> UUID | None:
    """Return the id of a user or group; None for subjects that no directory lists."""
    found = _LISTED.fullmatch(subject)
    return UUID(found[1]) if found else None


def is_foreign(subject: str) -> bool:
    """Whether a subject is neither the directory's nor a service or an agent."""
    return _OURS.fullmatch(subject) is None


def unknown_subject(subject: str, *, foreign: bool = False) -> InvalidArgument:
    """Return the error of a subject that can't get a role; ``foreign``, by the tenant's setting."""
    more = (
        "; subjects that the directory does not list get roles only where the tenant lets them: "
        "`argy tenant foreign-subjects`"
    )
    return InvalidArgument(
        f"The tenant has no {subject}{more if foreign else ''}",
        reason="UNKNOWN_SUBJECT",
        field="subject",
    )


def not_permitted(
    decision: Decision, action: str, resource: str, *, more: str = ""
) -> PermissionDenied:
    """Return the error of a decision that is no permission (AIP-211).

    Its reason is ``ACCESS_DENIED``, or ``SCOPE_INSUFFICIENT`` when the caller's credential is
    limited to other permissions. ``more`` is added to what is told of a denial.
    """
    if decision.reason == SCOPE_INSUFFICIENT:
        permission = f"{resource.partition(':')[0]}:{action}"
        return PermissionDenied(
            f"The credential's scopes don't cover '{permission}'",
            reason=SCOPE_INSUFFICIENT,
            metadata={"permission": permission},
        )
    return PermissionDenied(
        f"Permission '{action}' denied on resource '{resource}' (or it might not exist){more}",
        reason="ACCESS_DENIED",
        metadata={"decision": decision.reason},
    )


def stale_revision(wanted: str) -> FailedPrecondition:
    """Return the error of a token that is newer than the database."""
    return FailedPrecondition(
        "The state of this tenant is older than at_least asks for",
        reason="STALE_REVISION",
        field="at_least",
        metadata={"at_least": wanted},
    )
