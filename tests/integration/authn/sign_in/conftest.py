"""Sign-in on real Postgres and Valkey, with an authenticator in software and a mail folder.

Handlers are called as the chain calls them, with callers whose access tokens were issued and
verified; the clock moves when a test says so.
"""

import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from authenticator import Authenticator
from current_call import CURRENT

from argy.api.authn.v1 import magic_link_pb2 as links_pb
from argy.api.authn.v1 import passkey_pb2 as passkeys_pb
from argy.api.authn.v1 import session_pb2 as sessions_pb
from argy.api.authn.v1 import sign_in_policy_pb2 as policies_pb
from argy.authn.mail.sinks import FolderSink
from argy.authn.passkeys.domain import RelyingParty
from argy.authn.sessions.domain import Limits
from argy.authn.sessions.settings import SignInSettings
from argy.authn.sign_in import SignIn, assemble_sign_in
from argy.authn.tokens.ending import TokenEndings
from argy.authn.tokens.issuing import TokenIssuer
from argy.authn.tokens.revocation import RevocationMirror
from argy.authn.tokens.signing_keys import SigningKeys
from argy.base.clock import FixedClock, SystemClock
from argy.base.crypto import KeyRing
from argy.base.envelope import KeyRingKms
from argy.base.ids import uuid7
from argy.rpc.access import denied
from argy.rpc.call import Call
from argy.rpc.declarations import declared_methods
from argy.rpc.delegation import Delegation, Missing
from argy.rpc.tokens import TokenVerifier
from argy.store.database import Database
from argy.store.migrate import with_login
from argy.store.redis import RedisStore

ORIGIN = "https://sign-in.example.test"
RP_ID = "example.test"
PUBLIC_URL = "https://sign-in.example.test"
DEVICE = sessions_pb.Device(ip="192.0.2.7", user_agent="Browser/1")


@dataclass
class Access:
    """Who holds which permission."""

    held: set[tuple[str, str]] = field(default_factory=set)

    def permit(
        self, call: Call, permission: str, platform: bool, resource_id: str = "-"
    ) -> Awaitable[None] | None:
        if (call.caller, permission) not in self.held:
            raise denied(permission)
        return None

    async def missing(self, call: Call, wanted: Delegation) -> Missing | None:
        return None


@dataclass(frozen=True)
class Person:
    """A user of a tenant."""

    tenant: Any
    user_id: UUID
    email: str

    @property
    def subject(self) -> str:
        return f"user:{self.user_id}"


@dataclass
class World:
    """The sign-in services, and what a test looks at."""

    parts: SignIn
    db: Database
    redis: RedisStore
    clock: FixedClock
    access: Access
    mail_folder: Path
    verifier: TokenVerifier
    audit: Callable[[UUID], Awaitable[list[asyncpg.Record]]]

    async def call(
        self,
        tenant: Any,
        rpc: str,
        request: Any,
        *,
        token: str = "",
        caller: str = "service:edge",
        org_id: UUID | None = None,
    ) -> Any:
        """Call ``rpc`` in a tenant: as the edge, as a person with a token, or as anybody."""
        for servicer, descriptor in self.parts.services:
            for method in declared_methods(descriptor):
                if method.name.endswith(f".{rpc}"):
                    call = Call(method, b"", self.clock.now_ms())
                    call.org_id = org_id
                    return await self._handle(servicer, call, tenant, request, token, caller)
        raise AssertionError(rpc)

    async def _handle(
        self, servicer: Any, call: Call, tenant: Any, request: Any, token: str, caller: str
    ) -> Any:
        method = call.method
        call.source, call.caller, call.request_id = "edge", caller, uuid7().hex
        call.tenant_id, call.tenant = tenant.tenant_id, _Slug(tenant.slug)
        if token:
            claims: Any = self.verifier.verify(token, tenant_id=tenant.tenant_id, slug=tenant.slug)
            claims = claims if hasattr(claims, "subject") else await claims
            call.claims, call.caller = claims, claims.subject
        CURRENT.set(call)
        answer = await getattr(servicer, method.name.rpartition(".")[2])(request, call)
        assert method.read_only or call.audited, f"{method.name} left no record"
        return answer

    async def mails(self) -> list[dict[str, Any]]:
        """Every mail so far, oldest first."""
        await self.parts.outbox.drain()
        return [json.loads(path.read_text()) for path in sorted(self.mail_folder.glob("*.json"))]

    async def link_secret(self) -> str:
        """The secret of the last mail's link."""
        text = (await self.mails())[-1]["text"]
        (line,) = [line for line in text.splitlines() if "/link/" in line]
        return str(line.rpartition("/")[2])

    async def ask_link(self, person: Person, *, device: Any = DEVICE) -> tuple[str, str]:
        """Ask for a link; its secret, and that of the browser."""
        asked = await self.call(
            person.tenant,
            "MagicLinkService.RequestLink",
            links_pb.RequestLinkRequest(email=person.email, device=device),
        )
        return await self.link_secret(), asked.browser_secret

    async def redeem(self, tenant: Any, secret: str, browser: str = "", **more: Any) -> Any:
        """Use a link."""
        request = links_pb.RedeemLinkRequest(
            secret=secret, browser_secret=browser, **{"device": DEVICE, **more}
        )
        return await self.call(tenant, "MagicLinkService.RedeemLink", request)

    async def by_link(self, person: Person) -> Any:
        """Sign in by a link; the session."""
        return (await self.redeem(person.tenant, *await self.ask_link(person))).session

    async def token(self, tenant: Any, secret: str) -> str:
        """An access token of a session."""
        return str((await self.check(tenant, secret)).access_token)

    async def check(self, tenant: Any, secret: str) -> Any:
        request = sessions_pb.CheckSessionRequest(secret=secret)
        return await self.call(tenant, "SessionService.CheckSession", request)

    async def begin_registration(self, tenant: Any, token: str) -> Any:
        request = passkeys_pb.BeginRegistrationRequest()
        return await self.call(tenant, "PasskeyService.BeginRegistration", request, token=token)

    async def finish_registration(
        self, tenant: Any, token: str, ceremony_id: str, credential: str, name: str = "Key"
    ) -> Any:
        request = passkeys_pb.FinishRegistrationRequest(
            ceremony_id=ceremony_id, credential_json=credential, name=name
        )
        done = await self.call(tenant, "PasskeyService.FinishRegistration", request, token=token)
        return done.passkey

    async def register(self, person: Person, device: Authenticator, **lies: Any) -> Any:
        """Sign in by a link and register a passkey."""
        tenant = person.tenant
        token = await self.token(tenant, (await self.by_link(person)).secret)
        begun = await self.begin_registration(tenant, token)
        credential = device.create(begun.options_json, **lies)
        return await self.finish_registration(tenant, token, begun.ceremony_id, credential)

    async def begin_sign_in(self, tenant: Any) -> Any:
        request = passkeys_pb.BeginSignInRequest()
        return await self.call(tenant, "PasskeyService.BeginSignIn", request)

    async def finish_sign_in(
        self, tenant: Any, ceremony_id: str, credential: str, session_secret: str = ""
    ) -> Any:
        request = passkeys_pb.FinishSignInRequest(
            ceremony_id=ceremony_id,
            credential_json=credential,
            device=DEVICE,
            session_secret=session_secret,
        )
        return (await self.call(tenant, "PasskeyService.FinishSignIn", request)).session

    async def sign_in(
        self, tenant: Any, device: Authenticator, *, session_secret: str = "", **lies: Any
    ) -> Any:
        """Sign in with a passkey; the session."""
        begun = await self.begin_sign_in(tenant)
        credential = device.get(begun.options_json, **lies)
        return await self.finish_sign_in(tenant, begun.ceremony_id, credential, session_secret)

    async def policy(self, tenant: Any) -> Any:
        """How people of a tenant sign in."""
        request = policies_pb.GetSignInPolicyRequest()
        return await self.call(tenant, "SignInPolicyService.GetSignInPolicy", request)

    async def set_policy(
        self,
        tenant: Any,
        *,
        token: str = "",
        etag: str = "",
        caller: str = "service:cli",
        **changes: Any,
    ) -> Any:
        """Change how people of a tenant sign in, and leave the rest as it is."""
        held = await self.policy(tenant)
        for name, value in changes.items():
            held.policy.ClearField(name)
            held.policy.MergeFrom(policies_pb.SignInPolicy(**{name: value}))
        request = policies_pb.UpdateSignInPolicyRequest(policy=held.policy, etag=etag or held.etag)
        rpc = "SignInPolicyService.UpdateSignInPolicy"
        return await self.call(tenant, rpc, request, token=token, caller=caller)

    async def records(self, tenant: Any, action: str) -> list[asyncpg.Record]:
        """The tenant's audit records of an action, oldest first."""
        return [row for row in await self.audit(tenant.tenant_id) if row["action"] == action]


@dataclass(frozen=True)
class _Slug:
    slug: str
    org_slug: str = ""


@pytest.fixture
async def read_audit(db_factory: Any) -> Callable[[UUID], Awaitable[list[asyncpg.Record]]]:
    """Every audit record of a tenant, oldest first."""
    db = await db_factory("argy_audit", max_size=2)

    async def read(tenant_id: UUID) -> list[asyncpg.Record]:
        async with db.tenant(tenant_id) as tx:
            return list(
                await tx.fetch(
                    "SELECT actor, action, resource, outcome, reason, detail::text"
                    " FROM audit.event WHERE tenant_id = $1 ORDER BY id",
                    tenant_id,
                )
            )

    return read


KEK = KeyRing.generate("kek1")
"""One for the run, as the signing keys stay in the database."""


@pytest.fixture(scope="session")
def pg_dsn(fresh_database: Callable[..., str], worker_number: int) -> str:
    """A database of their own: signing keys open with these tests' key-encryption key only."""
    return fresh_database(f"argy_sign_in_{worker_number}")


@pytest.fixture(scope="session")
def login_dsn(servers: Any, pg_dsn: str) -> Callable[[str], str]:
    """Map a role to the DSN of its login."""
    return lambda role: with_login(pg_dsn, f"{role}_login", servers.password)


@pytest.fixture
async def world(
    db_factory: Any, redis_store: RedisStore, tmp_path: Path, read_audit: Any
) -> AsyncIterator[World]:
    """The services, started."""
    clock = FixedClock(SystemClock().now_ms())
    db = await db_factory("argy_authn", max_size=8)
    keys = SigningKeys(db, KeyRingKms(KEK), clock)
    await keys.start()
    revocations = TokenEndings(redis_store, clock, await db_factory("argy_authn", max_size=2))
    mirror = RevocationMirror(redis_store)
    access = Access()
    parts = assemble_sign_in(
        db=db,
        redis=redis_store,
        clock=clock,
        settings=SignInSettings(
            relying_party=RelyingParty(
                rp_id=RP_ID,
                name="Example",
                origins=(ORIGIN, "https://other.example.test"),
            ),
            base_url=PUBLIC_URL,
            limits=Limits(idle_s=1_800, absolute_s=43_200),
        ),
        mail=FolderSink(tmp_path / "mail"),
        kek=KeyRingKms(KEK),
        issuer=TokenIssuer(keys=keys, revocations=revocations, public_url=PUBLIC_URL, clock=clock),
        revocations=revocations,
        access=access,
    )
    await parts.start()
    verifier = TokenVerifier(keys=keys, revocations=mirror, public_url=PUBLIC_URL, clock=clock)
    yield World(parts, db, redis_store, clock, access, tmp_path / "mail", verifier, read_audit)
    await parts.outbox.drain()
    await parts.close()
    await mirror.close()
    await keys.close()


@pytest.fixture
async def person_in(db_factory: Any) -> Callable[..., Awaitable[Person]]:
    """Make a user of a tenant."""
    db = await db_factory("argy_directory", max_size=2)

    async def make(tenant: Any) -> Person:
        person = Person(tenant, uuid7(), f"{os.urandom(6).hex()}@Example.test")
        async with db.tenant(tenant.tenant_id) as tx:
            await tx.execute(
                "INSERT INTO directory.user_account (tenant_id, user_id, email, display_name)"
                " VALUES ($1, $2, $3, 'Ada')",
                tenant.tenant_id,
                person.user_id,
                person.email,
            )
        return person

    return make


@pytest.fixture
async def change_user(db_factory: Any) -> Callable[..., Awaitable[None]]:
    """Disable, enable or delete a user as the directory does."""
    db = await db_factory("argy_directory", max_size=2)

    async def change(person: Person, state: str) -> None:
        tenant_id = person.tenant.tenant_id
        async with db.tenant(tenant_id) as tx:
            if state == "DELETED":
                await tx.execute(
                    "DELETE FROM directory.user_account WHERE tenant_id = $1 AND user_id = $2",
                    tenant_id,
                    person.user_id,
                )
            else:
                await tx.execute(
                    "UPDATE directory.user_account SET state = $3"
                    " WHERE tenant_id = $1 AND user_id = $2",
                    tenant_id,
                    person.user_id,
                    state,
                )

    return change


@pytest.fixture
async def ada(tenant_factory: Any, person_in: Any) -> Person:
    """A user of a fresh tenant."""
    person: Person = await person_in(await tenant_factory())
    return person


@pytest.fixture
def authenticator() -> Callable[..., Authenticator]:
    """Make an authenticator in software: ``authenticator(synced=True)``."""
    return partial(Authenticator, origin=ORIGIN)
