"""Service keys on real Postgres and Valkey: servers that host sign-in, and one that asks it."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from argy.api.authn.v1 import credential_pb2 as pb
from argy.api.authn.v1.credential_pb2_grpc import CredentialServiceStub
from argy.api.authz.v1.assignment_pb2 import GrantRoleRequest
from argy.api.authz.v1.assignment_pb2_grpc import AssignmentServiceStub
from argy.api.authz.v1.authz_pb2 import CheckRequest, Question
from argy.api.authz.v1.authz_pb2_grpc import AuthzServiceStub
from argy.api.directory.v1.tenant_pb2_grpc import OrgServiceStub, TenantServiceStub
from argy.authn.credentials.rights import Rights
from argy.authn.credentials.service import CredentialService
from argy.authn.credentials.usage import LastUsed
from argy.authn.credentials.use_cases import Credentials
from argy.authn.service_keys.use_cases import ServiceKeys as HostedKeys
from argy.authn.sessions.audit import SignInLog
from argy.authn.tokens.ending import TokenEndings
from argy.authn.tokens.issuing import TokenIssuer
from argy.authn.tokens.revocation import RevocationMirror
from argy.authn.tokens.signing_keys import SigningKeys
from argy.authz.main import Authz, assemble
from argy.base.clock import FixedClock, SystemClock
from argy.base.crypto import KeyRing
from argy.base.envelope import KeyRingKms
from argy.base.errors import ArgyError
from argy.base.ids import PLATFORM_TENANT_ID, uuid7
from argy.directory.main import assemble as assemble_directory
from argy.policy import compile_policy, load_policy
from argy.rpc.call import Call
from argy.rpc.client import SignedChannel
from argy.rpc.client_keys import ServiceKey
from argy.rpc.page_token import PageTokens
from argy.rpc.pair_keys import PairKeys, RootKeys
from argy.rpc.server import Server, ServerConfig
from argy.rpc.service_key_id import ServiceKeyId
from argy.rpc.service_keys import KeyStanding, KeyStandings, RemoteKeyStandings, ServiceKeys
from argy.rpc.stages import Dependencies
from argy.rpc.telemetry import Telemetry
from argy.rpc.tokens import TokenVerifier
from argy.store.database import Database
from argy.store.migrate import with_login
from argy.store.nonce import NonceCache
from argy.store.redis import RedisStore
from argy.store.tenants import TenantCache
from argy.trail.lane import AuditLane

KEK = KeyRing.generate("kek1")
URL = "https://edge.example.test"
MODEL = Path(__file__).resolve().parents[4] / "policy" / "model.conf"
LIMIT = 4 << 20
RULES = """\
p, role:PLATFORM_ADMIN, *, *, *, allow, true
p, role:KEY_MAKER, *, authn.service_key:*, create, allow, true
p, role:KEY_MAKER, *, authz.decision:*, check, allow, true
p, role:CHECKER, *, authz.decision:*, check, allow, true
p, role:ACTOR, *, authz.subject:user/*, act_for, allow, true
p, role:ENGINEER, *, authz.elevation:*, request, allow, true
p, role:ENGINEER, *, authz.role:PLATFORM_ADMIN, break_glass, allow, true
"""
SERVICES = """\
g, service:cli, role:PLATFORM_ADMIN, *
p, service:cli, *, authz.subject:user/*, act_for, allow, true
p, service:directory, *, authn.credential:*, verify, allow, true
p, service:billing, *, authz.decision:*, check, allow, true
p, service:billing, *, directory.org:*, *, allow, true
p, service:billing, *, directory.tenant:*, read, allow, true
p, service:billing, *, authn.service_key:*, create, allow, true
p, service:billing, *, authz.subject:user/*, act_for, allow, true
"""
CHECK = "authz.decision:check"


class Refusals:
    """What the audit stage was told, with the tenant in whose records it goes."""

    def __init__(self) -> None:
        self.told: list[tuple[UUID, str, str]] = []

    def refused(self, call: Call, error: ArgyError) -> None:
        self.told.append((call.tenant_id, call.source, error.reason))


class Counted:
    """Counts the questions that go to who knows of service keys."""

    def __init__(self, standings: KeyStandings) -> None:
        self._standings = standings
        self.asked = 0
        self.answered = asyncio.Semaphore(0)

    async def standing(self, key: ServiceKeyId, secret_hash: str) -> KeyStanding | None:
        self.asked += 1
        found = await self._standings.standing(key, secret_hash)
        self.answered.release()
        return found


@dataclass
class Replica:
    """One server and what a test looks at of it."""

    server: Server
    standings: Counted
    refusals: Refusals
    service_keys: ServiceKeys
    used: LastUsed | None = None
    issuer: TokenIssuer | None = None
    db: Database | None = None
    hosted: HostedKeys | None = None


@dataclass(frozen=True)
class Held:
    """A service key as its owner holds it."""

    tenant_id: UUID
    credential_id: str
    key: ServiceKey
    secret: str = field(repr=False)


def held(tenant_id: UUID, answer: Any) -> Held:
    """The key of an answer that told its secret."""
    key = ServiceKey(
        source=answer.credential.subject.removeprefix("service:"),
        key_id=answer.key_id,
        secret=answer.secret,
    )
    return Held(tenant_id, answer.credential.credential_id, key, answer.secret)


class World:
    """Makes servers, keys and calls."""

    def __init__(
        self,
        stack: AsyncExitStack,
        db_factory: Any,
        folder: Path,
        redis_url: str,
    ) -> None:
        self._stack = stack
        self._db_factory = db_factory
        self._folder = folder
        self._policy = compile_policy(load_policy(folder / "policy"))
        self.redis_url = redis_url
        self.clock = FixedClock(SystemClock().now_ms())
        self.ring = KeyRing.generate("k1")
        self.replicas: list[Replica] = []

    async def host(self, *, redis_url: str = "", ring: KeyRing | None = None) -> Replica:
        """A server of sign-in and authz."""
        ring = ring or self.ring
        db = await self._db_factory("argy_authn", max_size=4)
        redis = await self._redis(redis_url)
        authz = await self._authz()
        keys = SigningKeys(db, KeyRingKms(KEK), self.clock)
        await keys.start()
        self._stack.push_async_callback(keys.close)
        endings = TokenEndings(redis, self.clock, await self._db_factory("argy_authn", max_size=2))
        used = LastUsed(db)
        hosted = HostedKeys(
            db=db, roots=RootKeys(ring), revocations=endings, used=used, clock=self.clock
        )
        credentials = Credentials(
            db=db,
            rights=Rights(authz.access),
            used=used,
            log=SignInLog(db, self.clock),
            clock=self.clock,
            service_keys=hosted,
        )
        mirror = self._mirror(redis)
        parts = (
            *authz.services,
            (
                CredentialService(credentials, PageTokens(bytes(32))),
                pb.DESCRIPTOR.services_by_name["CredentialService"],
            ),
            *assemble_directory(
                db=await self._db_factory("argy_directory", max_size=2),
                access=authz.access,
                pages=PageTokens(bytes(32)),
                clock=SystemClock(),
            ),
        )
        verifier = TokenVerifier(keys=keys, revocations=mirror, public_url=URL, clock=self.clock)
        replica = await self._serve(
            authz,
            redis,
            mirror,
            Counted(hosted),
            parts,
            ring,
            tokens=verifier,
            credentials=credentials,
        )
        replica.used, replica.db, replica.hosted = used, db, hosted
        replica.issuer = TokenIssuer(
            keys=keys, revocations=endings, public_url=URL, clock=self.clock
        )
        return replica

    async def beside(self, authn: Replica, *, redis_url: str = "") -> Replica:
        """A server of authz and the directory, which asks ``authn`` about service keys."""
        redis = await self._redis(redis_url)
        authz = await self._authz()
        channel = self.channel(authn, PLATFORM_TENANT_ID, RootKeys(self.ring), source="directory")
        directory = assemble_directory(
            db=await self._db_factory("argy_directory", max_size=2),
            access=authz.access,
            pages=PageTokens(bytes(32)),
            clock=SystemClock(),
        )
        parts = (*authz.services, *directory)
        standings = Counted(RemoteKeyStandings(channel))
        return await self._serve(authz, redis, self._mirror(redis), standings, parts, self.ring)

    def channel(
        self, replica: Replica, tenant_id: UUID, keys: PairKeys, *, source: str, **options: Any
    ) -> SignedChannel:
        channel = SignedChannel(
            f"127.0.0.1:{replica.server.port}",
            source=source,
            keys=keys,
            tenant_id=tenant_id,
            unsafe_plaintext=True,
            timeout_s=30,
        )
        self._stack.push_async_callback(channel.close)
        return channel.for_tenant(tenant_id, **options) if options else channel

    def operator(self, tenant_id: UUID, *, replica: int = 0) -> Any:
        """Credentials as ``argy`` changes them."""
        channel = self.channel(self.replicas[replica], tenant_id, RootKeys(self.ring), source="cli")
        return CredentialServiceStub(channel)

    async def make(
        self,
        tenant_id: UUID,
        *scopes: str,
        service: str = "billing",
        days: int = 90,
        stub: Any = None,
        metadata: Any = (),
    ) -> Held:
        request = pb.CreateServiceKeyRequest(
            service=service, name="production", scopes=scopes or (CHECK,), days=days
        )
        made = await (stub or self.operator(tenant_id)).CreateServiceKey(request, metadata=metadata)
        return held(tenant_id, made)

    async def rotate(self, one: Held, hours: int, *, replica: int = 0) -> Held:
        request = pb.RotateCredentialRequest(credential_id=one.credential_id, overlap_hours=hours)
        stub = self.operator(one.tenant_id, replica=replica)
        return held(one.tenant_id, await stub.RotateCredential(request))

    async def revoke(self, one: Held) -> None:
        request = pb.RevokeCredentialRequest(credential_id=one.credential_id)
        await self.operator(one.tenant_id).RevokeCredential(request)

    async def listed(self, tenant_id: UUID, subject: str = "service:billing") -> list[Any]:
        page = await self.operator(tenant_id).ListCredentials(
            pb.ListCredentialsRequest(subject=subject)
        )
        return list(page.credentials)

    async def check(
        self,
        replica: Replica,
        keys: PairKeys,
        tenant_id: UUID,
        *,
        source: str = "billing",
        metadata: Any = (),
        **options: Any,
    ) -> bool:
        """Ask for a decision: it needs ``authz.decision:check`` itself."""
        stub: Any = AuthzServiceStub(
            self.channel(replica, tenant_id, keys, source=source, **options)
        )
        question = Question(subject="user:x", action="read", resource="project:alpha")
        answer = await stub.Check(CheckRequest(question=question), metadata=metadata)
        return bool(answer.decision.effect)

    def orgs(self, replica: Replica, one: Held, tenant_id: UUID) -> Any:
        return OrgServiceStub(self.channel(replica, tenant_id, one.key, source="billing"))

    def tenants(self, replica: Replica, one: Held, tenant_id: UUID) -> Any:
        return TenantServiceStub(self.channel(replica, tenant_id, one.key, source="billing"))

    async def grant(self, tenant_id: UUID, subject: str, role: str) -> None:
        channel = self.channel(self.replicas[0], tenant_id, RootKeys(self.ring), source="cli")
        stub: Any = AssignmentServiceStub(channel)
        await stub.GrantRole(
            GrantRoleRequest(subject=subject, role=role, reason="the test needs it")
        )

    async def person(
        self, tenant: Any, *roles: str, auth_age_s: int = 0, scope: str = ""
    ) -> tuple[str, tuple[tuple[str, str], ...]]:
        """A user with roles who signed in: their subject, and metadata with their access token."""
        user_id, one = uuid7(), self.replicas[0]
        directory = await self._db_factory("argy_directory", max_size=1)
        async with directory.tenant(tenant.tenant_id) as tx:
            await tx.execute(
                "INSERT INTO directory.user_account (tenant_id, user_id, email, display_name)"
                " VALUES ($1, $2, $3, 'Ada')",
                tenant.tenant_id,
                user_id,
                f"{user_id}@example.test",
            )
        for role in roles:
            await self.grant(tenant.tenant_id, f"user:{user_id}", role)
        assert one.issuer is not None
        assert one.db is not None
        async with one.db.tenant(tenant.tenant_id) as tx:
            tokens = await one.issuer.issue(
                tx,
                tenant=tenant.slug,
                user_id=user_id,
                session_id=uuid7(),
                acr="urn:argy:acr:passkey",
                amr=("passkey",),
                auth_time_ms=self.clock.now_ms() - auth_age_s * 1_000,
                client_id="edge",
                scope=scope,
            )
        return f"user:{user_id}", (("authorization", f"Bearer {tokens.access_token}"),)

    async def audit(self, tenant_id: UUID) -> list[asyncpg.Record]:
        db = await self._db_factory("argy_audit", max_size=1)
        async with db.tenant(tenant_id) as tx:
            return list(
                await tx.fetch(
                    "SELECT actor, action, resource, outcome, reason, detail::text"
                    " FROM audit.event WHERE tenant_id = $1 ORDER BY id",
                    tenant_id,
                )
            )

    async def rows(self, tenant_id: UUID) -> list[asyncpg.Record]:
        """The tenant's credentials, as a dump of the database has them."""
        db = await self._db_factory("argy_authn", max_size=1)
        async with db.tenant(tenant_id) as tx:
            return list(await tx.fetch("SELECT * FROM authn.credential"))

    async def _authz(self) -> Authz:
        db = await self._db_factory("argy_authz", max_size=4)
        lane = AuditLane(db, self._folder / f"spool-{uuid7()}")
        await lane.start()
        self._stack.push_async_callback(lane.close)
        authz = assemble(
            db=db,
            lane=lane,
            pages=PageTokens(bytes(32)),
            clock=SystemClock(),
            policy=self._policy,
        )
        await authz.start()
        self._stack.push_async_callback(authz.close)
        return authz

    async def _redis(self, url: str) -> RedisStore:
        redis = await RedisStore.open(url or self.redis_url)
        self._stack.push_async_callback(redis.close)
        return redis

    def _mirror(self, redis: RedisStore) -> RevocationMirror:
        mirror = RevocationMirror(redis)
        self._stack.push_async_callback(mirror.close)
        return mirror

    async def _serve(
        self,
        authz: Authz,
        redis: RedisStore,
        mirror: RevocationMirror,
        standings: Counted,
        parts: Any,
        ring: KeyRing,
        **verifiers: Any,
    ) -> Replica:
        tenants = TenantCache(await self._db_factory("argy_authz", max_size=2))
        await tenants.start()
        self._stack.push_async_callback(tenants.close)
        nonces = NonceCache(redis)
        self._stack.push_async_callback(nonces.close)
        roots, refusals = RootKeys(ring), Refusals()
        service_keys = ServiceKeys(
            roots=roots, standings=standings, revocations=mirror, clock=self.clock
        )
        self._stack.push_async_callback(service_keys.close)
        server = Server(
            ServerConfig(unsafe_plaintext=True, max_request_bytes=LIMIT),
            Dependencies(
                keys=roots,
                nonces=nonces,
                tenants=tenants,
                access=authz.access,
                audit=refusals,
                clock=SystemClock(),
                telemetry=Telemetry(),
                max_request_bytes=LIMIT,
                service_keys=service_keys,
                **verifiers,
            ),
        )
        for servicer, descriptor in parts:
            server.add(servicer, descriptor)
        await server.start()
        self._stack.push_async_callback(server.stop)
        await server.ready()
        replica = Replica(server, standings, refusals, service_keys)
        self.replicas.append(replica)
        return replica


@pytest.fixture(scope="session")
def pg_dsn(fresh_database: Callable[..., str], worker_number: int) -> str:
    """A database of their own: signing keys open with these tests' key-encryption key only."""
    return fresh_database(f"argy_service_keys_{worker_number}")


@pytest.fixture(scope="session")
def login_dsn(servers: Any, pg_dsn: str) -> Callable[[str], str]:
    """Map a role to the DSN of its login."""
    return lambda role: with_login(pg_dsn, f"{role}_login", servers.password)


@pytest.fixture
async def world(db_factory: Any, redis_url: str, tmp_path: Path) -> AsyncIterator[World]:
    """No server yet."""
    roles = tmp_path / "policy" / "roles"
    roles.mkdir(parents=True)
    shutil.copy(MODEL, tmp_path / "policy" / "model.conf")
    (roles / "roles.csv").write_text(RULES)
    (tmp_path / "policy" / "services.csv").write_text(SERVICES)
    async with AsyncExitStack() as stack:
        yield World(stack, db_factory, tmp_path, redis_url)


@pytest.fixture
async def authn(world: World) -> Replica:
    """A server that hosts sign-in."""
    return await world.host()


@pytest.fixture
async def beside(world: World, authn: Replica) -> Replica:
    """A server that asks ``authn``."""
    return await world.beside(authn)


@pytest.fixture
async def tenant(tenant_factory: Callable[..., Awaitable[Any]]) -> Any:
    """A fresh tenant."""
    return await tenant_factory()
