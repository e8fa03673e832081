"""A real Redis Cluster for tests, of one node: it refuses what crosses slots as any other does."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import redis

from argy.local.binaries import find_valkey
from argy.local.valkey import EmbeddedValkey
from argy.store.redis import RedisStore


@asynccontextmanager
async def redis_cluster(folder: Path) -> AsyncIterator[RedisStore]:
    """Start a cluster whose files lie in ``folder``; stop it at the end."""
    server = EmbeddedValkey(
        folder / "valkey", program=_cluster_program(folder), durable=False, allow=("cluster", "acl")
    )
    url = server.start()
    try:
        _own_every_slot(url)
        store = await RedisStore.open(url, cluster=True)
        yield store
        await store.close()
    finally:
        server.stop()


def _cluster_program(folder: Path) -> Path:
    program = folder / "cluster-node"
    program.write_text(
        f'#!/bin/sh\nexec {find_valkey("auto")} "$@" --cluster-enabled yes\n', encoding="ascii"
    )
    program.chmod(0o755)
    return program


def _own_every_slot(url: str) -> None:
    with redis.Redis.from_url(url) as client:
        client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        while "cluster_state:ok" not in str(client.execute_command("CLUSTER", "INFO")):
            pass
