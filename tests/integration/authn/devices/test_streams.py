"""A stream ends with whatever let it in: a token, a key, the person whose they are."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pytest

from argy.api.authn.v1 import credential_pb2 as cpb
from argy.api.authz.v1 import authz_pb2 as pb
from argy.api.authz.v1.authz_pb2_grpc import AuthzServiceStub
from argy.authn.tokens.revocation import RevocationList
from argy.base.errors import ArgyError
from argy.rpc.revoked import session_entry, user_entry

WATCH = "authz.decision:check"
DAY_MS = 86_400_000
End = Callable[[], Awaitable[None]]


@pytest.fixture
async def eva(world: Any, tenant_factory: Any) -> Any:
    """A person who may watch, and all else."""
    return await world.person(await tenant_factory(), "role:PLATFORM_ADMIN")


@asynccontextmanager
async def watching(world: Any, tenant: Any, secret: str) -> AsyncIterator[Any]:
    """A watch that a credential began on the replica that nothing is changed at."""
    name = "x-api-key" if secret.startswith("argy_key_") else "authorization"
    value = secret if name == "x-api-key" else f"Bearer {secret}"
    stub: Any = AuthzServiceStub(world.channel(tenant, replica=1))
    call = stub.WatchRevisions(pb.WatchRevisionsRequest(), metadata=((name, value),))
    async with asyncio.timeout(60), aclosing(call) as states:
        assert (await anext(states)).revision
        yield states


async def cut(states: Any) -> str:
    """Why a watch ends, to which nothing more happens."""
    try:
        async for _ in states:
            continue
    except ArgyError as error:
        return error.reason
    return ""


async def make_key(world: Any, tenant: Any) -> Any:
    """An API key of an agent that may watch."""
    await world.grant(tenant, "agent:bot", "role:PLATFORM_ADMIN")
    request = cpb.CreateApiKeyRequest(subject="agent:bot", name="bot", scopes=(WATCH,), days=30)
    return await world.credentials(tenant, source="cli").CreateApiKey(request)


async def revoke(world: Any, person: Any, made: Any, *, source: str = "edge") -> None:
    request = cpb.RevokeCredentialRequest(credential_id=made.credential.credential_id)
    metadata = person.metadata if source == "edge" else ()
    await world.credentials(person.tenant, source=source).RevokeCredential(
        request, metadata=metadata
    )


async def test_a_watch_of_a_revoked_personal_access_token_is_cut(world: Any, eva: Any) -> None:
    made = await world.make_token(eva, WATCH)
    async with watching(world, eva.tenant, made.secret) as states:
        await revoke(world, eva, made)
        assert await cut(states) == "CREDENTIAL_INVALID"


async def test_a_watch_of_a_revoked_api_key_is_cut(world: Any, eva: Any) -> None:
    made = await make_key(world, eva.tenant)
    async with watching(world, eva.tenant, made.secret) as states:
        await revoke(world, eva, made, source="cli")
        assert await cut(states) == "CREDENTIAL_INVALID"


@pytest.mark.parametrize("kind", ["token", "key"])
async def test_a_watch_does_not_outlast_its_credential_s_time(
    world: Any, eva: Any, kind: str
) -> None:
    made = await (world.make_token(eva, WATCH) if kind == "token" else make_key(world, eva.tenant))
    async with watching(world, eva.tenant, made.secret) as states:
        world.clock.advance(31 * DAY_MS)
        assert await cut(states) == "CREDENTIAL_INVALID"


@pytest.mark.parametrize("what", ["session", "person"])
async def test_a_watch_of_an_ended_access_token_is_cut(world: Any, eva: Any, what: str) -> None:
    session_id = "01900000-0000-7000-8000-00000000abcd"
    token = await world.sign_in(eva.tenant, eva.user_id, session_id=session_id)
    entry = session_entry(session_id) if what == "session" else user_entry(eva.subject)
    async with watching(world, eva.tenant, token) as states:
        await RevocationList(world.redis, world.clock).deny(eva.tenant.tenant_id, [entry])
        assert await cut(states) == "TOKEN_REVOKED"


async def test_a_watch_does_not_outlast_its_access_token(world: Any, eva: Any) -> None:
    async with watching(world, eva.tenant, eva.token) as states:
        world.clock.advance(601_000)
        assert await cut(states) == "TOKEN_EXPIRED"


async def test_a_watch_of_a_disabled_person_s_personal_access_token_is_cut(
    world: Any, eva: Any
) -> None:
    made = await world.make_token(eva, WATCH)
    async with watching(world, eva.tenant, made.secret) as states:
        await world.disable(eva)
        assert await cut(states) in {"CREDENTIAL_INVALID", "ACCESS_DENIED"}


async def test_nothing_cuts_a_watch_whose_credential_stays_good(world: Any, eva: Any) -> None:
    made, other = await world.make_token(eva, WATCH), await world.make_token(eva, WATCH, name="x")
    async with (
        watching(world, eva.tenant, made.secret) as states,
        watching(world, eva.tenant, other.secret) as others,
    ):
        await revoke(world, eva, other)
        assert await cut(others) == "CREDENTIAL_INVALID"
        # It was asked about again as well by now, and still hears of what changes.
        await world.grant(eva.tenant, "agent:late", "role:PLATFORM_USER")
        assert (await anext(states)).revision
