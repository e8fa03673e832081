"""Refresh tokens: traded once, by one; whoever trades one again ends the family."""

import asyncio
from typing import Any

import asyncpg
import pytest

from argy.api.authn.v1 import token_pb2 as pb
from argy.authn.tokens.revocation import MOST_OF_ONE
from argy.base.errors import Unauthenticated
from argy.base.ids import uuid7
from argy.base.secret_token import new_token

DAY_MS = 86_400_000
INVALID, REUSED = "REFRESH_TOKEN_INVALID", "REFRESH_TOKEN_REUSED"


async def reason(awaited: Any) -> str:
    with pytest.raises(Unauthenticated) as caught:
        await awaited
    return caught.value.reason


async def test_a_trade_gives_new_tokens_of_the_same_sign_in(
    world: Any, replica: Any, ada: Any, audit: Any
) -> None:
    first = await world.sign_in(replica, ada, scope="project:read")
    other = await world.replica()
    second = await world.refresh(other, ada, first.refresh_token)
    assert second.refresh_token != first.refresh_token
    assert second.access_token != first.access_token
    assert (second.scope, second.expires_in_s) == ("project:read", 600)
    told = await world.introspect(replica, ada.tenant, second.access_token)
    assert told.active
    assert told.session_id == str(ada.session_id)
    (record,) = await audit(ada.tenant.tenant_id, "authn.token.refresh")
    assert (record["actor"], record["outcome"]) == (f"user:{ada.user_id}", "SUCCESS")
    assert first.refresh_token not in str(record)


async def test_reuse_ends_the_family(world: Any, replica: Any, ada: Any, audit: Any) -> None:
    first = await world.sign_in(replica, ada)
    second = await world.refresh(replica, ada, first.refresh_token)
    beside = await world.beside(replica)
    assert await world.whoami(beside, ada.tenant, second.access_token)
    assert await reason(world.refresh(replica, ada, first.refresh_token)) == REUSED
    # The thief's or the victim's: both are over, and so are the access tokens of the family.
    assert await reason(world.refresh(replica, ada, second.refresh_token)) == INVALID
    for access in (first.access_token, second.access_token):
        assert not (await world.introspect(replica, ada.tenant, access)).active
    (record,) = await audit(ada.tenant.tenant_id, "authn.token.reuse")
    assert (record["outcome"], record["reason"]) == ("DENIED", REUSED)


async def test_another_family_of_the_same_person_lives_on(
    world: Any, replica: Any, ada: Any
) -> None:
    one, two = await world.sign_in(replica, ada), await world.sign_in(replica, ada)
    await world.refresh(replica, ada, one.refresh_token)
    assert await reason(world.refresh(replica, ada, one.refresh_token)) == REUSED
    assert (await world.refresh(replica, ada, two.refresh_token)).access_token


async def test_of_many_at_once_one_wins(world: Any, replica: Any, ada: Any) -> None:
    first = await world.sign_in(replica, ada)
    results = await asyncio.gather(
        *(world.refresh(replica, ada, first.refresh_token) for _ in range(8)),
        return_exceptions=True,
    )
    won = [one for one in results if not isinstance(one, BaseException)]
    lost = [one.reason for one in results if isinstance(one, Unauthenticated)]
    assert len(won) == 1
    assert len(lost) == 7
    assert set(lost) <= {REUSED, INVALID}
    # No grace: who came second may be the owner, so that the winner's family is over too.
    assert await reason(world.refresh(replica, ada, won[0].refresh_token)) == INVALID


async def test_another_client_can_not_trade_it_nor_use_it_up(
    world: Any, replica: Any, ada: Any
) -> None:
    first = await world.sign_in(replica, ada)
    stolen = world.refresh(replica, ada, first.refresh_token, client_id="evil")
    assert await reason(stolen) == INVALID
    assert (await world.refresh(replica, ada, first.refresh_token)).access_token


async def test_another_tenant_can_not_trade_it(
    world: Any, replica: Any, ada: Any, tenant_factory: Any
) -> None:
    first = await world.sign_in(replica, ada)
    other = await tenant_factory()
    stolen = world.refresh(replica, ada, first.refresh_token, tenant=other)
    assert await reason(stolen) == INVALID
    assert (await world.refresh(replica, ada, first.refresh_token)).access_token


@pytest.mark.parametrize(
    "made_up",
    ["x", new_token("rt"), new_token("pat"), "argy_rt_x_y"],
    # Tokens are new in each process that collects the tests.
    ids=["short", "unknown", "of-another-kind", "without-check"],
)
async def test_a_made_up_token(world: Any, replica: Any, ada: Any, made_up: str) -> None:
    assert await reason(world.refresh(replica, ada, made_up)) == INVALID


async def test_a_family_ends_thirty_days_after_its_first_token(
    world: Any, replica: Any, ada: Any
) -> None:
    token = (await world.sign_in(replica, ada)).refresh_token
    for _ in range(2):
        world.clock.advance(14 * DAY_MS)
        token = (await world.refresh(replica, ada, token)).refresh_token
    world.clock.advance(2 * DAY_MS + 1)
    assert await reason(world.refresh(replica, ada, token)) == INVALID


async def test_a_disabled_person_gets_nothing_at_any_replica(
    world: Any, replica: Any, ada: Any
) -> None:
    other = await world.replica()
    first = await world.sign_in(replica, ada)
    assert (await world.introspect(other, ada.tenant, first.access_token)).active
    await world.set_state(ada, "DISABLED")
    for one in (replica, other):
        assert await reason(world.refresh(one, ada, first.refresh_token)) == INVALID
        assert await reason(world.sign_in(one, ada)) == "USER_DISABLED"
        for token in (first.access_token, first.refresh_token):
            assert not (await world.introspect(one, ada.tenant, token)).active


async def test_nothing_of_a_token_is_kept_but_its_digest(
    world: Any, replica: Any, ada: Any, pg_dsn: str
) -> None:
    first = await world.sign_in(replica, ada)
    admin = await asyncpg.connect(pg_dsn)
    rows = await admin.fetch("SELECT t::text AS row FROM authn.refresh_token AS t")
    await admin.close()
    assert rows
    assert not any(first.refresh_token[8:51] in row["row"] for row in rows)


@pytest.mark.parametrize("kind", ["access", "refresh"])
async def test_revocation_of_a_token(world: Any, replica: Any, ada: Any, kind: str) -> None:
    first = await world.sign_in(replica, ada)
    stub = world.tokens(replica, ada.tenant)
    token = first.access_token if kind == "access" else first.refresh_token
    # Another client can't end it, and is not told so.
    await stub.RevokeToken(pb.RevokeTokenRequest(token=token, client_id="evil"))
    assert (await world.introspect(replica, ada.tenant, token)).active
    await stub.RevokeToken(pb.RevokeTokenRequest(token=token, client_id="argy-cli"))
    other = await world.replica()
    assert not (await world.introspect(other, ada.tenant, first.access_token)).active
    refresh_lives = (await world.introspect(other, ada.tenant, first.refresh_token)).active
    assert refresh_lives == (kind == "access")


async def test_one_person_can_not_fill_the_deny_list_by_refreshing_and_revoking(
    world: Any, replica: Any, ada: Any
) -> None:
    bob = await world.person(ada.tenant)
    others = await world.sign_in(replica, bob)
    stub = world.tokens(replica, ada.tenant)
    held = await world.sign_in(replica, ada)
    kept = await world.sign_in(replica, ada)
    revoked = []
    for _ in range(2 * MOST_OF_ONE + 3):
        await stub.RevokeToken(pb.RevokeTokenRequest(token=held.access_token))
        revoked.append(held.access_token)
        held = await world.refresh(replica, ada, held.refresh_token)
    entries = (await world.mirrors[0].renewed(ada.tenant.tenant_id)).ends_ms
    assert len(entries) <= MOST_OF_ONE + 1
    assert f"u:user:{ada.user_id}" in entries
    # What was ended stays ended; nobody else's token is, nor what a person is signed in by.
    for token in revoked:
        assert not (await world.introspect(replica, ada.tenant, token)).active
    assert (await world.introspect(replica, ada.tenant, others.access_token)).active
    world.clock.advance(6_000)
    assert (await world.refresh(replica, ada, kept.refresh_token)).access_token
    fresh = await world.refresh(replica, ada, held.refresh_token)
    assert (await world.introspect(replica, ada.tenant, fresh.access_token)).active


async def test_revoking_what_is_no_token_is_no_error(world: Any, replica: Any, ada: Any) -> None:
    stub = world.tokens(replica, ada.tenant)
    for token in ("x", new_token("rt"), "a.b.c"):
        await stub.RevokeToken(pb.RevokeTokenRequest(token=token))


async def test_introspection_tells_of_good_tokens_alone(
    world: Any, replica: Any, ada: Any, tenant_factory: Any
) -> None:
    org = ada.tenant.orgs["sales"]
    first = await world.sign_in(replica, ada, scope="project:read", org_id=org)
    told = await world.introspect(replica, ada.tenant, first.access_token)
    assert (told.active, told.token_type, told.subject) == (
        True,
        "access_token",
        f"user:{ada.user_id}",
    )
    assert (told.tenant_id, told.org_id) == (str(ada.tenant.tenant_id), str(org))
    assert (told.scope, told.client_id) == ("project:read", "argy-cli")
    assert told.expire_time.seconds - told.issue_time.seconds == 600
    refresh = await world.introspect(replica, ada.tenant, first.refresh_token)
    assert (refresh.active, refresh.token_type) == (True, "refresh_token")
    other = await tenant_factory()
    for tenant, token in (
        (other, first.access_token),
        (other, first.refresh_token),
        (ada.tenant, "x"),
        (ada.tenant, new_token("pat")),
    ):
        assert await world.introspect(replica, tenant, token) == pb.IntrospectTokenResponse()
    world.clock.advance(600_000)
    assert not (await world.introspect(replica, ada.tenant, first.access_token)).active


async def test_ending_a_session_or_a_person_ends_what_could_be_traded(
    world: Any, replica: Any, ada: Any
) -> None:
    first = await world.sign_in(replica, ada)
    await replica.endings.deny(ada.tenant.tenant_id, [f"s:{ada.session_id}"])
    assert await reason(world.refresh(replica, ada, first.refresh_token)) == INVALID
    second = await world.sign_in(replica, type(ada)(ada.tenant, ada.user_id, uuid7()))
    await replica.endings.deny(ada.tenant.tenant_id, [f"u:user:{ada.user_id}"])
    assert await reason(world.refresh(replica, ada, second.refresh_token)) == INVALID
