"""Tokens on real Postgres and Valkey: replicas of the service, and of one that only verifies."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from argy.api.authn.v1 import token_pb2 as pb
from argy.api.authn.v1.token_pb2_grpc import TokenServiceStub
from argy.api.directory.v1 import tenant_pb2 as directory_pb
from argy.api.directory.v1.tenant_pb2_grpc import OrgServiceStub
from argy.authn.tokens.domain import Tokens
from argy.authn.tokens.ending import TokenEndings
from argy.authn.tokens.issuing import TokenIssuer
from argy.authn.tokens.revocation import RevocationMirror
from argy.authn.tokens.service import TokenService
from argy.authn.tokens.signing_keys import SigningKeys
from argy.authn.tokens.use_cases import TokenUse
from argy.base.clock import FixedClock, SystemClock
from argy.base.crypto import KeyRing
from argy.base.envelope import KeyRingKms
from argy.base.errors import ArgyError, PermissionDenied
from argy.base.ids import PLATFORM_TENANT_ID, uuid7
from argy.rpc.call import Call
from argy.rpc.client import SignedChannel
from argy.rpc.credentials import NoCredentials
from argy.rpc.jwks import RemoteKeys
from argy.rpc.pair_keys import RootKeys
from argy.rpc.server import Server, ServerConfig
from argy.rpc.stages import Dependencies
from argy.rpc.telemetry import Telemetry
from argy.rpc.token_sources import KeySource
from argy.rpc.tokens import TokenVerifier
from argy.store.database import Database
from argy.store.migrate import with_login
from argy.store.nonce import NonceCache
from argy.store.redis import RedisStore
from argy.store.tenants import TenantCache

RING, KEK = KeyRing.generate("k1"), KeyRing.generate("kek1")
URL = "https://edge.example.test"
LIMIT = 4 << 20


class Whoami:
    """A service that only verifies: answers with who its chain says is calling."""

    async def GetOrg(self, request: Any, call: Call) -> directory_pb.GetOrgResponse:  # noqa: N802
        acr = call.claims.acr if call.claims else ""
        return directory_pb.GetOrgResponse(
            org=directory_pb.Org(org_id=request.org_id, slug=acr, display_name=call.caller)
        )

    async def CreateOrg(self, request: Any, call: Call) -> directory_pb.CreateOrgResponse:  # noqa: N802
        return directory_pb.CreateOrgResponse()

    async def ListOrgs(self, request: Any, call: Call) -> directory_pb.ListOrgsResponse:  # noqa: N802
        return directory_pb.ListOrgsResponse()

    async def DeleteOrg(self, request: Any, call: Call) -> directory_pb.DeleteOrgResponse:  # noqa: N802
        return directory_pb.DeleteOrgResponse()


class Permissions:
    """Lets everybody but those who are disabled, in place of a policy."""

    def __init__(self) -> None:
        self.denied: set[str] = set()
        self.everybody = True

    def permit(
        self, call: Call, permission: str, platform: bool, resource_id: str = "-"
    ) -> Awaitable[None] | None:
        if not self.everybody or call.caller in self.denied:
            raise PermissionDenied("denied", reason="ACCESS_DENIED")
        return None


class Refusals:
    """Of no interest here."""

    def refused(self, call: Call, error: ArgyError) -> None:
        return


@dataclass
class Replica:
    """One server and what a test looks at of it."""

    server: Server
    permissions: Permissions
    keys: SigningKeys | None = None
    issuer: TokenIssuer | None = None
    db: Database | None = None
    endings: TokenEndings | None = None


@dataclass(frozen=True)
class Person:
    """Somebody of a tenant, and the session that they are signed in by."""

    tenant: Any
    user_id: UUID
    session_id: UUID = field(default_factory=uuid7)


class World:
    """Makes replicas, people and calls."""

    def __init__(self, stack: AsyncExitStack, db_factory: Any, redis_url: str) -> None:
        self._stack = stack
        self._db_factory = db_factory
        self.redis_url = redis_url
        self.clock = FixedClock(SystemClock().now_ms())
        self.mirrors: list[RevocationMirror] = []
        """Of every server, in the order of their making."""

    async def replica(
        self, *, kek: KeyRing = KEK, redis_url: str = "", endings_url: str = ""
    ) -> Replica:
        """A server of the token service; the Redis of ``endings_url`` has its deny list alone."""
        db = await self._db_factory("argy_authn", max_size=6)
        ending_db = await self._db_factory("argy_authn", max_size=2)
        redis = await self._redis(redis_url)
        keys = SigningKeys(db, KeyRingKms(kek), self.clock)
        await keys.start()
        self._stack.push_async_callback(keys.close)
        ended = await self._redis(endings_url) if endings_url else redis
        endings = TokenEndings(ended, self.clock, ending_db)
        issuer = TokenIssuer(keys=keys, revocations=endings, public_url=URL, clock=self.clock)
        verifier = self._verifier(keys, redis)
        use = TokenUse(
            db=db,
            issuer=issuer,
            verifier=verifier,
            revocations=endings,
            credentials=NoCredentials(),
            clock=self.clock,
        )
        replica = await self._serve(
            db, redis, verifier, TokenService(use, keys, endings), pb.DESCRIPTOR, "TokenService"
        )
        replica.keys, replica.issuer, replica.db, replica.endings = keys, issuer, db, endings
        return replica

    async def beside(self, authn: Replica, *, redis_url: str = "", **trust: float) -> Replica:
        """A server of another service, which asks ``authn`` for its keys."""
        db = await self._db_factory("argy_directory", max_size=2)
        redis = await self._redis(redis_url)
        keys = RemoteKeys(self.channel(authn, PLATFORM_TENANT_ID, source="directory"), **trust)
        self._stack.push_async_callback(keys.close)
        return await self._serve(
            db, redis, self._verifier(keys, redis), Whoami(), directory_pb.DESCRIPTOR, "OrgService"
        )

    async def _redis(self, url: str) -> RedisStore:
        redis = await RedisStore.open(url or self.redis_url)
        self._stack.push_async_callback(redis.close)
        return redis

    def _verifier(self, keys: KeySource, redis: RedisStore) -> TokenVerifier:
        mirror = RevocationMirror(redis)
        self.mirrors.append(mirror)
        self._stack.push_async_callback(mirror.close)
        return TokenVerifier(keys=keys, revocations=mirror, public_url=URL, clock=self.clock)

    async def _serve(
        self,
        db: Database,
        redis: RedisStore,
        verifier: TokenVerifier,
        servicer: object,
        descriptor: Any,
        name: str,
    ) -> Replica:
        tenants = TenantCache(db)
        await tenants.start()
        self._stack.push_async_callback(tenants.close)
        nonces = NonceCache(redis)
        self._stack.push_async_callback(nonces.close)
        permissions = Permissions()
        server = Server(
            ServerConfig(unsafe_plaintext=True, max_request_bytes=LIMIT),
            Dependencies(
                keys=RootKeys(RING),
                nonces=nonces,
                tenants=tenants,
                access=permissions,
                audit=Refusals(),
                clock=SystemClock(),
                telemetry=Telemetry(),
                max_request_bytes=LIMIT,
                tokens=verifier,
            ),
        )
        server.add(servicer, descriptor.services_by_name[name])
        await server.start()
        self._stack.push_async_callback(server.stop)
        await server.ready()
        return Replica(server, permissions)

    def channel(
        self, replica: Replica, tenant_id: UUID, org_id: UUID | None = None, **options: Any
    ) -> SignedChannel:
        channel = SignedChannel(
            f"127.0.0.1:{replica.server.port}",
            source=options.pop("source", "edge"),
            keys=RootKeys(RING),
            tenant_id=tenant_id,
            org_id=org_id,
            unsafe_plaintext=True,
            timeout_s=options.pop("timeout_s", 30.0),
        )
        self._stack.push_async_callback(channel.close)
        return channel.for_tenant(tenant_id, org_id, **options) if options else channel

    def tokens(self, replica: Replica, tenant: Any, **options: Any) -> Any:
        return TokenServiceStub(self.channel(replica, tenant.tenant_id, **options))

    async def person(self, tenant: Any) -> Person:
        db = await self._db_factory("argy_directory", max_size=1)
        user_id = uuid7()
        async with db.tenant(tenant.tenant_id) as tx:
            await tx.execute(
                "INSERT INTO directory.user_account (tenant_id, user_id, email, display_name)"
                " VALUES ($1, $2, $3, 'Ada')",
                tenant.tenant_id,
                user_id,
                f"{user_id}@example.test",
            )
        return Person(tenant, user_id)

    async def set_state(self, person: Person, state: str) -> None:
        db = await self._db_factory("argy_directory", max_size=1)
        async with db.tenant(person.tenant.tenant_id) as tx:
            await tx.execute(
                "UPDATE directory.user_account SET state = $3"
                " WHERE tenant_id = $1 AND user_id = $2",
                person.tenant.tenant_id,
                person.user_id,
                state,
            )

    async def sign_in(self, replica: Replica, person: Person, **how: Any) -> Tokens:
        assert replica.db is not None
        assert replica.issuer is not None
        async with replica.db.tenant(person.tenant.tenant_id) as tx:
            return await replica.issuer.issue(
                tx,
                tenant=person.tenant.slug,
                user_id=person.user_id,
                session_id=person.session_id,
                acr="urn:argy:acr:passkey",
                amr=("passkey",),
                auth_time_ms=self.clock.now_ms(),
                **{"client_id": "argy-cli", "with_refresh": True, **how},
            )

    async def rotate(self, replica: Replica, *, withdraw: bool = False) -> Any:
        """A ceremony of the platform, by somebody of it who is signed in."""
        platform = SimpleNamespace(tenant_id=PLATFORM_TENANT_ID, slug="platform")
        keeper = await self.person(platform)
        token = (await self.sign_in(replica, keeper)).access_token
        return await self.tokens(replica, platform, source="cli").RotateSigningKey(
            pb.RotateSigningKeyRequest(withdraw=withdraw),
            metadata=(("authorization", f"Bearer {token}"),),
        )

    async def refresh(self, replica: Replica, person: Person, token: str, **how: Any) -> Any:
        request = pb.RefreshTokensRequest(
            refresh_token=token, client_id=how.pop("client_id", "argy-cli")
        )
        stub = self.tokens(replica, how.pop("tenant", person.tenant))
        return (await stub.RefreshTokens(request)).tokens

    async def introspect(self, replica: Replica, tenant: Any, token: str) -> Any:
        request = pb.IntrospectTokenRequest(token=token)
        return await self.tokens(replica, tenant, source="cli").IntrospectToken(request)

    async def whoami(
        self, replica: Replica, tenant: Any, access: str, org_id: UUID | None = None, **how: Any
    ) -> str:
        """Whom the service takes for the caller that comes with ``access``."""
        stub: Any = OrgServiceStub(self.channel(replica, tenant.tenant_id, org_id, **how))
        answer = await stub.GetOrg(
            directory_pb.GetOrgRequest(org_id=str(uuid7())),
            metadata=(("authorization", f"Bearer {access}"),),
        )
        return str(answer.org.display_name)


@pytest.fixture(scope="session")
def pg_dsn(fresh_database: Callable[..., str], worker_number: int) -> str:
    """A database of their own: signing keys open with these tests' key-encryption key only."""
    return fresh_database(f"argy_tokens_{worker_number}")


@pytest.fixture(scope="session")
def login_dsn(servers: Any, pg_dsn: str) -> Callable[[str], str]:
    """Map a role to the DSN of its login."""
    return lambda role: with_login(pg_dsn, f"{role}_login", servers.password)


@pytest.fixture
async def world(db_factory: Any, redis_url: str) -> AsyncIterator[World]:
    """Closed in the reverse order of its making."""
    async with AsyncExitStack() as stack:
        yield World(stack, db_factory, redis_url)


@pytest.fixture
async def replica(world: World) -> Replica:
    """One server of the token service."""
    return await world.replica()


@pytest.fixture
async def ada(world: World, tenant_factory: Any) -> Person:
    """A user of a fresh tenant with an org."""
    return await world.person(await tenant_factory(orgs=("sales", "lab")))


@pytest.fixture
def kek() -> KeyRing:
    """The ring of key-encryption keys that the replicas use."""
    return KEK


@pytest.fixture
async def audit(pg_dsn: str) -> AsyncIterator[Callable[[UUID, str], Awaitable[list[Any]]]]:
    """Audit records of a tenant by action."""
    admin = await asyncpg.connect(pg_dsn)

    async def read(tenant_id: UUID, action: str) -> list[Any]:
        return list(
            await admin.fetch(
                "SELECT actor, resource, outcome, reason, detail::text FROM audit.event"
                " WHERE tenant_id = $1 AND action = $2 ORDER BY id",
                tenant_id,
                action,
            )
        )

    yield read
    await admin.close()
