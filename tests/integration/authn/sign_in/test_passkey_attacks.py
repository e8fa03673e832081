"""Attacks on ceremonies, each refused by name, and each attempt on record."""

import asyncio
import json
from typing import Any

import cbor2
import pytest
from authenticator import b64url, unb64url
from cryptography.hazmat.primitives.asymmetric import ec

from argy.authn.limits import RateLimits
from argy.authn.passkeys.sign_in import BEGIN_BY_TENANT
from argy.base.errors import ArgyError, InvalidArgument, ResourceExhausted, Unauthenticated

UP, UV, BE, BS = 0x01, 0x04, 0x08, 0x10

LIES: list[Any] = [
    pytest.param({"origin": "https://evil.test"}, "WRONG_ORIGIN", id="wrong-origin"),
    pytest.param({"origin": "https://example.test"}, "WRONG_ORIGIN", id="parent-origin"),
    pytest.param({"origin": "http://sign-in.example.test"}, "WRONG_ORIGIN", id="plain-http"),
    pytest.param({"origin": None}, "WRONG_ORIGIN", id="no-origin"),
    pytest.param({"rp_id": "evil.test"}, "WRONG_RELYING_PARTY", id="wrong-rp-id"),
    pytest.param({"flags": UP}, "USER_NOT_VERIFIED", id="uv-missing"),
    pytest.param({"flags": UV}, "USER_NOT_PRESENT", id="up-missing"),
    pytest.param({"flags": UP | UV | BS}, "BACKUP_FLAGS", id="backed-up-but-not-eligible"),
    pytest.param({"cross_origin": True}, "CROSS_ORIGIN", id="cross-origin-iframe"),
    pytest.param({"cross_origin": "no"}, "CROSS_ORIGIN", id="cross-origin-not-false"),
    pytest.param({"challenge": "AAAA"}, "WRONG_CHALLENGE", id="own-challenge"),
]


@pytest.mark.parametrize(
    ("lie", "reason"),
    [
        *LIES,
        pytest.param({"type": "webauthn.create"}, "WRONG_CEREMONY", id="type-of-registration"),
        pytest.param({"flags": UP | UV | BE}, "BACKUP_FLAGS", id="became-eligible"),
        pytest.param({"user_handle": b"x" * 64}, "WRONG_USER_HANDLE", id="other-user-handle"),
        pytest.param(
            {"key": ec.generate_private_key(ec.SECP256R1())}, "NOT_VERIFIED", id="other-key"
        ),
    ],
)
async def test_a_lying_assertion_is_refused_and_recorded(
    world: Any, ada: Any, authenticator: Any, lie: dict[str, Any], reason: str
) -> None:
    device = authenticator()
    passkey = await world.register(ada, device)
    with pytest.raises(Unauthenticated) as refused:
        await world.sign_in(ada.tenant, device, **lie)
    assert refused.value.reason == reason
    (record,) = await world.records(ada.tenant, "authn.passkey.sign_in")
    assert (record["outcome"], record["reason"]) == ("DENIED", reason)
    assert record["resource"] == ada.subject
    assert json.loads(record["detail"])["passkey"] == passkey.passkey_id
    await world.sign_in(ada.tenant, device)


@pytest.mark.parametrize(
    ("lie", "reason"),
    [*LIES, pytest.param({"type": "webauthn.get"}, "WRONG_CEREMONY", id="type-of-sign-in")],
)
async def test_a_lying_registration_is_refused_and_recorded(
    world: Any, ada: Any, authenticator: Any, lie: dict[str, Any], reason: str
) -> None:
    with pytest.raises(Unauthenticated) as refused:
        await world.register(ada, authenticator(), **lie)
    assert refused.value.reason == reason
    (record,) = await world.records(ada.tenant, "authn.passkey.register")
    assert (record["actor"], record["outcome"], record["reason"]) == (
        ada.subject,
        "DENIED",
        reason,
    )


async def test_a_replayed_assertion_is_refused(world: Any, ada: Any, authenticator: Any) -> None:
    device = authenticator()
    await world.register(ada, device)
    begun = await world.begin_sign_in(ada.tenant)
    credential = device.get(begun.options_json)
    await world.finish_sign_in(ada.tenant, begun.ceremony_id, credential)
    with pytest.raises(Unauthenticated) as refused:
        await world.finish_sign_in(ada.tenant, begun.ceremony_id, credential)
    assert refused.value.reason == "CEREMONY_OVER"
    later = await world.begin_sign_in(ada.tenant)
    with pytest.raises(Unauthenticated) as refused:
        await world.finish_sign_in(ada.tenant, later.ceremony_id, credential)
    assert refused.value.reason == "WRONG_CHALLENGE"


async def test_of_two_finishes_of_one_challenge_at_once_one_wins(
    world: Any, ada: Any, authenticator: Any
) -> None:
    device = authenticator()
    await world.register(ada, device)
    begun = await world.begin_sign_in(ada.tenant)
    credential = device.get(begun.options_json)
    ends = await asyncio.gather(
        *(world.finish_sign_in(ada.tenant, begun.ceremony_id, credential) for _ in range(8)),
        return_exceptions=True,
    )
    errors = [end for end in ends if isinstance(end, ArgyError)]
    assert len(errors) == 7
    assert {error.reason for error in errors} == {"CEREMONY_OVER"}


async def test_a_failed_try_uses_up_the_challenge(world: Any, ada: Any, authenticator: Any) -> None:
    device = authenticator()
    await world.register(ada, device)
    begun = await world.begin_sign_in(ada.tenant)
    with pytest.raises(Unauthenticated):
        await world.finish_sign_in(
            ada.tenant,
            begun.ceremony_id,
            device.get(begun.options_json, origin="https://evil.test"),
        )
    with pytest.raises(Unauthenticated) as refused:
        await world.finish_sign_in(ada.tenant, begun.ceremony_id, device.get(begun.options_json))
    assert refused.value.reason == "CEREMONY_OVER"


async def test_an_expired_challenge_is_refused(world: Any, ada: Any, authenticator: Any) -> None:
    device = authenticator()
    await world.register(ada, device)
    begun = await world.begin_sign_in(ada.tenant)
    credential = device.get(begun.options_json)
    world.clock.advance(300_000)
    with pytest.raises(Unauthenticated) as refused:
        await world.finish_sign_in(ada.tenant, begun.ceremony_id, credential)
    assert refused.value.reason == "CEREMONY_OVER"


async def test_a_challenge_lies_in_redis_for_minutes_only(world: Any, ada: Any) -> None:
    await world.begin_sign_in(ada.tenant)
    keys = [
        key
        async for key in world.redis.client.scan_iter(
            match=world.redis.key(ada.tenant.tenant_id, "ceremony", "x")[:-1] + "*", count=1000
        )
    ]
    (key,) = keys
    assert 0 < await world.redis.client.pttl(key) <= 300_000


async def test_a_challenge_of_another_ceremony_or_person_is_refused(
    world: Any, ada: Any, person_in: Any, authenticator: Any
) -> None:
    device = authenticator()
    await world.register(ada, device)
    token = await world.token(ada.tenant, (await world.sign_in(ada.tenant, device)).secret)
    eve = await person_in(ada.tenant)
    eves = await world.token(ada.tenant, (await world.by_link(eve)).secret)

    registration = await world.begin_registration(ada.tenant, token)
    with pytest.raises(Unauthenticated) as refused:
        await world.finish_registration(
            ada.tenant,
            eves,
            registration.ceremony_id,
            authenticator().create(registration.options_json),
        )
    assert refused.value.reason == "CEREMONY_OVER"

    sign_in = await world.begin_sign_in(ada.tenant)
    fake = json.loads(registration.options_json)
    fake["challenge"] = json.loads(sign_in.options_json)["challenge"]
    with pytest.raises(Unauthenticated) as refused:
        await world.finish_registration(
            ada.tenant, token, sign_in.ceremony_id, authenticator().create(json.dumps(fake))
        )
    assert refused.value.reason == "CEREMONY_OVER"


async def test_a_challenge_of_another_tenant_is_refused(
    world: Any, ada: Any, tenant_factory: Any, authenticator: Any
) -> None:
    device = authenticator()
    await world.register(ada, device)
    other = await tenant_factory()
    begun = await world.begin_sign_in(other)
    with pytest.raises(Unauthenticated) as refused:
        await world.finish_sign_in(ada.tenant, begun.ceremony_id, device.get(begun.options_json))
    assert refused.value.reason == "CEREMONY_OVER"


async def test_a_passkey_of_another_tenant_does_not_sign_in(
    world: Any, ada: Any, tenant_factory: Any, authenticator: Any
) -> None:
    device = authenticator()
    await world.register(ada, device)
    other = await tenant_factory()
    with pytest.raises(Unauthenticated) as refused:
        await world.sign_in(other, device)
    assert refused.value.reason == "PASSKEY_UNKNOWN"
    (record,) = await world.records(other, "authn.passkey.sign_in")
    assert (record["actor"], record["resource"]) == ("service:edge", "user:-")


async def test_another_persons_credential_with_ones_own_handle_is_refused(
    world: Any, ada: Any, person_in: Any, authenticator: Any
) -> None:
    device, eves = authenticator(), authenticator()
    await world.register(ada, device)
    await world.register(await person_in(ada.tenant), eves)
    # Eve's key signs under Ada's credential id, with either handle.
    for handle in (device.held[0].user_handle, eves.held[0].user_handle):
        with pytest.raises(Unauthenticated) as refused:
            await world.sign_in(ada.tenant, device, key=eves.held[0].key, user_handle=handle)
        assert refused.value.reason in ("NOT_VERIFIED", "WRONG_USER_HANDLE")


async def test_a_counter_that_went_back_blocks_the_passkey(
    world: Any, ada: Any, authenticator: Any
) -> None:
    device = authenticator()
    passkey = await world.register(ada, device)
    await world.sign_in(ada.tenant, device, sign_count=9)
    with pytest.raises(Unauthenticated) as refused:
        await world.sign_in(ada.tenant, device, sign_count=9)
    assert refused.value.reason == "COUNTER_REGRESSION"
    (record,) = await world.records(ada.tenant, "authn.passkey.block")
    assert record["resource"] == f"passkey:{passkey.passkey_id}"
    assert json.loads(record["detail"])["told"] == 9
    with pytest.raises(Unauthenticated) as refused:
        await world.sign_in(ada.tenant, device, sign_count=10)
    assert refused.value.reason == "PASSKEY_BLOCKED"


async def test_who_signed_in_with_a_copied_passkey_is_out_and_the_mailbox_hears_of_it(
    world: Any, ada: Any, authenticator: Any
) -> None:
    device = authenticator()
    await world.register(ada, device)
    thief = await world.sign_in(ada.tenant, device, sign_count=9)
    with pytest.raises(Unauthenticated):
        await world.sign_in(ada.tenant, device, sign_count=3)
    with pytest.raises(Unauthenticated) as refused:
        await world.check(ada.tenant, thief.secret)
    assert refused.value.reason == "SESSION_OVER"
    (record,) = await world.records(ada.tenant, "authn.passkey.block")
    # The thief's, and that in which the passkey was registered.
    assert json.loads(record["detail"])["ended"] == 2
    notice = (await world.mails())[-1]
    assert (notice["to"], notice["kind"]) == (ada.email, "notice")
    assert "Key" in notice["text"]


async def test_of_two_assertions_with_one_count_at_once_one_signs_in(
    world: Any, ada: Any, authenticator: Any
) -> None:
    device = authenticator()
    await world.register(ada, device)
    attempts = []
    for _ in range(2):
        begun = await world.begin_sign_in(ada.tenant)
        credential = device.get(begun.options_json, sign_count=5)
        attempts.append(world.finish_sign_in(ada.tenant, begun.ceremony_id, credential))
    ends = await asyncio.gather(*attempts, return_exceptions=True)
    (error,) = [end for end in ends if isinstance(end, ArgyError)]
    assert error.reason == "COUNTER_REGRESSION"


async def test_a_disabled_person_does_not_sign_in(
    world: Any, ada: Any, change_user: Any, authenticator: Any
) -> None:
    device = authenticator()
    await world.register(ada, device)
    await change_user(ada, "DISABLED")
    with pytest.raises(Unauthenticated) as refused:
        await world.sign_in(ada.tenant, device)
    assert refused.value.reason == "PASSKEY_UNKNOWN"


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[]", "null", "{" * 5000, '{"id":"a","rawId":"a","type":"public-key","response":{}}',
     json.dumps({"id": "a", "rawId": "a", "type": "public-key", "response":
                 {"clientDataJSON": "e30", "authenticatorData": "AA", "signature": "AA",
                  "attestationObject": "o2M"}})],
)  # fmt: skip
async def test_what_is_no_credential_is_refused_as_such(world: Any, ada: Any, text: str) -> None:
    begun = await world.begin_sign_in(ada.tenant)
    with pytest.raises((InvalidArgument, Unauthenticated)) as refused:
        await world.finish_sign_in(ada.tenant, begun.ceremony_id, text)
    assert refused.value.reason in ("MALFORMED_CREDENTIAL", "PASSKEY_UNKNOWN")
    token = await world.token(ada.tenant, (await world.by_link(ada)).secret)
    begun = await world.begin_registration(ada.tenant, token)
    with pytest.raises(InvalidArgument) as malformed:
        await world.finish_registration(ada.tenant, token, begun.ceremony_id, text)
    assert malformed.value.reason == "MALFORMED_CREDENTIAL"


async def test_another_persons_credential_id_on_the_envelope_of_a_registration_takes_nothing(
    world: Any, ada: Any, person_in: Any, authenticator: Any
) -> None:
    """What counts is the id inside of the authenticator's data; the envelope is a browser's."""
    device, eves = authenticator(), authenticator()
    await world.register(ada, device)
    eve = await person_in(ada.tenant)
    token = await world.token(ada.tenant, (await world.by_link(eve)).secret)
    begun = await world.begin_registration(ada.tenant, token)
    credential = json.loads(eves.create(begun.options_json))
    credential["id"] = credential["rawId"] = b64url(device.held[0].id)
    await world.finish_registration(ada.tenant, token, begun.ceremony_id, json.dumps(credential))
    for person, held in ((ada, device), (eve, eves)):
        session = await world.sign_in(ada.tenant, held)
        assert session.session.user_id == str(person.user_id)


async def test_a_public_key_of_an_algorithm_that_was_not_asked_for_is_refused(
    world: Any, ada: Any, authenticator: Any
) -> None:
    device = authenticator()
    token = await world.token(ada.tenant, (await world.by_link(ada)).secret)
    begun = await world.begin_registration(ada.tenant, token)
    credential = json.loads(device.create(begun.options_json))
    statement = cbor2.loads(unb64url(credential["response"]["attestationObject"]))
    head = statement["authData"][: 37 + 16 + 2 + len(device.held[0].id)]
    # RSASSA-PKCS1-v1_5 with SHA-1 (RFC 8812 §2).
    weak = {1: 3, 3: -65535, -1: b"\x81" * 256, -2: b"\1\0\1"}
    statement["authData"] = head + cbor2.dumps(weak)
    credential["response"]["attestationObject"] = b64url(cbor2.dumps(statement))
    with pytest.raises(Unauthenticated) as refused:
        await world.finish_registration(
            ada.tenant, token, begun.ceremony_id, json.dumps(credential)
        )
    assert refused.value.reason == "NOT_VERIFIED"


async def test_a_step_up_by_another_persons_passkey_is_refused(
    world: Any, ada: Any, person_in: Any, authenticator: Any
) -> None:
    device = authenticator()
    await world.register(ada, device)
    eve = await person_in(ada.tenant)
    eves = await world.by_link(eve)
    with pytest.raises(Unauthenticated) as refused:
        await world.sign_in(ada.tenant, device, session_secret=eves.secret)
    assert refused.value.reason == "OTHER_PERSON"
    assert (await world.check(ada.tenant, eves.secret)).session.acr == "urn:argy:acr:link"


async def test_tries_of_one_network_are_limited_and_those_refused_unseen_leave_no_row(
    world: Any, ada: Any
) -> None:
    for _ in range(120):
        with pytest.raises(Unauthenticated):
            await world.finish_sign_in(ada.tenant, "x", "{}")
    with pytest.raises(ResourceExhausted) as refused:
        await world.finish_sign_in(ada.tenant, "x", "{}")
    assert refused.value.reason == "RATE_LIMITED"
    assert len(await world.records(ada.tenant, "authn.passkey.sign_in")) == 120


async def test_strangers_begin_a_bounded_number_of_ceremonies(world: Any, ada: Any) -> None:
    limits = RateLimits(world.redis, world.clock)
    # Somewhat more than the burst: by Redis' own clock the first ones are forgotten in between.
    for _ in range(105):
        counts = (limits.count(ada.tenant.tenant_id, BEGIN_BY_TENANT, "all") for _ in range(50))
        await asyncio.gather(*counts, return_exceptions=True)
    with pytest.raises(ResourceExhausted):
        await world.begin_sign_in(ada.tenant)
    world.clock.advance(10)
    await world.begin_sign_in(ada.tenant)
