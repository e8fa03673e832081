"""Grant, revoke and list roles: each change with its audit record in one transaction."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final
from uuid import UUID

from argy.authz import store
from argy.authz.access import giver_of
from argy.authz.delegation import missing_role
from argy.authz.domain import (
    Grant,
    RoleGrant,
    check_expiry,
    check_role_defined,
    directory_id,
    scope_of_grant,
)
from argy.authz.publishing.holder import PolicyHolder
from argy.authz.snapshots import Snapshots
from argy.authz.subjects import Subjects
from argy.base.clock import Clock
from argy.base.errors import AlreadyExists, PermissionDenied
from argy.base.ids import uuid7
from argy.base.revisions import revision_token
from argy.rpc.call import Call
from argy.store.database import Database, Tx
from argy.trail.records import AuditRecord, record

GRANTED: Final = "authz.role_assignment.grant"
REVOKED: Final = "authz.role_assignment.revoke"
SETTINGS_UPDATED: Final = "authz.assignment_settings.update"


class Assignments:
    """The use cases of role assignments.

    A change raises the tenant's revision before anything else, as the directory's changes do: they
    come one after the other, so that no role is given to whom another transaction deletes.
    """

    __slots__ = ("_clock", "_db", "_holder", "_snapshots", "_subjects")

    def __init__(
        self, db: Database, snapshots: Snapshots, holder: PolicyHolder, clock: Clock
    ) -> None:
        self._db = db
        self._subjects = Subjects(db)
        self._snapshots = snapshots
        self._holder = holder
        self._clock = clock

    async def grant(self, call: Call, wish: Grant) -> tuple[RoleGrant, str]:
        """Give a role; return the assignment and the revision token that contains it.

        Raises:
            InvalidArgument: an unknown role, subject or org, or an end in the past.
            PermissionDenied: a role that the caller does not hold in the same scope.
            AlreadyExists: the subject holds the role here, or the request id was used differently.
        """
        scope = scope_of_grant(wish.org_id, call_org=call.org_id)
        wish = _within(wish, scope)
        check_role_defined(wish.role, defined=self._holder.current.roles)
        now_ms = self._clock.now_ms()
        # Outside the transaction: a view that is not at hand takes a connection to load, and grants
        # that waited for one with one in hand would wait for each other.
        org = await self._org_slug(call, scope)
        view = await self._snapshots.get(call.tenant_id)
        giver = giver_of(view, call, org, now_ms)
        missing = missing_role(giver, wish.role, org=org, last_ms=wish.last_ms)
        if missing is not None:
            raise missing.refusal("ROLE_NOT_HELD", field="role")
        wish = replace(wish, subject=await self._subjects.grantee(view, wish.subject))
        try:
            async with self._db.tenant(call.tenant_id, call.org_id, errors=store.ERRORS) as tx:
                earlier = await self._earlier(tx, wish)
                if earlier is not None:
                    call.changed_nothing()
                    return earlier
                check_expiry(wish.expires_at_ms, now_ms=now_ms)
                revision = await store.bump_revision(tx)
                await store.find_target(
                    tx,
                    org_id=scope,
                    subject=wish.subject,
                    subject_id=directory_id(wish.subject),
                )
                made = await store.insert(
                    tx, wish, made_id=uuid7(), caller=call.caller, now_ms=now_ms
                )
                await self._record(tx, call, GRANTED, made, revision)
        except AlreadyExists:
            # Perhaps by this very request, on another connection; that has committed by now.
            async with self._db.tenant(call.tenant_id, call.org_id) as tx:
                earlier = await self._earlier(tx, wish)
            if earlier is None:
                raise
            call.changed_nothing()
            return earlier
        self._snapshots.invalidate(call.tenant_id, revision)
        return made, revision_token(call.tenant_id, revision)

    async def revoke(self, call: Call, assignment_id: UUID, reason: str) -> str:
        """Take a role away; return the revision token that no longer contains it.

        Raises:
            NotFound: if there is no such assignment, or it lies outside the call's org.
        """
        async with self._db.tenant(call.tenant_id, call.org_id) as tx:
            revision = await store.bump_revision(tx)
            subject, role, org_id = await store.delete(tx, assignment_id)
            gone = RoleGrant(
                id=assignment_id,
                subject=subject,
                role=role,
                org_id=org_id,
                expires_at_ms=None,
                reason=reason,
                created_by=call.caller,
                created_at_ms=0,
            )
            await self._record(tx, call, REVOKED, gone, revision)
        self._snapshots.invalidate(call.tenant_id, revision)
        return revision_token(call.tenant_id, revision)

    async def list(
        self, call: Call, *, subject: str, role: str, after: UUID | None, limit: int
    ) -> Sequence[RoleGrant]:
        """Return assignments in the call's tenant, or in its org only; oldest first."""
        async with self._db.tenant(call.tenant_id, call.org_id) as tx:
            return await store.list_page(tx, subject=subject, role=role, after=after, limit=limit)

    async def foreign_subjects(self, call: Call) -> bool:
        """Whether subjects that the directory does not list may hold roles."""
        async with self._db.tenant(call.tenant_id) as tx:
            return await store.read_foreign_subjects(tx)

    async def set_foreign_subjects(self, call: Call, reason: str, *, allowed: bool) -> None:
        """Let subjects that the directory does not list hold roles, or no more.

        Raises:
            PermissionDenied: ``TENANT_WIDE_ONLY``, for a call in an org.
        """
        if call.org_id is not None:
            raise PermissionDenied(
                "This belongs to the whole tenant: call without x-org-id",
                reason="TENANT_WIDE_ONLY",
                field="x-org-id",
            )
        async with self._db.tenant(call.tenant_id) as tx:
            revision = await store.bump_revision(tx)
            await store.set_foreign_subjects(tx, allowed=allowed)
            rec = AuditRecord.of(
                call,
                SETTINGS_UPDATED,
                f"authz.assignment_settings:{call.tenant_id}",
                reason=reason,
                detail={"foreign_subjects": allowed, "revision": revision},
                occurred_at_ms=self._clock.now_ms(),
            )
            await record(tx, rec, call)
        self._snapshots.invalidate(call.tenant_id, revision)

    async def _earlier(self, tx: Tx, wish: Grant) -> tuple[RoleGrant, str] | None:
        if wish.request_id is None:
            return None
        made = await store.find_by_request(tx, wish.request_id)
        if made is None:
            return None
        if not made.fulfils(wish):
            raise store.request_id_reused()
        return made, revision_token(tx.tenant_id, await store.read_revision(tx))

    async def _org_slug(self, call: Call, scope: UUID | None) -> str:
        if scope is None or scope == call.org_id:
            return call.tenant.org_slug
        async with self._db.tenant(call.tenant_id) as tx:
            return await store.find_target(tx, org_id=scope, subject="", subject_id=None)

    async def _record(
        self, tx: Tx, call: Call, action: str, grant: RoleGrant, revision: int
    ) -> None:
        """Record the change in its own transaction."""
        detail: dict[str, object] = {
            "subject": grant.subject,
            "role": grant.role,
            "reason": grant.reason,
            "revision": revision,
        }
        if grant.org_id is not None:
            detail["org_id"] = str(grant.org_id)
        if grant.expires_at_ms is not None:
            detail["expires_at_ms"] = grant.expires_at_ms
        await record(
            tx,
            AuditRecord.of(
                call,
                action,
                f"authz.role_assignment:{grant.id}",
                subject=grant.subject,
                org_id=grant.org_id or call.org_id,
                detail=detail,
                occurred_at_ms=self._clock.now_ms(),
            ),
            call,
        )


def _within(wish: Grant, org_id: UUID | None) -> Grant:
    return wish if wish.org_id == org_id else replace(wish, org_id=org_id)
