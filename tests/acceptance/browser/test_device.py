"""Letting a terminal in from a browser (RFC 8628)."""

import ssl
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

GRANT = "urn:ietf:params:oauth:grant-type:device_code"


@pytest.fixture
async def terminal(platform: Any) -> AsyncIterator[httpx.AsyncClient]:
    """A device's HTTP client."""
    edge = platform.ready["edge"]
    context = ssl.create_default_context(cafile=edge["ca_file"])
    headers = {"user-agent": "argy-cli/0.1"}
    async with httpx.AsyncClient(
        verify=context, base_url=edge["url"], headers=headers, timeout=60
    ) as http:
        yield http


async def ask(terminal: httpx.AsyncClient) -> dict[str, Any]:
    answer = await terminal.post(
        "/acme/oauth/device_authorization", data={"client_id": "argy-cli", "scope": "project:read"}
    )
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def poll(terminal: httpx.AsyncClient, codes: dict[str, Any]) -> dict[str, Any]:
    answer = await terminal.post(
        "/acme/oauth/token",
        data={
            "grant_type": GRANT,
            "device_code": codes["device_code"],
            "client_id": "argy-cli",
        },
    )
    return dict(answer.json())


async def test_a_device_is_let_in_by_who_signs_in_for_it(
    open_tab: Any, person: Any, onboard: Any, terminal: httpx.AsyncClient
) -> None:
    tab = await open_tab()
    laptop = await onboard(tab, person)
    await tab.sign_out()
    codes = await ask(terminal)
    # The page that signed out offers the passkey as well: leave it before the passkey is there.
    await tab.page.goto("about:blank")
    # The code survives the sign-in that comes first, here by autofill.
    await tab.set_presence(laptop, present=True)
    await tab.page.goto(codes["verification_uri_complete"])
    await tab.page.wait_for_url("**/acme/device?user_code=**")
    await tab.was_asked("conditional")
    code = tab.page.get_by_label("Code")
    assert await code.input_value() == codes["user_code"]
    await tab.look("enter-code")
    await tab.page.get_by_role("button", name="Continue").click()
    await tab.page.get_by_role("heading", name="Let this device in?").wait_for()
    shown = await tab.page.locator("main").inner_text()
    assert "argy" in shown
    assert "127.0.0.1" in shown
    assert "project:read" in shown
    await tab.look("decide")
    await tab.page.get_by_role("button", name="Approve").click()
    await tab.page.get_by_role("heading", name="The device is connected").wait_for()
    await tab.look("approved")
    assert (await poll(terminal, codes)).get("access_token")


async def test_who_waits_for_a_mail_comes_back_to_the_code(
    open_tab: Any, person: Any, terminal: httpx.AsyncClient
) -> None:
    tab = await open_tab()
    codes = await ask(terminal)
    await tab.page.goto(codes["verification_uri_complete"])
    await tab.page.get_by_label("E-mail address").fill(person.email)
    await tab.page.get_by_role("button", name="Send me a link").click()
    await tab.page.wait_for_url("**/acme/mail-sent")
    await tab.follow_link(person.email)
    await tab.page.wait_for_url("**/acme/device?user_code=**")
    assert await tab.page.get_by_label("Code").input_value() == codes["user_code"]
    names = {one["name"] for one in await tab.page.context.cookies()}
    assert names == {"__Host-session-acme"}, "what was for once stayed"


async def test_a_refused_device_gets_nothing_and_a_wrong_code_is_told(
    open_tab: Any, person: Any, onboard: Any, terminal: httpx.AsyncClient
) -> None:
    tab = await open_tab(viewport={"width": 360, "height": 740})
    tab.expected = ("404", "409", "400")
    await onboard(tab, person)
    await tab.open("/acme/device")
    await tab.page.get_by_label("Code").fill("BBBB-BBBB")
    await tab.page.get_by_role("button", name="Continue").click()
    await tab.page.get_by_role("alert").wait_for()
    await tab.look("wrong-code")
    codes = await ask(terminal)
    # As people type: case, spaces and hyphens don't matter.
    await tab.page.get_by_label("Code").fill(codes["user_code"].lower().replace("-", " "))
    await tab.page.get_by_role("button", name="Continue").click()
    await tab.page.get_by_role("button", name="Refuse").click()
    await tab.page.get_by_role("heading", name="The device was refused").wait_for()
    await tab.look("refused")
    assert (await poll(terminal, codes))["error"] == "access_denied"
