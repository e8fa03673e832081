"""Rules of tokens and keys: scopes, names, lifetimes, room; and how one comes with a call."""

from uuid import UUID

import pytest

from argy.authn.credentials.domain import (
    Credential,
    Kind,
    Made,
    check_agent,
    check_days,
    check_live,
    check_room,
    checked_name,
    checked_scopes,
)
from argy.base.errors import (
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    Unauthenticated,
)
from argy.base.secret_token import new_token
from argy.rpc.credentials import check_scope, presented

HELD = Credential(
    id=UUID(int=1),
    kind="TOKEN",
    subject="user:1",
    name="ci",
    prefix="argy_pat_abcd",
    scopes=("project:read",),
    lifetime_days=7,
    created_by="user:1",
    created_at_ms=0,
    expires_at_ms=100,
)


def test_scopes_are_single_permissions_each_once() -> None:
    assert checked_scopes(["project:read", "authz.decision:check", "project:read"]) == (
        "authz.decision:check",
        "project:read",
    )


@pytest.mark.parametrize(
    "scopes",
    [
        [],
        ["*"],
        ["project:*"],
        ["project:-:read"],
        ["project"],
        ["Project:read"],
        ["project:read\n"],
        ["project: read"],
        ["x" * 130 + ":read"],
        [f"p{n}:read" for n in range(51)],
    ],
)
def test_other_scopes_are_refused(scopes: list[str]) -> None:
    with pytest.raises(InvalidArgument):
        checked_scopes(scopes)


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "a\x1b[2J"])
def test_names_that_would_steer_a_terminal_are_refused(name: str) -> None:
    with pytest.raises(InvalidArgument):
        checked_name(name)


@pytest.mark.parametrize(
    ("kind", "days", "good"),
    [("TOKEN", 6, False), ("TOKEN", 7, True), ("TOKEN", 366, True), ("TOKEN", 367, False),
     ("KEY", 0, False), ("KEY", 1, True), ("KEY", 367, False)],
)  # fmt: skip
def test_lifetimes_have_limits(kind: Kind, days: int, good: bool) -> None:
    if good:
        check_days(kind, days)
        return
    with pytest.raises(InvalidArgument):
        check_days(kind, days)


def test_there_is_room_for_25() -> None:
    check_room("TOKEN", 24)
    with pytest.raises(ResourceExhausted):
        check_room("TOKEN", 25)


def test_a_key_is_an_agent_s() -> None:
    check_agent("agent:build-1")
    for subject in ("user:1", "service:edge", "agent:", "agent:a b"):
        with pytest.raises(InvalidArgument):
            check_agent(subject)


def test_only_a_live_credential_is_rotated() -> None:
    assert check_live(HELD, now_ms=99) is HELD
    with pytest.raises(FailedPrecondition):
        check_live(HELD, now_ms=100)
    with pytest.raises(NotFound):
        check_live(None, now_ms=0)


def test_a_made_credential_prints_no_secret() -> None:
    secret = new_token("pat")
    assert secret not in repr(Made(HELD, secret))
    assert secret not in str(Made(HELD, secret))


def test_a_token_comes_as_bearer_and_a_key_in_a_header_of_its_own() -> None:
    token, key = new_token("pat"), new_token("key")
    assert presented({"authorization": f"Bearer {token}"}) == token
    assert presented({"authorization": f"bearer  {token}"}) == token
    assert presented({"x-api-key": key}) == key
    assert presented({"authorization": "Bearer a.jwt.here"}) == ""
    assert presented({}) == ""


@pytest.mark.parametrize(
    "metadata",
    [
        {"x-api-key": new_token("pat")},
        {"x-api-key": "secret"},
        {"authorization": f"Bearer {new_token('pat')[:-1]}"},
        {"authorization": "Bearer argy_pat_"},
        {"authorization": f"Bearer {new_token('pat')}", "x-api-key": new_token("key")},
        {"authorization": "Bearer eyJ", "x-api-key": new_token("key")},
    ],
)
def test_what_is_no_credential_or_two_is_refused(metadata: dict[str, str]) -> None:
    with pytest.raises(Unauthenticated):
        presented(metadata)


def test_a_permission_outside_of_the_scopes_is_refused() -> None:
    check_scope(frozenset({"project:read"}), "project:read")
    for permission in ("project:write", "project", ""):
        with pytest.raises(PermissionDenied) as refused:
            check_scope(frozenset({"project:read"}), permission)
        assert refused.value.reason == "SCOPE_INSUFFICIENT"
