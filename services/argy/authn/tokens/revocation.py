"""The deny list of access tokens: in Redis, and a copy in every process that is half a second old.

``t:{tenant}:revoked`` is a sorted set of entries by the millisecond at which they may go;
``t:{tenant}:revoked-state`` holds the list's epoch and a counter of its changes, so that a copy is
read anew only when it must be; ``t:{tenant}:revoked-by:{user}`` the entries that one person made by
ending tokens one by one. They go an hour after the last token was issued or ended. When Redis
loses them, the next list has another epoch, and tokens of the old one are refused.

A Redis that was restarted, restored from a snapshot or promoted may have lost just the last
changes, and nobody can tell. So a list belongs to the run of the server that began it (its
``run_id``): under another run it counts as lost.
"""

import asyncio
import secrets
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from argy.base.clock import Clock
from argy.base.errors import Unavailable
from argy.rpc.claims import MAX_LIFETIME_S
from argy.rpc.revoked import Revoked, user_entry
from argy.store.redis import REDIS_ERRORS, RedisStore

MAX_AGE_S: Final = 0.5
"""A copy that is older is not believed."""
_REFRESH_S: Final = 0.2
"""From this age on a copy that is used is read anew meanwhile."""
_KEEP_S: Final = 3600
_TIMEOUT_S: Final = 1.0
_MARGIN_MS: Final = 30_000
"""Entries outlast what they end: by more than the clocks of any three servers differ."""
_MOST: Final = 1_000
"""Entries of one script."""
MOST_OF_ONE: Final = 16
"""Entries of tokens that one person ended one by one; more of them end all that the person has."""
_MAX_TENANTS: Final = 20_000

_RUN: Final = "local run = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')\n"
# KEYS: state. Returns the run, epoch and changes; nothing of a list of another run.
_STATE: Final = (
    _RUN
    + """
local state = redis.call('HMGET', KEYS[1], 'run', 'epoch', 'changes')
if state[1] ~= run then return {run, '', ''} end
return {run, state[2] or '', state[3] or ''}
"""
)
# KEYS: state, list. ARGV: an epoch if a list must begin, the keys' time to live.
_BEGIN: Final = (
    _RUN
    + """
if redis.call('HGET', KEYS[1], 'run') ~= run then
  redis.call('HSET', KEYS[1], 'run', run, 'epoch', ARGV[1])
end
redis.call('EXPIRE', KEYS[1], ARGV[2])
"""
)
_EPOCH: Final = _BEGIN + "return redis.call('HGET', KEYS[1], 'epoch')"
# KEYS and ARGV as above; then up to when entries may go, when these go, and these.
_DENY: Final = (
    _BEGIN
    + """
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', ARGV[3])
for at = 5, #ARGV do redis.call('ZADD', KEYS[2], ARGV[4], ARGV[at]) end
redis.call('EXPIRE', KEYS[2], ARGV[2])
return redis.call('HINCRBY', KEYS[1], 'changes', 1)
"""
)
# KEYS: as above, and what one person ended. ARGV: as above up to when entries may go; then the
# entry, that of the person as a whole, and how many of theirs there may be.
_DENY_OF: Final = (
    _BEGIN
    + """
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', ARGV[3])
redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', ARGV[3])
redis.call('ZADD', KEYS[3], ARGV[4], ARGV[5])
if redis.call('ZCARD', KEYS[3]) > tonumber(ARGV[7]) then
  for _, entry in ipairs(redis.call('ZRANGE', KEYS[3], 0, -1)) do
    redis.call('ZREM', KEYS[2], entry)
  end
  redis.call('DEL', KEYS[3])
  redis.call('ZADD', KEYS[2], 'GT', ARGV[4], ARGV[6])
else
  redis.call('ZADD', KEYS[2], ARGV[4], ARGV[5])
  redis.call('EXPIRE', KEYS[3], ARGV[2])
end
redis.call('EXPIRE', KEYS[2], ARGV[2])
return redis.call('HINCRBY', KEYS[1], 'changes', 1)
"""
)


def _away(error: BaseException) -> Unavailable:
    away = Unavailable(
        "Whether a token was ended can't be told at the moment",
        reason="REVOCATIONS_AWAY",
        retry_after_ms=250,
    )
    away.__cause__ = error
    return away


class RevocationList:
    """Adds to tenants' lists."""

    __slots__ = ("_clock", "_redis")

    def __init__(self, redis: RedisStore, clock: Clock) -> None:
        self._redis = redis
        self._clock = clock

    async def epoch(self, tenant_id: UUID) -> str:
        """The name of the list that a token issued now stands on; made when there is none.

        Raises:
            Unavailable: ``REVOCATIONS_AWAY``: no token may be issued that could not be ended.
        """
        return _text(await self._run(_EPOCH, tenant_id))

    async def deny(self, tenant_id: UUID, entries: Iterable[str]) -> None:
        """End tokens (``argy.rpc.revoked`` names entries); every process heeds it in half a second.

        Raises:
            Unavailable: ``REVOCATIONS_AWAY``: perhaps nothing was ended.
        """
        now_ms = self._clock.now_ms()
        # As long as a token that was issued this moment lasts; `user_entry` counts back from it.
        ends_ms = now_ms + MAX_LIFETIME_S * 1000
        listed = list(dict.fromkeys(entries))
        for start in range(0, len(listed), _MOST):
            part = listed[start : start + _MOST]
            await self._run(_DENY, tenant_id, now_ms - _MARGIN_MS, ends_ms, *part)

    async def deny_of(self, tenant_id: UUID, subject: str, entry: str) -> None:
        """End a token, or a family that is traded no more, of ``subject`` (``user:<id>``).

        Who ends more than ``MOST_OF_ONE`` while their entries last ends whatever access token they
        have: the list, which every server reads, is not one person's to fill. Sessions and refresh
        tokens stay. Raises as ``deny``.
        """
        now_ms = self._clock.now_ms()
        await self._run(
            _DENY_OF,
            tenant_id,
            now_ms - _MARGIN_MS,
            now_ms + MAX_LIFETIME_S * 1000,
            entry,
            user_entry(subject),
            MOST_OF_ONE,
            of=subject.removeprefix("user:"),
        )

    async def _run(self, script: str, tenant_id: UUID, *arguments: object, of: str = "") -> Any:
        keys = [self._redis.key(tenant_id, name) for name in ("revoked-state", "revoked")]
        if of:
            keys.append(self._redis.key(tenant_id, "revoked-by", of))
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                return await self._redis.client.eval(
                    script, len(keys), *keys, secrets.token_hex(8), _KEEP_S, *arguments
                )
        except REDIS_ERRORS as error:
            raise _away(error) from error


@dataclass(slots=True)
class _Copy:
    revoked: Revoked
    changes: str
    read_at_s: float
    """By the loop's clock, when the reading began."""


class RevocationMirror:
    """A process's copies, one a tenant; implements ``argy.rpc.token_sources.Revocations``."""

    def __init__(self, redis: RedisStore, *, max_tenants: int = _MAX_TENANTS) -> None:
        self._redis = redis
        self._max_tenants = max_tenants
        self._copies: OrderedDict[UUID, _Copy] = OrderedDict()
        self._reads: dict[UUID, asyncio.Task[Revoked]] = {}

    def peek(self, tenant_id: UUID) -> Revoked | None:
        """See ``Revocations``; a copy that grows old is read anew in the background."""
        copy = self._copies.get(tenant_id)
        if copy is None:
            return None
        age_s = asyncio.get_running_loop().time() - copy.read_at_s
        if age_s > MAX_AGE_S:
            return None
        if age_s > _REFRESH_S:
            self._reading(tenant_id)
        return copy.revoked

    async def get(self, tenant_id: UUID) -> Revoked:
        """See ``Revocations``."""
        known = self.peek(tenant_id)
        if known is not None:
            return known
        try:
            return await asyncio.shield(self._reading(tenant_id))
        except asyncio.CancelledError as error:
            reading = self._reads.get(tenant_id)
            if reading is not None and reading.cancelled():
                raise _away(error) from None
            raise

    async def renewed(self, tenant_id: UUID) -> Revoked:
        """See ``Revocations``."""
        return await self._read(tenant_id)

    async def close(self) -> None:
        """End the reads under way."""
        reads = list(self._reads.values())
        for read in reads:
            read.cancel()
        await asyncio.gather(*reads, return_exceptions=True)

    def _reading(self, tenant_id: UUID) -> "asyncio.Task[Revoked]":
        reading = self._reads.get(tenant_id)
        if reading is None:
            reading = asyncio.create_task(self._read(tenant_id), name="revocations")
            self._reads[tenant_id] = reading
            reading.add_done_callback(lambda done: self._finished(tenant_id, done))
        return reading

    def _finished(self, tenant_id: UUID, done: "asyncio.Task[Revoked]") -> None:
        self._reads.pop(tenant_id, None)
        if not done.cancelled():
            done.exception()  # who waits hears of it; a refresh in the background has nobody

    async def _read(self, tenant_id: UUID) -> Revoked:
        began_s = asyncio.get_running_loop().time()
        client = self._redis.client
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                state = self._redis.key(tenant_id, "revoked-state")
                run, epoch, changes = map(_text, await client.eval_ro(_STATE, 1, state))
                copy = self._copies.get(tenant_id)
                same = copy is not None and copy.revoked.name == (run, epoch)
                if copy is not None and same and copy.changes == changes:
                    revoked = copy.revoked
                else:
                    # The counter was read first: a list that is newer than it is read once more.
                    rows = await client.zrange(
                        self._redis.key(tenant_id, "revoked"), 0, -1, withscores=True
                    )
                    ends_ms = {_text(name): int(end) for name, end in rows}
                    revoked = Revoked(epoch, ends_ms, run)
        except REDIS_ERRORS as error:
            raise _away(error) from error
        self._keep(tenant_id, _Copy(revoked, changes, began_s))
        return revoked

    def _keep(self, tenant_id: UUID, copy: _Copy) -> None:
        self._copies[tenant_id] = copy
        self._copies.move_to_end(tenant_id)
        if len(self._copies) > self._max_tenants:
            self._copies.popitem(last=False)


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value or "")
