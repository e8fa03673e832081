"""The life cycle of tenants. Its records lie in the platform tenant's log, which outlives them."""

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from argy.base.errors import FailedPrecondition
from argy.base.ids import PLATFORM_TENANT_ID, uuid7
from argy.directory.changes import Recorder, once
from argy.directory.domain import (
    Tenant,
    TenantState,
    check_may_delete,
    check_may_leave,
    checked_display_name,
    checked_slug,
)
from argy.directory.store import ERRORS, Q, not_found, one, page
from argy.rpc.call import Call
from argy.store.database import Database, Tx

_ACTIONS: Final[dict[TenantState, str]] = {
    "SUSPENDED": "directory.tenant.suspend",
    "ACTIVE": "directory.tenant.resume",
}


class Tenants:
    """The use cases of tenants; every transaction begins in the platform tenant."""

    __slots__ = ("_db", "_record")

    def __init__(self, db: Database, record: Recorder) -> None:
        self._db = db
        self._record = record

    async def create(
        self, call: Call, *, slug: str, display_name: str, request_id: UUID | None
    ) -> Tenant:
        """Make an active tenant.

        Raises:
            InvalidArgument: for a slug or name that can't be.
            AlreadyExists: ``SLUG_TAKEN``, ``SLUG_RETIRED`` or ``REQUEST_ID_REUSED``.
        """
        slug, display_name = checked_slug(slug), checked_display_name(display_name)

        async def find(key: UUID) -> Tenant | None:
            async with self._db.tenant(PLATFORM_TENANT_ID) as tx:
                return await one(tx, Tenant, Q.find_tenant_by_request, key)

        async def make() -> Tenant:
            made_id = uuid7()
            async with self._db.tenant(PLATFORM_TENANT_ID, errors=ERRORS) as tx:
                async with tx.unsafe_enter(made_id):
                    made = await one(
                        tx, Tenant, Q.insert_tenant, made_id, slug, display_name, request_id
                    )
                assert made is not None  # noqa: S101 - RETURNING of an insert
                await self._record(
                    tx, call, "directory.tenant.create", f"tenant:{made_id}", slug=slug
                )
                return made

        return await once(
            call,
            request_id,
            find,
            lambda found: (found.slug, found.display_name) == (slug, display_name),
            make,
        )

    async def get(self, tenant_id: UUID) -> Tenant:
        """One tenant; raises NotFound."""
        async with self._db.tenant(PLATFORM_TENANT_ID) as tx:
            return await self._found(tx, tenant_id)

    async def list(self, *, after: UUID | None, slug: str, limit: int) -> Sequence[Tenant]:
        """A page of tenants, oldest first."""
        async with self._db.tenant(PLATFORM_TENANT_ID) as tx:
            return await page(tx, Tenant, Q.list_tenants, after, slug, limit)

    async def set_state(
        self, call: Call, tenant_id: UUID, state: TenantState, reason: str
    ) -> Tenant:
        """Suspend or resume; doing it again changes nothing but is recorded.

        Raises:
            FailedPrecondition: for the platform's own tenant.
            NotFound: if there is no such tenant.
        """
        check_may_leave(tenant_id)
        async with self._db.tenant(PLATFORM_TENANT_ID, errors=ERRORS) as tx:
            async with tx.unsafe_enter(tenant_id):
                tenant = await one(tx, Tenant, Q.set_tenant_state, tenant_id, state)
            if tenant is None:
                raise not_found("tenant", "tenant_id")
            await self._record(tx, call, _ACTIONS[state], f"tenant:{tenant_id}", reason=reason)
            return tenant

    async def delete(self, call: Call, tenant_id: UUID, *, confirm_slug: str, reason: str) -> None:
        """Delete a suspended tenant with everything in it but its audit events.

        Raises:
            FailedPrecondition: ``TENANT_ACTIVE``, ``CONFIRMATION_MISMATCH``, ``PLATFORM_TENANT``.
            NotFound: if there is no such tenant.
        """
        async with self._db.tenant(PLATFORM_TENANT_ID, errors=ERRORS) as tx:
            tenant = await self._found(tx, tenant_id)
            check_may_delete(tenant, confirm_slug=confirm_slug)
            async with tx.unsafe_enter(tenant_id):
                deleted = await tx.execute(Q.delete_tenant, tenant_id)
            if not deleted:
                raise FailedPrecondition(
                    "The tenant was resumed meanwhile", reason="TENANT_ACTIVE", field="tenant_id"
                )
            await self._record(
                tx,
                call,
                "directory.tenant.delete",
                f"tenant:{tenant_id}",
                slug=tenant.slug,
                reason=reason,
            )

    async def _found(self, tx: Tx, tenant_id: UUID) -> Tenant:
        tenant = await one(tx, Tenant, Q.find_tenant, tenant_id)
        if tenant is None:
            raise not_found("tenant", "tenant_id")
        return tenant
