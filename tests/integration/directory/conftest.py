"""The directory behind the whole chain, on real Postgres and Valkey."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from argy.api.directory.v1.tenant_pb2_grpc import OrgServiceStub, TenantServiceStub
from argy.api.directory.v1.user_pb2_grpc import GroupServiceStub, UserServiceStub
from argy.base.clock import SystemClock
from argy.base.crypto import KeyRing
from argy.base.errors import ArgyError
from argy.base.ids import PLATFORM_TENANT_ID
from argy.directory.main import assemble
from argy.rpc.call import Call
from argy.rpc.client import SignedChannel
from argy.rpc.delegation import Delegation, Missing
from argy.rpc.page_token import PageTokens
from argy.rpc.pair_keys import RootKeys
from argy.rpc.server import Server, ServerConfig
from argy.rpc.stages import Dependencies
from argy.rpc.telemetry import Telemetry
from argy.store.nonce import NonceCache
from argy.store.redis import RedisStore
from argy.store.tenants import TenantCache

RING = KeyRing.generate("k1")
MAX_REQUEST_BYTES = 4 << 20


class EveryoneMay:
    """Permits every call: these tests are of the service, not of the policy."""

    def permit(
        self, call: Call, permission: str, platform: bool, resource_id: str = "-"
    ) -> Awaitable[None] | None:
        return None

    async def missing(self, call: Call, wanted: Delegation) -> Missing | None:
        return None


class Refusals:
    """Where the audit stage tells of refused calls: of no interest here."""

    def refused(self, call: Call, error: ArgyError) -> None:
        return


class Client:
    """The directory's stubs, as one calling service in one tenant and org."""

    def __init__(self, channel: SignedChannel) -> None:
        self.tenants: Any = TenantServiceStub(channel)
        self.orgs: Any = OrgServiceStub(channel)
        self.users: Any = UserServiceStub(channel)
        self.groups: Any = GroupServiceStub(channel)


@pytest.fixture
async def directory_port(db_factory: Any, redis_url: str) -> AsyncIterator[int]:
    """The port of a running directory."""
    async with AsyncExitStack() as stack:
        db = await db_factory("argy_directory", max_size=4)
        tenants = TenantCache(db)
        await tenants.start()
        stack.push_async_callback(tenants.close)
        store = await RedisStore.open(redis_url)
        stack.push_async_callback(store.close)
        nonces = NonceCache(store)
        stack.push_async_callback(nonces.close)
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
        for servicer, descriptor in assemble(
            db=db, access=EveryoneMay(), pages=pages, clock=SystemClock()
        ):
            server.add(servicer, descriptor)
        port = await server.start()
        stack.push_async_callback(server.stop)
        await server.ready()
        yield port


@pytest.fixture
async def directory(directory_port: int) -> AsyncIterator[Callable[..., Client]]:
    """A client: ``directory(tenant_id, org_id)``; in the platform tenant without arguments."""
    opened: list[SignedChannel] = []

    def make(tenant_id: UUID = PLATFORM_TENANT_ID, org_id: UUID | None = None) -> Client:
        channel = SignedChannel(
            f"127.0.0.1:{directory_port}",
            source="cli",
            keys=RootKeys(RING),
            tenant_id=tenant_id,
            org_id=org_id,
            unsafe_plaintext=True,
        )
        opened.append(channel)
        return Client(channel)

    yield make
    for channel in opened:
        await channel.close()


@pytest.fixture
async def admin(pg_dsn: str) -> AsyncIterator[Any]:
    """A superuser's connection: sees every tenant's rows."""
    connection = await asyncpg.connect(pg_dsn)
    yield connection
    await connection.close()


@pytest.fixture
def actions(admin: Any) -> Callable[..., Awaitable[list[str]]]:
    """The audited actions of a tenant, oldest first."""

    async def read(tenant_id: UUID) -> list[str]:
        rows = await admin.fetch(
            "SELECT action FROM audit.event WHERE tenant_id = $1 ORDER BY id", tenant_id
        )
        return [row["action"] for row in rows]

    return read
