"""The end of a service key reaches every server, whatever failed after the commit that ended it."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from ports import reserved_port

from argy.authn.service_keys.end_watch import KeyEndWatch
from argy.base.errors import ArgyError
from argy.local.valkey import EmbeddedValkey

WAIT_S = 60.0
LEFT = "SELECT generation FROM authn.key_end WHERE key_id = $1 ORDER BY generation"


@pytest.fixture
async def admin(pg_dsn: str) -> AsyncIterator[asyncpg.Connection]:
    """Whoever looks at rows of all tenants."""
    connection = await asyncpg.connect(pg_dsn)
    yield connection
    await connection.close()


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[EmbeddedValkey]:
    """A Valkey that a test may stop."""
    server = EmbeddedValkey(tmp_path / "valkey", port=reserved_port(), durable=False)
    server.start()
    yield server
    server.stop()


@pytest.fixture
async def tenant_id(tenant_factory: Any) -> UUID:
    found: UUID = (await tenant_factory()).tenant_id
    return found


async def left(admin: asyncpg.Connection, one: Any) -> list[int]:
    """Which ends of a key are not told yet."""
    rows = await admin.fetch(LEFT, UUID(one.credential_id))
    return [row["generation"] for row in rows]


async def all_told(admin: asyncpg.Connection, one: Any) -> None:
    """Wait until nothing is left to tell of a key."""
    async with asyncio.timeout(WAIT_S):
        while await left(admin, one):  # noqa: ASYNC110 - it asks each time
            await asyncio.sleep(0)


async def refused_at_last(world: Any, replica: Any, one: Any) -> str:
    """Call with a key until it is refused; why. No server asks anew: the clock stands."""
    async with asyncio.timeout(WAIT_S):
        while True:
            try:
                await world.check(replica, one.key, one.tenant_id)
            except ArgyError as error:
                return error.reason


@pytest.mark.parametrize("how", ["revoked", "rotated"])
async def test_a_server_that_dies_after_the_commit_leaves_no_key_alive(
    world: Any, tenant_id: UUID, admin: asyncpg.Connection, how: str
) -> None:
    host = await world.host()
    beside = await world.beside(host)
    one, kept = await world.make(tenant_id), await world.make(tenant_id)
    for key in (one, kept):
        assert await world.check(beside, key.key, tenant_id)
    # The commit alone, by whomever: nobody says anything to anybody.
    change = {
        "revoked": "revoked_at = now()",
        "rotated": "generation = generation + 1, secret_hash = repeat('0', 64)",
    }
    await admin.execute(
        f"UPDATE authn.credential SET {change[how]} WHERE id = $1",  # noqa: S608 - words of ours
        UUID(one.credential_id),
    )
    assert await world.check(beside, one.key, tenant_id)
    assert await left(admin, one) == [0 if how == "revoked" else 1]
    watch = KeyEndWatch(host.db, host.hosted)
    watch.start()
    assert await refused_at_last(world, beside, one) == "KEY_OVER"
    await all_told(admin, one)
    await watch.close()
    assert await world.check(beside, kept.key, tenant_id)


async def test_a_revocation_that_redis_missed_is_told_when_it_is_back(
    world: Any, tenant_id: UUID, admin: asyncpg.Connection, valkey: EmbeddedValkey
) -> None:
    host = await world.host(redis_url=valkey.url)
    one = await world.make(tenant_id)
    assert await world.check(host, one.key, tenant_id)
    watch = KeyEndWatch(host.db, host.hosted)
    watch.start()
    valkey.stop()
    await admin.execute(
        "UPDATE authn.credential SET revoked_at = now() WHERE id = $1", UUID(one.credential_id)
    )
    with pytest.raises(ArgyError):
        await host.hosted.announce(tenant_id, UUID(one.credential_id), 0)
    await watch.close()
    assert await left(admin, one) == [0]
    # Another server, or the same one started again.
    again = KeyEndWatch(host.db, host.hosted)
    again.start()
    valkey.start()
    await all_told(admin, one)
    await again.close()
    async with asyncio.timeout(WAIT_S):
        # A Redis that was away may have lost anything: until it is asked, nobody can say.
        while (found := await refused_at_last(world, host, one)) != "KEY_OVER":
            assert found in {"REVOCATIONS_AWAY", "SERVICE_KEYS_AWAY", "UNAVAILABLE"}


async def test_an_overlapping_secret_is_not_told_to_be_over(
    world: Any, tenant_id: UUID, admin: asyncpg.Connection
) -> None:
    host = await world.host()
    first = await world.make(tenant_id)
    second = await world.rotate(first, 1)
    assert await left(admin, first) == []
    third = await world.rotate(second, 1)
    assert await left(admin, first) == [1]
    watch = KeyEndWatch(host.db, host.hosted)
    watch.start()
    await all_told(admin, first)
    await watch.close()
    assert await refused_at_last(world, host, first) == "KEY_OVER"
    for one in (second, third):
        assert await world.check(host, one.key, tenant_id)
