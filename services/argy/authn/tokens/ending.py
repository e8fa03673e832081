"""Ends tokens: the refresh tokens in Postgres first, then what they and their sessions gave access.

In this order a failure between the two leaves nothing that could be traded for a new token, and
ending again does the rest.
"""

from collections.abc import Iterable
from typing import Final
from uuid import UUID

from argy.authn.tokens import store as token_store
from argy.authn.tokens.revocation import RevocationList
from argy.base.clock import Clock
from argy.store.database import Database, Tx
from argy.store.redis import RedisStore

_SUBJECT: Final = "user:"


class TokenEndings(RevocationList):
    """A deny list that ends refresh tokens too.

    ``db`` has connections of its own: whoever ends a session holds a transaction already, and must
    not wait for another connection of the same pool.
    """

    __slots__ = ("_db",)

    def __init__(self, redis: RedisStore, clock: Clock, db: Database) -> None:
        super().__init__(redis, clock)
        self._db = db

    async def deny(self, tenant_id: UUID, entries: Iterable[str]) -> None:
        """See ``RevocationList``."""
        listed = list(entries)
        if not listed:
            return
        now_ms = self._clock.now_ms()
        async with self._db.tenant(tenant_id) as tx:
            for entry in listed:
                await _end(tx, entry, now_ms)
        await super().deny(tenant_id, listed)


async def _end(tx: Tx, entry: str, now_ms: int) -> None:
    kind, _, name = entry.partition(":")
    if kind == "s":
        await token_store.revoke_session(tx, UUID(name), now_ms)
    elif kind == "f":
        await token_store.revoke_family(tx, UUID(name), now_ms)
    elif kind == "u":
        await token_store.revoke_user(tx, UUID(name.removeprefix(_SUBJECT)), now_ms)
