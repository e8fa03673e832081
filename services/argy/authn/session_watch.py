"""Ends the sessions of people who are disabled or deleted, within moments of the commit.

The database announces them (``user_gone``). A replica that could not listen for a while may have
missed some: their sessions are refused all the same, for each use asks for the person's state; only
access tokens that are minutes old are then good until they end.
"""

import asyncio
import logging
from typing import Final
from uuid import UUID

from argy.authn.sessions import Sessions
from argy.base.errors import ArgyError
from argy.store.database import Database
from argy.store.listener import Listener

CHANNEL: Final = "user_gone"
_ATTEMPTS: Final = 5
_PAUSE_S: Final = 0.2
_LOG: Final = logging.getLogger("argy.authn.sessions")


class SessionWatch:
    """Follows the directory."""

    def __init__(self, db: Database, sessions: Sessions) -> None:
        self._db = db
        self._sessions = sessions
        self._listener: Listener | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Begin to listen."""
        self._listener = await self._db.listen(
            {CHANNEL: self._heard},
            on_lost=lambda: _LOG.info("not hearing of disabled people at the moment"),
            on_restored=lambda: None,
        )

    async def close(self) -> None:
        """Stop; what is being ended is ended first."""
        if self._listener is not None:
            await self._listener.close()
            self._listener = None
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _heard(self, payload: str) -> None:
        try:
            tenant_id, user_id = (UUID(part) for part in payload.split(" "))
        except ValueError:
            _LOG.error("a malformed announcement was ignored")
            return
        task = asyncio.create_task(self._end(tenant_id, user_id), name="end-sessions")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _end(self, tenant_id: UUID, user_id: UUID) -> None:
        for attempt in range(_ATTEMPTS):
            try:
                ended = await self._sessions.end_of(tenant_id, user_id)
            except ArgyError as error:
                _LOG.warning("sessions of a disabled person live on: %s", error.reason)
                await asyncio.sleep(_PAUSE_S * 2**attempt)
            else:
                _LOG.info("ended %d sessions of a disabled or deleted person", ended)
                return
