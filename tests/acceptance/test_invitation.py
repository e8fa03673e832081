"""From an invitation to a session and its end, on the running platform, as operators do it."""

import json
import re
import secrets
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from mail_folder import PATIENCE_S, wait_for_link


@pytest.fixture
def browser(platform: Any) -> Iterator[httpx.Client]:
    """A browser without scripts: cookies, forms, and what it says of where it is."""
    edge = platform.ready["edge"]
    with httpx.Client(
        base_url=edge["url"],
        verify=ssl.create_default_context(cafile=edge["ca_file"]),
        headers={"origin": edge["url"], "sec-fetch-site": "same-origin", "user-agent": "Test/1"},
        timeout=PATIENCE_S,
    ) as client:
        yield client


@pytest.fixture
def invited(argy: Callable[..., Any]) -> tuple[str, str]:
    """The address and id of somebody new at Acme, who was invited."""
    email = f"{secrets.token_hex(6)}@acme.example"
    made = argy("user", "create", email, "--tenant", "acme", "--json")
    user_id = json.loads(made.stdout)["user_id"]
    sent = argy("user", "invite", email, "--tenant", "acme")
    assert sent.returncode == 0, sent.stderr
    assert f"invited {email}" in sent.stdout
    return email, user_id


def link_to(home: Path, email: str, slug: str = "acme") -> str:
    """The path of the link in the mail to somebody."""
    return f"/{slug}/link/{wait_for_link(home / 'mail', email)}"


def accept(browser: httpx.Client, link: str) -> httpx.Response:
    """Open a link and press its button."""
    page = browser.get(link)
    token = re.search(r'name="csrf"[^>]*value="([^"]+)"', page.text)
    assert token is not None, page.text
    return browser.post(link, data={"csrf": token[1], "confirmed": "yes"})


def signed_in(browser: httpx.Client, slug: str = "acme") -> bool:
    """Whether the browser's session is live."""
    return browser.get(f"/{slug}/enrol").status_code == 200


def test_an_invitation_signs_in_once_and_an_operator_ends_it(
    platform: Any, argy: Callable[..., Any], browser: httpx.Client, invited: tuple[str, str]
) -> None:
    email, _ = invited
    link = link_to(platform.home, email)
    # Mail scanners look at links, and use nothing.
    assert browser.get(link).status_code == 200
    done = accept(browser, link)
    assert (done.status_code, done.headers["location"]) == (303, "/acme/enrol")
    assert signed_in(browser)
    assert browser.get(link).status_code == 404
    ended = argy("session", "end-user", email, "--tenant", "acme")
    assert (ended.returncode, ended.stdout.strip()) == (0, "ended 1 session")
    assert not signed_in(browser)


def test_a_disabled_person_is_signed_out_at_once(
    platform: Any, argy: Callable[..., Any], browser: httpx.Client, invited: tuple[str, str]
) -> None:
    email, user_id = invited
    accept(browser, link_to(platform.home, email))
    assert signed_in(browser)
    disabled = argy("user", "disable", user_id, "--tenant", "acme", "-m", "left the company")
    assert disabled.stdout.strip() == f"{email} is DISABLED from now on", disabled.stderr
    assert not signed_in(browser)
    assert argy("user", "invite", email, "--tenant", "acme").returncode == 5
    enabled = argy("user", "enable", email, "--tenant", "acme", "-m", "came back")
    assert enabled.returncode == 0, enabled.stderr
    assert not signed_in(browser)
    assert argy("user", "invite", email, "--tenant", "acme").returncode == 0


def test_nobody_unknown_is_invited(argy: Callable[..., Any]) -> None:
    refused = argy("user", "invite", "nobody@acme.example", "--tenant", "acme")
    assert refused.returncode == 2
    assert "there is no subject 'nobody@acme.example' in the tenant acme" in refused.stderr


def test_sessions_are_listed_to_who_is_signed_in_at_the_terminal(
    argy: Callable[..., Any], tmp_path: Path
) -> None:
    refused = argy("session", "list", home=tmp_path)
    assert refused.returncode == 3
    assert "argy login" in refused.stderr
    assert argy("session", "end").returncode == 2


def test_a_sign_in_elsewhere_takes_nobody_s_session(
    platform: Any, argy: Callable[..., Any], browser: httpx.Client, invited: tuple[str, str]
) -> None:
    """One browser is signed in to two tenants; leaving one of them is leaving that one."""
    email, _ = invited
    accept(browser, link_to(platform.home, email))
    slug, guest = f"t{secrets.token_hex(6)}", f"{secrets.token_hex(6)}@other.example"
    for command in (
        ("tenant", "create", slug, "--name", "Other"),
        ("user", "create", guest, "--tenant", slug),
        ("user", "invite", guest, "--tenant", slug),
    ):
        done = argy(*command)
        assert done.returncode == 0, done.stderr
    accept(browser, link_to(platform.home, guest, slug))
    assert signed_in(browser)
    assert signed_in(browser, slug)
    page = browser.get(f"/{slug}/enrol")
    token = re.search(r'name="csrf"[^>]*value="([^"]+)"', page.text)
    assert token is not None
    # A form of one tenant is none of another: each is bound to its own session.
    crossed = browser.post("/acme/sign-out", data={"csrf": token[1]})
    assert (crossed.status_code, signed_in(browser)) == (403, True)
    assert browser.post(f"/{slug}/sign-out", data={"csrf": token[1]}).status_code == 303
    assert not signed_in(browser, slug)
    assert signed_in(browser)


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example:8443", "10.0.0.1"])
def test_a_name_that_was_bound_to_this_machine_reads_no_mail(
    browser: httpx.Client, host: str
) -> None:
    assert browser.get("/dev/mail", headers={"host": host}).status_code == 404
    assert browser.get("/dev/mail").status_code == 200


@pytest.mark.parametrize(
    "value", ["\0", "a\0b", "\x1b[31m", "\u202eevil", "\ud7ff" * 99, "💥" * 30]
)
def test_odd_characters_break_no_form(
    platform: Any, browser: httpx.Client, invited: tuple[str, str], value: str
) -> None:
    accept(browser, link_to(platform.home, invited[0]))
    found = re.search(r'name="csrf"[^>]*value="([^"]+)"', browser.get("/acme/security").text)
    assert found is not None
    for form, fields in (
        ("sign-in", {"email": value, "after": value}),
        ("device", {"user_code": value[:32]}),
        ("device/decision", {"user_code": value[:32], "decision": "approve"}),
        ("link/x", {"confirmed": value}),
        ("security/passkey/rename", {"passkey_id": value[:36], "name": value}),
        ("security/passkey/remove", {"passkey_id": value[:36]}),
        ("security/session/end", {"session_id": value[:36]}),
        ("security/token/create", {"name": value, "scopes": value, "days": "7"}),
        ("security/token/create", {"name": value, "scopes": "project:read", "days": "٧"}),
        ("security/token/revoke", {"credential_id": value[:36]}),
    ):
        answer = browser.post(f"/acme/{form}", data={"csrf": found[1], **fields})
        assert answer.status_code < 500, f"{form}: {answer.text}"
    for path in ("link/%00", "device?user_code=%00", "sign-in?next=%00", "security?done=%00"):
        assert browser.get(f"/acme/{path}").status_code < 500, path


@pytest.mark.parametrize("value", ["\0", "a\0b", "\x1b[31m", "\u202eevil", "💥" * 30])
def test_odd_characters_break_no_client_endpoint(browser: httpx.Client, value: str) -> None:
    grant = "urn:ietf:params:oauth:grant-type:device_code"
    for path, fields in (
        ("token", {"grant_type": value}),
        ("token", {"grant_type": "refresh_token", "refresh_token": value, "client_id": value}),
        ("token", {"grant_type": grant, "device_code": value, "client_id": value}),
        ("revoke", {"token": value, "client_id": value}),
        ("device_authorization", {"client_id": value, "scope": value}),
        ("device_authorization", {"client_id": "argy-cli", "scope": value}),
    ):
        answer = browser.post(f"/acme/oauth/{path}", data=fields)
        assert answer.status_code < 500, f"{path}: {answer.text}"
