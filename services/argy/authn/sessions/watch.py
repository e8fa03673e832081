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

from argy.authn.end_watch import EndWatch
from argy.authn.sessions.use_cases import Sessions
from argy.authn.tokens import store as token_store
from argy.authn.tokens.store import PersonEnd
from argy.base.errors import ArgyError
from argy.base.ids import PLATFORM_TENANT_ID
from argy.store.database import Database
from argy.store.listener import Listener

CHANNEL: Final = "user_gone"
_LOG: Final = logging.getLogger("argy.authn.sessions")


class SessionWatch:
    """Follows the directory."""

    def __init__(self, db: Database, sessions: Sessions) -> None:
        self._db = db
        self._sessions = sessions
        self._listener: Listener | None = None
        self._watch = EndWatch(self._end_all, name="end-sessions")

    async def start(self) -> None:
        """Begin to listen, and to end what was announced to nobody."""
        self._listener = await self._db.listen(
            {CHANNEL: lambda _: self._watch.wake()},
            on_lost=lambda: _LOG.info("not hearing of disabled people at the moment"),
            on_restored=self._watch.wake,
        )
        self._watch.start()

    async def close(self) -> None:
        """Stop; what is being ended is ended first."""
        if self._listener is not None:
            await self._listener.close()
            self._listener = None
        await self._watch.close()

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
