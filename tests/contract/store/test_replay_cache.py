"""What a replay cache promises, on one Redis and on Redis Cluster."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from redis_cluster import redis_cluster

from argy.base.clock import SystemClock
from argy.base.ids import uuid7
from argy.store.nonce import NonceCache
from argy.store.redis import RedisStore


@pytest.fixture(params=["single", "cluster"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[RedisStore]:
    if request.param == "single":
        opened = await RedisStore.open(request.getfixturevalue("redis_url"))
        yield opened
        await opened.close()
        return
    async with redis_cluster(tmp_path) as opened:
        yield opened


async def test_each_nonce_once(store: RedisStore) -> None:
    one, two = NonceCache(store), NonceCache(store, timeout_ms=2000)
    expires = SystemClock().now_ms() + 35_000
    calls = [(uuid7(), os.urandom(16), expires + n * 1000) for n in range(100)]
    first = await asyncio.gather(*(one.seen(*call) for call in calls))
    again = await asyncio.gather(*(two.seen(*call) for call in calls))
    other = await asyncio.gather(*(two.seen(uuid7(), call[1], call[2]) for call in calls))
    assert not any(first)
    assert all(again)
    assert not any(other)
    await one.close()
    await two.close()


async def test_what_is_remembered_expires(store: RedisStore) -> None:
    cache = NonceCache(store, timeout_ms=2000)
    tenant_id, expires = uuid7(), SystemClock().now_ms() + 35_000
    await cache.seen(tenant_id, os.urandom(16), expires)
    bucket = store.key(tenant_id, "nonce", expires // 60_000)
    assert expires < await store.client.pexpiretime(bucket) <= expires + 120_000
    await cache.close()
