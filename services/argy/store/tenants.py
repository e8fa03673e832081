"""Which tenants and orgs exist, cached in every replica and forgotten at each change."""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from argy.base.errors import PermissionDenied
from argy.store.database import Database
from argy.store.listener import Listener
from argy.store.queries import Queries

CHANNEL: Final = "directory_changed"
_Q: Final = Queries.load(__package__)


@dataclass(frozen=True, slots=True)
class TenantInfo:
    """An active tenant, and one org of it. ``org_slug`` is "" when no org was asked for."""

    tenant_id: UUID
    slug: str
    state: str
    org_slug: str = ""


class TenantCache:
    """Resolves tenants and orgs; at most ``max_entries`` are kept, least recently used go first.

    Trusts itself only while its listener hears changes; until then, and whenever the listener is
    away, every call asks the database. Only active tenants are kept, so an unknown id costs no
    memory.
    """

    def __init__(self, db: Database, *, max_entries: int = 100_000) -> None:
        self._db = db
        self._max_entries = max_entries
        self._entries: OrderedDict[tuple[UUID, UUID | None], TenantInfo] = OrderedDict()
        self._orgs: dict[UUID, set[UUID | None]] = {}
        self._listener: Listener | None = None
        self._trusted = False
        self._changes = 0

    async def start(self) -> None:
        """Begin to listen for changes."""
        self._listener = await self._db.listen(
            {CHANNEL: self._changed}, on_lost=self._lost, on_restored=self._restored
        )

    async def close(self) -> None:
        """Stop listening; every later call asks the database."""
        if self._listener is not None:
            await self._listener.close()
        self._lost()

    def peek(self, tenant_id: UUID, org_id: UUID | None = None) -> TenantInfo | None:
        """Return what is cached and current, else None; no I/O."""
        found = self._entries.get((tenant_id, org_id))
        if found is not None:
            self._entries.move_to_end((tenant_id, org_id))
        return found

    async def resolve(self, tenant_id: UUID, org_id: UUID | None = None) -> TenantInfo:
        """Return an active tenant, with its org if one is named.

        Raises:
            PermissionDenied: ``TENANT_UNKNOWN``, ``TENANT_SUSPENDED`` or ``ORG_NOT_IN_TENANT``.
            Unavailable: if it is not cached and the database is away.
        """
        found = self.peek(tenant_id, org_id)
        if found is not None:
            return found
        changes = self._changes
        async with self._db.tenant(tenant_id) as tx:
            row = await tx.fetchrow(_Q.find_tenant, tenant_id, org_id)
        if row is None:
            raise _denied("The tenant does not exist", "TENANT_UNKNOWN", "x-tenant-id")
        if row["state"] != "ACTIVE":
            raise _denied("The tenant is suspended", "TENANT_SUSPENDED", "x-tenant-id")
        if org_id is not None and row["org_slug"] is None:
            raise _denied(
                "The organization does not belong to the tenant", "ORG_NOT_IN_TENANT", "x-org-id"
            )
        info = TenantInfo(tenant_id, row["slug"], row["state"], row["org_slug"] or "")
        # A change heard while the query ran may be newer than its answer.
        if self._trusted and changes == self._changes:
            self._keep(tenant_id, org_id, info)
        return info

    @property
    def trusted(self) -> bool:
        """Whether changes are heard, so that answers may come from memory."""
        return self._trusted

    def _keep(self, tenant_id: UUID, org_id: UUID | None, info: TenantInfo) -> None:
        self._entries[tenant_id, org_id] = info
        self._orgs.setdefault(tenant_id, set()).add(org_id)
        if len(self._entries) > self._max_entries:
            (oldest, org), _ = self._entries.popitem(last=False)
            orgs = self._orgs[oldest]
            orgs.discard(org)
            if not orgs:
                del self._orgs[oldest]

    def _changed(self, payload: str) -> None:
        self._changes += 1
        try:
            tenant_id = UUID(payload)
        except ValueError:
            # Any login may NOTIFY; what can't be read might mean every tenant.
            self._entries.clear()
            self._orgs.clear()
            return
        for org_id in self._orgs.pop(tenant_id, ()):
            del self._entries[tenant_id, org_id]

    def _restored(self) -> None:
        self._changes += 1
        self._trusted = True

    def _lost(self) -> None:
        self._trusted = False
        self._changes += 1
        self._entries.clear()
        self._orgs.clear()


def _denied(message: str, reason: str, field: str) -> PermissionDenied:
    return PermissionDenied(message, reason=reason, field=field)
