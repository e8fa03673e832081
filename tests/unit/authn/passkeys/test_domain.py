"""The rules of passkeys, one by one."""

import hashlib
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from argy.authn.passkeys.domain import (
    AuthenticatorFlags,
    Challenge,
    Passkey,
    RelyingParty,
    check_aaguid,
    check_challenge,
    check_client_data,
    check_flags,
    check_may_remove,
    check_room,
    check_usable,
    checked_name,
    client_data_of,
    counter_regressed,
)
from argy.base.errors import (
    ArgyError,
    FailedPrecondition,
    InvalidArgument,
    PermissionDenied,
    ResourceExhausted,
)

USER = UUID(int=1)
GOOD = {"type": "webauthn.get", "challenge": "c", "origin": "https://a.test"}
FLAGS = AuthenticatorFlags(hashlib.sha256(b"a.test").digest(), True, True, False, False)


def passkey(number: int = 1, **changes: Any) -> Passkey:
    made = Passkey(
        id=UUID(int=number),
        user_id=USER,
        name="Key",
        credential_id=b"c",
        public_key=b"k",
        sign_count=5,
        aaguid=UUID(int=0),
        transports=(),
        backup_eligible=False,
        backed_up=False,
        created_at_ms=0,
    )
    return replace(made, **changes)


def test_good_client_data_and_flags_pass() -> None:
    for more in ({}, {"crossOrigin": False}):
        check_client_data({**GOOD, **more}, "sign_in", challenge="c", origins=("https://a.test",))
    check_flags(FLAGS, rp_id="a.test")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"type": "webauthn.create"}, "WRONG_CEREMONY"),
        ({"type": None}, "WRONG_CEREMONY"),
        ({"challenge": "C"}, "WRONG_CHALLENGE"),
        ({"challenge": ["c"]}, "WRONG_CHALLENGE"),
        ({"origin": "https://a.test:8443"}, "WRONG_ORIGIN"),
        ({"origin": "https://a.test.evil.test"}, "WRONG_ORIGIN"),
        ({"origin": "null"}, "WRONG_ORIGIN"),
        ({"crossOrigin": True}, "CROSS_ORIGIN"),
        ({"crossOrigin": None}, "CROSS_ORIGIN"),
        ({"crossOrigin": 0}, "CROSS_ORIGIN"),
        ({"topOrigin": "https://evil.test"}, "CROSS_ORIGIN"),
    ],
)
def test_client_data_of_elsewhere_is_refused(change: dict[str, Any], reason: str) -> None:
    with pytest.raises(ArgyError) as refused:
        check_client_data({**GOOD, **change}, "sign_in", challenge="c", origins=("https://a.test",))
    assert refused.value.reason == reason


@pytest.mark.parametrize("raw", [b"", b"[]", b"1", b"\xff", b"[" * 100_000])
def test_what_is_no_client_data_is_malformed(raw: bytes) -> None:
    with pytest.raises(InvalidArgument):
        client_data_of(raw)


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (replace(FLAGS, rp_id_hash=b"x" * 32), "WRONG_RELYING_PARTY"),
        (replace(FLAGS, user_present=False), "USER_NOT_PRESENT"),
        (replace(FLAGS, user_verified=False), "USER_NOT_VERIFIED"),
        (replace(FLAGS, backed_up=True), "BACKUP_FLAGS"),
    ],
)
def test_flags_that_prove_too_little_are_refused(flags: Any, reason: str) -> None:
    with pytest.raises(ArgyError) as refused:
        check_flags(flags, rp_id="a.test")
    assert refused.value.reason == reason


@pytest.mark.parametrize(
    ("kept", "told", "synced", "regressed"),
    [
        (5, 6, False, False),
        (5, 5, False, True),
        (5, 4, False, True),
        (5, 0, False, True),
        (0, 0, False, False),
        (0, 1, False, False),
        (5, 4, True, False),
        (4_294_967_295, 0, False, True),
    ],
)
def test_only_the_counter_of_an_unsynced_passkey_must_rise(
    kept: int, told: int, synced: bool, regressed: bool
) -> None:
    key = passkey(sign_count=kept, backup_eligible=synced)
    assert counter_regressed(key, told) is regressed


def test_blocked_and_changed_passkeys_are_not_usable() -> None:
    check_usable(passkey(), FLAGS)
    for key, flags in (
        (passkey(blocked_at_ms=1), FLAGS),
        (passkey(), replace(FLAGS, backup_eligible=True)),
        (passkey(backup_eligible=True), FLAGS),
    ):
        with pytest.raises(ArgyError):
            check_usable(key, flags)


def test_the_last_way_in_stays() -> None:
    one, two = passkey(1), passkey(2)
    blocked = passkey(3, blocked_at_ms=1)
    check_may_remove(one, [one, two], links=False, proved_passkey=True)
    check_may_remove(one, [one], links=True, proved_passkey=True)
    check_may_remove(blocked, [one, blocked], links=False, proved_passkey=True)
    for held in ([one], [one, blocked]):
        with pytest.raises(FailedPrecondition) as refused:
            check_may_remove(one, held, links=False, proved_passkey=True)
        assert refused.value.reason == "LAST_WAY_IN"


@pytest.mark.parametrize("links", [True, False])
def test_without_a_proof_by_passkey_only_blocked_ones_go(links: bool) -> None:
    one, two, blocked = passkey(1), passkey(2), passkey(3, blocked_at_ms=1)
    check_may_remove(blocked, [one, blocked], links=links, proved_passkey=False)
    for held in ([one], [one, two], [one, blocked]):
        with pytest.raises(FailedPrecondition) as refused:
            check_may_remove(one, held, links=links, proved_passkey=False)
        assert refused.value.reason == "STEP_UP_REQUIRED"


def test_a_challenge_is_good_for_its_ceremony_its_person_and_its_minutes() -> None:
    begun = Challenge(ceremony="register", challenge=b"c", expires_at_ms=10, user_id=USER)
    assert check_challenge(begun, "register", user_id=USER, now_ms=9) is begun
    attempts: list[tuple[Any, Any, UUID | None, int]] = [
        (None, "register", USER, 9),
        (begun, "sign_in", USER, 9),
        (begun, "register", UUID(int=9), 9),
        (begun, "register", None, 9),
        (begun, "register", USER, 10),
    ]
    for found, ceremony, user_id, now_ms in attempts:
        with pytest.raises(ArgyError) as refused:
            check_challenge(found, ceremony, user_id=user_id, now_ms=now_ms)
        assert refused.value.reason == "CEREMONY_OVER"


def test_models_rooms_and_names() -> None:
    check_aaguid(UUID(int=1), None)
    check_aaguid(UUID(int=1), frozenset({UUID(int=1)}))
    with pytest.raises(PermissionDenied):
        check_aaguid(UUID(int=1), frozenset())
    check_room([passkey(number) for number in range(19)])
    with pytest.raises(ResourceExhausted):
        check_room([passkey(number) for number in range(20)])
    assert checked_name(" a  b\n") == "a b"
    assert checked_name("", default="Passkey") == "Passkey"
    for name in ("", "x" * 101, "a\x1b[31m", "a\u202eb"):
        with pytest.raises(InvalidArgument):
            checked_name(name)


@pytest.mark.parametrize("missing", ["rp_id", "name", "origins"])
def test_a_relying_party_is_complete(missing: str) -> None:
    whole: dict[str, Any] = {"rp_id": "a.test", "name": "A", "origins": ("https://a.test",)}
    with pytest.raises(InvalidArgument):
        RelyingParty(**{**whole, missing: ""})
