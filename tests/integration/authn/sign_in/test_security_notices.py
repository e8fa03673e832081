"""What a person's other devices hear of, who counts as having seen it, and how long it is kept."""

from typing import Any
from uuid import UUID

import pytest

from argy.api.authn.v1 import passkey_pb2 as passkeys_pb
from argy.api.authn.v1 import session_pb2 as pb
from argy.authn.security_notices import store as security_notice_store
from argy.authn.security_notices.domain import KEPT_MS, KEPT_OF_KIND
from argy.authn.sessions.domain import DeviceInfo
from argy.base.errors import PermissionDenied, Unauthenticated

HERE = pb.Device(ip="198.51.100.4", user_agent="Thief/1")


async def _open(world: Any, person: Any, secret: str) -> list[Any]:
    """What a page of this session shows."""
    return list((await world.check(person.tenant, secret)).notices)


async def _all(world: Any, person: Any, secret: str) -> list[Any]:
    request = pb.ListSecurityNoticesRequest()
    token = await world.token(person.tenant, secret)
    found = await world.call(
        person.tenant, "SessionService.ListSecurityNotices", request, token=token
    )
    return list(found.notices)


async def _acknowledge(world: Any, person: Any, secret: str, notices: list[Any]) -> int:
    request = pb.AcknowledgeSecurityNoticesRequest(notice_ids=[one.notice_id for one in notices])
    token = await world.token(person.tenant, secret)
    done = await world.call(
        person.tenant, "SessionService.AcknowledgeSecurityNotices", request, token=token
    )
    return int(done.acknowledged)


async def _end_all(world: Any, person: Any, secret: str, *, keep: bool) -> None:
    request = pb.EndUserSessionsRequest(keep_current=keep, device=HERE)
    token = await world.token(person.tenant, secret)
    await world.call(person.tenant, "SessionService.EndUserSessions", request, token=token)


async def _recover(world: Any, person: Any) -> Any:
    """A session of somebody who reads the mailbox, a while later."""
    world.clock.advance(1_000)
    secret, browser = await world.ask_link(person, device=HERE)
    return (await world.redeem(person.tenant, secret, browser, device=HERE)).session


async def _add_passkey(world: Any, person: Any, secret: str, device: Any) -> None:
    """Register a passkey in a session."""
    token = await world.token(person.tenant, secret)
    begun = await world.begin_registration(person.tenant, token)
    credential = device.create(begun.options_json)
    world.clock.advance(1_000)
    await world.finish_registration(person.tenant, token, begun.ceremony_id, credential)


async def test_a_recovery_is_shown_elsewhere_until_it_is_acknowledged(
    world: Any, ada: Any, authenticator: Any
) -> None:
    device = authenticator()
    await world.register(ada, device)
    mine = await world.sign_in(ada.tenant, device)

    thief = await _recover(world, ada)
    (shown,) = await _open(world, ada, mine.secret)
    assert (shown.kind, shown.device.ip, shown.device.user_agent) == (
        "recovery_used",
        "198.51.100.4",
        "an unknown browser",
    )
    assert await _open(world, ada, thief.secret) == []
    assert await _acknowledge(world, ada, mine.secret, [shown]) == 1
    assert await _acknowledge(world, ada, mine.secret, [shown]) == 0
    assert await _open(world, ada, mine.secret) == []
    told = await _all(world, ada, mine.secret)
    assert [one.kind for one in told] == ["recovery_used", "passkey_registered"]
    assert [one.HasField("seen_time") for one in told] == [True, False]
    assert not any(one.open for one in told)
    assert len(await world.records(ada.tenant, "authn.security_notice.acknowledge")) == 2


async def test_nobody_is_asked_about_the_passkey_that_they_sign_in_with(
    world: Any, ada: Any, authenticator: Any
) -> None:
    """Newly enrolled, they have nothing older that could tell; a mail told them."""
    first, second = authenticator(), authenticator()
    await world.register(ada, first)
    mine = await world.sign_in(ada.tenant, first)
    assert await _open(world, ada, mine.secret) == []
    assert [one.kind for one in await _all(world, ada, mine.secret)] == ["passkey_registered"]
    world.clock.advance(1_000)
    await _add_passkey(world, ada, mine.secret, second)
    again = await world.sign_in(ada.tenant, first)
    assert [one.kind for one in await _open(world, ada, again.secret)] == ["passkey_registered"]


async def _thief_with_a_passkey(world: Any, person: Any, stolen: Any) -> Any:
    """Whoever reads the mailbox makes a passkey, and signs in anew with it."""
    await _add_passkey(world, person, (await _recover(world, person)).secret, stolen)
    world.clock.advance(1_000)
    return await world.sign_in(person.tenant, stolen)


async def test_a_thief_who_signs_in_anew_with_their_passkey_hides_nothing_from_its_person(
    world: Any, ada: Any, authenticator: Any
) -> None:
    device, stolen = authenticator(), authenticator()
    await world.register(ada, device)
    mine = await world.sign_in(ada.tenant, device)
    thief = await _thief_with_a_passkey(world, ada, stolen)
    warnings = await _open(world, ada, mine.secret)
    assert [one.kind for one in warnings] == ["passkey_registered", "recovery_used"]
    assert await _open(world, ada, thief.secret) == []
    assert await _acknowledge(world, ada, thief.secret, warnings) == 0
    assert await _open(world, ada, mine.secret) == warnings


async def test_what_a_thief_acknowledges_is_asked_still_where_the_proof_is_older(
    world: Any, ada: Any, authenticator: Any
) -> None:
    """What they do with their passkey later, elsewhere, is older than neither of the two."""
    device, stolen = authenticator(), authenticator()
    await world.register(ada, device)
    mine = await world.sign_in(ada.tenant, device)
    thief = await _thief_with_a_passkey(world, ada, stolen)
    await _end_all(world, ada, thief.secret, keep=True)
    elsewhere = await world.sign_in(ada.tenant, stolen)
    told = await _open(world, ada, elsewhere.secret)
    assert [one.kind for one in told] == ["signed_out_everywhere"]
    assert await _acknowledge(world, ada, elsewhere.secret, told) == 1
    assert await _open(world, ada, elsewhere.secret) == []
    world.clock.advance(6_000)
    mine = await world.sign_in(ada.tenant, device)
    asked = await _open(world, ada, mine.secret)
    assert asked[0].kind == "signed_out_everywhere"
    assert asked[0].HasField("seen_time")
    assert await _acknowledge(world, ada, mine.secret, asked) == 3
    assert await _open(world, ada, mine.secret) == []
    assert await _open(world, ada, elsewhere.secret) == []


async def test_a_step_up_by_a_younger_passkey_makes_a_session_no_younger(
    world: Any, ada: Any, authenticator: Any
) -> None:
    device, second = authenticator(), authenticator()
    await world.register(ada, device)
    mine = await world.sign_in(ada.tenant, device)
    await _add_passkey(world, ada, (await world.sign_in(ada.tenant, device)).secret, second)
    world.clock.advance(1_000)
    shown = await _open(world, ada, mine.secret)
    mine = await world.sign_in(ada.tenant, second, session_secret=mine.secret)
    assert await _open(world, ada, mine.secret) == shown != []
    young = await world.sign_in(ada.tenant, second)
    assert await _open(world, ada, young.secret) == []
    old = await world.sign_in(ada.tenant, device, session_secret=young.secret)
    assert await _open(world, ada, old.secret) == shown


async def test_a_recovery_does_not_acknowledge_what_warns_of_it(
    world: Any, ada: Any, authenticator: Any
) -> None:
    device = authenticator()
    await world.register(ada, device)
    mine = await world.sign_in(ada.tenant, device)
    thief = await _recover(world, ada)
    warning = await _open(world, ada, mine.secret)
    with pytest.raises(PermissionDenied) as refused:
        await _acknowledge(world, ada, thief.secret, warning)
    assert refused.value.reason == "PASSKEY_REQUIRED"
    assert await _open(world, ada, mine.secret) == warning


async def test_a_recovery_that_made_its_passkey_acknowledges_neither(
    world: Any, ada: Any, authenticator: Any
) -> None:
    """No longer provisional, the session is still where both came from."""
    device, stolen = authenticator(), authenticator()
    await world.register(ada, device)
    mine = await world.sign_in(ada.tenant, device)
    await _acknowledge(world, ada, mine.secret, await _open(world, ada, mine.secret))
    thief = await _recover(world, ada)
    await _add_passkey(world, ada, thief.secret, stolen)
    thief = await world.sign_in(ada.tenant, stolen, session_secret=thief.secret)
    warnings = await _open(world, ada, mine.secret)
    assert [one.kind for one in warnings] == ["passkey_registered", "recovery_used"]
    assert await _acknowledge(world, ada, thief.secret, warnings) == 0
    assert await _open(world, ada, mine.secret) == warnings


async def test_nobody_acknowledges_or_sees_what_somebody_else_was_told(
    world: Any, ada: Any, person_in: Any, authenticator: Any
) -> None:
    eve = await person_in(ada.tenant)
    device, other = authenticator(), authenticator()
    await world.register(ada, device)
    await world.register(eve, other)
    mine, hers = await world.sign_in(ada.tenant, device), await world.sign_in(ada.tenant, other)
    shown = await _open(world, ada, mine.secret)
    assert not {one.notice_id for one in shown} & {
        one.notice_id for one in await _all(world, eve, hers.secret)
    }
    assert await _acknowledge(world, eve, hers.secret, shown) == 0
    assert await _open(world, ada, mine.secret) == shown


async def test_a_removed_passkey_is_told_with_its_device_here_and_by_mail(
    world: Any, ada: Any, authenticator: Any
) -> None:
    first, second = authenticator(), authenticator()
    gone = await world.register(ada, first)
    mine = await world.sign_in(ada.tenant, first)
    await world.register(ada, second)
    other = await world.sign_in(ada.tenant, second)
    request = passkeys_pb.RemovePasskeyRequest(passkey_id=gone.passkey_id, device=HERE)
    token = await world.token(ada.tenant, other.secret)
    world.clock.advance(1_000)
    await world.call(ada.tenant, "PasskeyService.RemovePasskey", request, token=token)
    newest = (await _open(world, ada, mine.secret))[0]
    assert (newest.kind, newest.name, newest.device.ip) == (
        "passkey_removed",
        gone.name,
        "198.51.100.4",
    )
    mail = (await world.mails())[-1]
    assert "A passkey was removed" in mail["subject"]
    assert "198.51.100.4" in mail["text"]
    assert "With: an unknown browser" in mail["text"]


async def test_a_passkey_that_may_be_copied_is_told_to_whoever_signs_in_next(
    world: Any, ada: Any, authenticator: Any
) -> None:
    device, other = authenticator(), authenticator()
    await world.register(ada, device)
    await world.register(ada, other)
    await world.sign_in(ada.tenant, device, sign_count=9)
    world.clock.advance(1_000)
    with pytest.raises(Unauthenticated):
        await world.sign_in(ada.tenant, device, sign_count=3)
    # Its person's tokens of that moment ended too.
    world.clock.advance(6_000)
    mine = await world.sign_in(ada.tenant, other)
    assert (await _open(world, ada, mine.secret))[0].kind == "passkey_blocked"


@pytest.mark.parametrize("keep", [True, False], ids=["others", "all"])
async def test_whoever_was_signed_out_hears_from_where(
    world: Any, ada: Any, authenticator: Any, keep: bool
) -> None:
    device = authenticator()
    await world.register(ada, device)
    ending = await world.sign_in(ada.tenant, device)
    world.clock.advance(1_000)
    await _end_all(world, ada, ending.secret, keep=keep)
    world.clock.advance(1_000)
    mine = await world.sign_in(ada.tenant, device)
    newest = (await _open(world, ada, mine.secret))[0]
    assert (newest.kind, newest.device.ip) == ("signed_out_everywhere", "198.51.100.4")
    if keep:
        kinds = [one.kind for one in await _open(world, ada, ending.secret)]
        assert "signed_out_everywhere" not in kinds


async def test_a_flood_of_one_kind_pushes_no_other_out(
    world: Any, ada: Any, authenticator: Any
) -> None:
    """Whoever got in could otherwise provoke notices until the one of the recovery is gone."""
    device = authenticator()
    await world.register(ada, device)
    mine = await world.sign_in(ada.tenant, device)
    await _recover(world, ada)
    async with world.db.tenant(ada.tenant.tenant_id) as tx:
        for number in range(KEPT_OF_KIND + 40):
            await security_notice_store.note(
                tx,
                ada.user_id,
                "token_made",
                DeviceInfo(),
                name=f"t{number}",
                now_ms=world.clock.now_ms() + number,
            )
    told = await _all(world, ada, mine.secret)
    tokens = [one.name for one in told if one.kind == "token_made"]
    assert tokens == [f"t{number}" for number in range(KEPT_OF_KIND + 39, 39, -1)]
    assert "recovery_used" in [one.kind for one in told]


async def test_after_months_a_notice_is_gone(world: Any, ada: Any, authenticator: Any) -> None:
    device = authenticator()
    await world.register(ada, device)
    world.clock.advance(KEPT_MS + 1)
    mine = await world.sign_in(ada.tenant, device)
    assert await _all(world, ada, mine.secret) == []
    await _end_all(world, ada, mine.secret, keep=True)
    async with world.db.tenant(ada.tenant.tenant_id) as tx:
        kept = await tx.fetch(
            "SELECT kind FROM authn.security_notice WHERE tenant_id = $1", ada.tenant.tenant_id
        )
    assert [row["kind"] for row in kept] == ["signed_out_everywhere"]


async def test_a_notice_belongs_to_the_transaction_of_what_it_tells(world: Any, ada: Any) -> None:
    async def fail() -> None:
        async with world.db.tenant(ada.tenant.tenant_id) as tx:
            await security_notice_store.note(
                tx, ada.user_id, "token_made", DeviceInfo(), now_ms=world.clock.now_ms()
            )
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    async with world.db.tenant(ada.tenant.tenant_id) as tx:
        found = await security_notice_store.list_of(tx, ada.user_id, now_ms=world.clock.now_ms())
    assert found == []


async def test_the_device_that_was_let_in_and_who_let_it_in_are_not_warned_of_it(
    world: Any, ada: Any
) -> None:
    notice, approver, made = UUID(int=1), "session-a", UUID(int=2)
    async with world.db.tenant(ada.tenant.tenant_id) as tx:
        now_ms = world.clock.now_ms()
        await security_notice_store.note(
            tx,
            ada.user_id,
            "device_let_in",
            DeviceInfo("192.0.2.1", "argy-cli/1"),
            name="argy-cli",
            session_id=approver,
            now_ms=now_ms,
            notice_id=notice,
        )
        await security_notice_store.made_session(tx, notice, made)
        (found,) = await security_notice_store.list_of(tx, ada.user_id, now_ms=now_ms)
    assert not found.open_to(approver, 0)
    assert not found.open_to(str(made), 0)
    assert found.open_to("session-b", 0)
    assert found.open_to("", 0)
    assert not found.open_to("session-b", now_ms)
