"""Two replicas of a small org service behind the whole chain, on real Postgres and Valkey."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import grpc
import pytest

from argy.api.directory.v1 import tenant_pb2 as pb
from argy.api.directory.v1.tenant_pb2_grpc import OrgServiceStub
from argy.base.clock import SystemClock
from argy.base.crypto import KeyRing
from argy.base.errors import ArgyError, PermissionDenied
from argy.rpc.call import Call
from argy.rpc.client import SignedChannel
from argy.rpc.pair_keys import PairKeys, RootKeys
from argy.rpc.server import Server, ServerConfig
from argy.rpc.signature import HEADER, NONCE_BYTES, Subject, covered, sign
from argy.rpc.stages import Dependencies
from argy.rpc.telemetry import Telemetry
from argy.store.nonce import NonceCache
from argy.store.redis import RedisStore
from argy.store.tenants import TenantCache

METHOD_GET = "/argy.api.directory.v1.OrgService/GetOrg"
METHOD_CREATE = "/argy.api.directory.v1.OrgService/CreateOrg"
RING = KeyRing.generate("k1").rotated("k2")
MAX_REQUEST_BYTES = 64 * 1024


class Orgs:
    """Answers with what the chain knows of the call."""

    def __init__(self) -> None:
        self.created: list[str] = []
        self.entered = asyncio.Semaphore(0)
        self.leave = asyncio.Event()
        """GetOrg waits for it; set unless a test clears it."""
        self.leave.set()

    async def GetOrg(self, request: Any, call: Call) -> pb.GetOrgResponse:  # noqa: N802
        self.entered.release()
        await self.leave.wait()
        return pb.GetOrgResponse(
            org=pb.Org(org_id=request.org_id, slug=call.tenant.slug, display_name=call.caller)
        )

    async def CreateOrg(self, request: Any, call: Call) -> pb.CreateOrgResponse:  # noqa: N802
        self.created.append(request.slug)
        if request.slug != "forgetful":
            call.mark_audited()
        return pb.CreateOrgResponse(org=pb.Org(slug=request.slug))

    async def ListOrgs(self, request: Any, call: Call) -> pb.ListOrgsResponse:  # noqa: N802
        raise RuntimeError("a bug that holds a secret: hunter2")

    async def DeleteOrg(self, request: Any, call: Call) -> pb.DeleteOrgResponse:  # noqa: N802
        return pb.DeleteOrgResponse()


class Permissions:
    """Holds who may what, in place of a policy: this test is of the chain."""

    def __init__(self) -> None:
        self.denied: set[str] = set()
        self.asked: list[tuple[str, str, str]] = []

    def permit(
        self, call: Call, permission: str, platform: bool, resource_id: str = "-"
    ) -> Awaitable[None] | None:
        self.asked.append((call.caller, permission, resource_id))
        if permission in self.denied:
            raise PermissionDenied("denied", reason="ACCESS_DENIED")
        return None


class Refusals:
    """Remembers what the audit stage was told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []

    def refused(self, call: Call, error: ArgyError) -> None:
        self.told.append((call.source, error.reason))


@dataclass
class Replica:
    """One server and what it was made of."""

    server: Server
    port: int
    servicer: Orgs
    permissions: Permissions
    refusals: Refusals
    nonces: NonceCache

    @property
    def target(self) -> str:
        return f"127.0.0.1:{self.port}"


@dataclass
class Attempt:
    """A call that a test may spoil in one place before it is sent."""

    tenant: UUID
    body: bytes
    method: str = METHOD_GET
    signed_method: str = ""
    org: UUID | None = None
    source: str = "cli"
    destination: str = "directory"
    keys: PairKeys = field(default_factory=lambda: RootKeys(RING))
    now_ms: int = field(default_factory=lambda: SystemClock().now_ms())
    extra: tuple[tuple[str, str], ...] = ()

    def metadata(self) -> list[tuple[str, str | bytes]]:
        plain = [("x-tenant-id", str(self.tenant)), *self.extra]
        if self.org:
            plain.append(("x-org-id", str(self.org)))
        subject = Subject(
            method=self.signed_method or self.method,
            source=self.source,
            destination=self.destination,
            tenant=str(self.tenant),
            org=str(self.org) if self.org else "",
            metadata=covered(plain),
        )
        nonce = os.urandom(NONCE_BYTES)
        header = sign(subject, self.body, keys=self.keys, now_ms=self.now_ms, nonce=nonce)
        return [*plain, (HEADER, header)]


@pytest.fixture
def attempt() -> type[Attempt]:
    """Make a signed call that can be spoilt: ``attempt(tenant_id, body, source="evil")``."""
    return Attempt


@pytest.fixture
def ring() -> KeyRing:
    """The replicas' key ring: k1 and k2 live, k2 signs."""
    return RING


Send = Callable[..., Awaitable[bytes]]


@pytest.fixture
def send() -> Send:
    """Send raw bytes with raw metadata; nothing is signed or mended on the way."""

    async def send_raw(
        replica: Replica,
        method: str,
        body: bytes,
        metadata: list[tuple[str, Any]],
        timeout_s: float | None = 20,
    ) -> bytes:
        async with grpc.aio.insecure_channel(replica.target) as channel:
            call = channel.unary_unary(method, None, None)
            answer: bytes = await call(body, metadata=tuple(metadata), timeout=timeout_s)
            return answer

    return send_raw


ReplicaFactory = Callable[..., Awaitable[Replica]]


@pytest.fixture
async def replica_factory(
    db_factory: Any, redis_url: str, tmp_path: Path
) -> AsyncIterator[ReplicaFactory]:
    """Start a replica; each has its own connections and caches."""
    replicas: list[Replica] = []
    stores: list[RedisStore] = []
    caches: list[TenantCache] = []

    async def make(
        *,
        ring: KeyRing = RING,
        url: str = redis_url,
        more: Sequence[tuple[object, Any]] = (),
        **config: Any,
    ) -> Replica:
        db = await db_factory("argy_directory", max_size=2)
        tenants = TenantCache(db)
        await tenants.start()
        caches.append(tenants)
        store = await RedisStore.open(url)
        stores.append(store)
        nonces = NonceCache(store)
        permissions, refusals = Permissions(), Refusals()
        dependencies = Dependencies(
            keys=RootKeys(ring),
            nonces=nonces,
            tenants=tenants,
            access=permissions,
            audit=refusals,
            clock=SystemClock(),
            telemetry=Telemetry(),
            max_request_bytes=MAX_REQUEST_BYTES,
        )
        options = {"unsafe_plaintext": True, "max_request_bytes": MAX_REQUEST_BYTES, **config}
        server = Server(ServerConfig(**options), dependencies)
        servicer = Orgs()
        server.add(servicer, pb.DESCRIPTOR.services_by_name["OrgService"])
        for another, service in more:
            server.add(another, service)
        port = await server.start()
        await server.ready()
        replica = Replica(server, port, servicer, permissions, refusals, nonces)
        replicas.append(replica)
        return replica

    yield make
    for replica in replicas:
        await replica.server.stop()
        await replica.nonces.close()
    for cache in caches:
        await cache.close()
    for store in stores:
        await store.close()


@pytest.fixture
async def replica(replica_factory: ReplicaFactory) -> Replica:
    """One replica."""
    return await replica_factory()


@pytest.fixture
async def stub_factory() -> AsyncIterator[Callable[..., OrgServiceStub]]:
    """A generated stub over a SignedChannel."""
    channels: list[SignedChannel] = []

    def make(replica: Replica, tenant: UUID, org: UUID | None = None, **options: Any) -> Any:
        channel = SignedChannel(
            replica.target,
            source=options.pop("source", "cli"),
            keys=options.pop("keys", RootKeys(RING)),
            tenant_id=tenant,
            org_id=org,
            **{"unsafe_plaintext": True, **options},
        )
        channels.append(channel)
        return OrgServiceStub(channel)

    yield make
    for channel in channels:
        await channel.close()
