"""The audit service behind the whole chain, on real Postgres and Valkey."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from argy.api.audit.v1 import audit_pb2 as pb
from argy.api.audit.v1.audit_pb2_grpc import AuditServiceStub
from argy.audit.main import assemble
from argy.base.clock import SystemClock
from argy.base.crypto import KeyRing, write_secret
from argy.base.errors import ArgyError
from argy.client.connection import Connection, Endpoint
from argy.rpc.call import Call
from argy.rpc.client import SignedChannel
from argy.rpc.page_token import PageTokens
from argy.rpc.pair_keys import RootKeys
from argy.rpc.server import Server, ServerConfig
from argy.rpc.stages import Dependencies
from argy.rpc.telemetry import Telemetry
from argy.store.nonce import NonceCache
from argy.store.redis import RedisStore
from argy.store.tenants import TenantCache
from argy.trail.lane import AuditLane

RING = KeyRing.generate("k1")
MAX_REQUEST_BYTES = 4 << 20


class EveryoneMay:
    """Permits every call: these tests are of the service, not of the policy."""

    def permit(
        self, call: Call, permission: str, platform: bool, resource_id: str = "-"
    ) -> Awaitable[None] | None:
        return None


class Refusals:
    """Where the audit stage tells of refused calls: of no interest here."""

    def refused(self, call: Call, error: ArgyError) -> None:
        return


@dataclass
class Replica:
    """One server of the audit service, and the lane that records who reads."""

    server: Server
    lane: AuditLane


@pytest.fixture
async def audit_replica(db_factory: Any, redis_url: str, tmp_path: Path) -> AsyncIterator[Replica]:
    """A running audit service."""
    async with AsyncExitStack() as stack:
        db = await db_factory("argy_audit", max_size=4)
        tenants = TenantCache(db)
        await tenants.start()
        stack.push_async_callback(tenants.close)
        store = await RedisStore.open(redis_url)
        stack.push_async_callback(store.close)
        nonces = NonceCache(store)
        stack.push_async_callback(nonces.close)
        lane = AuditLane(db, tmp_path / "spool")
        await lane.start()
        stack.push_async_callback(lane.close)
        server = Server(
            ServerConfig(unsafe_plaintext=True, max_request_bytes=MAX_REQUEST_BYTES),
            Dependencies(
                keys=RootKeys(RING),
                nonces=nonces,
                tenants=tenants,
                access=EveryoneMay(),
                audit=Refusals(),
                clock=SystemClock(),
                telemetry=Telemetry(),
                max_request_bytes=MAX_REQUEST_BYTES,
            ),
        )
        pages = PageTokens(b"p" * 32)
        for servicer, descriptor in assemble(db=db, lane=lane, pages=pages, clock=SystemClock()):
            server.add(servicer, descriptor)
        await server.start()
        stack.push_async_callback(server.stop)
        await server.ready()
        yield Replica(server, lane)


@pytest.fixture
async def audit_stub(audit_replica: Replica) -> AsyncIterator[Callable[..., Any]]:
    """A generated stub: ``audit_stub(tenant_id, org_id, source="edge")``."""
    opened: list[SignedChannel] = []

    def make(tenant_id: UUID, org_id: UUID | None = None, *, source: str = "cli") -> Any:
        channel = SignedChannel(
            f"127.0.0.1:{audit_replica.server.port}",
            source=source,
            keys=RootKeys(RING),
            tenant_id=tenant_id,
            org_id=org_id,
            unsafe_plaintext=True,
        )
        opened.append(channel)
        return AuditServiceStub(channel)

    yield make
    for channel in opened:
        await channel.close()


@pytest.fixture
async def connection(audit_replica: Replica, tmp_path: Path) -> AsyncIterator[Connection]:
    """A service's connection, as the client library makes it."""
    keys = tmp_path / "billing.json"
    write_secret(keys, json.dumps(RootKeys(RING).issue("billing", ["audit"]).to_json()).encode())
    target = f"127.0.0.1:{audit_replica.server.port}"
    endpoint = Endpoint(target=target, source="billing", keys_file=str(keys), unsafe_plaintext=True)
    async with Connection(endpoint) as connected:
        yield connected


@pytest.fixture
def event() -> Callable[..., pb.Event]:
    """An acceptable event, changed by keyword."""

    def make(**fields: Any) -> pb.Event:
        detail = fields.pop("detail", None)
        made = pb.Event(
            **{
                "actor": "user:ada",
                "action": "project.deploy",
                "resource": "project:alpha",
                "outcome": pb.OUTCOME_SUCCESS,
                **fields,
            }
        )
        if detail is not None:
            made.detail.update(detail)
        return made

    return make
