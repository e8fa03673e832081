"""Tells every server of service keys that ended, also when whoever ended them could not.

A service key ends with a commit; servers learn of it from the deny list in Redis, which is written
after it. The commit leaves a row of ``authn.key_end`` (a trigger, whoever changed the key), which
is there until the list says so: a Redis that was away, or a server that died in between, delays
that by seconds, and no more. Every replica looks; saying it twice changes nothing.
"""

import logging
from datetime import datetime
from typing import Final

from argy.authn.credentials import store
from argy.authn.credentials.store import KeyEnd
from argy.authn.end_watch import EndWatch
from argy.authn.service_keys.use_cases import ServiceKeys
from argy.base.errors import ArgyError
from argy.base.ids import PLATFORM_TENANT_ID
from argy.store.database import Database

_LOG: Final = logging.getLogger("argy.authn.service_keys")


class KeyEndWatch:
    """Follows the ends of service keys."""

    def __init__(self, db: Database, service_keys: ServiceKeys) -> None:
        self._db = db
        self._service_keys = service_keys
        self._watch = EndWatch(self._tell_all, name="end-service-keys")

    def start(self) -> None:
        """Begin with what was left from before."""
        self._watch.start()

    async def close(self) -> None:
        """Stop; what is being told is told first."""
        await self._watch.close()

    async def _tell_all(self) -> bool:
        """Tell whatever is left; whether all of it is told."""
        after: datetime | None = None
        well = True
        try:
            while True:
                async with self._db.tenant(PLATFORM_TENANT_ID) as tx:
                    ends = await store.key_ends(tx, after)
                if not ends:
                    return well
                for end in ends:
                    well = await self._tell(end) and well
                after = ends[-1].ended_at
        except ArgyError as error:
            _LOG.warning("which service keys ended can't be looked up: %s", error.reason)
            return False

    async def _tell(self, end: KeyEnd) -> bool:
        try:
            await self._service_keys.announce(end.tenant_id, end.key_id, end.generation)
            async with self._db.tenant(PLATFORM_TENANT_ID) as tx:
                await store.forget_key_end(tx, end)
        except ArgyError as error:
            _LOG.warning("the end of a service key is not told yet: %s", error.reason)
            return False
        except Exception:  # noqa: BLE001 - one odd key must not end the task
            _LOG.exception("the end of a service key is not told yet")
            return False
        return True
