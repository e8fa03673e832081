"""Where a call's time goes outside the chain: the replay cache and the decision log, by processor.

Measured in this process, at the concurrency of a busy server; what Redis and Postgres themselves
spend is not counted.
"""

import asyncio
import os
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import uvloop
from stand import Stand, standing
from table import Row

from argy.store.audit import AuditRecord
from argy.store.database import Database
from argy.store.lane import AuditLane
from argy.store.nonce import NonceCache
from argy.store.redis import RedisStore

CONCURRENCY = 64
BURST_S = 0.005
"""About the time in which a busy server answers ``CONCURRENCY`` calls."""


def _secret(stand: Stand, name: str) -> str:
    return (stand.folder / "run" / name).read_text().strip()


async def _replays(url: str, tenant: UUID, calls: int) -> float:
    """Microseconds of processor for a nonce."""
    store = await RedisStore.open(url)
    nonces = NonceCache(store)
    share = calls // CONCURRENCY

    async def worker() -> None:
        for _ in range(share):
            await nonces.seen(tenant, os.urandom(16), int(time.time() * 1000) + 35_000)

    started = time.process_time()
    await asyncio.gather(*(worker() for _ in range(CONCURRENCY)))
    spent = time.process_time() - started
    await nonces.close()
    await store.close()
    return spent / (share * CONCURRENCY) * 1e6


async def _records(dsn: str, spool: Path, tenant: UUID, calls: int) -> float:
    """Microseconds of processor for a decision's record, from the lane to the table."""
    db = await Database.open(dsn, role="argy_authz")
    lane = AuditLane(db, spool)
    await lane.start()
    detail = {
        "policy_revision": "0" * 64,
        "revision": 1,
        "decisions": [
            {
                "subject": f"user:{tenant}",
                "action": "deploy",
                "resource": "project:alpha",
                "effect": "ALLOW",
                "reason": "ALLOWED_BY_RULE",
                "rule": "roles/engineer.csv:8",
            }
        ],
    }
    started = time.process_time()
    for _ in range(calls // CONCURRENCY):
        for _ in range(CONCURRENCY):
            lane.put(
                tenant,
                AuditRecord(
                    actor="service:bench",
                    action="authz.decision.check",
                    resource="project:alpha",
                    request_id="0" * 32,
                    detail=detail,
                ),
            )
        await asyncio.sleep(BURST_S)
    await lane.drain()
    spent = time.process_time() - started
    await lane.close()
    await db.close()
    return spent / (calls // CONCURRENCY * CONCURRENCY) * 1e6


def profile(calls: int) -> Iterator[Row]:
    """What a signed Check costs besides its chain and gRPC."""
    with standing() as stand:
        tenant = UUID(stand.tenant_id)
        replay = uvloop.run(_replays(_secret(stand, "argy_redis_url"), tenant, calls))
        yield Row("Check: replay cache, in Redis", f"{replay:.1f} µs", "in this process")
        dsn = _secret(stand, "argy_authz_dsn")
        log = uvloop.run(_records(dsn, stand.folder / "bench-spool", tenant, calls))
        yield Row("Check: decision log, to Postgres", f"{log:.1f} µs", "in this process")
