"""What a tenant's policy may say, and what follows from it."""

from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argy.authn.sessions.domain import Limits
from argy.authn.sign_in_policy.domain import (
    SignInPolicy,
    Version,
    allowed_models,
    check_etag,
    check_links_on,
    check_not_locked_out,
    check_policy,
    links_on,
    session_limits,
    told,
)
from argy.base.errors import Aborted, FailedPrecondition, FieldViolation, InvalidArgument

PLATFORM = Limits(idle_s=1_800, absolute_s=43_200)
MODEL = UUID(int=7)
OFF = SignInPolicy(links="OFF")


def fields(policy: SignInPolicy, roots: tuple[str, ...] = (), **more: Any) -> list[str]:
    """The fields at fault."""
    given_limits = {"platform": PLATFORM, "found": [], **more}
    try:
        check_policy(policy, roots=roots, **given_limits)
    except InvalidArgument as error:
        return [violation.field for violation in error.violations]
    return []


def test_a_tenant_that_set_nothing_has_the_defaults() -> None:
    held = Version()
    assert links_on(held.policy)
    check_links_on(held.policy)
    assert allowed_models(held.policy) is None
    assert session_limits(held.policy, PLATFORM) == PLATFORM
    assert (held.etag, held.roots) == ("0", ())
    assert fields(held.policy) == []


def test_links_that_are_off_are_refused() -> None:
    assert not links_on(OFF)
    with pytest.raises(FailedPrecondition) as refused:
        check_links_on(OFF)
    assert refused.value.reason == "LINKS_OFF"


def test_models_are_those_that_are_named() -> None:
    assert allowed_models(SignInPolicy(models=frozenset({MODEL}))) == frozenset({MODEL})


def test_attestation_needs_models_and_authorities() -> None:
    wanted = SignInPolicy(attestation="REQUIRED")
    both = ["policy.passkey_aaguids", "policy.passkey_attestation_roots"]
    assert fields(wanted) == both
    assert fields(wanted, ("root",)) == both[:1]
    named = SignInPolicy(attestation="REQUIRED", models=frozenset({MODEL}))
    assert fields(named) == both[1:]
    assert fields(named, ("root",)) == []


def test_the_error_names_the_first_field() -> None:
    with pytest.raises(InvalidArgument) as refused:
        check_policy(SignInPolicy(session_max_minutes=721), roots=(), platform=PLATFORM, found=[])
    assert refused.value.reason == "INVALID_SIGN_IN_POLICY"
    assert refused.value.message == (
        "policy.session_max_minutes must be 0 to 720, the platform's limit"
    )


def test_what_was_found_before_is_told_with_the_rest() -> None:
    before = FieldViolation("policy.passkey_attestation_roots[1]", "expired")
    assert fields(SignInPolicy(session_idle_minutes=31), found=[before]) == [
        "policy.passkey_attestation_roots[1]",
        "policy.session_idle_minutes",
    ]


def test_lists_are_bounded() -> None:
    hundred = frozenset(UUID(int=number) for number in range(100))
    assert fields(SignInPolicy(models=hundred)) == []
    assert fields(SignInPolicy(models=hundred | {UUID(int=100)})) == ["policy.passkey_aaguids"]
    roots = tuple(f"root {number}" for number in range(21))
    assert fields(SignInPolicy(), roots[:20]) == []
    assert fields(SignInPolicy(), roots) == ["policy.passkey_attestation_roots"]


@pytest.mark.parametrize(
    ("idle", "most", "wrong"),
    [
        (30, 720, []),
        (1, 1, []),
        (31, 0, ["session_idle_minutes"]),
        (0, 721, ["session_max_minutes"]),
        (-1, -1, ["session_idle_minutes", "session_max_minutes"]),
        (20, 10, ["session_idle_minutes"]),
        (20, 0, []),
    ],
)
def test_a_session_idle_larger_than_the_platforms_is_refused(
    idle: int, most: int, wrong: list[str]
) -> None:
    policy = SignInPolicy(session_idle_minutes=idle, session_max_minutes=most)
    assert fields(policy) == [f"policy.{field}" for field in wrong]


def test_a_part_of_a_minute_above_the_platforms_limit_is_refused() -> None:
    platform = Limits(idle_s=90, absolute_s=119)
    assert fields(SignInPolicy(session_idle_minutes=1), platform=platform) == []
    assert fields(SignInPolicy(session_max_minutes=2), platform=platform) == [
        "policy.session_max_minutes"
    ]


@given(
    idle=st.integers(0, 10_080),
    most=st.integers(0, 10_080),
    platform_idle=st.integers(60, 604_800),
    platform_max=st.integers(60, 604_800),
)
def test_sessions_never_last_longer_than_the_platforms_whatever_was_stored(
    idle: int, most: int, platform_idle: int, platform_max: int
) -> None:
    policy = SignInPolicy(session_idle_minutes=idle, session_max_minutes=most)
    platform = Limits(idle_s=platform_idle, absolute_s=platform_max, device_s=77)
    made = session_limits(policy, platform)
    assert 60 <= made.idle_s <= platform_idle
    assert 60 <= made.absolute_s <= platform_max
    assert made.device_s == 77
    if idle and idle * 60 <= platform_idle:
        assert made.idle_s == idle * 60
    if most and most * 60 <= platform_max:
        assert made.absolute_s == most * 60


def test_a_stale_etag_is_refused() -> None:
    held = Version(SignInPolicy(), (), 3)
    check_etag(held, "3")
    for etag in ("2", "4", "", "03", "3 "):
        with pytest.raises(Aborted) as refused:
            check_etag(held, etag)
        assert refused.value.reason == "ETAG_MISMATCH"


def test_nobody_locks_themselves_out() -> None:
    on = SignInPolicy()
    with pytest.raises(FailedPrecondition) as refused:
        check_not_locked_out(on, OFF, own_passkeys=0)
    assert (refused.value.reason, refused.value.field) == ("WOULD_LOCK_OUT", "policy.links")
    check_not_locked_out(on, OFF, own_passkeys=1)
    check_not_locked_out(OFF, OFF, own_passkeys=0)
    check_not_locked_out(OFF, on, own_passkeys=0)
    check_not_locked_out(on, on, own_passkeys=0)


def test_the_log_has_the_digests_of_certificates_and_fits() -> None:
    models = frozenset(UUID(int=number) for number in range(100))
    detail = told(Version(SignInPolicy(models=models), ("x" * 16_384,) * 20, 4))
    assert detail["etag"] == "4"
    assert detail["passkey_aaguids"][1] == str(UUID(int=1))
    assert {len(digest) for digest in detail["passkey_attestation_roots"]} == {64}
    # Old and new together in the 32 KiB of a record.
    assert len(str(detail)) < 8_192
