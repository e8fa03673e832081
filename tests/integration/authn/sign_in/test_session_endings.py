"""Whatever ends a session, its tokens end first; a Redis that fails in between changes nothing."""

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from current_call import CURRENT
from ports import reserved_port

from argy.authn.sessions.audit import SignInLog
from argy.authn.sessions.domain import DeviceInfo, Limits, digest, new_secret, new_session
from argy.authn.sessions.store import SessionStore
from argy.authn.sessions.use_cases import Sessions
from argy.authn.tokens.revocation import RevocationList
from argy.base.errors import ArgyError, Unavailable
from argy.base.ids import uuid7
from argy.local.valkey import EmbeddedValkey
from argy.rpc.call import Call
from argy.rpc.revoked import session_entry, user_entry
from argy.store.redis import RedisStore

LIMITS = Limits(idle_s=1_800, absolute_s=43_200)
_USER = "limited"


@dataclass
class Place:
    """Sessions in a Redis that can be told to refuse a command."""

    sessions: Sessions
    store: SessionStore
    redis: RedisStore
    world: Any
    person: Any
    call: Call
    session_id: UUID
    secret: str

    async def let(self, rule: str) -> None:
        """Allow (``+zadd``) or refuse (``-zadd``) a command."""
        await self.redis.client.execute_command("ACL", "SETUSER", _USER, rule)

    async def denied(self) -> bool:
        """Whether tokens of the session are refused, by its own entry or by its person's."""
        key = self.redis.key(self.person.tenant.tenant_id, "revoked")
        entries = (session_entry(str(self.session_id)), user_entry(self.person.subject))
        return any([await self.redis.client.zscore(key, one) is not None for one in entries])

    async def kept(self) -> bool:
        """Whether it is there still."""
        found = await self.store.find(self.person.tenant.tenant_id, digest(self.secret))
        return found is not None


async def _end(place: Place) -> None:
    await place.sessions.end(place.call, place.session_id)


async def _end_everywhere(place: Place) -> None:
    await place.sessions.end_all(place.call, place.person.user_id, keep_current=False)


async def _end_others(place: Place) -> None:
    await place.sessions.end_all(place.call, place.person.user_id, keep_current=True)


async def _end_disabled(place: Place) -> None:
    await place.sessions.end_of(place.person.tenant.tenant_id, place.person.user_id)


async def _use(place: Place, after_ms: int) -> None:
    place.world.clock.advance(after_ms)
    try:
        await place.sessions.check(place.person.tenant.tenant_id, place.secret)
    except ArgyError as error:
        if error.reason != "SESSION_OVER":
            raise


async def _use_idle(place: Place) -> None:
    await _use(place, LIMITS.idle_s * 1_000 + 60_000)


async def _use_after_all(place: Place) -> None:
    await _use(place, LIMITS.absolute_s * 1_000)


async def _list_after_all(place: Place) -> None:
    place.world.clock.advance(LIMITS.absolute_s * 1_000)
    await place.sessions.list(place.call)


async def _open_one_too_many(place: Place) -> None:
    tenant_id, now_ms = place.person.tenant.tenant_id, place.world.clock.now_ms() + 1
    held = await place.store.list(tenant_id, place.person.user_id, now_ms)
    for _ in range(100 - len(held.live)):
        made = new_session(
            session_id=uuid7(),
            user_id=place.person.user_id,
            method="passkey",
            device=DeviceInfo(),
            now_ms=now_ms,
            limits=LIMITS,
        )
        await place.store.put(tenant_id, made, digest(new_secret()), now_ms)
    async with place.world.db.tenant(tenant_id) as tx:
        await place.sessions.open(tx, place.call, place.person.user_id, "passkey", DeviceInfo())


@pytest.fixture
async def place(world: Any, ada: Any, tmp_path: Path) -> AsyncIterator[Place]:
    valkey = EmbeddedValkey(
        tmp_path / "valkey", port=reserved_port(), durable=False, allow=("acl",)
    )
    ruler = await RedisStore.open(valkey.start())
    secret = secrets.token_hex(16)
    await ruler.client.execute_command(
        "ACL", "SETUSER", _USER, "on", f">{secret}", "~*", "&*", "+@all"
    )
    redis = await RedisStore.open(f"redis://{_USER}:{secret}@127.0.0.1:{valkey.port}/0")
    store = SessionStore(redis, LIMITS)
    sessions = Sessions(
        db=world.db,
        store=store,
        revocations=RevocationList(redis, world.clock),
        log=SignInLog(world.db, world.clock),
        clock=world.clock,
        limits=LIMITS,
    )
    token = await world.token(ada.tenant, (await world.by_link(ada)).secret)
    await world.begin_registration(ada.tenant, token)
    async with world.db.tenant(ada.tenant.tenant_id) as tx:
        made, session_secret = await sessions.open(
            tx, CURRENT.get(), ada.user_id, "passkey", DeviceInfo()
        )
    yield Place(sessions, store, ruler, world, ada, CURRENT.get(), made.session_id, session_secret)
    await redis.close()
    await ruler.close()
    valkey.stop()


@pytest.mark.parametrize(
    "end",
    [
        pytest.param(_end, id="ended"),
        pytest.param(_end_everywhere, id="ended-everywhere"),
        pytest.param(_end_others, id="ended-elsewhere"),
        pytest.param(_end_disabled, id="person-disabled"),
        pytest.param(_use_idle, id="idle"),
        pytest.param(_use_after_all, id="absolute-limit"),
        pytest.param(_list_after_all, id="listed-after-its-limit"),
        pytest.param(_open_one_too_many, id="one-too-many"),
    ],
)
async def test_tokens_end_before_their_session_wherever_redis_fails(
    place: Place, end: Callable[[Place], Awaitable[None]]
) -> None:
    """No session is forgotten whose tokens live on; ending it again does the rest."""
    await place.let("-zadd")
    with pytest.raises(Unavailable):
        await end(place)
    assert (await place.kept(), await place.denied()) == (True, False)
    await place.let("+zadd")
    await place.let("-hdel")
    with pytest.raises(Unavailable):
        await end(place)
    assert (await place.kept(), await place.denied()) == (True, True)
    await place.let("+hdel")
    await end(place)
    assert (await place.kept(), await place.denied()) == (False, True)
