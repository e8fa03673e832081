"""How often sign-in may be tried, links and codes asked for: GCRA, in Redis for every replica.

The generic cell rate algorithm keeps one number, the theoretical arrival time of the next request
that comes at exactly the allowed rate; a request is refused when it is earlier than that by more
than the burst. Without Redis nothing is allowed: a limit that nobody counts is none.
"""

import hashlib
import ipaddress
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from argy.base.clock import Clock
from argy.base.errors import ResourceExhausted, Unavailable
from argy.store.redis import REDIS_ERRORS, RedisStore

_PREFIX6: Final = 64
"""Who has one address of IPv6 has its whole network."""


@dataclass(frozen=True, slots=True)
class Rate:
    """One request every ``every_ms`` in the long run, ``burst`` at once."""

    name: str
    every_ms: int
    burst: int


ENTRY_BY_PERSON: Final = Rate("device_entry_person", every_ms=30_000, burst=10)
"""Code entries of a person: 20^8 codes, ten minutes each, leave no hope of a guess."""
ENTRY_BY_ADDRESS: Final = Rate("device_entry_address", every_ms=6_000, burst=30)
"""Code entries from an address, whoever they are."""
BEGIN_BY_ADDRESS: Final = Rate("device_begin_address", every_ms=3_000, burst=20)
"""Devices that begin from an address."""
BEGIN_BY_TENANT: Final = Rate("device_begin_tenant", every_ms=100, burst=300)
"""Devices that begin in a tenant."""
NAMELESS_BY_TENANT: Final = Rate("nameless_tenant", every_ms=50, burst=1_000)
"""Refused tries that name nobody: each leaves a record, and strangers could fill a tenant's log
from ever new addresses. Tries that succeed, or are about somebody, are not counted."""
_NOWHERE: Final = "-"
"""What all are counted as whose address is not known."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """What the algorithm makes of one request."""

    next_ms: int
    """The theoretical arrival time to keep."""
    wait_ms: int
    """Milliseconds to wait before trying again; 0 when the request is allowed."""


def arrive(rate: Rate, *, now_ms: int, stored_ms: int) -> Arrival:
    """One step of the algorithm; ``stored_ms`` is 0 for a first request.

    The script below is this function inside of Redis, where it is atomic.
    """
    start = max(now_ms, stored_ms)
    following = start + rate.every_ms
    early = following - now_ms - rate.every_ms * rate.burst
    return Arrival(stored_ms, early) if early > 0 else Arrival(following, 0)


# KEYS: the limit's. ARGV: now, milliseconds a request, burst. Returns how long to wait, or 0.
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


def network(ip: str) -> str:
    """What an address is counted as: itself, or for IPv6 its /64; all together without one."""
    if not ip:
        return _NOWHERE
    try:
        address = ipaddress.ip_address(ip)
    except ValueError:
        return ip
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, _PREFIX6), strict=False))
    return str(address)
