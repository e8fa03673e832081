"""Replicas of the authz service behind the whole chain, on real Postgres and Valkey."""

import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from argy.api.authz.v1.assignment_pb2 import GrantRoleRequest, RevokeRoleRequest
from argy.api.authz.v1.assignment_pb2_grpc import AssignmentServiceStub
from argy.api.authz.v1.authz_pb2 import CheckRequest, Question
from argy.api.authz.v1.authz_pb2_grpc import AuthzServiceStub
from argy.authz.main import Authz, assemble
from argy.authz.notifications.notifier import Notify
from argy.base.clock import Clock, SystemClock
from argy.base.crypto import KeyRing
from argy.base.errors import ArgyError
from argy.base.ids import uuid7
from argy.policy import compile_policy, load_policy
from argy.rpc.call import Call
from argy.rpc.client import SignedChannel
from argy.rpc.credentials import CredentialVerifier
from argy.rpc.page_token import PageTokens
from argy.rpc.pair_keys import RootKeys
from argy.rpc.server import Server, ServerConfig
from argy.rpc.stages import Dependencies
from argy.rpc.telemetry import Telemetry
from argy.rpc.tokens import TokenVerifier
from argy.store.nonce import NonceCache
from argy.store.redis import RedisStore
from argy.store.tenants import TenantCache
from argy.trail.lane import AuditLane

RING = KeyRing.generate("k1")
MODEL = Path(__file__).resolve().parents[3] / "policy" / "model.conf"
RULES = """\
p, role:PLATFORM_ADMIN, *, *, *, allow, true
p, role:PLATFORM_USER, *, project:*, read, allow, true
p, role:PLATFORM_USER, *, project:*, deploy, allow, has(ctx.mfa) && ctx.mfa
p, role:PLATFORM_USER, *, project:secret-*, *, deny, true
p, role:ACCESS_MANAGER, *, authz.role_assignment:*, grant, allow, true
p, role:ACCESS_MANAGER, *, authz.role_assignment:*, revoke, allow, true
p, role:ACCESS_MANAGER, *, authz.role_assignment:*, read, allow, true
p, role:ACCESS_DELEGATE, *, authz.role_assignment:*, grant_any, allow, true
g, role:ACCESS_MANAGER, role:PLATFORM_USER, *
"""
SERVICES = """\
g, service:cli, role:PLATFORM_ADMIN, *
p, service:cli, *, authz.subject:user/*, act_for, allow, true
g, service:manager, role:ACCESS_MANAGER, *
g, service:delegate, role:ACCESS_MANAGER, *
g, service:delegate, role:ACCESS_DELEGATE, *
p, service:console, *, authz.decision:*, *, allow, true
"""


@dataclass
class Replica:
    """One server of the authz service."""

    authz: Authz
    lane: AuditLane
    server: Server
    ring: KeyRing = RING

    @property
    def target(self) -> str:
        return f"127.0.0.1:{self.server.port}"


class Client:
    """Both services of a replica, as one calling service in one tenant and org."""

    def __init__(self, channel: SignedChannel) -> None:
        self.authz: Any = AuthzServiceStub(channel)
        self.roles: Any = AssignmentServiceStub(channel)

    async def grant(self, subject: str, role: str, **fields: Any) -> Any:
        request = GrantRoleRequest(
            subject=subject, role=role, **{"reason": "the test needs it", **fields}
        )
        return await self.roles.GrantRole(request)

    async def revoke(self, assignment_id: str) -> str:
        request = RevokeRoleRequest(assignment_id=assignment_id, reason="no longer")
        return str((await self.roles.RevokeRole(request)).revision)

    async def allowed(self, subject: str, at_least: str = "", **fields: Any) -> bool:
        return bool((await self.check(subject, at_least, **fields)).decision.effect == 1)

    async def check(self, subject: str, at_least: str = "", **fields: Any) -> Any:
        question = Question(
            **{"subject": subject, "action": "read", "resource": "project:alpha", **fields}
        )
        return await self.authz.Check(CheckRequest(question=question, at_least=at_least))


class Refusals:
    """Where the audit stage tells of refused calls: of no interest here."""

    def refused(self, call: Call, error: ArgyError) -> None:
        return


@pytest.fixture
def policy_root(tmp_path: Path) -> Path:
    """A policy folder that a test may change."""
    root = tmp_path / "policy"
    (root / "roles").mkdir(parents=True)
    shutil.copy(MODEL, root / "model.conf")
    (root / "roles" / "roles.csv").write_text(RULES)
    (root / "services.csv").write_text(SERVICES)
    return root


ReplicaFactory = Callable[..., Awaitable[Replica]]


@pytest.fixture
async def authz_replica(
    db_factory: Any, redis_url: str, tmp_path: Path, policy_root: Path
) -> AsyncIterator[ReplicaFactory]:
    """Start a replica; each has its own connections, caches and spool."""
    closers: list[Callable[[], Awaitable[object]]] = []

    async def make(
        *,
        clock: Clock | None = None,
        lane_bytes: int = 1 << 20,
        notify: Notify | None = None,
        tokens: TokenVerifier | None = None,
        credentials: CredentialVerifier | None = None,
    ) -> Replica:
        clock = clock or SystemClock()
        db = await db_factory("argy_authz", max_size=4)
        lane = AuditLane(db, tmp_path / f"spool-{len(closers)}", max_bytes=lane_bytes)
        await lane.start()
        authz = assemble(
            db=db,
            lane=lane,
            pages=PageTokens(bytes(32)),
            clock=clock,
            policy=compile_policy(load_policy(policy_root)),
            notify=notify,
        )
        await authz.start()
        tenants = TenantCache(db)
        await tenants.start()
        store = await RedisStore.open(redis_url)
        nonces = NonceCache(store)
        limit = 4 << 20
        server = Server(
            ServerConfig(unsafe_plaintext=True, max_request_bytes=limit),
            Dependencies(
                keys=RootKeys(RING),
                nonces=nonces,
                tenants=tenants,
                access=authz.access,
                audit=Refusals(),
                # Signatures are of now, whatever time decisions are made at.
                clock=SystemClock(),
                telemetry=Telemetry(),
                max_request_bytes=limit,
                tokens=tokens,
                credentials=credentials,
            ),
        )
        for servicer, descriptor in authz.services:
            server.add(servicer, descriptor)
        await server.start()
        await server.ready()
        closers.extend(
            (server.stop, nonces.close, tenants.close, authz.close, lane.close, store.close)
        )
        return Replica(authz, lane, server)

    yield make
    # The last replica first; each in the order given above.
    for start in reversed(range(0, len(closers), 6)):
        for close in closers[start : start + 6]:
            await close()


@pytest.fixture
async def authz_client() -> AsyncIterator[Callable[..., Client]]:
    """Call a replica: ``authz_client(replica, tenant_id, org_id, source="manager")``."""
    channels: list[SignedChannel] = []

    def make(
        replica: Replica, tenant_id: UUID, org_id: UUID | None = None, *, source: str = "cli"
    ) -> Client:
        channel = SignedChannel(
            replica.target,
            source=source,
            keys=RootKeys(RING),
            tenant_id=tenant_id,
            org_id=org_id,
            unsafe_plaintext=True,
            timeout_s=30,
        )
        channels.append(channel)
        return Client(channel)

    yield make
    for channel in channels:
        await channel.close()


Person = Callable[..., Awaitable[str]]


@pytest.fixture
async def person(db_factory: Any) -> Person:
    """Make a user, with the groups named by id, and return the subject."""
    db = await db_factory("argy_directory", max_size=2)

    async def make(tenant_id: UUID, *groups: UUID, let_in_by: str = "service:directory") -> str:
        user_id = uuid7()
        async with db.tenant(tenant_id) as tx:
            await tx.execute(
                "INSERT INTO directory.user_account (tenant_id, user_id, email, display_name)"
                " VALUES ($1, $2, $3, 'P')",
                tenant_id,
                user_id,
                f"{user_id}@example.test",
            )
            for group in groups:
                await tx.execute(
                    "INSERT INTO directory.user_group (tenant_id, group_id, slug, display_name)"
                    " VALUES ($1, $2, $3, 'G') ON CONFLICT DO NOTHING",
                    tenant_id,
                    group,
                    f"g-{group.hex}",
                )
                await tx.execute(
                    "INSERT INTO directory.group_member (tenant_id, group_id, user_id, created_by)"
                    " VALUES ($1, $2, $3, $4)",
                    tenant_id,
                    group,
                    user_id,
                    let_in_by,
                )
        return f"user:{user_id}"

    return make


@pytest.fixture
async def change_directory(db_factory: Any) -> Callable[..., Awaitable[None]]:
    """Run a statement as the directory does: followed by a raised revision."""
    db = await db_factory("argy_directory", max_size=2)

    async def change(tenant_id: UUID, statement: str, *args: object) -> None:
        async with db.tenant(tenant_id) as tx:
            await tx.execute(statement, *args)
            await tx.execute("SELECT authz.bump_revision($1)", tenant_id)

    return change


@pytest.fixture
async def audit_events(db_factory: Any) -> Callable[..., Awaitable[list[asyncpg.Record]]]:
    """The tenant's audit events of an action, oldest first."""
    db = await db_factory("argy_audit", max_size=2)

    async def read(tenant_id: UUID, action: str) -> list[asyncpg.Record]:
        async with db.tenant(tenant_id) as tx:
            rows = await tx.fetch(
                "SELECT actor, on_behalf_of, via, subject, resource, outcome, reason, org_id,"
                " request_id,"
                " detail::text"
                " FROM audit.event WHERE tenant_id = $1 AND action = $2 ORDER BY id",
                tenant_id,
                action,
            )
        return list(rows)

    return read


@pytest.fixture
async def end_listeners(pg_dsn: str) -> AsyncIterator[Callable[..., Awaitable[int]]]:
    """End every listening connection of this database; how many there were."""
    connection = await asyncpg.connect(pg_dsn)

    async def end() -> int:
        return int(
            await connection.fetchval(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                " WHERE application_name = 'argy_listen' AND datname = current_database()"
            )
        )

    yield end
    await connection.close()
