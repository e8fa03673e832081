"""The cookies of a browser that is signed in to several tenants."""

from http.cookies import SimpleCookie
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from argy.edge.sessions import MAX_SESSIONS, Cookies, forget_session, keep_session


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
