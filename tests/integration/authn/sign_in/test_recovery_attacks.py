"""What whoever reads a mailbox for a minute may not do, and what a link never stands for."""

import json
from typing import Any

import pytest
from current_call import CURRENT

from argy.api.authn.v1 import magic_link_pb2 as links_pb
from argy.api.authn.v1 import passkey_pb2 as pb
from argy.api.authn.v1.sign_in_policy_pb2 import LINKS_OFF
from argy.authn.sessions.domain import DeviceInfo
from argy.base.errors import FailedPrecondition, NotFound, PermissionDenied, Unauthenticated
from argy.rpc.person import require_recent


async def _remove(world: Any, person: Any, token: str, passkey_id: str) -> None:
    request = pb.RemovePasskeyRequest(passkey_id=passkey_id)
    await world.call(person.tenant, "PasskeyService.RemovePasskey", request, token=token)


async def _register(world: Any, person: Any, token: str, device: Any) -> Any:
    begun = await world.begin_registration(person.tenant, token)
    return await world.finish_registration(
        person.tenant, token, begun.ceremony_id, device.create(begun.options_json)
    )


async def _open(world: Any, person: Any, method: str) -> Any:
    """A session, as a ceremony that is not at hand here opens it; its secret."""
    await world.begin_sign_in(person.tenant)
    async with world.db.tenant(person.tenant.tenant_id) as tx:
        _, secret = await world.parts.sessions.open(
            tx, CURRENT.get(), person.user_id, method, DeviceInfo()
        )
    return secret


async def test_a_recovery_takes_no_passkey_away(world: Any, ada: Any, authenticator: Any) -> None:
    """Who reads the mailbox must not lock out whoever holds the passkey."""
    passkey = await world.register(ada, authenticator())
    thief = await world.token(ada.tenant, (await world.by_link(ada)).secret)
    with pytest.raises(FailedPrecondition) as refused:
        await _remove(world, ada, thief, passkey.passkey_id)
    assert refused.value.reason == "STEP_UP_REQUIRED"
    (record,) = await world.records(ada.tenant, "authn.passkey.remove")
    assert (record["outcome"], record["reason"]) == ("DENIED", "STEP_UP_REQUIRED")
    assert json.loads(record["detail"])["passkey"] == passkey.passkey_id


async def test_a_recovery_is_no_recent_proof_and_no_passkey(
    world: Any, ada: Any, authenticator: Any
) -> None:
    """A personal access token, an API key, a device: each would outlive the recovery."""
    device = authenticator()
    await world.register(ada, device)
    session = await world.by_link(ada)
    await world.token(ada.tenant, session.secret)
    token = await world.token(ada.tenant, session.secret)
    await world.begin_registration(ada.tenant, token)
    call = CURRENT.get()
    assert call.claims is not None
    assert (call.claims.acr, call.claims.amr) == ("urn:argy:acr:provisional", ("magic_link",))
    with pytest.raises(FailedPrecondition):
        require_recent(call)
    # With the new passkey it is a session as any other.
    renewed = await world.sign_in(ada.tenant, device, session_secret=session.secret)
    await world.begin_registration(ada.tenant, await world.token(ada.tenant, renewed.secret))
    require_recent(CURRENT.get())


async def test_a_token_of_a_recovery_registers_nothing_when_the_recovery_is_over(
    world: Any, ada: Any, authenticator: Any
) -> None:
    await world.register(ada, authenticator())
    session = await world.by_link(ada)
    world.clock.advance(899_000)
    token = await world.token(ada.tenant, session.secret)
    begun = await world.begin_registration(ada.tenant, token)
    world.clock.advance(2_000)
    created = authenticator().create(begun.options_json)
    with pytest.raises((FailedPrecondition, Unauthenticated)):
        await world.finish_registration(ada.tenant, token, begun.ceremony_id, created)


async def test_a_link_from_before_the_first_passkey_is_no_way_around_it(
    world: Any, ada: Any, authenticator: Any
) -> None:
    """Such a link was for signing in, with no recovery and no notice."""
    session = await world.by_link(ada)
    old, browser = await world.ask_link(ada)
    token = await world.token(ada.tenant, session.secret)
    await _register(world, ada, token, authenticator())
    with pytest.raises(NotFound) as refused:
        await world.redeem(ada.tenant, old, browser)
    assert refused.value.reason == "LINK_OVER"


async def test_an_invitation_of_who_has_a_passkey_is_a_recovery_that_the_mailbox_hears_of(
    world: Any, ada: Any, authenticator: Any
) -> None:
    passkey = await world.register(ada, authenticator())
    request = links_pb.InviteUserRequest(user_id=str(ada.user_id))
    await world.call(ada.tenant, "MagicLinkService.InviteUser", request)
    done = await world.redeem(ada.tenant, await world.link_secret(), confirmed=True)
    assert done.must_register
    notice = (await world.mails())[-1]
    assert (notice["kind"], "recovered" in notice["subject"]) == ("notice", True)
    token = await world.token(ada.tenant, done.session.secret)
    with pytest.raises(FailedPrecondition):
        await _remove(world, ada, token, passkey.passkey_id)
    record = (await world.records(ada.tenant, "authn.link.redeem"))[-1]
    assert json.loads(record["detail"])["purpose"] == "recovery"


async def test_the_last_passkey_goes_only_after_a_step_up_with_a_passkey(
    world: Any, ada: Any, authenticator: Any
) -> None:
    """Links are on here: whoever only has a link takes no way in away, though it is recent."""
    device = authenticator()
    session = await world.by_link(ada)
    token = await world.token(ada.tenant, session.secret)
    passkey = await _register(world, ada, token, device)
    with pytest.raises(FailedPrecondition) as refused:
        await _remove(world, ada, token, passkey.passkey_id)
    assert refused.value.reason == "STEP_UP_REQUIRED"
    renewed = await world.sign_in(ada.tenant, device, session_secret=session.secret)
    proved = await world.token(ada.tenant, renewed.secret)
    await _remove(world, ada, proved, passkey.passkey_id)


async def test_the_last_passkey_stays_where_links_are_off(
    world: Any, tenant_factory: Any, person_in: Any, authenticator: Any
) -> None:
    person = await person_in(await tenant_factory())
    await world.set_policy(person.tenant, links=LINKS_OFF)
    token = await world.token(person.tenant, await _open(world, person, "magic_link"))
    device, spare = authenticator(), authenticator()
    first = await _register(world, person, token, device)
    second = await _register(world, person, token, spare)
    token = await world.token(person.tenant, (await world.sign_in(person.tenant, device)).secret)
    await _remove(world, person, token, second.passkey_id)
    with pytest.raises(FailedPrecondition) as refused:
        await _remove(world, person, token, first.passkey_id)
    assert refused.value.reason == "LAST_WAY_IN"
    await world.sign_in(person.tenant, device)


async def test_a_device_that_was_let_in_changes_no_passkey(
    world: Any, ada: Any, authenticator: Any
) -> None:
    """A phished device code must not become a passkey of its own."""
    passkey = await world.register(ada, authenticator())
    token = await world.token(ada.tenant, await _open(world, ada, "device"))
    rename = pb.RenamePasskeyRequest(passkey_id=passkey.passkey_id, name="Mine")
    for attempt in (
        world.begin_registration(ada.tenant, token),
        world.finish_registration(ada.tenant, token, "x", "{}"),
        _remove(world, ada, token, passkey.passkey_id),
        world.call(ada.tenant, "PasskeyService.RenamePasskey", rename, token=token),
    ):
        with pytest.raises(PermissionDenied) as refused:
            await attempt
        assert refused.value.reason == "NOT_SIGNED_IN"
