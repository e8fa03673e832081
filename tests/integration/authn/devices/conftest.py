"""The device flow and credentials behind the whole chain: real authz, Postgres and Valkey."""

import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from argy.api.authn.v1 import credential_pb2 as cpb
from argy.api.authn.v1 import device_pb2 as dpb
from argy.api.authn.v1 import session_pb2 as spb
from argy.api.authn.v1.credential_pb2_grpc import CredentialServiceStub
from argy.api.authn.v1.device_pb2_grpc import DeviceServiceStub
from argy.api.authn.v1.session_pb2 import Device
from argy.api.authn.v1.session_pb2_grpc import SessionServiceStub
from argy.api.authz.v1.assignment_pb2 import GrantRoleRequest, RevokeRoleRequest
from argy.api.authz.v1.assignment_pb2_grpc import AssignmentServiceStub
from argy.api.authz.v1.authz_pb2 import CheckRequest, Question
from argy.api.authz.v1.authz_pb2_grpc import AuthzServiceStub
from argy.authn.credentials.rights import Rights
from argy.authn.credentials.service import CredentialService
from argy.authn.credentials.usage import LastUsed
from argy.authn.credentials.use_cases import Credentials
from argy.authn.devices.service import DeviceService
from argy.authn.devices.tokens import DeviceTokens
from argy.authn.devices.use_cases import Devices
from argy.authn.limits import RateLimits
from argy.authn.links.use_cases import Links
from argy.authn.mail.notices import SecurityNotices
from argy.authn.mail.outbox import Outbox
from argy.authn.mail.queue import MailQueue
from argy.authn.mail.sinks import FolderSink
from argy.authn.security_notices.use_cases import SeenNotices
from argy.authn.sessions.audit import SignInLog
from argy.authn.sessions.domain import Limits
from argy.authn.sessions.service import SessionService
from argy.authn.sessions.store import SessionStore
from argy.authn.sessions.use_cases import Sessions
from argy.authn.sign_in_reset import SignInReset
from argy.authn.tokens.ending import TokenEndings
from argy.authn.tokens.issuing import TokenIssuer
from argy.authn.tokens.revocation import RevocationMirror
from argy.authn.tokens.signing_keys import SigningKeys
from argy.authz.main import assemble
from argy.base.clock import FixedClock, SystemClock
from argy.base.crypto import KeyRing
from argy.base.envelope import KeyRingKms
from argy.base.errors import ArgyError
from argy.base.ids import uuid7
from argy.policy import compile_policy, load_policy
from argy.rpc.call import Call
from argy.rpc.client import SignedChannel
from argy.rpc.page_token import PageTokens
from argy.rpc.pair_keys import RootKeys
from argy.rpc.server import Server, ServerConfig
from argy.rpc.stages import Dependencies
from argy.rpc.telemetry import Telemetry
from argy.rpc.tokens import TokenVerifier
from argy.store.database import Database
from argy.store.migrate import with_login
from argy.store.nonce import NonceCache
from argy.store.redis import RedisStore
from argy.store.tenants import TenantCache
from argy.trail.lane import AuditLane

RING, KEK = KeyRing.generate("k1"), KeyRing.generate("kek1")
PUBLIC_URL = "https://edge.example.test"
MODEL = Path(__file__).resolve().parents[4] / "policy" / "model.conf"
RULES = """\
p, role:PLATFORM_ADMIN, *, *, *, allow, true
p, role:PLATFORM_USER, *, project:*, read, allow, true
p, role:PLATFORM_USER, *, authz.decision:*, check, allow, true
p, role:DEPLOYER, *, project:*, deploy, allow, true
p, role:PLATFORM_USER, *, project:*, purge, allow, has(ctx.auth) && ctx.auth.age_s <= 300
p, role:KEY_MAKER, *, authn.api_key:*, create, allow, true
"""
SERVICES = """\
g, service:cli, role:PLATFORM_ADMIN, *
p, service:cli, *, authz.subject:user/*, act_for, allow, true
p, service:edge, *, authz.decision:*, check, allow, true
p, service:example, *, authn.credential:*, verify, allow, true
"""
HERE = Device(ip="192.0.2.9", user_agent="Browser/1")


class Refusals:
    """Where the audit stage tells of refused calls: of no interest here."""

    def refused(self, call: Call, error: ArgyError) -> None:
        return


@dataclass
class Replica:
    """One server, with its own connections and caches."""

    server: Server
    used: LastUsed
    issuer: TokenIssuer
    db: Database


@dataclass(frozen=True)
class Person:
    """A user of a tenant, with a session's access token."""

    tenant: Any
    user_id: UUID
    token: str = field(repr=False)

    @property
    def subject(self) -> str:
        return f"user:{self.user_id}"

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        return (("authorization", f"Bearer {self.token}"),)


@dataclass
class World:
    """Two replicas, and ways to call them."""

    replicas: list[Replica]
    clock: FixedClock
    channels: list[SignedChannel]
    directory: Database
    redis: RedisStore
    audit: Callable[[UUID, str], Awaitable[list[asyncpg.Record]]]

    def channel(
        self, tenant: Any, *, source: str = "edge", replica: int = 0, org_id: UUID | None = None
    ) -> SignedChannel:
        made = SignedChannel(
            f"127.0.0.1:{self.replicas[replica].server.port}",
            source=source,
            keys=RootKeys(RING),
            tenant_id=tenant.tenant_id,
            org_id=org_id,
            unsafe_plaintext=True,
            timeout_s=30,
        )
        self.channels.append(made)
        return made

    def devices(self, tenant: Any, **options: Any) -> Any:
        return DeviceServiceStub(self.channel(tenant, **options))

    def sessions(self, tenant: Any, **options: Any) -> Any:
        return SessionServiceStub(self.channel(tenant, **options))

    def credentials(self, tenant: Any, **options: Any) -> Any:
        return CredentialServiceStub(self.channel(tenant, **options))

    async def person(self, tenant: Any, *roles: str, **how: Any) -> Person:
        """Make a user with roles, who signed in this moment unless ``auth_age_s`` says when."""
        user_id = uuid7()
        async with self.directory.tenant(tenant.tenant_id) as tx:
            await tx.execute(
                "INSERT INTO directory.user_account (tenant_id, user_id, email, display_name)"
                " VALUES ($1, $2, $3, 'Ada')",
                tenant.tenant_id,
                user_id,
                f"{user_id}@example.test",
            )
        for role in roles:
            await self.grant(tenant, f"user:{user_id}", role)
        return Person(tenant, user_id, await self.sign_in(tenant, user_id, **how))

    async def sign_in(self, tenant: Any, user_id: UUID, *, auth_age_s: int = 0, **how: Any) -> str:
        """An access token of a new session, unless ``session_id`` names one."""
        one = self.replicas[0]
        async with one.db.tenant(tenant.tenant_id) as tx:
            tokens = await one.issuer.issue(
                tx,
                tenant=tenant.slug,
                user_id=user_id,
                acr="urn:argy:acr:passkey",
                amr=("passkey",),
                auth_time_ms=self.clock.now_ms() - auth_age_s * 1_000,
                client_id="edge",
                **{"session_id": uuid7(), **how},
            )
        return tokens.access_token

    async def disable(self, person: Person) -> None:
        await self._set_state(person, "DISABLED")

    async def enable(self, person: Person) -> None:
        await self._set_state(person, "ACTIVE")

    async def _set_state(self, person: Person, state: str) -> None:
        async with self.directory.tenant(person.tenant.tenant_id) as tx:
            await tx.execute(
                "UPDATE directory.user_account SET state = $3"
                " WHERE tenant_id = $1 AND user_id = $2",
                person.tenant.tenant_id,
                person.user_id,
                state,
            )
            await tx.execute("SELECT authz.bump_revision($1)", person.tenant.tenant_id)

    async def grant(
        self, tenant: Any, subject: str, role: str, *, org_id: UUID | None = None
    ) -> str:
        stub: Any = AssignmentServiceStub(self.channel(tenant, source="cli"))
        request = GrantRoleRequest(
            subject=subject,
            role=role,
            org_id="" if org_id is None else str(org_id),
            reason="the test needs it",
        )
        return str((await stub.GrantRole(request)).assignment.assignment_id)

    async def ungrant(self, tenant: Any, assignment_id: str) -> None:
        stub: Any = AssignmentServiceStub(self.channel(tenant, source="cli"))
        await stub.RevokeRole(RevokeRoleRequest(assignment_id=assignment_id, reason="no longer"))

    async def may_read(
        self, tenant: Any, secret: str, *, replica: int = 0, source: str = "edge"
    ) -> bool:
        """Ask for a decision with a credential: it needs ``authz.decision:check`` itself."""
        name = "x-api-key" if secret.startswith("argy_key_") else "authorization"
        value = secret if name == "x-api-key" else f"Bearer {secret}"
        stub: Any = AuthzServiceStub(self.channel(tenant, source=source, replica=replica))
        question = Question(subject="user:x", action="read", resource="project:alpha")
        answer = await stub.Check(CheckRequest(question=question), metadata=((name, value),))
        return bool(answer.decision.effect)

    async def begin(
        self, tenant: Any, *, client_id: str = "argy-cli", ip: str = "", scope: str = "project:read"
    ) -> Any:
        request = dpb.AuthorizeDeviceRequest(
            client_id=client_id,
            scope=scope,
            device=Device(ip=ip or "203.0.113.5", user_agent="argy-cli/0.1"),
        )
        return await self.devices(tenant).AuthorizeDevice(request)

    async def poll(self, tenant: Any, device_code: str, *, client_id: str = "argy-cli") -> Any:
        request = dpb.RedeemDeviceCodeRequest(device_code=device_code, client_id=client_id)
        return await self.devices(tenant).RedeemDeviceCode(request)

    async def describe(self, person: Person, user_code: str, *, device: Device = HERE) -> Any:
        return await self.devices(person.tenant).DescribeDeviceCode(
            dpb.DescribeDeviceCodeRequest(user_code=user_code, device=device),
            metadata=person.metadata,
        )

    async def decide(
        self, person: Person, user_code: str, *, approved: bool = True, org_id: UUID | None = None
    ) -> Any:
        return await self.devices(person.tenant, org_id=org_id).DecideDeviceCode(
            dpb.DecideDeviceCodeRequest(user_code=user_code, approved=approved, device=HERE),
            metadata=person.metadata,
        )

    async def make_token(
        self, person: Person, *scopes: str, name: str = "ci", days: int = 30
    ) -> Any:
        request = cpb.CreatePersonalAccessTokenRequest(name=name, scopes=scopes, days=days)
        return await self.credentials(person.tenant).CreatePersonalAccessToken(
            request, metadata=person.metadata
        )


@pytest.fixture(scope="session")
def pg_dsn(fresh_database: Callable[..., str], worker_number: int) -> str:
    """A database of their own: signing keys open with these tests' key-encryption key only."""
    return fresh_database(f"argy_devices_{worker_number}")


@pytest.fixture(scope="session")
def login_dsn(servers: Any, pg_dsn: str) -> Callable[[str], str]:
    """Map a role to the DSN of its login."""
    return lambda role: with_login(pg_dsn, f"{role}_login", servers.password)


@pytest.fixture
def policy_root(tmp_path: Path) -> Path:
    """The policy of these tests."""
    root = tmp_path / "policy"
    (root / "roles").mkdir(parents=True)
    shutil.copy(MODEL, root / "model.conf")
    (root / "roles" / "roles.csv").write_text(RULES)
    (root / "services.csv").write_text(SERVICES)
    return root


@pytest.fixture
async def world(
    db_factory: Any, redis_url: str, tmp_path: Path, policy_root: Path
) -> AsyncIterator[World]:
    """Two replicas, started; each is closed in the reverse order of its making."""
    clock = FixedClock(SystemClock().now_ms())
    directory = await db_factory("argy_directory", max_size=2)
    auditor = await db_factory("argy_audit", max_size=2)

    async def audit(tenant_id: UUID, action: str) -> list[asyncpg.Record]:
        async with auditor.tenant(tenant_id) as tx:
            return list(
                await tx.fetch(
                    "SELECT actor, resource, outcome, reason, detail::text FROM audit.event"
                    " WHERE tenant_id = $1 AND action = $2 ORDER BY id",
                    tenant_id,
                    action,
                )
            )

    async with AsyncExitStack() as stack:
        redis = await RedisStore.open(redis_url)
        stack.push_async_callback(redis.close)
        made = World([], clock, [], directory, redis, audit)
        policy = compile_policy(load_policy(policy_root))
        for number in range(2):
            db = await db_factory("argy_authn", max_size=4)
            authz_db = await db_factory("argy_authz", max_size=4)
            lane = AuditLane(authz_db, tmp_path / f"spool-{number}")
            await lane.start()
            stack.push_async_callback(lane.close)
            authz = assemble(
                db=authz_db,
                lane=lane,
                pages=PageTokens(bytes(32)),
                clock=SystemClock(),
                policy=policy,
            )
            await authz.start()
            stack.push_async_callback(authz.close)
            tenants = TenantCache(authz_db)
            await tenants.start()
            stack.push_async_callback(tenants.close)
            nonces = NonceCache(redis)
            stack.push_async_callback(nonces.close)
            keys = SigningKeys(db, KeyRingKms(KEK), clock)
            await keys.start()
            stack.push_async_callback(keys.close)
            mirror = RevocationMirror(redis)
            stack.push_async_callback(mirror.close)
            ending_db = await db_factory("argy_authn", max_size=2)
            revocations = TokenEndings(redis, clock, ending_db)
            issuer = TokenIssuer(
                keys=keys, revocations=revocations, public_url=PUBLIC_URL, clock=clock
            )
            sessions = Sessions(
                db=db,
                store=SessionStore(redis, Limits()),
                revocations=revocations,
                log=SignInLog(db, clock),
                clock=clock,
                limits=Limits(),
            )
            log, used = SignInLog(db, clock), LastUsed(db)
            await used.start()
            stack.push_async_callback(used.close)
            outbox = Outbox(
                MailQueue(redis, KeyRingKms(KEK)),
                FolderSink(tmp_path / "mail"),
                db=db,
                clock=clock,
            )
            notices = SecurityNotices(db, outbox)
            links = Links(
                db=db,
                limits=RateLimits(redis, clock),
                sessions=sessions,
                log=log,
                outbox=outbox,
                clock=clock,
                base_url=PUBLIC_URL,
            )
            credentials = Credentials(
                db=db,
                rights=Rights(authz.access),
                used=used,
                log=log,
                clock=clock,
                notices=notices,
            )
            devices = Devices(
                db=db,
                limits=RateLimits(redis, clock),
                issuer=DeviceTokens(issuer, sessions),
                log=log,
                clock=clock,
            )
            limit = 4 << 20
            server = Server(
                ServerConfig(unsafe_plaintext=True, max_request_bytes=limit),
                Dependencies(
                    keys=RootKeys(RING),
                    nonces=nonces,
                    tenants=tenants,
                    access=authz.access,
                    audit=Refusals(),
                    clock=SystemClock(),
                    telemetry=Telemetry(),
                    max_request_bytes=limit,
                    tokens=TokenVerifier(
                        keys=keys, revocations=mirror, public_url=PUBLIC_URL, clock=clock
                    ),
                    credentials=credentials,
                ),
            )
            own = (
                (
                    CredentialService(credentials, PageTokens(bytes(32))),
                    cpb.DESCRIPTOR.services_by_name["CredentialService"],
                ),
                (DeviceService(devices), dpb.DESCRIPTOR.services_by_name["DeviceService"]),
                (
                    SessionService(
                        sessions,
                        issuer,
                        db,
                        authz.access,
                        notices=SeenNotices(db=db, sessions=sessions, log=log, clock=clock),
                        reset=SignInReset(
                            db=db,
                            sessions=sessions,
                            links=links,
                            log=log,
                            outbox=outbox,
                            notices=notices,
                            rights=Rights(authz.access),
                            clock=clock,
                        ),
                    ),
                    spb.DESCRIPTOR.services_by_name["SessionService"],
                ),
            )
            for servicer, descriptor in (*authz.services, *own):
                server.add(servicer, descriptor)
            await server.start()
            stack.push_async_callback(server.stop)
            await server.ready()
            made.replicas.append(Replica(server, used, issuer, db))
        yield made
        for channel in made.channels:
            await channel.close()


@pytest.fixture
async def ada(world: World, tenant_factory: Any) -> Person:
    """A user of a fresh tenant, who may read projects and ask for decisions."""
    return await world.person(await tenant_factory(), "role:PLATFORM_USER")
