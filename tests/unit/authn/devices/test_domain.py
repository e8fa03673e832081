"""The device flow's pure rules: codes, decisions, polls (RFC 8628)."""

from dataclasses import replace
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argy.authn.devices.domain import (
    ALPHABET,
    DeviceCode,
    check_decidable,
    is_device_code,
    new_device_code,
    new_user_code,
    normal_user_code,
    poll,
    shown,
    user_digest,
)
from argy.base.errors import FailedPrecondition, NotFound

BEGUN = DeviceCode(
    id=UUID(int=1),
    client_id="argy-cli",
    scope="",
    ip="",
    user_agent="",
    state="PENDING",
    user_id=None,
    session_id="",
    acr="",
    auth_time_s=0,
    interval_s=5,
    polled_at_ms=None,
    created_at_ms=0,
    expires_at_ms=600_000,
)


def test_a_user_code_is_one_of_20_to_the_8th_without_vowels_digits_or_lookalikes() -> None:
    assert len(set(ALPHABET)) == 20
    assert not set(ALPHABET) & set("AEIOUY0123456789")
    codes = {new_user_code() for _ in range(200)}
    assert len(codes) == 200
    assert all(len(code) == 8 and set(code) <= set(ALPHABET) for code in codes)


@given(st.text(ALPHABET, min_size=8, max_size=8), st.sampled_from(["", "-", " ", " – ", "."]))
def test_a_code_is_read_however_it_is_typed(code: str, between: str) -> None:
    assert normal_user_code(f" {code[:4].lower()}{between}{code[4:]} ") == code
    assert normal_user_code(shown(code)) == code


@pytest.mark.parametrize("typed", ["", "BBBB", "BBBB-BBBBB", "AAAA-AAAA", "BBBB-BBB0", "ßBBBBBB"])
def test_what_can_be_no_code_is_answered_like_a_wrong_one(typed: str) -> None:
    with pytest.raises(NotFound) as refused:
        normal_user_code(typed)
    assert refused.value.reason == "USER_CODE_UNKNOWN"


def test_a_user_code_is_kept_differently_in_each_tenant() -> None:
    assert user_digest(UUID(int=1), "BBBBBBBB") != user_digest(UUID(int=2), "BBBBBBBB")


def test_a_device_code_has_256_bits() -> None:
    codes = {new_device_code() for _ in range(50)}
    assert len(codes) == 50
    assert all(is_device_code(code) for code in codes)
    assert not is_device_code("x" * 42)


@pytest.mark.parametrize(
    ("change", "now_ms", "answer"),
    [
        ({}, 0, "AUTHORIZATION_PENDING"),
        ({"polled_at_ms": 0}, 4_999, "SLOW_DOWN"),
        ({"polled_at_ms": 0}, 5_000, "AUTHORIZATION_PENDING"),
        ({"state": "APPROVED"}, 0, "GRANTED"),
        ({"state": "APPROVED", "polled_at_ms": 0}, 1, "SLOW_DOWN"),
        ({"state": "DENIED"}, 0, "ACCESS_DENIED"),
        ({"state": "REDEEMED"}, 0, "EXPIRED"),
        ({"state": "APPROVED"}, 600_000, "EXPIRED"),
        ({"state": "APPROVED", "client_id": "other"}, 0, "EXPIRED"),
    ],
)
def test_a_poll_is_answered(change: dict[str, object], now_ms: int, answer: str) -> None:
    found = replace(BEGUN, **change)  # type: ignore[arg-type]
    assert poll(found, client_id="argy-cli", now_ms=now_ms).poll == answer


def test_an_unknown_code_is_answered_like_one_that_is_too_old() -> None:
    assert poll(None, client_id="argy-cli", now_ms=0).poll == "EXPIRED"


def test_each_poll_that_comes_too_soon_adds_five_seconds_up_to_an_hour() -> None:
    early = replace(BEGUN, polled_at_ms=0)
    assert poll(early, client_id="argy-cli", now_ms=1).interval_s == 10
    late = replace(early, interval_s=3_599)
    assert poll(late, client_id="argy-cli", now_ms=1).interval_s == 3_600


def test_only_a_pending_code_in_time_can_be_decided() -> None:
    assert check_decidable(BEGUN, now_ms=599_999) is BEGUN
    for none in (None, replace(BEGUN, expires_at_ms=1)):
        with pytest.raises(NotFound):
            check_decidable(none, now_ms=1)
    with pytest.raises(FailedPrecondition):
        check_decidable(replace(BEGUN, state="DENIED"), now_ms=1)
