"""The pages over HTTP, with nothing behind the edge: what is refused before anybody is asked."""

import re
from typing import Any

import httpx
import pytest

ORIGIN = {"sec-fetch-site": "same-origin"}
FORM = {"content-type": "application/x-www-form-urlencoded"}
JSON = {"content-type": "application/json"}
FORMS = [
    "sign-in",
    "link/" + "x" * 43,
    "sign-out",
    "device",
    "device/decision",
    "security/passkey/rename",
    "security/passkey/remove",
    "security/session/end",
    "security/sessions/end-others",
    "security/sessions/end-all",
    "security/notices/seen",
    "security/token/create",
    "security/token/revoke",
]
SCRIPTS = [
    "link/" + "x" * 43 + "/mine",
    "passkey/sign-in/options",
    "passkey/sign-in",
    "passkey/step-up",
    "passkey/new/options",
    "passkey/new",
]


@pytest.fixture
def visitor(http: Any) -> Any:
    """A client without a token."""
    del http.headers["authorization"]
    del http.headers["content-type"]
    return http


@pytest.mark.parametrize("path", FORMS)
@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({}, id="from nowhere"),
        pytest.param({"origin": "null"}, id="from a sandbox"),
        pytest.param({"origin": "https://evil.example"}, id="from another site"),
        pytest.param({"sec-fetch-site": "same-site"}, id="from a sibling"),
    ],
)
def test_a_form_from_elsewhere_is_refused(
    visitor: httpx.Client, path: str, headers: dict[str, str]
) -> None:
    answer = visitor.post(f"/acme/{path}", content=b"csrf=x", headers={**FORM, **headers})
    assert answer.status_code == 403
    assert "came from elsewhere" in answer.text


@pytest.mark.parametrize("path", SCRIPTS)
def test_a_script_from_elsewhere_is_refused(
    visitor: httpx.Client, problem_of: Any, path: str
) -> None:
    headers = {**JSON, "origin": "https://evil.example"}
    answer = visitor.post(f"/acme/{path}", content=b"{}", headers=headers)
    assert answer.status_code == 403
    assert problem_of(answer)["reason"] == "CROSS_SITE"


@pytest.mark.parametrize("path", SCRIPTS)
@pytest.mark.parametrize("token", ["", "x" * 43])
def test_a_script_without_the_token_of_its_browser_is_refused(
    visitor: httpx.Client, problem_of: Any, path: str, token: str
) -> None:
    visitor.cookies.set("__Host-browser", "b" * 43)
    headers = {**JSON, **ORIGIN, **({"x-csrf-token": token} if token else {})}
    answer = visitor.post(f"/acme/{path}", content=b"{}", headers=headers)
    assert answer.status_code == 403
    assert problem_of(answer)["reason"] == "FORM_STALE"


@pytest.mark.parametrize(
    ("content_type", "body", "status"),
    [
        ("text/plain", b"csrf=x", 415),
        ("application/json", b"{}", 415),
        ("multipart/form-data; boundary=x", b"--x--", 415),
        ("application/x-www-form-urlencoded", b"csrf=a&csrf=b", 400),
        ("application/x-www-form-urlencoded", b"csrf=%ff", 400),
        ("application/x-www-form-urlencoded", b"\xff", 400),
        ("application/x-www-form-urlencoded", b"&".join([b"a=b"] * 100), 400),
        ("application/x-www-form-urlencoded", b"a=" + b"b" * 2_000_000, 413),
    ],
)
def test_a_form_that_is_none_is_refused(
    visitor: httpx.Client, content_type: str, body: bytes, status: int
) -> None:
    headers = {"content-type": content_type, **ORIGIN}
    assert visitor.post("/acme/sign-in", content=body, headers=headers).status_code == status


def test_a_page_that_can_t_be_made_says_so_and_tells_nothing(visitor: httpx.Client) -> None:
    answer = visitor.get("/acme/security")
    assert answer.status_code == 503
    assert "Out of reach" in answer.text
    assert "localhost:" not in answer.text
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["cross-origin-opener-policy"] == "same-origin"
    assert answer.headers["content-security-policy"].startswith("default-src 'none'; ")


def test_files_may_be_kept_because_their_address_tells_what_they_hold(
    visitor: httpx.Client,
) -> None:
    found = re.findall(r'"(/-/static/[^"]+)"', visitor.get("/").text)
    assert found
    for path in found:
        answer = visitor.get(path)
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert answer.headers["x-content-type-options"] == "nosniff"
    folder = found[0].rpartition("/")[0]
    for wrong in (f"{folder}/none.css", "/-/static/0000000000000000/argy.css"):
        assert visitor.get(wrong).status_code == 404


@pytest.mark.parametrize("name", ["..%2fviews.py", "%2e%2e", "..", "....//views.py", "%00"])
def test_no_other_file_can_be_had(visitor: httpx.Client, name: str) -> None:
    folder = re.findall(r'"(/-/static/[0-9a-f]+/)', visitor.get("/").text)[0]
    assert visitor.get(folder + name).status_code in (401, 404)


@pytest.mark.parametrize("value", ["", "x", "y" * 4_000, "a b", "é", '"q"'])
def test_a_cookie_that_can_t_be_ours_counts_as_none(visitor: httpx.Client, value: str) -> None:
    cookie = f"__Host-session-acme={value}; __Host-browser={value}".encode()
    headers: list[tuple[bytes, bytes]] = [(b"cookie", cookie)]
    headers += [(name.encode(), text.encode()) for name, text in {**FORM, **ORIGIN}.items()]
    answer = visitor.post("/acme/sign-out", content=b"csrf=x", headers=headers)
    assert answer.status_code == 503


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_no_address_of_a_link_goes_on_as_a_referrer(visitor: httpx.Client, method: str) -> None:
    """Also where the link could not be looked at, and is still good."""
    path = "/acme/link/" + "x" * 43
    answer = visitor.request(method, path, headers=FORM if method == "POST" else {})
    assert answer.status_code in (403, 503)
    assert answer.headers["referrer-policy"] == "strict-origin"


def test_there_is_no_mailbox_unless_it_is_set(visitor: httpx.Client) -> None:
    assert visitor.get("/dev/mail").status_code == 404


@pytest.mark.parametrize("tenant", ["%5Cevil.example", "%09%5Cevil.example", "acme%0a", "ACME"])
def test_no_page_leads_to_a_host_that_stands_in_its_address(
    visitor: httpx.Client, tenant: str
) -> None:
    """A backslash at the beginning of an address is a slash to browsers."""
    headers = {**FORM, "origin": "https://evil.example"}
    answer = visitor.post(f"/{tenant}/sign-in", content=b"a=b", headers=headers)
    assert answer.status_code == 403
    assert re.findall(r'<a [^>]*href="([^"]*)"', answer.text) == ["#main", "/"]
