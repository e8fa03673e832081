"""Sessions: their limits, their secrets, their end, and what is left when Redis loses them."""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from current_call import CURRENT
from ports import reserved_port

from argy.api.authn.v1 import session_pb2 as pb
from argy.authn.sessions.domain import DeviceInfo, Limits, digest, new_secret, new_session
from argy.authn.sessions.store import Listed, SessionStore
from argy.base.errors import ArgyError, NotFound, PermissionDenied, Unauthenticated, Unavailable
from argy.base.ids import uuid7
from argy.local.valkey import EmbeddedValkey
from argy.store.redis import RedisStore

LIMITS = Limits(idle_s=1_800, absolute_s=43_200)


async def _list(world: Any, person: Any, token: str) -> list[Any]:
    request = pb.ListSessionsRequest()
    found = await world.call(person.tenant, "SessionService.ListSessions", request, token=token)
    return list(found.sessions)


async def _end(world: Any, person: Any, token: str, session_id: str) -> None:
    request = pb.EndSessionRequest(session_id=session_id)
    await world.call(person.tenant, "SessionService.EndSession", request, token=token)


async def _end_all(world: Any, tenant: Any, **more: Any) -> int:
    request = pb.EndUserSessionsRequest(
        user_id=more.pop("user_id", ""), keep_current=more.pop("keep_current", False)
    )
    done = await world.call(tenant, "SessionService.EndUserSessions", request, **more)
    return int(done.ended)


async def _refused(world: Any, tenant: Any, secret: str) -> None:
    with pytest.raises(Unauthenticated) as refused:
        await world.check(tenant, secret)
    assert refused.value.reason == "SESSION_OVER"


WAITING = """
SELECT count(*) FROM pg_locks AS l JOIN pg_database AS d ON d.oid = l.database
WHERE l.locktype = 'advisory' AND NOT l.granted AND d.datname = current_database()
"""
"""Who waits for whom in this database; other tests run in others."""


async def _eventually(check: Callable[[], Any]) -> None:
    """Until the announcement was heard."""
    async with asyncio.timeout(60):
        while True:
            if await check():
                return
            await asyncio.sleep(0.01)


async def test_a_session_ends_when_it_is_idle(world: Any, ada: Any) -> None:
    session = await world.by_link(ada)
    world.clock.advance(1_800_000 - 1)
    await world.check(ada.tenant, session.secret)
    world.clock.advance(1_800_000 - 1)
    await world.check(ada.tenant, session.secret)
    world.clock.advance(1_860_000)
    await _refused(world, ada.tenant, session.secret)


async def test_a_session_ends_at_its_absolute_limit_however_busy(world: Any, ada: Any) -> None:
    session = await world.by_link(ada)
    for _ in range(24):
        await world.check(ada.tenant, session.secret)
        world.clock.advance(1_799_000)
    await world.check(ada.tenant, session.secret)
    world.clock.advance(24_000)
    await _refused(world, ada.tenant, session.secret)


async def test_redis_holds_digests_that_end_by_themselves(world: Any, ada: Any) -> None:
    session = await world.by_link(ada)
    key = world.redis.key(ada.tenant.tenant_id, "session", digest(session.secret))
    assert 0 < await world.redis.client.pttl(key) <= 1_860_000
    index = world.redis.key(ada.tenant.tenant_id, "user_sessions", str(ada.user_id))
    # As long as the longest session that may be in it, which is a device's.
    assert 0 < await world.redis.client.pttl(index) <= 30 * 86_400_000
    kept = str(await world.redis.client.get(key)) + str(await world.redis.client.hgetall(index))
    assert session.secret not in kept
    await _refused(world, ada.tenant, digest(session.secret))


async def test_a_step_up_renews_the_proof_and_the_old_secret_is_good_no_more(
    world: Any, ada: Any, authenticator: Any
) -> None:
    device = authenticator()
    await world.register(ada, device)
    first = await world.by_link(ada)
    world.clock.advance(600_000)
    renewed = await world.sign_in(ada.tenant, device, session_secret=first.secret)
    assert renewed.session.session_id == first.session.session_id
    assert renewed.secret != first.secret
    await _refused(world, ada.tenant, first.secret)
    checked = await world.check(ada.tenant, renewed.secret)
    assert checked.session.auth_time.ToMilliseconds() == world.clock.now_ms()
    made_ms = first.session.create_time.ToMilliseconds()
    assert checked.session.expire_time.ToMilliseconds() == made_ms + 43_200_000
    assert checked.session.acr == "urn:argy:acr:passkey"
    assert list(checked.session.methods) == ["passkey", "magic_link"]
    (record,) = await world.records(ada.tenant, "authn.session.step_up")
    assert record["actor"] == ada.subject
    with pytest.raises(Unauthenticated):
        await world.sign_in(ada.tenant, device, session_secret=first.secret)


async def test_people_see_and_end_their_own_sessions_only(
    world: Any, ada: Any, person_in: Any
) -> None:
    first = await world.by_link(ada)
    world.clock.advance(1_000)
    second = await world.by_link(ada)
    token = await world.token(ada.tenant, second.secret)
    found = await _list(world, ada, token)
    assert [one.session_id for one in found] == [
        second.session.session_id,
        first.session.session_id,
    ]
    assert [one.current for one in found] == [True, False]
    eve = await person_in(ada.tenant)
    eves = await world.token(ada.tenant, (await world.by_link(eve)).secret)
    with pytest.raises(NotFound):
        await _end(world, eve, eves, first.session.session_id)
    await _end(world, ada, token, first.session.session_id)
    await _refused(world, ada.tenant, first.secret)
    await world.check(ada.tenant, second.secret)
    (record,) = await world.records(ada.tenant, "authn.session.end")
    assert record["actor"] == ada.subject


async def test_an_ended_session_takes_its_access_tokens_along(world: Any, ada: Any) -> None:
    session = await world.by_link(ada)
    token = await world.token(ada.tenant, session.secret)
    await _end(world, ada, token, session.session.session_id)
    await _token_ends(world, ada, token)


async def _token_ends(world: Any, person: Any, token: str) -> None:
    """Until an access token is refused since its session ended."""

    async def refused() -> bool:
        try:
            await _list(world, person, token)
        except Unauthenticated as error:
            return error.reason == "TOKEN_REVOKED"
        return False

    await _eventually(refused)


async def test_a_token_does_not_outlive_the_absolute_limit_of_its_session(
    world: Any, ada: Any
) -> None:
    session = await world.by_link(ada)
    for _ in range(24):
        await world.check(ada.tenant, session.secret)
        world.clock.advance(1_799_000)
    token = await world.token(ada.tenant, session.secret)
    world.clock.advance(24_000)
    await _refused(world, ada.tenant, session.secret)
    await _token_ends(world, ada, token)


async def test_a_token_of_a_recovery_ends_when_another_session_is_opened_after_its_end(
    world: Any, ada: Any, authenticator: Any
) -> None:
    device = authenticator()
    await world.register(ada, device)
    thief = await world.by_link(ada)
    world.clock.advance(899_000)
    token = await world.token(ada.tenant, thief.secret)
    world.clock.advance(1_000)
    await world.sign_in(ada.tenant, device)
    await _token_ends(world, ada, token)


async def test_a_session_that_opens_while_its_person_is_disabled_does_not_survive(
    world: Any, ada: Any, change_user: Any
) -> None:
    """Nor when they are enabled again: who disables waits for what is under way, and ends it."""
    await world.begin_sign_in(ada.tenant)
    async with world.db.tenant(ada.tenant.tenant_id) as tx:
        _, secret = await world.parts.sessions.open(
            tx, CURRENT.get(), ada.user_id, "passkey", DeviceInfo()
        )
        disabling = asyncio.create_task(change_user(ada, "DISABLED"))

        async def waits() -> bool:
            return bool(await tx.fetchval(WAITING))

        await _eventually(waits)
    await disabling
    key = world.redis.key(ada.tenant.tenant_id, "session", digest(secret))

    async def gone() -> bool:
        return bool(await world.redis.client.exists(key) == 0)

    await _eventually(gone)
    await change_user(ada, "ACTIVE")
    await _refused(world, ada.tenant, secret)


async def test_nobody_opens_a_session_for_who_was_disabled_meanwhile(
    world: Any, ada: Any, change_user: Any
) -> None:
    await world.begin_sign_in(ada.tenant)
    async with world.db.tenant(ada.tenant.tenant_id) as tx:
        await change_user(ada, "DISABLED")
        with pytest.raises(Unauthenticated) as refused:
            await world.parts.sessions.open(tx, CURRENT.get(), ada.user_id, "passkey", DeviceInfo())
    assert refused.value.reason == "USER_DISABLED"


async def test_a_step_up_does_not_carry_a_session_past_signing_out_everywhere(
    world: Any, ada: Any
) -> None:
    """Renewed and ended at once: whichever comes first, it is over."""
    store, tenant_id = SessionStore(world.redis, LIMITS), ada.tenant.tenant_id
    now_ms = world.clock.now_ms()

    async def renew(made: Any, old: str, new: str, calls_before: int) -> None:
        for _ in range(calls_before):
            await world.redis.client.ping()
        await store.rotate(tenant_id, made, old=old, new=new, now_ms=now_ms)

    for number in range(80):
        made = new_session(
            session_id=uuid7(),
            user_id=ada.user_id,
            method="passkey",
            device=DeviceInfo(),
            now_ms=now_ms,
            limits=LIMITS,
        )
        old, new = digest(new_secret()), digest(new_secret())
        await store.put(tenant_id, made, old, now_ms)
        await asyncio.gather(
            world.parts.sessions.end_of(tenant_id, ada.user_id), renew(made, old, new, number % 8)
        )
        assert await store.find(tenant_id, new) is None


async def test_signing_out_everywhere_may_spare_the_session_that_asks(world: Any, ada: Any) -> None:
    others = [await world.by_link(ada) for _ in range(3)]
    own = await world.by_link(ada)
    token = await world.token(ada.tenant, own.secret)
    assert await _end_all(world, ada.tenant, token=token, keep_current=True) == 3
    for session in others:
        await _refused(world, ada.tenant, session.secret)
    await world.check(ada.tenant, own.secret)
    assert await _end_all(world, ada.tenant, token=token) == 1
    await _refused(world, ada.tenant, own.secret)


async def test_an_administrator_ends_anybodys_sessions_and_nobody_else_does(
    world: Any, ada: Any, person_in: Any
) -> None:
    session = await world.by_link(ada)
    eve = await person_in(ada.tenant)
    token = await world.token(ada.tenant, (await world.by_link(eve)).secret)
    user_id = str(ada.user_id)
    with pytest.raises(PermissionDenied):
        await _end_all(world, ada.tenant, token=token, user_id=user_id)
    await world.check(ada.tenant, session.secret)
    world.access.held.add((eve.subject, "authn.session:end_any"))
    assert await _end_all(world, ada.tenant, token=token, user_id=user_id) == 1
    await _refused(world, ada.tenant, session.secret)
    (record,) = await world.records(ada.tenant, "authn.session.end_all")
    assert (record["actor"], record["resource"]) == (eve.subject, ada.subject)


async def test_a_service_that_says_it_acts_for_somebody_does_not_sign_them_out(
    world: Any, ada: Any
) -> None:
    session = await world.by_link(ada)
    with pytest.raises(Unauthenticated) as refused:
        await _end_all(world, ada.tenant, user_id=str(ada.user_id), caller=ada.subject)
    assert refused.value.reason == "PERSON_REQUIRED"
    await world.check(ada.tenant, session.secret)


@pytest.mark.parametrize("state", ["DISABLED", "DELETED"])
async def test_who_is_disabled_or_deleted_is_signed_out_within_a_second(
    world: Any, ada: Any, change_user: Any, state: str
) -> None:
    session = await world.by_link(ada)
    token = await world.token(ada.tenant, session.secret)
    await _list(world, ada, token)
    key = world.redis.key(ada.tenant.tenant_id, "session", digest(session.secret))
    await change_user(ada, state)
    # Nobody uses the session meanwhile: the announcement alone ends it and its tokens.

    async def gone() -> bool:
        return bool(await world.redis.client.exists(key) == 0)

    async def token_refused() -> bool:
        try:
            await _list(world, ada, token)
        except Unauthenticated as error:
            return error.reason == "TOKEN_REVOKED"
        return False

    await _eventually(gone)
    await _eventually(token_refused)
    await _refused(world, ada.tenant, session.secret)


async def test_garbage_among_one_persons_sessions_keeps_nobody_else_signed_in(
    world: Any, ada: Any, person_in: Any, change_user: Any
) -> None:
    """Who ends the sessions of disabled people goes on, whatever it finds."""
    eve = await person_in(ada.tenant)
    secrets = [(await world.by_link(person)).secret for person in (eve, ada)]
    index = world.redis.key(ada.tenant.tenant_id, "user_sessions", str(eve.user_id))
    await world.redis.client.hset(index, mapping={"garbage": "x", b"\xff": b"\xff"})
    await change_user(eve, "DISABLED")
    await change_user(ada, "DISABLED")
    keys = [world.redis.key(ada.tenant.tenant_id, "session", digest(one)) for one in secrets]

    async def gone() -> bool:
        return bool(await world.redis.client.exists(*keys) == 0)

    await _eventually(gone)


async def test_a_disabled_person_is_refused_at_once_even_if_nothing_was_announced(
    world: Any, ada: Any, change_user: Any
) -> None:
    session = await world.by_link(ada)
    await world.parts.watch.close()
    await change_user(ada, "DISABLED")
    await _refused(world, ada.tenant, session.secret)
    await change_user(ada, "ACTIVE")
    await _refused(world, ada.tenant, session.secret)


async def test_a_session_of_another_tenant_is_unknown(
    world: Any, ada: Any, tenant_factory: Any
) -> None:
    session = await world.by_link(ada)
    await _refused(world, await tenant_factory(), session.secret)


async def test_one_session_too_many_ends_the_one_that_is_unused_for_longest(
    world: Any, ada: Any
) -> None:
    store = SessionStore(world.redis, LIMITS)
    now_ms = world.clock.now_ms()
    secrets = [new_secret() for _ in range(100)]
    for age, secret in enumerate(secrets):
        made = new_session(
            session_id=uuid7(),
            user_id=ada.user_id,
            method="passkey",
            device=DeviceInfo(),
            now_ms=now_ms - age * 1_000,
            limits=LIMITS,
        )
        await store.put(ada.tenant.tenant_id, made, digest(secret), now_ms)
    newest = await world.by_link(ada)
    await _refused(world, ada.tenant, secrets[-1])
    await world.check(ada.tenant, secrets[-2])
    token = await world.token(ada.tenant, newest.secret)
    assert len(await _list(world, ada, token)) == 100
    (record,) = await world.records(ada.tenant, "authn.session.end")
    assert record["reason"] == "TOO_MANY_SESSIONS"


async def test_an_ended_session_is_not_written_again_by_a_late_touch(world: Any, ada: Any) -> None:
    secret, store = new_secret(), SessionStore(world.redis, LIMITS)
    tenant_id, now_ms = ada.tenant.tenant_id, world.clock.now_ms()
    made = new_session(
        session_id=uuid7(),
        user_id=ada.user_id,
        method="passkey",
        device=DeviceInfo(),
        now_ms=now_ms,
        limits=LIMITS,
    )
    await store.put(tenant_id, made, digest(secret), now_ms)
    assert await store.end(tenant_id, ada.user_id, made.session_id)
    await store.touch(tenant_id, made.seen(now_ms), digest(secret), now_ms)
    assert await store.find(tenant_id, digest(secret)) is None
    rotated = await store.rotate(
        tenant_id, made, old=digest(secret), new=digest(new_secret()), now_ms=now_ms
    )
    assert not rotated


async def test_of_two_rotations_at_once_one_wins(world: Any, ada: Any, authenticator: Any) -> None:
    device = authenticator(synced=True)
    await world.register(ada, device)
    session = await world.by_link(ada)
    ends = await asyncio.gather(
        *(world.sign_in(ada.tenant, device, session_secret=session.secret) for _ in range(4)),
        return_exceptions=True,
    )
    errors = [end for end in ends if isinstance(end, ArgyError)]
    assert {error.reason for error in errors} == {"SESSION_OVER"}
    assert len(errors) == 3


async def test_garbage_in_redis_is_no_session(world: Any, ada: Any) -> None:
    secret = new_secret()
    key = world.redis.key(ada.tenant.tenant_id, "session", digest(secret))
    for garbage in (b"", b"{}", b'{"user_id": "x"}', json.dumps([1]).encode()):
        await world.redis.client.set(key, garbage, ex=60)
        await _refused(world, ada.tenant, secret)


@pytest.fixture
async def own_valkey(tmp_path: Path) -> AsyncIterator[EmbeddedValkey]:
    """A Valkey that a test may kill."""
    valkey = EmbeddedValkey(tmp_path / "valkey", port=reserved_port(), durable=False)
    yield valkey
    valkey.stop()


async def test_redis_away_means_refused_and_emptied_means_sign_in_again(
    own_valkey: EmbeddedValkey, ada: Any
) -> None:
    redis = await RedisStore.open(own_valkey.start())
    store, secret, now_ms = SessionStore(redis, LIMITS), new_secret(), 1_000_000
    made = new_session(
        session_id=uuid7(),
        user_id=ada.user_id,
        method="passkey",
        device=DeviceInfo(),
        now_ms=now_ms,
        limits=LIMITS,
    )
    tenant_id = ada.tenant.tenant_id
    await store.put(tenant_id, made, digest(secret), now_ms)
    assert await store.find(tenant_id, digest(secret)) == made
    own_valkey.stop()
    for attempt in (
        store.find(tenant_id, digest(secret)),
        store.list(tenant_id, ada.user_id, now_ms),
        store.put(tenant_id, made, digest(secret), now_ms),
        store.touch(tenant_id, made, digest(secret), now_ms),
    ):
        with pytest.raises(Unavailable):
            await attempt
    await redis.close()
    shutil.rmtree(own_valkey.folder / "data")
    redis = await RedisStore.open(own_valkey.start())
    store = SessionStore(redis, LIMITS)
    assert await store.find(tenant_id, digest(secret)) is None
    assert await store.list(tenant_id, ada.user_id, now_ms) == Listed([], [])
    await redis.close()
