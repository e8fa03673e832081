"""Turns at something of which there are few: whose tenant has fewest goes first."""

import asyncio
from collections import Counter, deque
from typing import Final
from uuid import UUID

from argy.base.errors import ResourceExhausted

MAX_WAITING: Final = 1_000
"""Of one tenant; more are refused."""


class Turns:
    """So many at once. Who waits goes by how many their tenant has, then by who came first."""

    __slots__ = ("_free", "_has", "_waiting")

    def __init__(self, most: int) -> None:
        self._free = most
        self._has: Counter[UUID] = Counter()
        self._waiting: dict[UUID, deque[asyncio.Future[None]]] = {}

    async def take(self, tenant_id: UUID) -> None:
        """Wait for a turn; ``give`` it back.

        Raises:
            ResourceExhausted: ``TENANT_BUSY``, when ``MAX_WAITING`` of this tenant wait already.
        """
        if self._free and not self._waiting:
            self._free -= 1
            self._has[tenant_id] += 1
            return
        waiting = self._waiting.setdefault(tenant_id, deque())
        if len(waiting) >= MAX_WAITING:
            raise ResourceExhausted(
                "Too many calls of this tenant wait: try again",
                reason="TENANT_BUSY",
                retry_after_ms=1_000,
            )
        turn = asyncio.get_running_loop().create_future()
        waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.give(tenant_id)
            else:
                self._forget(tenant_id, turn)
            raise

    def give(self, tenant_id: UUID) -> None:
        """Let the next one have the turn."""
        self._has[tenant_id] -= 1
        if self._has[tenant_id] <= 0:
            del self._has[tenant_id]
        self._free += 1
        while self._free and self._waiting:
            # The dict keeps the order in which tenants began to wait.
            whose = min(self._waiting, key=self._has.__getitem__)
            turn = self._waiting[whose].popleft()
            if self._waiting[whose]:
                # Behind those who have as many.
                self._waiting[whose] = self._waiting.pop(whose)
            else:
                del self._waiting[whose]
            self._free -= 1
            self._has[whose] += 1
            turn.set_result(None)

    def _forget(self, tenant_id: UUID, turn: "asyncio.Future[None]") -> None:
        waiting = self._waiting.get(tenant_id)
        if waiting is not None and turn in waiting:
            waiting.remove(turn)
            if not waiting:
                del self._waiting[tenant_id]
