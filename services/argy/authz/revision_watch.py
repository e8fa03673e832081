"""Who waits for a tenant's next revision: watchers share one signal and read the latest state.

Nothing is queued for anybody, so a slow watcher costs nothing and sees the newest state when it
comes back.
"""

import asyncio
from collections.abc import AsyncGenerator
from typing import Final
from uuid import UUID

from argy.authz.snapshots import Snapshots
from argy.base.errors import ResourceExhausted

_POLL_S: Final = 0.5
"""How often the database is asked while changes can't be heard."""
MAX_WATCHERS: Final = 500
"""Each is one of the calls that a process serves at a time, of which there are 1,000."""


class RevisionWatch:
    """Streams (policy revision, revision token) pairs of a tenant."""

    def __init__(self, snapshots: Snapshots, *, max_watchers: int = MAX_WATCHERS) -> None:
        self._snapshots = snapshots
        self._max_watchers = max_watchers
        self._watchers = 0
        self._signals: dict[UUID, tuple[asyncio.Event, int]] = {}
        snapshots.subscribe(self._changed)

    async def watch(
        self, tenant_id: UUID, *, tick_s: float | None = None
    ) -> AsyncGenerator[tuple[str, str], None]:
        """Yield the present state at once, then each change; changes that come fast are merged.

        With ``tick_s`` the state is yielded again after so many seconds without a change: proof
        that this server is current, since a state that it can't prove is an error.

        Raises:
            ResourceExhausted: when too many watch already.
            Unavailable: when the state can't be proved current.
        """
        if self._watchers >= self._max_watchers:
            raise ResourceExhausted(
                "Too many watchers", reason="TOO_MANY_WATCHERS", retry_after_ms=1000
            )
        self._watchers += 1
        try:
            told: tuple[str, str] | None = None
            while True:
                # Taken before the state is read, so that no change falls between.
                signal = self._enter(tenant_id)
                try:
                    view = await self._snapshots.get(tenant_id)
                    state = (view.policy.revision, view.token)
                    if state != told or tick_s is not None:
                        told = state
                        yield state
                    await self._wait(signal, tick_s)
                finally:
                    self._leave(tenant_id, signal)
        finally:
            self._watchers -= 1

    async def _wait(self, signal: asyncio.Event, tick_s: float | None) -> None:
        limit_s = tick_s if self._snapshots.trusted else min(tick_s or _POLL_S, _POLL_S)
        try:
            async with asyncio.timeout(limit_s):
                await signal.wait()
        except TimeoutError:
            return

    def _enter(self, tenant_id: UUID) -> asyncio.Event:
        signal, waiting = self._signals.get(tenant_id) or (asyncio.Event(), 0)
        self._signals[tenant_id] = (signal, waiting + 1)
        return signal

    def _leave(self, tenant_id: UUID, signal: asyncio.Event) -> None:
        current = self._signals.get(tenant_id)
        if current is None or current[0] is not signal:
            return
        if current[1] == 1:
            del self._signals[tenant_id]
        else:
            self._signals[tenant_id] = (signal, current[1] - 1)

    def _changed(self, tenant_id: UUID | None) -> None:
        for changed in list(self._signals) if tenant_id is None else [tenant_id]:
            found = self._signals.pop(changed, None)
            if found is not None:
                found[0].set()
