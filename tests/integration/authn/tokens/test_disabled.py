"""Who is disabled has nothing to come back with, whoever missed that they were."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from ports import reserved_port

from argy.authn.sessions.audit import SignInLog
from argy.authn.sessions.domain import Limits
from argy.authn.sessions.store import SessionStore
from argy.authn.sessions.use_cases import Sessions
from argy.authn.sessions.watch import SessionWatch
from argy.base.errors import ArgyError, Unauthenticated
from argy.local.valkey import EmbeddedValkey
from argy.store.redis import RedisStore

WAIT_S = 60.0
_WAITING = """
SELECT count(*) FROM pg_locks AS l JOIN pg_stat_activity AS a USING (pid)
WHERE l.locktype = 'advisory' AND NOT l.granted AND a.datname = current_database()
"""


async def reason(awaited: Any) -> str:
    with pytest.raises(ArgyError) as caught:
        await awaited
    return caught.value.reason


@pytest.fixture
async def watch_factory(world: Any) -> AsyncIterator[Callable[..., Any]]:
    """What ends sessions and access tokens beside a replica, on a Redis."""
    async with AsyncExitStack() as stack:

        async def start(replica: Any, redis_url: str) -> SessionWatch:
            redis = await RedisStore.open(redis_url)
            stack.push_async_callback(redis.close)
            sessions = Sessions(
                db=replica.db,
                store=SessionStore(redis, Limits()),
                revocations=replica.endings,
                log=SignInLog(replica.db, world.clock),
                clock=world.clock,
                limits=Limits(),
            )
            watch = SessionWatch(replica.db, sessions)
            await watch.start()
            stack.push_async_callback(watch.close)
            return watch

        yield start


async def refused_at_last(world: Any, service: Any, person: Any, access: str) -> str:
    """Call with a token until it is refused; why."""
    async with asyncio.timeout(WAIT_S):
        while True:
            try:
                await world.whoami(service, person.tenant, access)
            except Unauthenticated as error:
                return error.reason


async def test_a_refresh_token_of_before_a_disabling_is_not_revived_by_enabling(
    world: Any, replica: Any, ada: Any
) -> None:
    first = await world.sign_in(replica, ada)
    # No replica hears of it.
    await world.set_state(ada, "DISABLED")
    await world.set_state(ada, "ACTIVE")
    assert await reason(world.refresh(replica, ada, first.refresh_token)) == "REFRESH_TOKEN_INVALID"
    again = await world.sign_in(replica, ada)
    assert (await world.refresh(replica, ada, again.refresh_token)).access_token


async def test_a_sign_in_that_races_a_disabling_is_not_revived_by_enabling(
    world: Any, replica: Any, ada: Any, pg_dsn: str
) -> None:
    admin = await asyncpg.connect(pg_dsn)
    async with replica.db.tenant(ada.tenant.tenant_id) as tx:
        late = await replica.issuer.issue(
            tx,
            tenant=ada.tenant.slug,
            user_id=ada.user_id,
            session_id=ada.session_id,
            acr="urn:argy:acr:passkey",
            amr=("passkey",),
            auth_time_ms=world.clock.now_ms(),
            client_id="argy-cli",
            with_refresh=True,
        )
        disabling = asyncio.create_task(world.set_state(ada, "DISABLED"))
        async with asyncio.timeout(WAIT_S):
            while not await admin.fetchval(_WAITING):  # noqa: ASYNC110 - it asks each time
                await asyncio.sleep(0)
        assert not disabling.done()
    await disabling
    await admin.close()
    await world.set_state(ada, "ACTIVE")
    assert await reason(world.refresh(replica, ada, late.refresh_token)) == "REFRESH_TOKEN_INVALID"


async def test_an_access_token_ends_even_if_no_replica_heard_the_announcement(
    world: Any, replica: Any, ada: Any, redis_url: str, watch_factory: Callable[..., Any]
) -> None:
    beside = await world.beside(replica)
    access = (await world.sign_in(replica, ada)).access_token
    await world.whoami(beside, ada.tenant, access)
    await world.set_state(ada, "DISABLED")
    await world.set_state(ada, "ACTIVE")
    await world.whoami(beside, ada.tenant, access)
    await watch_factory(replica, redis_url)
    assert await refused_at_last(world, beside, ada, access) == "TOKEN_REVOKED"


async def test_an_access_token_ends_even_if_redis_was_away_when_its_person_was_disabled(
    world: Any, ada: Any, tmp_path: Path, watch_factory: Callable[..., Any], pg_dsn: str
) -> None:
    valkey = EmbeddedValkey(tmp_path / "valkey", port=reserved_port(), durable=False)
    valkey.start()
    replica = await world.replica(redis_url=valkey.url)
    beside = await world.beside(replica, redis_url=valkey.url)
    access = (await world.sign_in(replica, ada)).access_token
    watch = await watch_factory(replica, valkey.url)
    valkey.stop()
    await world.set_state(ada, "DISABLED")
    await world.set_state(ada, "ACTIVE")
    await watch.close()
    admin = await asyncpg.connect(pg_dsn)
    left = "SELECT count(*) FROM authn.person_end WHERE person_id = $1"
    assert await admin.fetchval(left, ada.user_id) == 1
    valkey.start()
    await watch_factory(replica, valkey.url)
    found = ""
    async with asyncio.timeout(WAIT_S):
        # A Redis that was away may have lost anything.
        while found != "TOKEN_REVOCATION_UNKNOWN":
            found = await outcome(world, beside, ada, access)
            assert found, "let in"
        while await admin.fetchval(left, ada.user_id):  # noqa: ASYNC110 - it asks each time
            await asyncio.sleep(0)
    await admin.close()
    valkey.stop()


async def outcome(world: Any, service: Any, person: Any, access: str) -> str:
    try:
        await world.whoami(service, person.tenant, access)
    except ArgyError as error:
        return error.reason
    return ""
