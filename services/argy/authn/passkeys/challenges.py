"""Challenges of ceremonies, in Redis: minutes long, taken once.

Under ``t:{tenant}:ceremony:<sha256 of the ceremony's id>``, so that one tenant's challenge can't be
answered in another, and what lies in Redis opens no ceremony.
"""

from typing import Final
from uuid import UUID

import msgspec

from argy.authn.passkeys.domain import CEREMONY_MS, Challenge
from argy.authn.sessions.domain import digest
from argy.base.errors import Unavailable
from argy.store.redis import REDIS_ERRORS, RedisStore

_ENCODER: Final = msgspec.json.Encoder()
_DECODER: Final = msgspec.json.Decoder(Challenge)


class Challenges:
    """Keeps what ceremonies wait for. Raises Unavailable (``CEREMONIES_AWAY``) without Redis."""

    __slots__ = ("_redis",)

    def __init__(self, redis: RedisStore) -> None:
        self._redis = redis

    async def put(self, tenant_id: UUID, ceremony_id: str, challenge: Challenge) -> None:
        """Keep a challenge for as long as its ceremony may take."""
        key = self._redis.key(tenant_id, "ceremony", digest(ceremony_id))
        try:
            await self._redis.client.set(key, _ENCODER.encode(challenge), px=CEREMONY_MS)
        except REDIS_ERRORS as error:
            raise _away() from error

    async def take(self, tenant_id: UUID, ceremony_id: str) -> Challenge | None:
        """Take a challenge, so that nobody else can; None when it is not there."""
        key = self._redis.key(tenant_id, "ceremony", digest(ceremony_id))
        try:
            found = await self._redis.client.getdel(key)
        except REDIS_ERRORS as error:
            raise _away() from error
        try:
            return None if found is None else _DECODER.decode(found)
        except msgspec.MsgspecError:
            return None


def _away() -> Unavailable:
    return Unavailable(
        "Ceremonies can't be looked up at the moment", reason="CEREMONIES_AWAY", retry_after_ms=250
    )
