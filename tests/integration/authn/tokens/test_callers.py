"""Access tokens as callers' proof, at a service that asks authn for its keys."""

import asyncio
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ports import reserved_port

from argy.api.authn.v1 import token_pb2 as pb
from argy.api.directory.v1.tenant_pb2 import GetOrgRequest
from argy.api.directory.v1.tenant_pb2_grpc import OrgServiceStub
from argy.base.errors import (
    ArgyError,
    InvalidArgument,
    PermissionDenied,
    Unauthenticated,
    Unavailable,
)
from argy.base.ids import uuid7
from argy.local.valkey import EmbeddedValkey
from argy.rpc.call import Call
from argy.rpc.caller import end_caller
from argy.rpc.jwt import CLOCK_SKEW_S
from argy.rpc.revoked import session_entry, token_entry, user_entry


async def reason(awaited: Any) -> str:
    with pytest.raises(ArgyError) as caught:
        await awaited
    return caught.value.reason


async def outcome(awaited: Any) -> str:
    """The reason of a refusal; empty when there was none."""
    try:
        await awaited
    except ArgyError as error:
        return error.reason
    return ""


@pytest.fixture
async def beside(world: Any, replica: Any) -> Any:
    """A service beside authn."""
    return await world.beside(replica)


async def test_the_caller_is_who_the_token_says(
    world: Any, replica: Any, beside: Any, ada: Any
) -> None:
    access = (await world.sign_in(replica, ada)).access_token
    for _ in range(2):
        assert await world.whoami(beside, ada.tenant, access) == f"user:{ada.user_id}"
    # Whichever service hands it on: it adds nothing and takes nothing away.
    assert await world.whoami(beside, ada.tenant, access, source="cli") == f"user:{ada.user_id}"


async def test_a_token_of_another_tenant_is_refused(
    world: Any, replica: Any, beside: Any, ada: Any, tenant_factory: Any
) -> None:
    access = (await world.sign_in(replica, ada)).access_token
    other = await tenant_factory()
    assert await reason(world.whoami(beside, other, access)) == "TOKEN_OF_ANOTHER_TENANT"
    await world.whoami(beside, ada.tenant, access)
    # Nor is it let in by having been seen before.
    assert await reason(world.whoami(beside, other, access)) == "TOKEN_OF_ANOTHER_TENANT"


async def test_a_token_of_an_org_is_good_in_that_org_alone(
    world: Any, replica: Any, beside: Any, ada: Any
) -> None:
    sales, lab = ada.tenant.orgs["sales"], ada.tenant.orgs["lab"]
    access = (await world.sign_in(replica, ada, org_id=sales)).access_token
    assert await world.whoami(beside, ada.tenant, access, sales)
    for org in (lab, None):
        with pytest.raises(PermissionDenied) as caught:
            await world.whoami(beside, ada.tenant, access, org)
        assert caught.value.reason == "ORG_NOT_IN_TOKEN"
    whole = (await world.sign_in(replica, ada)).access_token
    assert await world.whoami(beside, ada.tenant, whole, lab)


async def test_nobody_is_named_beside_a_token(
    world: Any, replica: Any, beside: Any, ada: Any
) -> None:
    access = (await world.sign_in(replica, ada)).access_token
    with pytest.raises(InvalidArgument) as caught:
        await world.whoami(beside, ada.tenant, access, subject=f"user:{uuid7()}")
    assert caught.value.reason == "SUBJECT_WITH_CREDENTIAL"


async def test_a_token_limited_to_scopes_may_no_more(
    world: Any, replica: Any, beside: Any, ada: Any
) -> None:
    limited = (await world.sign_in(replica, ada, scope="project:read")).access_token
    assert await reason(world.whoami(beside, ada.tenant, limited)) == "SCOPE_INSUFFICIENT"
    fitting = (await world.sign_in(replica, ada, scope="directory.org:read")).access_token
    assert await world.whoami(beside, ada.tenant, fitting)


async def test_the_person_s_own_permissions_decide(
    world: Any, replica: Any, beside: Any, ada: Any
) -> None:
    access = (await world.sign_in(replica, ada)).access_token
    beside.permissions.denied.add(f"user:{ada.user_id}")
    assert await reason(world.whoami(beside, ada.tenant, access)) == "ACCESS_DENIED"


@pytest.mark.parametrize("header", ["Basic dXNlcjpwYXNz", "Bearer", "Bearer a.b.c", "x", ""])
async def test_other_authorization_headers(world: Any, beside: Any, ada: Any, header: str) -> None:
    stub: Any = OrgServiceStub(world.channel(beside, ada.tenant.tenant_id))
    with pytest.raises(Unauthenticated) as caught:
        await stub.GetOrg(GetOrgRequest(org_id=str(uuid7())), metadata=(("authorization", header),))
    assert caught.value.reason in {
        "CREDENTIAL_UNSUPPORTED",
        "PASSWORD_UNSUPPORTED",
        "TOKEN_MALFORMED",
    }


@pytest.mark.parametrize("what", ["session", "token", "person"])
async def test_an_ended_token_is_refused_everywhere_within_half_a_second(
    world: Any, replica: Any, ada: Any, what: str
) -> None:
    services = [await world.beside(replica) for _ in range(2)]
    tokens = await world.sign_in(replica, ada)
    for service in services:
        await world.whoami(service, ada.tenant, tokens.access_token)
    told = await world.introspect(replica, ada.tenant, tokens.access_token)
    assert told.active
    entry = {
        "session": session_entry(str(ada.session_id)),
        "person": user_entry(f"user:{ada.user_id}"),
    }
    if what == "token":
        request = pb.RevokeTokenRequest(token=tokens.access_token)
        await world.tokens(replica, ada.tenant).RevokeToken(request)
    else:
        await replica.endings.deny(ada.tenant.tenant_id, [entry[what]])
    ended_s = time.monotonic()
    for service in services:
        while True:
            began_s = time.monotonic()
            found = await outcome(world.whoami(service, ada.tenant, tokens.access_token))
            if found == "TOKEN_REVOKED":
                break
            assert not found
            # Whoever was still let in had asked within half a second of the end.
            assert began_s - ended_s < 0.5


async def test_a_second_sign_in_is_not_ended_with_the_first(
    world: Any, replica: Any, beside: Any, ada: Any
) -> None:
    await replica.endings.deny(ada.tenant.tenant_id, [user_entry(f"user:{ada.user_id}")])
    world.clock.advance((CLOCK_SKEW_S + 1) * 1_000)
    access = (await world.sign_in(replica, ada)).access_token
    assert await world.whoami(beside, ada.tenant, access)
    await replica.endings.deny(ada.tenant.tenant_id, [token_entry("another")])


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[EmbeddedValkey]:
    """A Valkey that a test may stop and empty."""
    server = EmbeddedValkey(tmp_path / "valkey", port=reserved_port(), durable=False)
    server.start()
    yield server
    server.stop()


async def test_while_redis_is_away_no_token_is_let_in_and_none_is_issued(
    world: Any, ada: Any, valkey: EmbeddedValkey
) -> None:
    replica = await world.replica(redis_url=valkey.url)
    beside = await world.beside(replica, redis_url=valkey.url)
    tokens = await world.sign_in(replica, ada)
    await world.whoami(beside, ada.tenant, tokens.access_token)
    valkey.stop()
    # The copy is good for half a second more, then it is not believed.
    async with asyncio.timeout(60):
        while True:
            try:
                await world.whoami(beside, ada.tenant, tokens.access_token)
            except Unavailable:
                break
    with pytest.raises(Unavailable):
        await world.sign_in(replica, ada)
    with pytest.raises(Unavailable):
        await world.refresh(replica, ada, tokens.refresh_token)
    shutil.rmtree(valkey.folder / "data")
    valkey.start()
    # What was ended before is not known any more: every token of before is refused.
    found = ""
    async with asyncio.timeout(60):
        while found != "TOKEN_REVOCATION_UNKNOWN":
            found = await outcome(world.whoami(beside, ada.tenant, tokens.access_token))
            assert found
    # The refused trade did not use the refresh token up: its holder goes on without a sign-in.
    fresh = await world.refresh(replica, ada, tokens.refresh_token)
    assert await world.whoami(beside, ada.tenant, fresh.access_token) == f"user:{ada.user_id}"


async def test_while_authn_is_away_no_good_token_is_called_one_of_an_unknown_key(
    world: Any, replica: Any, ada: Any
) -> None:
    beside = await world.beside(replica)
    access = (await world.sign_in(replica, ada)).access_token
    await replica.server.stop()
    # Whoever is told that a token is bad throws it away.
    for _ in range(3):
        with pytest.raises(Unavailable):
            await world.whoami(beside, ada.tenant, access)


async def test_whoever_is_cut_off_from_authn_does_not_believe_its_keys_for_ever(
    world: Any, replica: Any, ada: Any
) -> None:
    beside = await world.beside(replica, trust_s=3.0)
    access = (await world.sign_in(replica, ada)).access_token
    assert await world.whoami(beside, ada.tenant, access)
    await replica.server.stop()
    async with asyncio.timeout(60):
        while not (found := await outcome(world.whoami(beside, ada.tenant, access))):
            pass
    # Refused for want of an answer, not as a bad token.
    assert not found.startswith("TOKEN_")


async def test_a_redis_restored_from_before_a_revocation_revives_no_token(
    world: Any, ada: Any, valkey: EmbeddedValkey, tmp_path: Path
) -> None:
    replica = await world.replica(redis_url=valkey.url)
    beside = await world.beside(replica, redis_url=valkey.url)
    access = (await world.sign_in(replica, ada)).access_token
    await world.whoami(beside, ada.tenant, access)
    shutil.copytree(valkey.folder / "data", tmp_path / "snapshot")
    await replica.endings.deny(ada.tenant.tenant_id, [session_entry(str(ada.session_id))])
    found = ""
    async with asyncio.timeout(60):
        while found != "TOKEN_REVOKED":
            found = await outcome(world.whoami(beside, ada.tenant, access))
    valkey.stop()
    shutil.rmtree(valkey.folder / "data")
    shutil.copytree(tmp_path / "snapshot", valkey.folder / "data")
    valkey.start()
    async with asyncio.timeout(60):
        while found != "TOKEN_REVOCATION_UNKNOWN":
            found = await outcome(world.whoami(beside, ada.tenant, access))
            assert found, "let in"
    while await outcome(world.sign_in(replica, ada)) == "REVOCATIONS_AWAY":
        pass  # a connection of before
    fresh = (await world.sign_in(replica, ada)).access_token
    # The list that began anew does not take the old token back.
    assert await reason(world.whoami(beside, ada.tenant, access)) == "TOKEN_REVOCATION_UNKNOWN"
    assert await world.whoami(beside, ada.tenant, fresh)


async def test_a_token_issued_by_a_clock_that_is_ahead_ends_with_its_person_too(
    world: Any, replica: Any, beside: Any, ada: Any
) -> None:
    world.clock.advance(CLOCK_SKEW_S * 1_000)
    ahead = (await world.sign_in(replica, ada)).access_token
    world.clock.advance(-CLOCK_SKEW_S * 1_000)
    assert await world.whoami(beside, ada.tenant, ahead)
    await replica.endings.deny(ada.tenant.tenant_id, [user_entry(f"user:{ada.user_id}")])
    told = await world.introspect(replica, ada.tenant, ahead)
    assert not told.active


async def test_a_server_that_verifies_no_tokens_refuses_them(world: Any, ada: Any) -> None:
    call = Call(None, b"", 0)  # type: ignore[arg-type]
    call.metadata = {"authorization": "Bearer a.b.c"}
    with pytest.raises(Unauthenticated) as caught:
        end_caller(call, None, None)
    assert caught.value.reason == "CREDENTIAL_UNSUPPORTED"
