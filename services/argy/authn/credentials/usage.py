"""When credentials were last used, to the minute: gathered, and written a few times a minute."""

import asyncio
import logging
from typing import Final
from uuid import UUID

from argy.authn.credentials import store
from argy.authn.credentials.domain import MINUTE_MS
from argy.base.errors import ArgyError
from argy.store.database import Database

_EVERY_S: Final = 15.0
_MAX: Final = 10_000
"""Credentials remembered at most; of those beyond, a later use is told of."""
_LOG: Final = logging.getLogger("argy.credentials")


class LastUsed:
    """Notes uses in memory. What is lost with a process is some seconds of telling, no right."""

    __slots__ = ("_count", "_db", "_pending", "_task", "_written")

    def __init__(self, db: Database) -> None:
        self._db = db
        self._pending: dict[UUID, dict[UUID, int]] = {}
        self._written: dict[UUID, int] = {}
        self._count = 0
        self._task: asyncio.Task[None] | None = None

    def note(self, tenant_id: UUID, credential_id: UUID, now_ms: int) -> None:
        """A credential was used; at once, without I/O."""
        minute_ms = now_ms - now_ms % MINUTE_MS
        if self._written.get(credential_id) == minute_ms:
            return
        uses = self._pending.setdefault(tenant_id, {})
        if credential_id not in uses:
            if self._count >= _MAX:
                return
            self._count += 1
        uses[credential_id] = minute_ms

    async def start(self) -> None:
        """Begin to write."""
        self._task = asyncio.create_task(self._run(), name="credentials:last_used")

    async def close(self) -> None:
        """Stop, and write the rest."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        await self.flush()

    async def flush(self) -> None:
        """Write what was noted, a transaction a tenant; what can't be written is dropped."""
        pending, self._pending, self._count = self._pending, {}, 0
        self._written = {key: ms for uses in pending.values() for key, ms in uses.items()}
        for tenant_id, uses in pending.items():
            try:
                async with self._db.tenant(tenant_id) as tx:
                    await store.note_used(tx, uses)
            except ArgyError as error:
                _LOG.warning("last uses were not written: %s", error.message)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(_EVERY_S)
            await self.flush()
