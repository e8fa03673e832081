"""For whom a link works."""

from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from argy.authn.links.domain import (
    Link,
    address_key,
    check_bound,
    check_live,
    must_register,
    purpose_in_use,
    purpose_of,
)
from argy.authn.sessions.domain import DeviceInfo, digest
from argy.base.errors import FailedPrecondition, NotFound

LINK = Link(
    id=UUID(int=1),
    user_id=UUID(int=2),
    purpose="sign_in",
    browser_digest=digest("browser"),
    device=DeviceInfo(),
    created_at_ms=0,
    expires_at_ms=10,
)


def test_a_link_is_live_until_it_is_used_or_over() -> None:
    assert check_live(LINK, now_ms=9) is LINK
    for link, now_ms in (
        (None, 9),
        (LINK, 10),
        (replace(LINK, used=True), 9),
        (replace(LINK, user_id=None), 9),
    ):
        with pytest.raises(NotFound) as refused:
            check_live(link, now_ms=now_ms)
        assert refused.value.reason == "LINK_OVER"


def test_a_link_is_bound_to_its_browser_or_confirmed() -> None:
    check_bound(LINK, browser_secret="browser", confirmed=False)
    check_bound(LINK, browser_secret="", confirmed=True)
    unbound = replace(LINK, browser_digest="")
    for link, secret in ((LINK, ""), (LINK, "other"), (LINK, digest("browser")), (unbound, "")):
        with pytest.raises(FailedPrecondition):
            check_bound(link, browser_secret=secret, confirmed=False)


def test_whoever_has_a_passkey_recovers() -> None:
    assert purpose_of(has_passkey=True) == "recovery"
    assert purpose_of(has_passkey=False) == "sign_in"
    purposes: tuple[Any, ...] = ("sign_in", "invitation", "recovery")
    assert [purpose_in_use(asked, has_passkey=False) for asked in purposes] == list(purposes)
    assert {purpose_in_use(asked, has_passkey=True) for asked in purposes} == {"recovery"}
    assert [must_register(purpose) for purpose in purposes] == [False, True, True]


@pytest.mark.parametrize(
    "written",
    [
        pytest.param("JULI@EXAMPLE.COM", id="capitals"),
        pytest.param("jul\u0130@example.com", id="dotted-capital-i"),
        pytest.param("ju\uff4ci@example.com", id="wide-letter"),
        pytest.param("ju\u0301li@example.com", id="mark"),
    ],
)
def test_ways_of_writing_one_address_count_as_one(written: str) -> None:
    assert address_key(written) == address_key("juli@example.com") == "juli@example.com"
    assert address_key("jul1@example.com") != address_key("juli@example.com")
