"""When a session is over, and what changes it."""

from dataclasses import replace
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from argy.authn.sessions.domain import (
    ACR_LINK,
    ACR_PASSKEY,
    TOUCH_MS,
    DeviceInfo,
    Limits,
    Session,
    digest,
    new_secret,
    new_session,
)
from argy.authn.sessions.store import surplus
from argy.rpc.claims import ACR_PROVISIONAL

LIMITS = Limits(idle_s=1_800, absolute_s=43_200)
NOW = 1_800_000_000_000


def made(*, now_ms: int = NOW, number: int = 1) -> Session:
    return new_session(
        session_id=UUID(int=number),
        user_id=UUID(int=2),
        method="magic_link",
        device=DeviceInfo("192.0.2.1", "B/1"),
        now_ms=now_ms,
        limits=LIMITS,
    )


def test_a_session_is_live_until_its_limits() -> None:
    session = made()
    assert not session.over(NOW, LIMITS)
    assert not session.over(NOW + 1_800_000, LIMITS)
    assert session.over(NOW + 1_800_000 + TOUCH_MS, LIMITS)
    busy = session.seen(NOW + 43_199_999)
    assert not busy.over(NOW + 43_199_999, LIMITS)
    assert busy.over(NOW + 43_200_000, LIMITS)


def test_a_renewed_proof_moves_no_limit_and_keeps_the_strongest_method_first() -> None:
    session = made()
    proved = session.proved("passkey", NOW + 5_000, LIMITS, known_since_ms=NOW - 1)
    assert proved.expires_at_ms == session.expires_at_ms
    assert (session.acr, proved.acr) == (ACR_LINK, ACR_PASSKEY)
    assert proved.methods == ("passkey", "magic_link")
    assert proved.auth_time_ms == NOW + 5_000
    assert proved.proved("passkey", NOW + 6_000, LIMITS, known_since_ms=NOW - 1).methods == (
        "passkey",
        "magic_link",
    )


def test_a_provisional_session_ends_early_unless_a_passkey_is_proved() -> None:
    session = new_session(
        session_id=UUID(int=1),
        user_id=UUID(int=2),
        method="magic_link",
        device=DeviceInfo(),
        now_ms=NOW,
        limits=LIMITS,
        provisional=True,
    )
    assert session.over(NOW + 900_000, LIMITS)
    assert (
        session.proved("magic_link", NOW + 1, LIMITS, known_since_ms=NOW - 1).expires_at_ms
        == NOW + 900_000
    )
    assert (
        session.proved("passkey", NOW + 1, LIMITS, known_since_ms=NOW - 1).expires_at_ms
        == NOW + 43_200_000
    )


def test_the_proof_of_a_provisional_session_is_old_until_a_passkey_is_proved() -> None:
    session = replace(made(), provisional=True)
    assert (session.acr, session.counts_from_ms) == (ACR_PROVISIONAL, NOW - 86_400_000)
    again = session.proved("magic_link", NOW + 1, LIMITS, known_since_ms=NOW - 1)
    assert (again.acr, again.counts_from_ms) == (ACR_PROVISIONAL, NOW + 1 - 86_400_000)
    proved = session.proved("passkey", NOW + 1, LIMITS, known_since_ms=NOW - 1)
    assert (proved.acr, proved.counts_from_ms) == (ACR_PASSKEY, NOW + 1)
    assert (made().acr, made().counts_from_ms) == (ACR_LINK, NOW)


def test_use_is_written_once_a_minute() -> None:
    session = made()
    assert not session.stale(NOW + TOUCH_MS - 1)
    assert session.stale(NOW + TOUCH_MS)
    assert not session.seen(NOW + TOUCH_MS).stale(NOW + TOUCH_MS)


@given(st.integers(0, 100_000_000))
def test_what_the_store_has_dropped_is_over_anyway(age_ms: int) -> None:
    session = made()
    life_ms = session.time_to_live_ms(NOW, LIMITS)
    if age_ms >= life_ms:
        assert session.over(NOW + age_ms, LIMITS)
    if session.over(NOW + age_ms, LIMITS):
        assert session.time_to_live_ms(NOW + age_ms, LIMITS) == 1


def test_secrets_are_256_bits_and_kept_as_digests() -> None:
    secrets = {new_secret() for _ in range(100)}
    assert len(secrets) == 100
    assert {len(secret) for secret in secrets} == {43}
    assert len(digest("\ud800")) == 64


def test_room_is_made_by_the_one_that_is_unused_for_longest() -> None:
    sessions = [made(now_ms=NOW + number, number=number) for number in range(100)]
    assert surplus(sessions[:99]) == []
    assert surplus(sessions) == [sessions[0]]
