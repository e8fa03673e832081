"""A tenant without links: nobody signs in, recovers or is invited by mail; nobody is locked out."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from argy.api.authn.v1 import magic_link_pb2 as links_pb
from argy.api.authn.v1 import passkey_pb2 as passkeys_pb
from argy.api.authn.v1.sign_in_policy_pb2 import LINKS_OFF, LINKS_ON
from argy.authn.passkeys import store as passkey_store
from argy.authn.sign_in_policy import store as sign_in_policy_store
from argy.authn.sign_in_policy.domain import SignInPolicy, Version
from argy.base.errors import FailedPrecondition


async def _refused(attempt: Awaitable[Any], reason: str = "LINKS_OFF") -> None:
    with pytest.raises(FailedPrecondition) as refused:
        await attempt
    assert refused.value.reason == reason


async def _invite(world: Any, person: Any) -> Any:
    request = links_pb.InviteUserRequest(user_id=str(person.user_id))
    return await world.call(
        person.tenant, "MagicLinkService.InviteUser", request, caller="service:cli"
    )


async def _ask(world: Any, tenant: Any, email: str) -> Any:
    request = links_pb.RequestLinkRequest(email=email)
    return await world.call(tenant, "MagicLinkService.RequestLink", request)


async def test_an_old_link_is_refused_when_links_were_turned_off(world: Any, ada: Any) -> None:
    secret, browser = await world.ask_link(ada)
    await world.set_policy(ada.tenant, links=LINKS_OFF)
    await _refused(world.redeem(ada.tenant, secret, browser))
    (record,) = await world.records(ada.tenant, "authn.link.redeem")
    assert (record["outcome"], record["reason"]) == ("DENIED", "LINKS_OFF")
    # It was not used up by that.
    await world.set_policy(ada.tenant, links=LINKS_ON)
    await world.redeem(ada.tenant, secret, browser)


async def test_an_old_invitation_is_refused_when_links_were_turned_off(
    world: Any, ada: Any
) -> None:
    await _invite(world, ada)
    secret = await world.link_secret()
    await world.set_policy(ada.tenant, links=LINKS_OFF)
    await _refused(world.redeem(ada.tenant, secret, confirmed=True))
    await _refused(_invite(world, ada))


async def test_nobody_recovers_while_links_are_off(
    world: Any, ada: Any, authenticator: Any
) -> None:
    await world.register(ada, authenticator())
    secret, browser = await world.ask_link(ada)
    await world.set_policy(ada.tenant, links=LINKS_OFF)
    before = len(await world.mails())
    await _refused(world.redeem(ada.tenant, secret, browser))
    await _refused(_ask(world, ada.tenant, ada.email))
    assert len(await world.mails()) == before


async def test_links_that_are_off_tell_nothing_of_whose_an_address_is(
    world: Any, ada: Any, person_in: Any, change_user: Any
) -> None:
    """The answer is the same, and neither a link nor a record nor a mail is left behind."""
    gone = await person_in(ada.tenant)
    await change_user(gone, "DISABLED")
    await world.set_policy(ada.tenant, links=LINKS_OFF)
    told = set()
    for email in (ada.email, gone.email, "nobody@example.test"):
        with pytest.raises(FailedPrecondition) as refused:
            await _ask(world, ada.tenant, email)
        told.add((refused.value.reason, refused.value.message, refused.value.field))
    assert len(told) == 1
    assert await world.records(ada.tenant, "authn.link.request") == []
    assert await world.mails() == []
    async with world.db.tenant(ada.tenant.tenant_id) as tx:
        assert await tx.fetchval("SELECT count(*) FROM authn.magic_link") == 0


async def test_links_that_are_off_tell_nothing_of_which_link_is_real(world: Any, ada: Any) -> None:
    secret, _ = await world.ask_link(ada)
    await world.set_policy(ada.tenant, links=LINKS_OFF)
    for one in (secret, "x" * 43):
        await _refused(world.redeem(ada.tenant, one, confirmed=True))


async def test_another_tenants_policy_turns_no_links_off(
    world: Any, ada: Any, tenant_factory: Any
) -> None:
    await world.set_policy(await tenant_factory(), links=LINKS_OFF)
    await world.by_link(ada)


async def test_nobody_turns_links_off_who_could_not_sign_in_then(
    world: Any, ada: Any, authenticator: Any, proved: Any
) -> None:
    token = await world.token(ada.tenant, (await world.by_link(ada)).secret)
    await _refused(world.set_policy(ada.tenant, token=token, links=LINKS_OFF), "WOULD_LOCK_OUT")
    assert await world.records(ada.tenant, "authn.sign_in_policy.update") == []
    device = authenticator()
    await world.register(ada, device)
    made = await world.set_policy(ada.tenant, token=await proved(ada, device), links=LINKS_OFF)
    assert made.policy.links == LINKS_OFF


async def test_a_blocked_passkey_does_not_count_as_a_way_in(
    world: Any, ada: Any, authenticator: Any
) -> None:
    device = authenticator()
    session = await world.by_link(ada)
    token = await world.token(ada.tenant, session.secret)
    begun = await world.begin_registration(ada.tenant, token)
    created = device.create(begun.options_json)
    await world.finish_registration(ada.tenant, token, begun.ceremony_id, created)
    await world.sign_in(ada.tenant, device, sign_count=7)
    with pytest.raises(Exception, match="counter"):
        await world.sign_in(ada.tenant, device, sign_count=7)
    await _refused(world.set_policy(ada.tenant, token=token, links=LINKS_OFF), "WOULD_LOCK_OUT")


@pytest.fixture
async def waits(pg_dsn: str) -> AsyncIterator[Any]:
    """Let a call go on until it waits for another transaction's lock, or is done."""
    admin = await asyncpg.connect(pg_dsn)
    blocked = (
        "SELECT EXISTS (SELECT FROM pg_locks AS l JOIN pg_database AS d ON d.oid = l.database"
        " WHERE l.locktype = 'advisory' AND NOT l.granted AND d.datname = current_database())"
    )

    async def until_it_waits(attempt: Awaitable[Any]) -> "asyncio.Future[Any]":
        call = asyncio.ensure_future(attempt)
        while not call.done():
            if await admin.fetchval(blocked):
                break
        return call

    yield until_it_waits
    await admin.close()


async def test_links_are_not_turned_off_while_ones_last_passkey_is_removed(
    world: Any, ada: Any, authenticator: Any, proved: Any, waits: Any
) -> None:
    device = authenticator()
    passkey = await world.register(ada, device)
    token = await proved(ada, device)
    async with world.db.tenant(ada.tenant.tenant_id) as tx:
        await passkey_store.list_of(tx, ada.user_id, alone=True)
        await passkey_store.delete(tx, ada.user_id, UUID(passkey.passkey_id))
        turning = await waits(world.set_policy(ada.tenant, token=token, links=LINKS_OFF))
    await _refused(turning, "WOULD_LOCK_OUT")


async def test_the_last_passkey_is_not_removed_while_links_are_turned_off(
    world: Any, ada: Any, authenticator: Any, proved: Any, waits: Any
) -> None:
    device = authenticator()
    passkey = await world.register(ada, device)
    token = await proved(ada, device)
    request = passkeys_pb.RemovePasskeyRequest(passkey_id=passkey.passkey_id)
    off = Version(SignInPolicy(links="OFF"), (), 1)
    async with world.db.tenant(ada.tenant.tenant_id) as tx:
        await passkey_store.list_of(tx, ada.user_id, alone=True)
        assert await sign_in_policy_store.save(tx, off, now_ms=world.clock.now_ms())
        rpc = "PasskeyService.RemovePasskey"
        removing = await waits(world.call(ada.tenant, rpc, request, token=token))
    await _refused(removing, "LAST_WAY_IN")


async def test_a_link_that_is_being_used_is_refused_when_links_are_turned_off_first(
    world: Any, ada: Any, waits: Any
) -> None:
    secret, browser = await world.ask_link(ada)
    off = Version(SignInPolicy(links="OFF"), (), 1)
    async with world.db.tenant(ada.tenant.tenant_id) as tx:
        await passkey_store.queue_up(tx, ada.user_id)
        using = await waits(world.redeem(ada.tenant, secret, browser))
        assert await sign_in_policy_store.save(tx, off, now_ms=world.clock.now_ms())
    await _refused(using)
