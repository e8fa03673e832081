"""Ends the sessions of people who are disabled or deleted, within moments of the commit.

What lies in Postgres (refresh tokens, personal access tokens, approvals of devices) ends with that
commit. Sessions and access tokens lie in Redis: the commit leaves a row of ``authn.person_end``,
which is there until they are ended, and announces it (``user_gone``). A replica that missed the
announcement, or found Redis away, finds the row when it hears again, and every few seconds.
"""

import asyncio
import logging
from datetime import datetime
from typing import Final

from argy.authn import token_store
from argy.authn.sessions import Sessions
from argy.authn.token_store import PersonEnd
from argy.base.errors import ArgyError
from argy.base.ids import PLATFORM_TENANT_ID
from argy.store.database import Database
from argy.store.listener import Listener

CHANNEL: Final = "user_gone"
_LOOK_S: Final = 5.0
"""How often is looked for what nobody announced."""
_PAUSE_S: Final = 0.2
"""How long after a failure everything left is tried again; each one that follows doubles it."""
_LOG: Final = logging.getLogger("argy.authn.sessions")


class SessionWatch:
    """Follows the directory."""

    def __init__(self, db: Database, sessions: Sessions) -> None:
        self._db = db
        self._sessions = sessions
        self._listener: Listener | None = None
        self._task: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self._closing = False

    async def start(self) -> None:
        """Begin to listen, and to end what was announced to nobody."""
        self._listener = await self._db.listen(
            {CHANNEL: lambda _: self._wake.set()},
            on_lost=lambda: _LOG.info("not hearing of disabled people at the moment"),
            on_restored=self._wake.set,
        )
        self._task = asyncio.create_task(self._follow(), name="end-sessions")

    async def close(self) -> None:
        """Stop; what is being ended is ended first."""
        if self._listener is not None:
            await self._listener.close()
            self._listener = None
        self._closing = True
        self._wake.set()
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def _follow(self) -> None:
        failures = 0
        while not self._closing:
            self._wake.clear()
            failures = 0 if await self._end_all() else failures + 1
            pause_s = _PAUSE_S * 2 ** min(failures - 1, 10) if failures else _LOOK_S
            try:
                async with asyncio.timeout(min(pause_s, _LOOK_S)):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _end_all(self) -> bool:
        """End whoever is left; whether all of them are done."""
        after: datetime | None = None
        well = True
        try:
            while True:
                async with self._db.tenant(PLATFORM_TENANT_ID) as tx:
                    ends = await token_store.person_ends(tx, after)
                if not ends:
                    return well
                done = await asyncio.gather(*map(self._end, ends))
                well, after = well and all(done), ends[-1].ended_at
        except ArgyError as error:
            _LOG.warning("who was disabled can't be looked up: %s", error.reason)
            return False

    async def _end(self, end: PersonEnd) -> bool:
        try:
            ended = await self._sessions.end_of(end.tenant_id, end.user_id)
            async with self._db.tenant(PLATFORM_TENANT_ID) as tx:
                await token_store.forget_person_end(tx, end)
        except ArgyError as error:
            _LOG.warning("sessions of a disabled person live on: %s", error.reason)
            return False
        except Exception:  # noqa: BLE001 - one odd person must not end the task
            _LOG.exception("sessions of a disabled person live on")
            return False
        _LOG.info("ended %d sessions of a disabled or deleted person", ended)
        return True
