"""How often sign-in may be tried, links and codes asked for: counted in Redis for every replica.

Without Redis nothing is allowed: a limit that nobody counts is none.
"""

import hashlib
from typing import Final
from uuid import UUID

from argy.authn.rates import Rate
from argy.base.clock import Clock
from argy.base.errors import ResourceExhausted, Unavailable
from argy.store.redis import REDIS_ERRORS, RedisStore

# ``rates.arrive`` in Lua. KEYS: the limit's. ARGV: now, milliseconds a request, burst. Returns how
# long to wait, or 0.
_SCRIPT: Final = """
local now, every = tonumber(ARGV[1]), tonumber(ARGV[2])
local following = math.max(now, tonumber(redis.call('GET', KEYS[1]) or '0')) + every
local early = following - now - every * tonumber(ARGV[3])
if early > 0 then return early end
redis.call('SET', KEYS[1], string.format('%d', following), 'PX', following - now)
return 0
"""


class RateLimits:
    """Counts requests of a tenant's people and addresses."""

    __slots__ = ("_clock", "_redis")

    def __init__(self, redis: RedisStore, clock: Clock) -> None:
        self._redis = redis
        self._clock = clock

    async def count(self, tenant_id: UUID, rate: Rate, who: str) -> None:
        """Count one request of ``who``; nobody named is not counted.

        Raises:
            ResourceExhausted: ``RATE_LIMITED``, with how long to wait.
            Unavailable: ``LIMITS_AWAY`` when Redis is away.
        """
        if not who:
            return
        name = self._redis.key(
            tenant_id, "rate", rate.name, hashlib.sha256(who.encode()).hexdigest()
        )
        arguments = (self._clock.now_ms(), rate.every_ms, rate.burst)
        try:
            wait_ms = int(await self._redis.client.eval(_SCRIPT, 1, name, *arguments))
        except REDIS_ERRORS as error:
            raise Unavailable("Limits can't be counted now", reason="LIMITS_AWAY") from error
        if wait_ms > 0:
            raise ResourceExhausted(
                "Too many tries: wait a little", reason="RATE_LIMITED", retry_after_ms=wait_ms
            )
