"""The pages that need no session: in light, in the dark, on a phone, by keyboard, and hardened."""

import ssl
from typing import Any

import httpx
import pytest


@pytest.mark.parametrize(
    "shown",
    [
        pytest.param({"color_scheme": "light"}, id="light"),
        pytest.param({"color_scheme": "dark", "reduced_motion": "reduce"}, id="dark"),
        pytest.param(
            {"viewport": {"width": 320, "height": 640}, "is_mobile": True, "has_touch": True},
            id="phone",
        ),
    ],
)
async def test_open_pages_suit_everybody(open_tab: Any, shown: dict[str, Any]) -> None:
    tab = await open_tab(**shown)
    tab.expected = ("404",)
    for path, name in (
        ("/", "start"),
        ("/acme/sign-in", "sign-in"),
        ("/acme/mail-sent", "mail-sent"),
        ("/dev/mail", "mailbox"),
        ("/nobody/sign-in", "no-such-organization"),
        ("/acme/link/" + "x" * 43, "no-such-link"),
    ):
        await tab.open(path)
        await tab.look(name)


async def test_an_organization_is_found_by_its_short_name(open_tab: Any) -> None:
    tab = await open_tab()
    await tab.open("/")
    await tab.page.get_by_label("Short name").fill("Acme")
    await tab.page.keyboard.press("Enter")
    await tab.page.wait_for_url("**/acme/sign-in")


async def test_sign_in_can_be_used_by_keyboard(open_tab: Any) -> None:
    tab = await open_tab()
    await tab.open("/acme/sign-in")
    await tab.page.get_by_role("button", name="passkey").wait_for()
    reached = []
    for _ in range(4):
        await tab.page.keyboard.press("Tab")
        reached.append(await tab.page.evaluate("document.activeElement.textContent.trim()"))
        outline = "getComputedStyle(document.activeElement).outlineStyle"
        assert await tab.page.evaluate(outline) != "none", "focus can't be seen"
    assert reached == ["Skip to the content", "Sign in with a passkey", "", "Send me a link"]


async def test_without_javascript_a_link_can_be_asked_for(open_tab: Any) -> None:
    tab = await open_tab(java_script_enabled=False)
    await tab.open("/acme/sign-in")
    assert not await tab.page.get_by_role("button", name="passkey").is_visible()
    await tab.page.get_by_label("E-mail address").fill("nobody@acme.example")
    await tab.page.get_by_role("button", name="Send me a link").click()
    await tab.page.wait_for_url("**/acme/mail-sent")


async def test_an_inline_script_does_not_run(open_tab: Any) -> None:
    tab = await open_tab()
    tab.expected = ("Content Security Policy", "violates the following")
    await tab.open("/acme/sign-in")
    await tab.page.evaluate(
        "const s = document.createElement('script'); s.textContent = 'window.ran = true';"
        "document.head.append(s)"
    )
    assert await tab.page.evaluate("window.ran") is None
    assert tab.complaints, "the browser did not object"


async def test_another_site_can_neither_send_a_form_nor_frame_a_page(
    open_tab: Any, platform: Any
) -> None:
    tab = await open_tab()
    tab.expected = ("403", "frame-ancestors", "X-Frame-Options", "Refused to", "Framing")
    await tab.open("/acme/sign-in")
    await tab.page.goto("data:text/html,<p>evil")
    await tab.page.set_content(
        f'<form method="post" action="{tab.base_url}/acme/sign-in">'
        '<input name="email" value="alice@acme.example"><button>Win a prize</button></form>'
    )
    await tab.page.get_by_role("button").click()
    await tab.page.get_by_role("heading", name="This request came from elsewhere").wait_for()
    await tab.look("cross-site")


async def test_a_form_of_another_browser_is_stale(open_tab: Any) -> None:
    tab = await open_tab()
    tab.expected = ("403",)
    await tab.open("/acme/sign-in")
    await tab.page.context.clear_cookies()
    await tab.page.get_by_label("E-mail address").fill("alice@acme.example")
    await tab.page.get_by_role("button", name="Send me a link").click()
    await tab.page.get_by_role("heading", name="This page is out of date").wait_for()
    await tab.look("stale-form")


@pytest.mark.parametrize("path", ["/acme/security", "/acme/enrol", "/acme/device?user_code=AB"])
async def test_who_is_not_signed_in_is_sent_to_do_so(platform: Any, path: str) -> None:
    edge = platform.ready["edge"]
    context = ssl.create_default_context(cafile=edge["ca_file"])
    cookies = {"__Host-session-acme": "A" * 43}
    async with httpx.AsyncClient(
        verify=context, base_url=edge["url"], cookies=cookies, timeout=60
    ) as http:
        answer = await http.get(path)
    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/acme/sign-in?next=%2Facme%2F")
    assert answer.headers["cache-control"] == "no-store"
