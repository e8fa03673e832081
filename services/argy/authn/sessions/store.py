"""Sessions in Redis, each under the SHA-256 of its secret, with an index by user.

    t:{tenant}:session:<sha256 of the secret>   the session as JSON, with its time to live
    t:{tenant}:user_sessions:<user>             session id → sha256, for listing and ending

Each change of the two is one script, so that a session that was ended is never written again by a
call that had read it before. When Redis loses them people sign in again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import msgspec

from argy.authn.sessions.domain import MAX_SESSIONS, Limits, Session
from argy.base.errors import Unavailable
from argy.store.redis import REDIS_ERRORS, RedisStore

_ENCODER: Final = msgspec.json.Encoder()
_DECODER: Final = msgspec.json.Decoder(Session)

# KEYS: session, index. ARGV: JSON, time to live, session id, digest, index's time to live.
_PUT: Final = """
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
redis.call('HSET', KEYS[2], ARGV[3], ARGV[4])
redis.call('PEXPIRE', KEYS[2], ARGV[5])
return 1
"""
# KEYS: old session, index, new session. ARGV as above. Only for who holds the live secret.
_ROTATE: Final = """
if redis.call('DEL', KEYS[1]) == 0 then return 0 end
if redis.call('HEXISTS', KEYS[2], ARGV[3]) == 0 then return 0 end
redis.call('SET', KEYS[3], ARGV[1], 'PX', ARGV[2])
redis.call('HSET', KEYS[2], ARGV[3], ARGV[4])
return 1
"""
# KEYS: index. ARGV: the prefix of session keys (in the same slot), session id, and the digest that
# it must still have, or ''.
_END: Final = """
local digest = redis.call('HGET', KEYS[1], ARGV[2])
if not digest or (ARGV[3] ~= '' and ARGV[3] ~= digest) then return 0 end
redis.call('HDEL', KEYS[1], ARGV[2])
return redis.call('DEL', ARGV[1] .. digest)
"""


# KEYS: index. ARGV: the prefix of session keys. Returns session id, digest and JSON (nil for none).
_LIST: Final = """
local entries, found = redis.call('HGETALL', KEYS[1]), {}
for at = 1, #entries, 2 do
  local digest = entries[at + 1]
  found[#found + 1] = {entries[at], digest, redis.call('GET', ARGV[1] .. digest)}
end
return found
"""


@dataclass(frozen=True, slots=True)
class Lapsed:
    """A session that met one of its limits and was not forgotten yet."""

    session_id: UUID
    digest: str


@dataclass(frozen=True, slots=True)
class Listed:
    """A user's sessions: the live ones, newest first, and those that are over."""

    live: list[Session]
    lapsed: list[Lapsed]


class SessionStore:
    """Keeps sessions. Every method raises Unavailable (``SESSIONS_AWAY``) when Redis is away."""

    __slots__ = ("_limits", "_redis")

    def __init__(self, redis: RedisStore, limits: Limits) -> None:
        self._redis = redis
        self._limits = limits

    async def put(self, tenant_id: UUID, session: Session, digest: str, now_ms: int) -> None:
        """Keep a new session."""
        await self._run(
            _PUT,
            (self._key(tenant_id, digest), self._index(tenant_id, session.user_id)),
            *self._values(session, digest, now_ms),
            # The index lives as long as the longest session that may be in it.
            max(self._limits.absolute_s, self._limits.device_s) * 1_000,
        )

    async def find(self, tenant_id: UUID, digest: str) -> Session | None:
        """The session of a secret; None when there is none or what is there can't be read."""
        try:
            found = await self._redis.client.get(self._key(tenant_id, digest))
        except REDIS_ERRORS as error:
            raise _away() from error
        return _decoded(found)

    async def touch(self, tenant_id: UUID, session: Session, digest: str, now_ms: int) -> None:
        """Write a session's last use; nothing when it was ended meanwhile."""
        life_ms = session.time_to_live_ms(now_ms, self._limits)
        try:
            await self._redis.client.set(
                self._key(tenant_id, digest), _ENCODER.encode(session), px=life_ms, xx=True
            )
        except REDIS_ERRORS as error:
            raise _away() from error

    async def rotate(
        self, tenant_id: UUID, session: Session, *, old: str, new: str, now_ms: int
    ) -> bool:
        """Put a session under a new secret; False when the old one was gone already."""
        keys = (
            self._key(tenant_id, old),
            self._index(tenant_id, session.user_id),
            self._key(tenant_id, new),
        )
        return bool(await self._run(_ROTATE, keys, *self._values(session, new, now_ms)))

    async def end(
        self, tenant_id: UUID, user_id: UUID, session_id: UUID, *, digest: str = ""
    ) -> bool:
        """Forget a session, or only if its secret is still this one; whether there was one."""
        index, prefix = self._index(tenant_id, user_id), self._prefix(tenant_id)
        return bool(await self._run(_END, (index,), prefix, str(session_id), digest))

    async def list(self, tenant_id: UUID, user_id: UUID, now_ms: int) -> Listed:
        """A user's sessions as they stand at one moment, so that none slips through in between."""
        index = self._index(tenant_id, user_id)
        live, lapsed = [], []
        for name, digest, value in await self._run(_LIST, (index,), self._prefix(tenant_id)):
            session, session_id = _decoded(value), _session_id(name)
            if session_id is None:
                continue
            if session is None or session.over(now_ms, self._limits):
                lapsed.append(Lapsed(session_id, digest.decode(errors="replace")))
            else:
                live.append(session)
        live.sort(key=lambda one: (one.created_at_ms, one.session_id), reverse=True)
        return Listed(live, lapsed)

    def _values(self, session: Session, digest: str, now_ms: int) -> tuple[object, ...]:
        life_ms = session.time_to_live_ms(now_ms, self._limits)
        return (_ENCODER.encode(session), life_ms, str(session.session_id), digest)

    async def _run(self, script: str, keys: tuple[str, ...], *args: object) -> Any:
        try:
            return await self._redis.client.eval(script, len(keys), *keys, *args)
        except REDIS_ERRORS as error:
            raise _away() from error

    def _prefix(self, tenant_id: UUID) -> str:
        return self._key(tenant_id, "-")[:-1]

    def _key(self, tenant_id: UUID, digest: str) -> str:
        return self._redis.key(tenant_id, "session", digest)

    def _index(self, tenant_id: UUID, user_id: UUID) -> str:
        return self._redis.key(tenant_id, "user_sessions", str(user_id))


def surplus(sessions: Sequence[Session]) -> list[Session]:
    """Which sessions end to make room for one more: those unused for the longest time."""
    by_use = sorted(sessions, key=lambda one: one.last_seen_ms, reverse=True)
    return by_use[MAX_SESSIONS - 1 :]


def _decoded(value: bytes | None) -> Session | None:
    if value is None:
        return None
    try:
        return _DECODER.decode(value)
    except msgspec.MsgspecError:
        return None


def _session_id(name: bytes) -> UUID | None:
    try:
        return UUID(name.decode())
    except ValueError:
        return None


def _away() -> Unavailable:
    return Unavailable(
        "Sessions can't be looked up at the moment", reason="SESSIONS_AWAY", retry_after_ms=250
    )
