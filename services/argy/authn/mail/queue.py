"""Mail that waits in Redis: shared by every replica, sealed, in a lane of its own for each tenant.

    t:{tenant}:mail:due      mail id → when it may be taken next, in milliseconds by Redis' clock
    t:{tenant}:mail:sealed   mail id → the mail, under the envelope
    t:{tenant}:mail:tries    mail id → how often it was taken
    t:{platform}:mail:all    tenant and mail id → until when it can wait: bounds the mail of all
    t:{platform}:mail:lanes  tenant → when its lane last got a mail: where to look

Whoever takes a mail moves its time into the future by a lease. It is removed when it went out, so a
mail whose taker died is taken again by anybody when the lease ends: once in the ordinary case, at
least once after a crash. A stream with a consumer group would do that too, but knows no time at
which an entry is due again, which a growing pause between attempts needs.

Each step is one script on keys of one tenant, so it works on a cluster. A mail has its place in
``all`` and ``lanes`` before it lies in its lane; what a crash leaves there ends
by itself.
"""

import asyncio
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import msgspec
import redis.exceptions

from argy.authn.mail.message import Mail
from argy.base.envelope import Kms, open_sealed, seal
from argy.base.errors import FailedPrecondition, ResourceExhausted, Unavailable
from argy.base.ids import PLATFORM_TENANT_ID
from argy.store.redis import REDIS_ERRORS, RedisStore

TABLE: Final = "authn.mail"
"""What sealed mails are bound to, beside their tenant and id."""
MAX_IN_ALL: Final = 20_000
MAX_OF_TENANT: Final = 1_000
_KEPT_FREE: Final = 10
"""One part in so many is for notices alone: who floods a tenant with links can't drown them."""
_LANE_LIVES_MS: Final = 8 * 86_400_000
_IDLE_MS: Final = 60_000
"""How long an empty lane is still looked at: longer than a mail's way from ``lanes`` to it."""
_SPARE_MS: Final = 600_000
"""How long a place in ``all`` outlives its mail, which is taken and recorded meanwhile."""

_NOW: Final = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
"""
# KEYS: all, lanes. ARGV: how many fit, how long it can wait, entry, tenant, 1 to add.
_RESERVE: Final = (
    _NOW
    + """
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
if redis.call('ZSCORE', KEYS[1], ARGV[3]) then return 1 end
if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[1]) then return 0 end
if ARGV[5] == '1' then
  redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[3])
  redis.call('ZADD', KEYS[2], now, ARGV[4])
end
return 1
"""
)
# KEYS: due, sealed, tries. ARGV: how many fit, mail id, sealed mail, time to live, 1 to add.
_PUT: Final = (
    _NOW
    + """
if redis.call('ZSCORE', KEYS[1], ARGV[2]) then return 1 end
if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[1]) then return 0 end
if ARGV[5] == '1' then
  redis.call('ZADD', KEYS[1], now, ARGV[2])
  redis.call('HSET', KEYS[2], ARGV[2], ARGV[3])
  redis.call('HSET', KEYS[3], ARGV[2], 0)
  for _, key in ipairs(KEYS) do redis.call('PEXPIRE', key, ARGV[4]) end
end
return 1
"""
)
# KEYS as above. ARGV: lease. Returns id, sealed, tries; or until the next is due; or nothing.
_TAKE: Final = (
    _NOW
    + """
local first = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
if #first == 0 then return {} end
local wait = tonumber(first[2]) - now
if wait > 0 then return {wait} end
redis.call('ZADD', KEYS[1], now + ARGV[1], first[1])
local tries = redis.call('HINCRBY', KEYS[3], first[1], 1)
return {first[1], redis.call('HGET', KEYS[2], first[1]) or '', tries}
"""
)
# KEYS as above. ARGV: mail id, tries. Only for who took it last.
_REMOVE: Final = """
if redis.call('HGET', KEYS[3], ARGV[1]) ~= ARGV[2] then return 0 end
redis.call('HDEL', KEYS[2], ARGV[1])
redis.call('HDEL', KEYS[3], ARGV[1])
return redis.call('ZREM', KEYS[1], ARGV[1])
"""
# KEYS as above. ARGV: mail id, tries, pause, tries to take off. Only for who took it last.
_PUT_BACK: Final = (
    _NOW
    + """
if redis.call('HGET', KEYS[3], ARGV[1]) ~= ARGV[2] then return 0 end
redis.call('HINCRBY', KEYS[3], ARGV[1], -ARGV[4])
redis.call('ZADD', KEYS[1], 'XX', now + ARGV[3], ARGV[1])
return 1
"""
)
# KEYS: lanes. ARGV: tenant, the time that it had, how long an empty lane stays.
_LEAVE: Final = (
    _NOW
    + """
local last = tonumber(redis.call('ZSCORE', KEYS[1], ARGV[1]) or '-1')
if last ~= tonumber(ARGV[2]) or now - last < tonumber(ARGV[3]) then return 0 end
return redis.call('ZREM', KEYS[1], ARGV[1])
"""
)


@dataclass(frozen=True, slots=True)
class Lane:
    """A tenant that has mail, or had a moment ago."""

    tenant_id: UUID
    last_put_ms: int


@dataclass(frozen=True, slots=True)
class Taken:
    """One mail that nobody else gets before the lease ends."""

    tenant_id: UUID
    mail_id: str
    sealed: bytes
    tries: int
    """How often it was taken, this time included: also what proves that it is still ours."""


class Waiting(msgspec.Struct, frozen=True):
    """What is sealed: a mail, and when it is good for nothing any more."""

    mail: Mail
    ends_at_ms: int


_ENCODER: Final = msgspec.json.Encoder()
_DECODER: Final = msgspec.json.Decoder(Waiting)


class MailQueue:
    """Keeps mail. Methods that ask Redis raise Unavailable (``MAIL_AWAY``) when it is away."""

    __slots__ = ("_kek", "_max_in_all", "_max_of_tenant", "_name", "_redis")

    def __init__(
        self,
        redis: RedisStore,
        kek: Kms,
        *,
        name: str = "mail",
        max_in_all: int = MAX_IN_ALL,
        max_of_tenant: int = MAX_OF_TENANT,
    ) -> None:
        self._redis = redis
        self._kek = kek
        self._name = name
        self._max_in_all = max_in_all
        self._max_of_tenant = max_of_tenant

    async def put(
        self, tenant_id: UUID, mail: Mail, *, now_ms: int, ends_at_ms: int, rehearse: bool = False
    ) -> None:
        """Keep a mail until it was sent; ``rehearse`` does the same work and keeps nothing.

        Raises:
            ResourceExhausted: ``MAIL_FULL``, of the tenant or in all.
        """
        sealed = await asyncio.to_thread(self._seal, tenant_id, Waiting(mail, ends_at_ms), mail.id)
        add, wait_ms = 0 if rehearse else 1, max(0, ends_at_ms - now_ms) + _SPARE_MS
        entry = _entry(tenant_id, str(mail.id))
        room = self._room(mail, self._max_in_all)
        taken = await self._run(_RESERVE, self._shared(), room, wait_ms, entry, str(tenant_id), add)
        if taken:
            room = self._room(mail, self._max_of_tenant)
            values = (room, str(mail.id), sealed, _LANE_LIVES_MS, add)
            taken = await self._run(_PUT, self._own(tenant_id), *values)
            if not taken:
                await self._forget(entry)
        if not taken:
            raise ResourceExhausted("Too much mail waits", reason="MAIL_FULL")

    async def lanes(self) -> list[Lane]:
        """Where mail may lie."""
        found = await self._ask("zrange", self._shared()[1], 0, -1, withscores=True)
        return [Lane(UUID(tenant.decode()), int(last)) for tenant, last in found]

    async def take(self, lane: Lane, *, lease_s: float) -> Taken | float | None:
        """A mail that is due, for ``lease_s``; else seconds until one is; None for no mail."""
        found = await self._run(_TAKE, self._own(lane.tenant_id), round(lease_s * 1_000))
        match found:
            case []:
                values = (str(lane.tenant_id), lane.last_put_ms, _IDLE_MS)
                await self._run(_LEAVE, self._shared()[1:], *values)
                return None
            case [wait_ms]:
                return int(wait_ms) / 1_000
            case _:
                mail_id, sealed, tries = found
                return Taken(lane.tenant_id, mail_id.decode(), bytes(sealed), int(tries))

    async def open(self, taken: Taken) -> Waiting:
        """What a taken mail says.

        Raises:
            FailedPrecondition: ``SEALED_VALUE_REFUSED`` for what was changed, moved or is no mail;
                ``KEK_UNKNOWN`` for a key that this process does not hold.
        """
        plain = await asyncio.to_thread(
            open_sealed,
            taken.sealed,
            kek=self._kek,
            tenant_id=taken.tenant_id,
            table=TABLE,
            row=taken.mail_id,
        )
        try:
            return _DECODER.decode(plain)
        except msgspec.MsgspecError as error:
            raise FailedPrecondition(
                "The sealed value is no mail", reason="SEALED_VALUE_REFUSED"
            ) from error

    async def remove(self, taken: Taken) -> bool:
        """Forget a mail that is done with; False when the lease ended and somebody else has it."""
        values = (taken.mail_id, taken.tries)
        removed = await self._run(_REMOVE, self._own(taken.tenant_id), *values)
        if removed:
            await self._forget(_entry(taken.tenant_id, taken.mail_id))
        return bool(removed)

    async def put_back(self, taken: Taken, *, pause_s: float, counted: bool = True) -> bool:
        """Let anybody take it again after a pause; False when somebody else has it already."""
        values = (taken.mail_id, taken.tries, round(pause_s * 1_000), 0 if counted else 1)
        return bool(await self._run(_PUT_BACK, self._own(taken.tenant_id), *values))

    async def size(self) -> int:
        """How many mails wait or are under way."""
        return int(await self._ask("zcard", self._shared()[0]))

    def _seal(self, tenant_id: UUID, waiting: Waiting, mail_id: UUID) -> bytes:
        plain, row = _ENCODER.encode(waiting), str(mail_id)
        return seal(plain, kek=self._kek, tenant_id=tenant_id, table=TABLE, row=row)

    def _room(self, mail: Mail, places: int) -> int:
        return places if mail.kind == "notice" else places - places // _KEPT_FREE

    def _own(self, tenant_id: UUID) -> tuple[str, ...]:
        parts = ("due", "sealed", "tries")
        return tuple(self._redis.key(tenant_id, self._name, part) for part in parts)

    def _shared(self) -> tuple[str, ...]:
        parts = ("all", "lanes")
        return tuple(self._redis.key(PLATFORM_TENANT_ID, self._name, part) for part in parts)

    async def _forget(self, entry: str) -> None:
        await self._ask("zrem", self._shared()[0], entry)

    async def _run(self, script: str, keys: tuple[str, ...], *args: object) -> Any:
        return await self._ask("eval", script, len(keys), *keys, *args)

    async def _ask(self, name: str, *args: object, **options: object) -> Any:
        command = getattr(self._redis.client, name)
        try:
            try:
                return await command(*args, **options)
            except redis.exceptions.ConnectionError:
                # Redis was restarted, or something in between ends idle connections. Each step may
                # be done twice: at worst a mail waits until its lease ends.
                return await command(*args, **options)
        except REDIS_ERRORS as error:
            raise _away() from error


def _entry(tenant_id: UUID, mail_id: str) -> str:
    return f"{tenant_id}/{mail_id}"


def _away() -> Unavailable:
    return Unavailable("Mail can't be kept at the moment", reason="MAIL_AWAY")
