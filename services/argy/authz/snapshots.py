"""Every replica's copy of tenants' facts: loaded when asked for, forgotten at each change.

The copy is trusted while the listener hears changes. A change drops the tenant's copy, and the next
check waits for a new one: nothing stale is served. While the listener is away, and for each tenant
once after it came back, the revision is compared with the database before the copy is used; with
the database away too, there is no answer.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Final
from uuid import UUID

from argy.authz.domain import stale_revision
from argy.authz.publishing.holder import InForce, PolicyHolder
from argy.authz.store import read_facts
from argy.authz.view import TenantView
from argy.base.clock import Clock
from argy.base.errors import Unavailable
from argy.store.database import Database
from argy.store.listener import Listener
from argy.store.tenants import CHANNEL as TENANTS

CHANNEL: Final = "authz_revision"
_LOAD_TIMEOUT_S: Final = 5.0
_LARGE: Final = 5_000
"""Facts from this many rows on are indexed in a thread, so that other tenants do not wait."""
_UNVERIFIED: Final = -1

Changed = Callable[[UUID | None], None]
"""Told of the tenant that changed; None when it may be any."""

Reach = Callable[[int, str], Awaitable[None]]
"""Has the policy of a sequence (``token``) in force, or raises ``STALE_REVISION``."""


async def _nowhere(_sequence: int, token: str) -> None:
    raise stale_revision(token)


class _Entry:
    __slots__ = ("epoch", "facts", "in_force", "view")

    def __init__(self, view: TenantView, in_force: InForce, epoch: int) -> None:
        self.facts = view.facts
        self.view = view
        self.in_force = in_force
        self.epoch = epoch


class Snapshots:
    """The tenants' views; past ``max_tenants`` or ``max_rows`` the least recently used go."""

    def __init__(
        self,
        db: Database,
        holder: PolicyHolder,
        clock: Clock,
        *,
        max_tenants: int = 20_000,
        max_rows: int = 2_000_000,
        reach: Reach = _nowhere,
    ) -> None:
        self._db = db
        self._reach = reach
        self._holder = holder
        self._clock = clock
        self._max_tenants = max_tenants
        self._max_rows = max_rows
        self._rows = 0
        self._entries: OrderedDict[UUID, _Entry] = OrderedDict()
        self._loads: dict[UUID, asyncio.Task[TenantView]] = {}
        self._listener: Listener | None = None
        self._trusted = False
        self._epoch = 0
        self._subscribers: list[Changed] = []
        self.loads = 0
        """How often facts were read in full."""
        holder.subscribe(lambda: self._tell(None))

    async def start(self) -> None:
        """Begin to listen for changes."""
        self._listener = await self._db.listen(
            # Suspended and deleted tenants: the chain refuses their calls, this ends their watches.
            {CHANNEL: self._heard, TENANTS: self._tenant_heard},
            on_lost=self._lost,
            on_restored=self._restored,
        )

    async def close(self) -> None:
        """Stop listening, and end the loads under way."""
        if self._listener is not None:
            await self._listener.close()
        self._lost()
        loads = list(self._loads.values())
        for load in loads:
            load.cancel()
        await asyncio.gather(*loads, return_exceptions=True)

    def subscribe(self, subscriber: Changed) -> None:
        """Tell ``subscriber`` of each change that may alter a tenant's revisions."""
        self._subscribers.append(subscriber)

    @property
    def trusted(self) -> bool:
        """Whether changes are heard, so that answers may come from memory."""
        return self._trusted

    def peek(self, tenant_id: UUID) -> TenantView | None:
        """Return the view if it is here and current; no I/O."""
        entry = self._entries.get(tenant_id)
        if entry is None or entry.epoch != self._epoch:
            return None
        view = entry.view
        in_force = self._holder.in_force
        if entry.in_force is not in_force:
            if entry.facts.size >= _LARGE:
                return None
            view = entry.view = TenantView(entry.facts, in_force.policy, in_force.sequence)
            entry.in_force = in_force
        self._entries.move_to_end(tenant_id)
        return view

    async def get(
        self, tenant_id: UUID, *, at_least: int = 0, policy: int = 0, token: str = ""
    ) -> TenantView:
        """Return the tenant's view, at least as fresh as revision ``at_least`` (``token``).

        ``policy`` is the sequence of the activation that it must stand on at least.

        Raises:
            FailedPrecondition: ``STALE_REVISION``, when the database is older than that.
            Unavailable: when the view can't be proved current.
        """
        if policy > self._holder.in_force.sequence:
            await self._reach(policy, token)
        view = self.peek(tenant_id) or await self._shared(tenant_id)
        if view.revision >= at_least and view.sequence >= policy:
            return view
        # A load that began before this call may have missed the change; one that begins now can't.
        self._doubt(tenant_id)
        view = await self._shared(tenant_id)
        if view.revision < at_least or view.sequence < policy:
            raise stale_revision(token)
        return view

    def invalidate(self, tenant_id: UUID, revision: int) -> None:
        """Forget a tenant's facts that are older than ``revision``."""
        self._loads.pop(tenant_id, None)
        entry = self._entries.get(tenant_id)
        if entry is not None and entry.facts.revision < revision:
            self._drop(tenant_id)
        self._tell(tenant_id)

    async def _shared(self, tenant_id: UUID) -> TenantView:
        load = self._loads.get(tenant_id)
        if load is None:
            load = asyncio.create_task(self._refresh(tenant_id), name="authz-load")
            self._loads[tenant_id] = load
            load.add_done_callback(lambda done: self._finished(tenant_id, done))
        try:
            return await asyncio.shield(load)
        except asyncio.CancelledError:
            if load.cancelled():
                raise Unavailable("The service is stopping", reason="STOPPING") from None
            raise

    def _finished(self, tenant_id: UUID, load: "asyncio.Task[TenantView]") -> None:
        if self._loads.get(tenant_id) is load:
            del self._loads[tenant_id]
        if not load.cancelled():
            load.exception()  # its waiters may all have gone

    async def _refresh(self, tenant_id: UUID) -> TenantView:
        epoch, in_force = self._epoch, self._holder.in_force
        entry = self._entries.get(tenant_id)
        known = entry.facts if entry is not None else None
        try:
            async with asyncio.timeout(_LOAD_TIMEOUT_S), self._db.tenant(tenant_id) as tx:
                facts = await read_facts(tx, now_ms=self._clock.now_ms(), known=known)
        except TimeoutError as error:
            raise Unavailable("The database is too slow", reason="DATABASE_TIMEOUT") from error
        if facts is not known:
            self.loads += 1
        if entry is not None and facts is known and entry.in_force is in_force:
            view = entry.view
        elif facts.size >= _LARGE:
            view = await asyncio.to_thread(TenantView, facts, in_force.policy, in_force.sequence)
        else:
            view = TenantView(facts, in_force.policy, in_force.sequence)
        # A change heard meanwhile took this load off the list: its result may be old already.
        if self._loads.get(tenant_id) is asyncio.current_task():
            current = self._trusted and epoch == self._epoch
            self._keep(tenant_id, _Entry(view, in_force, epoch if current else _UNVERIFIED))
        return view

    def _keep(self, tenant_id: UUID, entry: _Entry) -> None:
        self._drop(tenant_id)
        self._entries[tenant_id] = entry
        self._rows += entry.facts.size
        while len(self._entries) > 1 and (
            len(self._entries) > self._max_tenants or self._rows > self._max_rows
        ):
            self._drop(next(iter(self._entries)))

    def _drop(self, tenant_id: UUID) -> None:
        entry = self._entries.pop(tenant_id, None)
        if entry is not None:
            self._rows -= entry.facts.size

    def _doubt(self, tenant_id: UUID) -> None:
        entry = self._entries.get(tenant_id)
        if entry is not None:
            entry.epoch = _UNVERIFIED

    def _heard(self, payload: str) -> None:
        tenant, _, revision = payload.partition(":")
        try:
            self.invalidate(UUID(tenant), int(revision))
        except ValueError:
            # Any login may NOTIFY; what can't be read might mean every tenant.
            self._doubt_all()

    def _tenant_heard(self, payload: str) -> None:
        try:
            tenant_id = UUID(payload)
        except ValueError:
            self._doubt_all()
            return
        self._loads.pop(tenant_id, None)
        self._doubt(tenant_id)
        self._tell(tenant_id)

    def _lost(self) -> None:
        self._trusted = False
        self._doubt_all()

    def _restored(self) -> None:
        self._trusted = True
        self._doubt_all()

    def _doubt_all(self) -> None:
        self._epoch += 1
        self._loads.clear()
        self._tell(None)

    def _tell(self, tenant_id: UUID | None) -> None:
        for subscriber in self._subscribers:
            subscriber(tenant_id)
