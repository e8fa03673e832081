"""Role assignments in PostgreSQL, and the facts that decisions stand on."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from argy.authz.domain import Grant, RoleGrant, TenantFacts, is_foreign, unknown_subject
from argy.base.errors import AlreadyExists, ArgyError, InvalidArgument, NotFound, PermissionDenied
from argy.policy import Assignment, Membership
from argy.store.database import Tx
from argy.store.errors import ConstraintErrors
from argy.store.queries import Queries
from argy.store.times import to_ms, to_time

_Q: Final = Queries.load(__package__)


def _org_unknown() -> ArgyError:
    return InvalidArgument(
        "The organization does not belong to the tenant",
        reason="ORG_NOT_IN_TENANT",
        field="org_id",
    )


def request_id_reused() -> AlreadyExists:
    """Return the error of an idempotency key that stands for another grant."""
    return AlreadyExists(
        "request_id was used for another grant", reason="REQUEST_ID_REUSED", field="request_id"
    )


ERRORS: Final[ConstraintErrors] = {
    "role_assignment_org_fkey": _org_unknown,
    "role_assignment_request_id_key": request_id_reused,
}
"""What the violated constraints of a grant mean."""


async def read_facts(tx: Tx, *, now_ms: int, known: TenantFacts | None = None) -> TenantFacts:
    """Read a tenant's facts in one state; ``known`` is returned as it is when nothing changed.

    Must be the first thing that its transaction does.

    Raises:
        NotFound: if the tenant does not exist.
        PermissionDenied: if it is suspended.
    """
    await tx.execute(_Q.begin_consistent_read)
    row = await tx.fetchrow(_Q.find_revision, tx.tenant_id)
    if row is None:
        raise NotFound("The tenant does not exist", reason="TENANT_UNKNOWN")
    if row["state"] != "ACTIVE":
        raise PermissionDenied("The tenant is suspended", reason="TENANT_SUSPENDED")
    if known is not None and known.revision == row["revision"]:
        return known
    foreign_subjects: bool = row["foreign_subjects"]
    # One string for each role and org, however many assignments name it.
    names: dict[str, str] = {}
    assignments = tuple(
        Assignment(
            subject=subject,
            role=names.setdefault(role, role),
            org=names.setdefault(org, org),
            expires_at_ms=expires_at_ms,
        )
        for subject, role, org, expires_at_ms in await tx.fetch(
            _Q.list_live_assignments, tx.tenant_id, to_time(now_ms)
        )
        if foreign_subjects or not is_foreign(subject)
    )
    memberships = await tx.fetch(_Q.list_memberships, tx.tenant_id)
    disabled = await tx.fetch(_Q.list_disabled_users, tx.tenant_id)
    orgs = await tx.fetch(_Q.list_orgs, tx.tenant_id)
    return TenantFacts(
        tenant_id=tx.tenant_id,
        slug=row["slug"],
        revision=row["revision"],
        assignments=assignments,
        memberships=tuple(Membership(group, member) for group, member in memberships),
        disabled=frozenset(row["subject"] for row in disabled),
        orgs=tuple((org_id, slug) for org_id, slug in orgs),
        foreign_subjects=foreign_subjects,
    )


async def find_target(tx: Tx, *, org_id: UUID | None, subject: str, subject_id: UUID | None) -> str:
    """Prove that subject and org exist; return the org's slug, "" for the whole tenant.

    Raises:
        InvalidArgument: ``ORG_NOT_IN_TENANT`` or ``UNKNOWN_SUBJECT``.
    """
    row = await tx.fetchrow(_Q.find_grant_target, tx.tenant_id, org_id, subject_id)
    found: Mapping[str, Any] = dict(row or {})
    if org_id is not None and found["org_slug"] is None:
        raise _org_unknown()
    if subject_id is not None:
        kind = subject.partition(":")[0]
        if not found[f"{kind}_exists"]:
            raise unknown_subject(subject)
    return found["org_slug"] or ""


async def find_named(tx: Tx, names: Collection[str]) -> dict[str, str]:
    """Return whom of the directory each name stands for, such as ``user:a@b.example``."""
    rows = await tx.fetch(_Q.find_named, tx.tenant_id, list(names))
    return {row["name"]: row["subject"] for row in rows}


async def read_foreign_subjects(tx: Tx) -> bool:
    """Return whether subjects that the directory does not list may hold roles."""
    return bool(await tx.fetchval(_Q.find_foreign_subjects, tx.tenant_id))


async def set_foreign_subjects(tx: Tx, *, allowed: bool) -> None:
    """Let subjects that the directory does not list hold roles, or no more."""
    await tx.execute(_Q.save_foreign_subjects, tx.tenant_id, allowed)


async def find_by_request(tx: Tx, request_id: UUID) -> RoleGrant | None:
    """Return what an earlier call with this idempotency key granted."""
    row = await tx.fetchrow(_Q.find_assignment_by_request, tx.tenant_id, request_id)
    return None if row is None else _grant(row)


async def insert(tx: Tx, grant: Grant, *, made_id: UUID, caller: str, now_ms: int) -> RoleGrant:
    """Store a grant, in place of an ended one.

    Raises:
        AlreadyExists: ``ASSIGNMENT_EXISTS``, if the subject holds the role in this scope.
    """
    made = await tx.fetchval(
        _Q.insert_assignment,
        tx.tenant_id,
        made_id,
        grant.subject,
        grant.role,
        grant.org_id,
        None if grant.expires_at_ms is None else to_time(grant.expires_at_ms),
        grant.reason,
        caller,
        to_time(now_ms),
        grant.request_id,
    )
    if made is None:
        raise AlreadyExists(
            "The subject holds this role here already; revoke it first to change it",
            reason="ASSIGNMENT_EXISTS",
        )
    return RoleGrant(
        id=made_id,
        subject=grant.subject,
        role=grant.role,
        org_id=grant.org_id,
        expires_at_ms=grant.expires_at_ms,
        reason=grant.reason,
        created_by=caller,
        created_at_ms=now_ms,
    )


async def delete(tx: Tx, assignment_id: UUID) -> tuple[str, str, UUID | None]:
    """Delete an assignment that the transaction's org may see; return subject, role and org.

    Raises:
        NotFound: ``ASSIGNMENT_UNKNOWN``.
    """
    row = await tx.fetchrow(_Q.delete_assignment, tx.tenant_id, assignment_id, tx.org_id)
    if row is None:
        raise NotFound(
            "No such role assignment", reason="ASSIGNMENT_UNKNOWN", field="assignment_id"
        )
    return row["subject"], row["role"], row["org_id"]


async def list_page(
    tx: Tx, *, subject: str, role: str, after: UUID | None, limit: int
) -> Sequence[RoleGrant]:
    """Return assignments that the transaction's org may see, oldest first."""
    rows = await tx.fetch(_Q.list_assignments, tx.tenant_id, subject, role, tx.org_id, after, limit)
    return [_grant(row) for row in rows]


async def bump_revision(tx: Tx) -> int:
    """Raise the tenant's revision; every replica hears of it when the transaction commits."""
    return int(await tx.fetchval(_Q.bump_revision, tx.tenant_id))


async def read_revision(tx: Tx) -> int:
    """Return the tenant's revision."""
    row = await tx.fetchrow(_Q.find_revision, tx.tenant_id)
    return 0 if row is None else int(row["revision"])


def _grant(row: Any) -> RoleGrant:
    return RoleGrant(
        id=row["id"],
        subject=row["subject"],
        role=row["role"],
        org_id=row["org_id"],
        expires_at_ms=None if row["expires_at"] is None else to_ms(row["expires_at"]),
        reason=row["reason"],
        created_by=row["created_by"],
        created_at_ms=to_ms(row["created_at"]),
    )
