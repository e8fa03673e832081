"""Service keys end: at once when revoked, everywhere, whatever is away."""

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ports import reserved_port

from argy.api.directory.v1 import tenant_pb2 as directory_pb
from argy.base.errors import ArgyError, FailedPrecondition, Unavailable
from argy.base.ids import PLATFORM_TENANT_ID
from argy.local.valkey import EmbeddedValkey
from argy.rpc.service_keys import (
    AWAY_MS,
    MAX_AGE_MS,
    MAX_STALE_MS,
    REFRESH_MS,
    REFUSED_MS,
    RETRY_MS,
)

CHECK = "authz.decision:check"
DAY_MS = 86_400_000
HOUR_MS = 3_600_000


async def outcome(call: Any) -> str:
    """The reason of a refusal; empty for none."""
    try:
        await call
    except ArgyError as error:
        return str(error.reason)
    return ""


async def refused_from_then_on(world: Any, replica: Any, key: Any, tenant_id: Any) -> str:
    """How a key that ended just now is refused: no call that begins a second later is served."""
    loop = asyncio.get_running_loop()
    ended_s = loop.time()
    async with asyncio.timeout(60):
        while True:
            began_s = loop.time()
            if found := await outcome(world.check(replica, key, tenant_id)):
                return found
            assert began_s - ended_s < 1


async def test_a_revoked_key_is_refused_by_every_server_within_a_second(
    world: Any, authn: Any, beside: Any, tenant: Any
) -> None:
    second = await world.host()
    made = await world.make(tenant.tenant_id, CHECK)
    for replica in (authn, second, beside):
        assert await world.check(replica, made.key, tenant.tenant_id)
    await world.revoke(made)
    found = await asyncio.gather(
        *(
            refused_from_then_on(world, replica, made.key, tenant.tenant_id)
            for replica in (authn, second, beside)
        )
    )
    assert found == ["KEY_OVER"] * 3
    assert await world.listed(tenant.tenant_id) == []


async def test_a_revoked_key_of_the_platform_is_refused_for_every_tenant(
    world: Any, authn: Any, beside: Any, tenant: Any
) -> None:
    made = await world.make(PLATFORM_TENANT_ID, CHECK)
    assert await world.check(beside, made.key, tenant.tenant_id)
    await world.revoke(made)
    found = await refused_from_then_on(world, beside, made.key, tenant.tenant_id)
    assert found == "KEY_OVER"


async def test_a_key_ends_by_itself_also_where_it_is_remembered(
    world: Any, authn: Any, beside: Any, tenant: Any
) -> None:
    made = await world.make(tenant.tenant_id, CHECK, days=1)
    world.clock.advance(DAY_MS - 1)
    for replica in (authn, beside):
        assert await world.check(replica, made.key, tenant.tenant_id)
    world.clock.advance(1)
    for replica in (authn, beside):
        assert await outcome(world.check(replica, made.key, tenant.tenant_id)) == "KEY_OVER"


async def test_rotation_overlaps_for_as_long_as_it_says(
    world: Any, authn: Any, beside: Any, tenant: Any
) -> None:
    made = await world.make(tenant.tenant_id, CHECK)
    assert await world.check(beside, made.key, tenant.tenant_id)
    fresh = await world.rotate(made, 2)
    assert fresh.credential_id == made.credential_id
    assert fresh.secret != made.secret
    world.clock.advance(2 * HOUR_MS - 1)
    for replica in (authn, beside):
        for key in (made.key, fresh.key):
            assert await world.check(replica, key, tenant.tenant_id)
    world.clock.advance(1)
    for replica in (authn, beside):
        assert await outcome(world.check(replica, made.key, tenant.tenant_id)) == "KEY_OVER"
        assert await world.check(replica, fresh.key, tenant.tenant_id)


async def test_an_overlap_does_not_outlast_the_key_s_own_end(
    world: Any, authn: Any, tenant: Any
) -> None:
    made = await world.make(tenant.tenant_id, CHECK, days=1)
    world.clock.advance(DAY_MS - HOUR_MS)
    fresh = await world.rotate(made, 168)
    world.clock.advance(HOUR_MS)
    assert await outcome(world.check(authn, made.key, tenant.tenant_id)) == "KEY_OVER"
    assert await world.check(authn, fresh.key, tenant.tenant_id)


async def test_a_generation_rotated_out_without_overlap_is_refused_everywhere_at_once(
    world: Any, authn: Any, beside: Any, tenant: Any
) -> None:
    made = await world.make(tenant.tenant_id, CHECK)
    for replica in (authn, beside):
        assert await world.check(replica, made.key, tenant.tenant_id)
    fresh = await world.rotate(made, 0)
    for replica in (authn, beside):
        found = await refused_from_then_on(world, replica, made.key, tenant.tenant_id)
        assert found == "KEY_OVER"
        assert await world.check(replica, fresh.key, tenant.tenant_id)


async def test_a_second_rotation_ends_the_overlap_of_the_first(
    world: Any, authn: Any, beside: Any, tenant: Any
) -> None:
    first = await world.make(tenant.tenant_id, CHECK)
    second = await world.rotate(first, 24)
    assert await world.check(beside, first.key, tenant.tenant_id)
    third = await world.rotate(second, 24)
    found = await refused_from_then_on(world, beside, first.key, tenant.tenant_id)
    assert found == "KEY_OVER"
    for key in (second.key, third.key):
        assert await world.check(beside, key, tenant.tenant_id)


async def test_a_rotation_without_overlap_ends_the_overlap_of_the_one_before(
    world: Any, authn: Any, beside: Any, tenant: Any
) -> None:
    first = await world.make(tenant.tenant_id, CHECK)
    second = await world.rotate(first, 24)
    for key in (first.key, second.key):
        assert await world.check(beside, key, tenant.tenant_id)
    third = await world.rotate(second, 0)
    for key in (first.key, second.key):
        assert await refused_from_then_on(world, beside, key, tenant.tenant_id) == "KEY_OVER"
    assert await world.check(beside, third.key, tenant.tenant_id)


async def test_revoking_ends_both_secrets_of_an_overlap(
    world: Any, authn: Any, beside: Any, tenant: Any
) -> None:
    made = await world.make(tenant.tenant_id, CHECK)
    fresh = await world.rotate(made, 24)
    for key in (made.key, fresh.key):
        assert await world.check(beside, key, tenant.tenant_id)
    await world.revoke(made)
    for key in (made.key, fresh.key):
        assert await refused_from_then_on(world, beside, key, tenant.tenant_id) == "KEY_OVER"
    with pytest.raises(FailedPrecondition) as refused:
        await world.rotate(made, 1)
    assert refused.value.reason == "CREDENTIAL_OVER"


async def test_authn_is_asked_once_a_minute_whatever_is_called(
    world: Any, authn: Any, beside: Any, tenant: Any
) -> None:
    made = await world.make(tenant.tenant_id, CHECK)

    async def call_often() -> None:
        calls = (world.check(beside, made.key, tenant.tenant_id) for _ in range(20))
        assert all(await asyncio.gather(*calls))

    await call_often()
    assert beside.standings.asked == 1
    world.clock.advance(REFRESH_MS)
    await call_often()
    assert beside.standings.asked == 1
    world.clock.advance(1)
    await call_often()
    async with asyncio.timeout(60):
        for _ in range(2):
            await beside.standings.answered.acquire()
    assert beside.standings.asked == 2
    world.clock.advance(MAX_AGE_MS + 1)
    await call_often()
    assert beside.standings.asked == 3


async def test_a_clock_that_is_set_back_makes_no_answer_last_longer(
    world: Any, beside: Any, tenant: Any
) -> None:
    made = await world.make(tenant.tenant_id, CHECK)
    assert await world.check(beside, made.key, tenant.tenant_id)
    world.clock.advance(-1)
    assert await world.check(beside, made.key, tenant.tenant_id)
    assert beside.standings.asked == 2


async def test_a_refused_key_is_asked_about_again_after_a_while(
    world: Any, beside: Any, tenant: Any
) -> None:
    made = await world.make(tenant.tenant_id, CHECK)
    await world.revoke(made)
    for asked in (1, 2):
        assert await outcome(world.check(beside, made.key, tenant.tenant_id)) == "KEY_OVER"
        assert beside.standings.asked == asked
        world.clock.advance(REFUSED_MS + 1)


async def test_while_authn_is_away_a_key_is_good_for_ten_minutes_and_no_longer(
    world: Any, authn: Any, beside: Any, tenant: Any
) -> None:
    made = await world.make(tenant.tenant_id, CHECK)
    other = await world.make(tenant.tenant_id, CHECK)
    assert await world.check(beside, made.key, tenant.tenant_id)
    await authn.server.stop()
    world.clock.advance(MAX_AGE_MS + 1)
    assert await world.check(beside, made.key, tenant.tenant_id)
    # It is left alone for a while after it could not be asked.
    asked = beside.standings.asked
    assert await world.check(beside, made.key, tenant.tenant_id)
    assert beside.standings.asked == asked
    world.clock.advance(RETRY_MS)
    assert await world.check(beside, made.key, tenant.tenant_id)
    assert beside.standings.asked == asked + 1
    # A key that was never asked about is not good, nor asked about at every call.
    asked = beside.standings.asked
    for _ in range(20):
        found = await outcome(world.check(beside, other.key, tenant.tenant_id))
        assert found == "SERVICE_KEYS_AWAY"
    assert beside.standings.asked == asked + 1
    world.clock.advance(AWAY_MS)
    assert await outcome(world.check(beside, other.key, tenant.tenant_id)) == "SERVICE_KEYS_AWAY"
    assert beside.standings.asked == asked + 2
    world.clock.advance(MAX_STALE_MS - MAX_AGE_MS - RETRY_MS)
    found = await outcome(world.check(beside, made.key, tenant.tenant_id))
    assert found == "SERVICE_KEYS_AWAY"


async def test_a_key_revoked_while_its_server_can_t_ask_is_refused(
    world: Any, authn: Any, beside: Any, tenant: Any
) -> None:
    await world.host()
    made = await world.make(tenant.tenant_id, CHECK)
    assert await world.check(beside, made.key, tenant.tenant_id)
    await authn.server.stop()
    world.replicas[0] = world.replicas[-1]
    await world.revoke(made)
    assert await refused_from_then_on(world, beside, made.key, tenant.tenant_id) == "KEY_OVER"


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[EmbeddedValkey]:
    """A Valkey that a test may stop and empty."""
    server = EmbeddedValkey(tmp_path / "valkey", port=reserved_port(), durable=False)
    server.start()
    yield server
    server.stop()


async def test_while_redis_is_away_no_service_key_is_good_for_anything(
    world: Any, tenant: Any, valkey: EmbeddedValkey
) -> None:
    authn = await world.host(redis_url=valkey.url)
    beside = await world.beside(authn, redis_url=valkey.url)
    made = await world.make(tenant.tenant_id, CHECK, "directory.org:create")
    for replica in (authn, beside):
        assert await world.check(replica, made.key, tenant.tenant_id)
    valkey.stop()
    change = directory_pb.CreateOrgRequest(slug="sales", display_name="Sales")
    with pytest.raises(Unavailable):
        await world.orgs(beside, made, tenant.tenant_id).CreateOrg(change)
    # The copy of the deny list is good for half a second more, then no read is served either.
    for replica in (authn, beside):
        found = await refused_from_then_on(world, replica, made.key, tenant.tenant_id)
        assert found == "REVOCATIONS_AWAY"


async def test_a_deny_list_that_was_lost_revives_no_key(
    world: Any, tenant: Any, valkey: EmbeddedValkey
) -> None:
    authn = await world.host(redis_url=valkey.url)
    beside = await world.beside(authn, redis_url=valkey.url)
    made = await world.make(tenant.tenant_id, CHECK)
    kept = await world.make(tenant.tenant_id, CHECK)
    for key in (made.key, kept.key):
        assert await world.check(beside, key, tenant.tenant_id)
    await world.revoke(made)
    loop = asyncio.get_running_loop()
    ended_s = loop.time()
    valkey.stop()
    shutil.rmtree(valkey.folder / "data")
    valkey.start()
    asked = beside.standings.asked
    found = ""
    async with asyncio.timeout(60):
        while found != "KEY_OVER":
            began_s = loop.time()
            found = await outcome(world.check(beside, made.key, tenant.tenant_id))
            assert found or began_s - ended_s < 1, "let in"
    # What was remembered of the others was asked anew.
    async with asyncio.timeout(60):
        while await outcome(world.check(beside, kept.key, tenant.tenant_id)):
            pass
    assert beside.standings.asked >= asked + 2
