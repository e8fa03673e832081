"""Forms that only our own pages can send."""

from typing import Any

import pytest

from argy.base.errors import PermissionDenied
from argy.edge.csrf import FormTokens, check_same_origin

ORIGIN = "https://argy.example"
TOKENS = FormTokens(b"k" * 32)


def scope(*headers: tuple[str, str]) -> dict[str, Any]:
    return {"headers": [(name.encode(), value.encode()) for name, value in headers]}


def test_a_token_is_good_for_its_own_browser() -> None:
    TOKENS.check(binding="session:a", token=TOKENS.issue("session:a"))


@pytest.mark.parametrize(
    ("binding", "token"),
    [
        ("session:b", TOKENS.issue("session:a")),
        ("a", TOKENS.issue("session:a")),
        ("", TOKENS.issue("")),
        ("session:a", ""),
        ("session:a", TOKENS.issue("session:a")[:-1]),
        ("session:a", "ü" * 43),
        ("session:a", FormTokens(b"j" * 32).issue("session:a")),
    ],
)
def test_another_browser_no_cookie_and_made_up_tokens_are_refused(binding: str, token: str) -> None:
    with pytest.raises(PermissionDenied) as refused:
        TOKENS.check(binding=binding, token=token)
    assert refused.value.reason == "FORM_STALE"


@pytest.mark.parametrize(
    "headers",
    [
        [("origin", ORIGIN), ("sec-fetch-site", "same-origin")],
        [("origin", ORIGIN)],
        [("sec-fetch-site", "same-origin")],
    ],
)
def test_our_own_pages_may_send(headers: list[tuple[str, str]]) -> None:
    check_same_origin(scope(*headers), origin=ORIGIN)


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("origin", "null")],
        [("origin", "https://evil.example"), ("sec-fetch-site", "cross-site")],
        [("origin", ORIGIN), ("sec-fetch-site", "same-site")],
        [("origin", ORIGIN), ("sec-fetch-site", "none")],
        [("origin", "http://argy.example"), ("sec-fetch-site", "same-origin")],
        [("origin", ORIGIN), ("origin", "https://evil.example")],
        [("origin", ORIGIN + ".evil.example")],
    ],
)
def test_other_places_may_not_send(headers: list[tuple[str, str]]) -> None:
    with pytest.raises(PermissionDenied) as refused:
        check_same_origin(scope(*headers), origin=ORIGIN)
    assert refused.value.reason == "CROSS_SITE"
