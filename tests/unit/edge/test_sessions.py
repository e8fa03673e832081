"""The cookies of a browser that is signed in to several tenants."""

from http.cookies import SimpleCookie
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import Response

from argy.edge.sessions import (
    AFTER,
    MAX_SESSIONS,
    Cookies,
    cookies_of,
    forget_session,
    keep,
    keep_session,
)


def request_with(*names: str) -> Request:
    cookie = "; ".join(f"{name}={'s' * 43}" for name in names)
    scope: dict[str, Any] = {"type": "http", "headers": [(b"cookie", cookie.encode())]}
    return Request(scope)


def named(*slugs: str) -> list[str]:
    return [f"__Host-session-{slug}" for slug in slugs]


def changed(response: Response) -> dict[str, int | str]:
    """Each cookie that an answer sets, with its age: 0 removes it."""
    found: dict[str, int | str] = {}
    for value in response.headers.getlist("set-cookie"):
        (morsel,) = SimpleCookie(value).values()
        assert (morsel["secure"], morsel["httponly"], morsel["path"]) == (True, True, "/")
        assert (morsel["samesite"], morsel["domain"]) == ("lax", "")
        found[morsel.key] = int(morsel["max-age"])
    return found


def test_a_session_is_read_for_its_own_tenant_alone() -> None:
    request = request_with(*named("acme"))
    assert Cookies.of(request, "acme").session == "s" * 43
    for other in ("acm", "acme-2", "ACME", "", "acme; x"):
        assert Cookies.of(request, other).session == ""


def test_a_session_of_one_tenant_leaves_those_of_others() -> None:
    response = Response()
    keep_session(request_with(*named("acme", "other")), response, "acme", "t" * 43, life_s=60)
    assert changed(response) == {"__Host-session-acme": 60}
    response = Response()
    forget_session(response, "acme")
    assert changed(response) == {"__Host-session-acme": 0}


def test_signing_in_everywhere_does_not_fill_the_head_of_requests() -> None:
    slugs = [f"t{number}" for number in range(MAX_SESSIONS + 2)]
    response = Response()
    request = request_with("__Host-browser", *named(*slugs), "other")
    keep_session(request, response, "acme", "t" * 43, life_s=60)
    assert changed(response) == {
        **dict.fromkeys(named("t0", "t1", "t2"), 0),
        "__Host-session-acme": 60,
    }


@pytest.mark.parametrize("space", [b"\xa0", b"\x85", b"\x1c", b"\x1f", b"\x0b", b"\xc2\xa0"])
@pytest.mark.parametrize("name", [b"__Host-session-acme", b"__Host-browser"])
def test_cookie_tossing_with_a_space_that_is_none_before_the_prefix(
    name: bytes, space: bytes
) -> None:
    """A sibling host may set such a name, for browsers see no ``__Host-`` at its beginning."""
    tossed = space + name + b"=" + b"e" * 43
    for sent in (tossed, name + b"=" + b"s" * 43 + b"; " + tossed):
        read = Cookies.of(Request({"type": "http", "headers": [(b"cookie", sent)]}), "acme")
        assert "e" * 43 not in (read.session, read.browser)


def test_a_cookie_that_comes_twice_counts_as_absent() -> None:
    assert Cookies.of(request_with(*named("acme", "acme")), "acme").session == ""
    assert Cookies.of(request_with(*named("acme", "other")), "acme").session == "s" * 43


def test_cookies_of_several_header_lines_are_read() -> None:
    lines = [(b"cookie", b"a=b"), (b"cookie", b"__Host-session-acme=" + b"s" * 43)]
    assert Cookies.of(Request({"type": "http", "headers": lines}), "acme").session == "s" * 43


def test_a_foreign_name_that_looks_like_a_session_is_left_alone() -> None:
    """It could not be named in an answer: the sign-in would fail."""
    odd = [f"__Host-session-{mark * number}" for mark in ("\xe9", "(") for number in range(1, 7)]
    cookie = "; ".join(f"{name}={'s' * 43}" for name in odd)
    request = Request({"type": "http", "headers": [(b"cookie", cookie.encode("latin-1"))]})
    response = Response()
    keep_session(request, response, "acme", "t" * 43, life_s=60)
    assert changed(response) == {"__Host-session-acme": 60}


@pytest.mark.parametrize("path", ["/acme/security", "/acme/device?user_code=ABCD-EF%20H+1"])
def test_a_place_to_go_to_comes_back_as_it_was_kept(path: str) -> None:
    response = Response()
    keep(response, AFTER, path)
    sent = response.headers["set-cookie"].partition(";")[0].encode()
    request = Request({"type": "http", "headers": [(b"cookie", sent)]})
    assert cookies_of(request) == {AFTER: path}
