"""Limits in Redis do what the algorithm says, and allow nothing when nobody counts."""

import random
from uuid import UUID

import pytest
from redis.asyncio import Redis

from argy.authn.limits import RateLimits
from argy.authn.rates import Rate, arrive
from argy.base.clock import FixedClock
from argy.base.errors import ResourceExhausted, Unavailable
from argy.base.ids import uuid7
from argy.store.redis import RedisStore

RATE = Rate("test_limit", every_ms=700, burst=4)


async def waited(limits: RateLimits, tenant_id: UUID, who: str) -> int:
    try:
        await limits.count(tenant_id, RATE, who)
    except ResourceExhausted as refused:
        return refused.retry_after_ms or -1
    return 0


async def test_the_script_is_the_function(redis_store: RedisStore) -> None:
    clock, tenant_id, stored = FixedClock(1_800_000_000_000), uuid7(), 0
    limits, chance = RateLimits(redis_store, clock), random.Random(7)  # noqa: S311 - a test's
    for _ in range(300):
        # Less than the keys live by Redis's own clock, which this one does not move.
        clock.advance(chance.choice((0, 0, 1, 350, 700, 1_500)))
        expected = arrive(RATE, now_ms=clock.now_ms(), stored_ms=stored)
        stored = expected.next_ms
        assert await waited(limits, tenant_id, "ada") == expected.wait_ms


async def test_each_person_and_tenant_is_counted_alone(redis_store: RedisStore) -> None:
    limits, mine, other = RateLimits(redis_store, FixedClock(1)), uuid7(), uuid7()
    assert [await waited(limits, mine, "ada") > 0 for _ in range(5)] == [False] * 4 + [True]
    assert await waited(limits, mine, "bob") == 0
    assert await waited(limits, other, "ada") == 0


async def test_a_counted_key_ends_and_names_nobody(redis_store: RedisStore) -> None:
    tenant_id = uuid7()
    # No letter of the name is a hexadecimal digit, so that chance does not write it.
    await waited(RateLimits(redis_store, FixedClock(1)), tenant_id, "tim@example.test")
    keys = [key async for key in redis_store.client.scan_iter(f"t:{{{tenant_id}}}:*")]
    assert len(keys) == 1
    assert b"tim" not in keys[0]
    assert 0 < await redis_store.client.pttl(keys[0]) <= RATE.every_ms * RATE.burst


async def test_without_redis_nothing_is_allowed() -> None:
    client = Redis.from_url("redis://127.0.0.1:1", socket_connect_timeout=1)
    away = RedisStore(client, url="redis://127.0.0.1:1", cluster=False)
    with pytest.raises(Unavailable) as refused:
        await RateLimits(away, FixedClock(1)).count(uuid7(), RATE, "ada")
    assert refused.value.reason == "LIMITS_AWAY"
    await away.close()
