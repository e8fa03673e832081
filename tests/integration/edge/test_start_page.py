"""The page without a tenant, where passkey managers lead people to."""

from collections.abc import Sequence

import httpx
import pytest


def start(http: httpx.Client, asked: str, *slugs: str, value: str = "s" * 43) -> httpx.Response:
    """The page in a browser that is signed in to some tenants."""
    cookie = "; ".join(f"__Host-session-{slug}={value}" for slug in slugs)
    return http.get("/" + asked, headers={"cookie": cookie} if slugs else {})


@pytest.fixture
def visitor(http: httpx.Client) -> httpx.Client:
    """A client without a token."""
    del http.headers["authorization"]
    return http


def test_passkey_managers_are_led_to_a_page_that_is_there(visitor: httpx.Client) -> None:
    answer = visitor.get("/.well-known/passkey-endpoints", headers={"host": "evil.example"})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    own = str(visitor.base_url).replace("localhost", "127.0.0.1").rstrip("/")
    told = answer.json()
    assert told == {"enroll": f"{own}/?to=enrol", "manage": f"{own}/?to=security"}
    for url in told.values():
        assert start(visitor, url.removeprefix(f"{own}/")).status_code == 200


@pytest.mark.parametrize(
    ("asked", "slugs", "place"),
    [
        ("?to=enrol", ["acme"], "/acme/enrol"),
        ("?to=security", ["acme"], "/acme/security"),
        ("?to=enrol&organization=Other", ["acme"], "/other/enrol"),
        ("?organization=acme", [], "/acme/sign-in"),
        ("?organization=acme&to=//evil.example", [], "/acme/sign-in"),
        ("?organization=acme&to=security/../device", [], "/acme/sign-in"),
    ],
)
def test_who_says_enough_is_sent_on(
    visitor: httpx.Client, asked: str, slugs: Sequence[str], place: str
) -> None:
    answer = start(visitor, asked, *slugs)
    assert (answer.status_code, answer.headers["location"]) == (303, place)
    assert answer.headers["cache-control"] == "no-store"


def test_who_is_signed_in_to_several_chooses(visitor: httpx.Client) -> None:
    answer = start(visitor, "?to=enrol", "other", "acme")
    assert answer.status_code == 200
    assert '<a href="/acme/enrol">' in answer.text
    assert '<a href="/other/enrol">' in answer.text
    assert '<input type="hidden" name="to" value="enrol">' in answer.text
    assert '<a href="/acme/security">' in start(visitor, "", "acme").text


@pytest.mark.parametrize("asked", ["?organization=%2F%2Fevil.example", "?organization=%5Cevil"])
def test_no_name_leads_to_another_host(visitor: httpx.Client, asked: str) -> None:
    answer = start(visitor, asked)
    assert answer.status_code == 200
    assert 'role="alert"' in answer.text
    assert "evil" not in answer.text


@pytest.mark.parametrize("value", ["", "short", "<b>" + "s" * 43])
def test_a_session_that_can_not_be_one_is_not_offered(visitor: httpx.Client, value: str) -> None:
    assert "/acme/" not in start(visitor, "?to=enrol", "acme", value=value).text
