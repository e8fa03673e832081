"""Passkeys of real people: registered, used, renamed, removed, and what the rules refuse."""

import base64
import json
from typing import Any
from uuid import UUID

import pytest

from argy.api.authn.v1 import passkey_pb2 as pb
from argy.base.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    Unauthenticated,
)

KEY_AAGUID = UUID(int=7).bytes


async def _remove(world: Any, person: Any, token: str, passkey_id: str) -> None:
    request = pb.RemovePasskeyRequest(passkey_id=passkey_id)
    await world.call(person.tenant, "PasskeyService.RemovePasskey", request, token=token)


async def _list(world: Any, person: Any, token: str) -> list[Any]:
    request = pb.ListPasskeysRequest()
    found = await world.call(person.tenant, "PasskeyService.ListPasskeys", request, token=token)
    return list(found.passkeys)


async def test_a_person_registers_a_passkey_and_signs_in_with_it(
    world: Any, ada: Any, authenticator: Any
) -> None:
    device = authenticator()
    passkey = await world.register(ada, device)
    assert (passkey.name, passkey.blocked, passkey.backed_up) == ("Key", False, False)
    session = await world.sign_in(ada.tenant, device)
    checked = await world.check(ada.tenant, session.secret)
    assert checked.session.user_id == str(ada.user_id)
    assert checked.session.acr == "urn:argy:acr:passkey"
    assert list(checked.session.methods) == ["passkey"]
    (kept,) = await _list(world, ada, checked.access_token)
    assert kept.HasField("last_used_time")
    (record,) = await world.records(ada.tenant, "authn.passkey.sign_in")
    assert (record["actor"], record["outcome"]) == (ada.subject, "SUCCESS")
    assert json.loads(record["detail"])["device"]["ip"] == "192.0.2.7"
    notices = [mail for mail in await world.mails() if mail["kind"] == "notice"]
    assert [mail["to"] for mail in notices] == [ada.email]


async def test_the_list_says_what_authenticators_know(
    world: Any, ada: Any, person_in: Any, authenticator: Any
) -> None:
    device = authenticator()
    await world.register(ada, device)
    token = await world.token(ada.tenant, (await world.sign_in(ada.tenant, device)).secret)
    request = pb.ListPasskeysRequest()
    found = await world.call(ada.tenant, "PasskeyService.ListPasskeys", request, token=token)
    assert [one.credential_id for one in found.passkeys] == [device.held[0].id]
    assert found.user_handle == device.held[0].user_handle
    begun = await world.begin_registration(ada.tenant, token)
    assert found.rp_id == json.loads(begun.options_json)["rp"]["id"]
    eve = await person_in(ada.tenant)
    token = await world.token(ada.tenant, (await world.by_link(eve)).secret)
    found = await world.call(ada.tenant, "PasskeyService.ListPasskeys", request, token=token)
    assert (list(found.passkeys), found.user_handle) == ([], b"")


async def test_a_synced_passkey_signs_in_again_and_again_without_a_counter(
    world: Any, ada: Any, authenticator: Any
) -> None:
    device = authenticator(synced=True)
    passkey = await world.register(ada, device)
    assert passkey.backed_up
    for _ in range(2):
        await world.sign_in(ada.tenant, device)


async def test_options_ask_for_discoverable_verified_credentials(world: Any, ada: Any) -> None:
    token = await world.token(ada.tenant, (await world.by_link(ada)).secret)
    begun = await world.begin_registration(ada.tenant, token)
    options = json.loads(begun.options_json)
    selection = options["authenticatorSelection"]
    assert selection["residentKey"] == "required"
    assert selection["userVerification"] == "required"
    assert options["attestation"] == "none"
    handle = base64.urlsafe_b64decode(options["user"]["id"] + "==")
    assert len(handle) == 64
    assert str(ada.user_id).encode() not in handle
    sign_in = json.loads((await world.begin_sign_in(ada.tenant)).options_json)
    assert sign_in["allowCredentials"] == []
    assert sign_in["userVerification"] == "required"
    assert sign_in["rpId"] == "example.test"


async def test_a_second_passkey_excludes_the_first_and_keeps_the_handle(
    world: Any, ada: Any, authenticator: Any
) -> None:
    device = authenticator()
    await world.register(ada, device)
    session = await world.sign_in(ada.tenant, device)
    token = await world.token(ada.tenant, session.secret)
    begun = await world.begin_registration(ada.tenant, token)
    options = json.loads(begun.options_json)
    (excluded,) = options["excludeCredentials"]
    assert base64.urlsafe_b64decode(excluded["id"] + "==") == device.held[0].id
    # What a browser says beyond the known transports is not kept.
    assert excluded["transports"] == ["hybrid", "internal"]
    second = authenticator()
    world.clock.advance(1)
    await world.finish_registration(
        ada.tenant, token, begun.ceremony_id, second.create(begun.options_json), "Second"
    )
    assert second.held[0].user_handle == device.held[0].user_handle
    assert [key.name for key in await _list(world, ada, token)] == ["Key", "Second"]


async def test_a_tenant_with_an_allow_list_refuses_other_models(
    world: Any, tenant_factory: Any, person_in: Any, authenticator: Any, db_factory: Any
) -> None:
    person = await person_in(await tenant_factory())
    await world.set_policy(person.tenant, passkey_aaguids=[str(UUID(bytes=KEY_AAGUID))])
    with pytest.raises(PermissionDenied) as refused:
        await world.register(person, authenticator())
    assert refused.value.reason == "AUTHENTICATOR_NOT_ALLOWED"
    (record,) = await world.records(person.tenant, "authn.passkey.register")
    assert (record["outcome"], record["reason"]) == ("DENIED", "AUTHENTICATOR_NOT_ALLOWED")
    await world.register(person, authenticator(aaguid=KEY_AAGUID))


async def test_nobody_has_more_than_twenty_passkeys(
    world: Any, ada: Any, authenticator: Any
) -> None:
    token = await world.token(ada.tenant, (await world.by_link(ada)).secret)
    for number in range(20):
        begun = await world.begin_registration(ada.tenant, token)
        credential = authenticator().create(begun.options_json)
        await world.finish_registration(
            ada.tenant, token, begun.ceremony_id, credential, f"Key {number}"
        )
    with pytest.raises(ResourceExhausted) as refused:
        await world.begin_registration(ada.tenant, token)
    assert refused.value.reason == "TOO_MANY_PASSKEYS"


async def test_registering_and_removing_need_a_recent_proof(
    world: Any, ada: Any, authenticator: Any
) -> None:
    device = authenticator()
    passkey = await world.register(ada, device)
    session = await world.sign_in(ada.tenant, device)
    world.clock.advance(301_000)
    token = await world.token(ada.tenant, session.secret)
    for attempt in (
        world.begin_registration(ada.tenant, token),
        _remove(world, ada, token, passkey.passkey_id),
    ):
        with pytest.raises(FailedPrecondition) as refused:
            await attempt
        assert refused.value.reason == "STEP_UP_REQUIRED"
    renewed = await world.sign_in(ada.tenant, device, session_secret=session.secret)
    token = await world.token(ada.tenant, renewed.secret)
    await world.begin_registration(ada.tenant, token)


async def test_an_old_proof_is_refused_at_the_end_of_a_registration_too(
    world: Any, ada: Any, authenticator: Any
) -> None:
    token = await world.token(ada.tenant, (await world.by_link(ada)).secret)
    world.clock.advance(200_000)
    begun = await world.begin_registration(ada.tenant, token)
    world.clock.advance(200_000)
    with pytest.raises(FailedPrecondition) as refused:
        await world.finish_registration(
            ada.tenant, token, begun.ceremony_id, authenticator().create(begun.options_json)
        )
    assert refused.value.reason == "STEP_UP_REQUIRED"


async def test_renaming(world: Any, ada: Any, person_in: Any, authenticator: Any) -> None:
    passkey = await world.register(ada, authenticator())
    token = await world.token(ada.tenant, (await world.by_link(ada)).secret)
    request = pb.RenamePasskeyRequest(passkey_id=passkey.passkey_id, name="  The  blue one ")
    done = await world.call(ada.tenant, "PasskeyService.RenamePasskey", request, token=token)
    assert done.passkey.name == "The blue one"
    request.name = "a\x00b"
    with pytest.raises(InvalidArgument):
        await world.call(ada.tenant, "PasskeyService.RenamePasskey", request, token=token)


async def test_another_persons_passkey_is_neither_renamed_nor_removed(
    world: Any, ada: Any, person_in: Any, authenticator: Any
) -> None:
    passkey = await world.register(ada, authenticator())
    eve = await person_in(ada.tenant)
    token = await world.token(ada.tenant, (await world.by_link(eve)).secret)
    with pytest.raises(NotFound):
        await _remove(world, eve, token, passkey.passkey_id)
    request = pb.RenamePasskeyRequest(passkey_id=passkey.passkey_id, name="mine")
    with pytest.raises(NotFound):
        await world.call(ada.tenant, "PasskeyService.RenamePasskey", request, token=token)
    assert await _list(world, eve, token) == []


async def test_a_service_has_no_passkeys(world: Any, ada: Any) -> None:
    for rpc, request in (
        ("BeginRegistration", pb.BeginRegistrationRequest()),
        ("ListPasskeys", pb.ListPasskeysRequest()),
    ):
        with pytest.raises(Unauthenticated) as refused:
            # Not even one that says that it acts for a person.
            await world.call(ada.tenant, f"PasskeyService.{rpc}", request, caller=ada.subject)
        assert refused.value.reason == "PERSON_REQUIRED"


async def test_the_last_passkey_may_go_while_links_are_another_way_in(
    world: Any, ada: Any, authenticator: Any
) -> None:
    device = authenticator()
    passkey = await world.register(ada, device)
    token = await world.token(ada.tenant, (await world.sign_in(ada.tenant, device)).secret)
    await _remove(world, ada, token, passkey.passkey_id)
    assert await _list(world, ada, token) == []
    with pytest.raises(Unauthenticated) as refused:
        await world.sign_in(ada.tenant, device)
    assert refused.value.reason == "PASSKEY_REMOVED"


async def test_registering_an_existing_credential_is_refused(
    world: Any, ada: Any, person_in: Any, authenticator: Any
) -> None:
    device = authenticator()
    await world.register(ada, device)
    eve = await person_in(ada.tenant)
    with pytest.raises(AlreadyExists) as refused:
        await world.register(eve, authenticator(), credential_id=device.held[0].id)
    assert refused.value.reason == "PASSKEY_EXISTS"
    session = await world.sign_in(ada.tenant, device)
    assert session.session.user_id == str(ada.user_id)


async def test_a_deleted_person_or_tenant_takes_passkeys_and_links_along(
    world: Any, ada: Any, person_in: Any, change_user: Any, db_factory: Any, authenticator: Any
) -> None:
    tenant_id = ada.tenant.tenant_id

    async def rows() -> list[int]:
        async with world.db.tenant(tenant_id) as tx:
            return [
                await tx.fetchval("SELECT count(*) FROM authn.user_handle"),
                await tx.fetchval("SELECT count(*) FROM authn.passkey"),
                await tx.fetchval("SELECT count(*) FROM authn.magic_link"),
            ]

    await world.register(ada, authenticator())
    await world.register(await person_in(ada.tenant), authenticator())
    assert await rows() == [2, 2, 2]
    await change_user(ada, "DELETED")
    assert await rows() == [1, 1, 1]
    directory = await db_factory("argy_directory", max_size=1)
    async with directory.tenant(tenant_id) as tx:
        await tx.execute("DELETE FROM directory.tenant WHERE tenant_id = $1", tenant_id)
    assert await rows() == [0, 0, 0]
