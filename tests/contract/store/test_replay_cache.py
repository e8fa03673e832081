"""What a replay cache promises, on one Redis and on Redis Cluster."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import redis

from argy.base.clock import SystemClock
from argy.base.ids import uuid7
from argy.local.binaries import find_valkey
from argy.local.valkey import EmbeddedValkey
from argy.store.nonce import NonceCache
from argy.store.redis import RedisStore


def cluster_program(folder: Path) -> Path:
    """A server that starts as a cluster's only node."""
    program = folder / "cluster-node"
    program.write_text(
        f'#!/bin/sh\nexec {find_valkey("auto")} "$@" --cluster-enabled yes\n', encoding="ascii"
    )
    program.chmod(0o755)
    return program


def own_every_slot(url: str) -> None:
    with redis.Redis.from_url(url) as client:
        client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        while "cluster_state:ok" not in str(client.execute_command("CLUSTER", "INFO")):
            pass


@pytest.fixture(params=["single", "cluster"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[RedisStore]:
    if request.param == "single":
        opened = await RedisStore.open(request.getfixturevalue("redis_url"))
        yield opened
        await opened.close()
        return
    server = EmbeddedValkey(
        tmp_path / "valkey", program=cluster_program(tmp_path), durable=False, allow=("cluster",)
    )
    url = server.start()
    try:
        own_every_slot(url)
        opened = await RedisStore.open(url, cluster=True)
        yield opened
        await opened.close()
    finally:
        server.stop()


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
