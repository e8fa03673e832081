"""Each nonce once, for every replica, and never an answer without Redis."""

import asyncio
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from ports import reserved_port
from redis.asyncio import Redis
from redis.exceptions import NoPermissionError

from argy.base.clock import FixedClock, SystemClock
from argy.base.errors import FailedPrecondition, InvalidArgument, Unavailable
from argy.base.ids import uuid7
from argy.local.valkey import EmbeddedValkey
from argy.rpc.signature import MAX_AGE_MS, MAX_AHEAD_MS, NONCE_MARGIN_MS
from argy.store.nonce import BUCKET_MS, LONGEST_MS, MARGIN_S, NonceCache
from argy.store.redis import RedisStore


def soon() -> int:
    return SystemClock().now_ms() + 35_000


async def test_a_replay_is_seen_by_another_replica(redis_store: RedisStore) -> None:
    one, two = NonceCache(redis_store), NonceCache(redis_store)
    tenant_id, nonce, expires = uuid7(), os.urandom(16), soon()
    assert await one.seen(tenant_id, nonce, expires) is False
    assert await two.seen(tenant_id, nonce, expires) is True
    assert await one.seen(tenant_id, nonce, expires) is True
    assert await two.seen(uuid7(), nonce, expires) is False
    await one.close()
    await two.close()


async def test_a_crowd_is_answered_each_for_itself(redis_store: RedisStore) -> None:
    cache = NonceCache(redis_store)
    tenants = [uuid7() for _ in range(5)]
    nonces = [os.urandom(16) for _ in range(300)]
    calls = [(tenants[i % 5], nonce, soon()) for i, nonce in enumerate(nonces)]
    first = await asyncio.gather(*(cache.seen(*call) for call in calls))
    again = await asyncio.gather(*(cache.seen(*call) for call in calls))
    twice = os.urandom(16)
    racing = await asyncio.gather(*(cache.seen(tenants[0], twice, calls[0][2]) for _ in range(20)))
    assert not any(first)
    assert all(again)
    assert sorted(racing) == [False] + [True] * 19
    await cache.close()


async def test_a_bucket_outlives_its_nonces_and_then_goes(redis_store: RedisStore) -> None:
    cache = NonceCache(redis_store)
    tenant_id, expires = uuid7(), soon()
    await cache.seen(tenant_id, os.urandom(16), expires)
    await cache.seen(tenant_id, os.urandom(16), expires + BUCKET_MS)
    keys = sorted([k.decode() async for k in redis_store.client.scan_iter(f"t:{{{tenant_id}}}:*")])
    minute = expires // BUCKET_MS
    assert keys == [redis_store.key(tenant_id, "nonce", minute + n) for n in (0, 1)]
    ends = await redis_store.client.expiretime(keys[0])
    assert ends == (minute + 1) * 60 + MARGIN_S
    assert ends * 1000 > expires
    await cache.close()


async def test_an_expired_nonce_counts_as_seen(redis_store: RedisStore) -> None:
    clock = FixedClock(soon())
    cache = NonceCache(redis_store, clock=clock)
    assert await cache.seen(uuid7(), os.urandom(16), clock.now_ms()) is True
    assert await cache.seen(uuid7(), os.urandom(16), clock.now_ms() + 1) is False
    await cache.close()


async def test_redis_away_and_back(tmp_path: Path) -> None:
    server = EmbeddedValkey(tmp_path / "valkey", port=reserved_port())
    store = await RedisStore.open(server.start())
    cache = NonceCache(store)
    tenant_id, nonce, expires = uuid7(), os.urandom(16), soon()
    try:
        assert await cache.seen(tenant_id, nonce, expires) is False
        server.stop()
        for _ in range(3):
            with pytest.raises(Unavailable) as caught:
                await cache.seen(tenant_id, os.urandom(16), expires)
            assert caught.value.reason == "REPLAY_CACHE_AWAY"
        server.start()
        assert await _answer(cache, tenant_id, nonce, expires) is True
    finally:
        await cache.close()
        await store.close()
        server.stop()


async def test_a_call_is_not_replayed_to_a_redis_that_lost_its_nonces(tmp_path: Path) -> None:
    """Killed, restored or promoted: what it does not know may have been there."""
    server = EmbeddedValkey(tmp_path / "valkey", port=reserved_port(), durable=False)
    store = await RedisStore.open(server.start())
    clock = FixedClock(SystemClock().now_ms())
    cache = NonceCache(store, clock=clock)
    tenant_id, nonce, expires = uuid7(), os.urandom(16), clock.now_ms() + 35_000
    try:
        assert await cache.seen(tenant_id, nonce, expires) is False
        server.stop()
        shutil.rmtree(tmp_path / "valkey" / "data")
        server.start()
        for made in (nonce, os.urandom(16)):
            with pytest.raises(Unavailable) as refused:
                await _connected(cache, tenant_id, made, expires)
            assert refused.value.reason == "REPLAY_CACHE_AWAY"
        # Signed ahead of the clock and used just before: that can't be told from a new one either.
        with pytest.raises(Unavailable):
            await cache.seen(tenant_id, os.urandom(16), clock.now_ms() + LONGEST_MS)
        clock.advance(5_001)
        signed_now, fresh = clock.now_ms() + 35_000, os.urandom(16)
        assert await cache.seen(tenant_id, fresh, signed_now) is False
        assert await cache.seen(tenant_id, fresh, signed_now) is True
        with pytest.raises(Unavailable):
            await cache.seen(tenant_id, os.urandom(16), expires)
    finally:
        await cache.close()
        await store.close()
        server.stop()


async def test_a_connection_that_was_lost_alone_costs_nothing(tmp_path: Path) -> None:
    server = EmbeddedValkey(tmp_path / "valkey", port=reserved_port(), allow=("client",))
    url = server.start()
    store = await RedisStore.open(url)
    cache = NonceCache(store)
    try:
        assert await cache.seen(uuid7(), os.urandom(16), soon()) is False
        async with Redis.from_url(url) as admin:
            assert await admin.client_kill_filter(_type="normal", skipme=True) > 0
        assert await _answer(cache, uuid7(), os.urandom(16), soon()) is False
    finally:
        await cache.close()
        await store.close()
        server.stop()


def test_no_nonce_lives_longer_than_is_waited_for() -> None:
    assert LONGEST_MS == MAX_AHEAD_MS + MAX_AGE_MS + NONCE_MARGIN_MS


async def _connected(cache: NonceCache, *call: Any) -> bool:
    """The answer of a Redis that is there again: an error has no cause then."""
    async with asyncio.timeout(60):
        while True:
            try:
                return await cache.seen(*call)
            except Unavailable as away:
                if away.__cause__ is None:
                    raise
                await asyncio.sleep(0.01)


async def _answer(cache: NonceCache, *call: Any) -> bool:
    async with asyncio.timeout(60):
        while True:
            try:
                return await cache.seen(*call)
            except Unavailable:
                await asyncio.sleep(0.01)


async def test_a_hung_redis_is_away(redis_url: str) -> None:
    async def swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(swallow, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    store = await RedisStore.open(redis_url)
    hung = RedisStore(store.client, url=f"redis://127.0.0.1:{port}/0", cluster=False)
    cache = NonceCache(hung, timeout_ms=50, max_pending=3)
    calls = [cache.seen(uuid7(), os.urandom(16), soon()) for _ in range(5)]
    for result in await asyncio.gather(*calls, return_exceptions=True):
        assert isinstance(result, Unavailable)
    await cache.close()
    await store.close()
    server.close()
    await server.wait_closed()


async def test_a_refused_log_in_is_away(redis_store: RedisStore, redis_url: str) -> None:
    host = redis_url.rpartition("@")[2]
    wrong = RedisStore(redis_store.client, url=f"redis://:wrong@{host}", cluster=False)
    cache = NonceCache(wrong)
    with pytest.raises(Unavailable):
        await cache.seen(uuid7(), os.urandom(16), soon())
    await cache.close()


async def test_keys_are_the_tenants(redis_store: RedisStore) -> None:
    tenant_id = uuid7()
    assert redis_store.key(tenant_id, "a", 1) == f"t:{{{tenant_id}}}:a:1"
    for parts in ((), ("",), ("a:b",), ("a b",), ("{x}",), ("a\n",), ("é",), ("a" * 201,)):
        with pytest.raises(InvalidArgument):
            redis_store.key(tenant_id, *parts)


async def test_no_test_can_write_outside_a_tenant(
    redis_store: RedisStore, servers: Any, tenant_key_check: Any
) -> None:
    with pytest.raises(NoPermissionError):
        await redis_store.client.set("stray", 1)
    tenant_key_check()
    async with Redis.from_url(servers.redis_admin_url) as admin:
        # Whoever runs beside this test looks only when everything has ended.
        await admin.set("stray", 1)
        with pytest.raises(AssertionError, match="stray"):
            tenant_key_check()
        await admin.delete("stray")


async def test_redis_that_is_not_there() -> None:
    with pytest.raises(Unavailable):
        await RedisStore.open("redis://127.0.0.1:1/0")
    with pytest.raises(InvalidArgument):
        await RedisStore.open("http://127.0.0.1:1/0")


async def test_a_redis_that_may_forget_nonces_is_refused(tmp_path: Path) -> None:
    server = EmbeddedValkey(
        tmp_path / "valkey", port=reserved_port(), durable=False, allow=("config", "acl")
    )
    url = server.start()
    try:
        async with Redis.from_url(url) as admin:
            await admin.config_set("maxmemory-policy", "volatile-lru")
            with pytest.raises(FailedPrecondition, match="volatile-lru") as refused:
                await RedisStore.open(url)
            assert refused.value.reason == "REDIS_EVICTS"
            # One that doesn't say might forget too.
            await admin.config_set("maxmemory-policy", "noeviction")
            await admin.acl_setuser("default", enabled=True, commands=["-info"], keys=["*"])
            with pytest.raises(FailedPrecondition, match="unknown"):
                await RedisStore.open(url)
    finally:
        server.stop()
