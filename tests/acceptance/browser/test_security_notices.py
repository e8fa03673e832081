"""What a person's other browsers show of what happened, and who is signed in where."""

import asyncio
import json
import ssl
from typing import Any

import httpx

SESSION = "__Host-session-acme"
BEGIN = """
fetch("/acme/passkey/new/options", {
  method: "POST",
  headers: {
    "content-type": "application/json",
    "x-csrf-token": document.querySelector('meta[name="csrf-token"]').content,
  },
  body: "{}",
}).then((answer) => answer.status)
"""


async def _ask_for_link(tab: Any, email: str) -> None:
    await tab.open("/acme/sign-in")
    await tab.page.get_by_label("E-mail address").fill(email)
    await tab.page.get_by_role("button", name="Send me a link").click()
    await tab.page.wait_for_url("**/acme/mail-sent")


async def _by_link(tab: Any, email: str) -> None:
    await _ask_for_link(tab, email)
    await tab.follow_link(email)
    await tab.page.wait_for_url("**/acme/security")


async def _cookie(tab: Any) -> str:
    cookies = {one["name"]: one["value"] for one in await tab.page.context.cookies()}
    return str(cookies[SESSION])


async def _is_signed_in(platform: Any, secret: str) -> bool:
    """Whether a session is good, for whoever holds its cookie."""
    edge = platform.ready["edge"]
    context = ssl.create_default_context(cafile=edge["ca_file"])
    cookies = {SESSION: secret}
    async with httpx.AsyncClient(
        verify=context, base_url=edge["url"], cookies=cookies, timeout=60
    ) as http:
        return (await http.get("/acme/enrol")).status_code == 200


async def _until_let_in(tab: Any) -> None:
    """Until tokens are issued again to somebody who was reset a few seconds ago."""
    async with asyncio.timeout(60):
        while True:
            if await tab.page.evaluate(BEGIN) == 200:
                return
            await asyncio.sleep(0.5)


async def test_a_recovery_elsewhere_is_shown_until_its_person_answers(
    open_tab: Any, person: Any, onboard: Any
) -> None:
    mine = await open_tab()
    await onboard(mine, person)
    assert await mine.page.get_by_role("heading", name="Was this you?").count() == 0
    thief = await open_tab()
    await _ask_for_link(thief, person.email)
    await thief.follow_link(person.email)
    await thief.page.wait_for_url("**/acme/enrol")
    # The one that it came from does not warn itself away.
    assert await thief.page.get_by_text("Your account was recovered").count() == 0

    for path, name in (("security", "banner-security"), ("device", "banner-device")):
        await mine.open(f"/acme/{path}")
        await mine.page.get_by_role("heading", name="Was this you?").wait_for()
        banner = mine.page.get_by_role("region", name="Was this you?")
        await banner.get_by_text("Your account was recovered with a link from your mail").wait_for()
        await banner.get_by_text("from Chrome on Linux, 127.0.0.1").wait_for()
        await mine.look(name)
    await mine.page.reload()
    await mine.tab_to("Yes, it was me")
    await mine.page.keyboard.press("Enter")
    await mine.page.get_by_text("Noted: it was you.").wait_for()
    assert await mine.page.get_by_role("heading", name="Was this you?").count() == 0
    lately = mine.page.get_by_role("region", name="What happened lately")
    await lately.get_by_text("you said that it was you").wait_for()
    await mine.look("acknowledged")


async def test_whoever_was_recovered_by_a_stranger_signs_out_everywhere(
    open_tab: Any, person: Any, onboard: Any, platform: Any
) -> None:
    mine = await open_tab()
    await onboard(mine, person)
    thief = await open_tab()
    await _ask_for_link(thief, person.email)
    await thief.follow_link(person.email)
    await thief.page.wait_for_url("**/acme/enrol")
    stolen = await _cookie(thief)
    assert await _is_signed_in(platform, stolen)
    await mine.page.reload()
    await mine.page.get_by_role("button", name="No: sign out everywhere").click()
    await mine.page.wait_for_url("**/acme/sign-in")
    assert not await _is_signed_in(platform, stolen)


async def test_pages_say_who_is_signed_in(open_tab: Any, person: Any) -> None:
    tab = await open_tab()
    await _by_link(tab, person.email)
    for path in ("security", "enrol", "device"):
        await tab.open(f"/acme/{path}")
        navigation = tab.page.get_by_role("navigation", name="Account")
        assert "Petra" in await navigation.inner_text()
        assert person.email in await navigation.inner_text()
        await navigation.get_by_role("button", name="Sign out", exact=True).wait_for()


async def test_a_link_of_somebody_else_says_so_and_signs_nobody_out_by_itself(
    open_tab: Any, person: Any, platform: Any, rows: Any, argy: Any
) -> None:
    """Whoever sends a link of theirs to somebody must not have them work as them unseen."""
    tab = await open_tab()
    other = f"x{person.email}"
    (made,) = rows("user", "create", other, "--tenant", "acme", "--name", "Xaver")
    granted = argy(
        "grant", f"user:{made['user_id']}", "PLATFORM_USER", "--tenant", "acme", "-m", "a test"
    )
    assert granted.returncode == 0, granted.stderr
    await _by_link(tab, person.email)
    before = await _cookie(tab)
    # This browser asked for the link, which signs in at once where nobody else is signed in.
    await tab.open("/acme/sign-in?again=1")
    await tab.page.get_by_label("E-mail address").fill(other)
    await tab.page.get_by_role("button", name="Send me a link").click()
    await tab.page.wait_for_url("**/acme/mail-sent")
    await tab.follow_link(other)
    await tab.page.get_by_text("to Acme as x•••@acme.example").wait_for()
    await tab.page.get_by_text("You are signed in here as").wait_for()
    assert other not in await tab.page.content()
    await tab.look("link-of-somebody-else")
    assert await _is_signed_in(platform, before)
    # Going on replaces the session, which ends where it was made too.
    await tab.page.get_by_role("button", name="Sign out and go on as x").click()
    await tab.page.wait_for_url("**/acme/security")
    assert "Xaver" in await tab.page.get_by_role("navigation", name="Account").inner_text()
    assert await _cookie(tab) != before
    assert not await _is_signed_in(platform, before)


async def test_a_session_that_a_new_sign_in_replaces_is_ended(
    open_tab: Any, person: Any, onboard: Any, platform: Any
) -> None:
    tab = await open_tab()
    laptop = await onboard(tab, person)
    before = await _cookie(tab)
    # By autofill: the passkey is there as soon as the page asks for one.
    await tab.set_presence(laptop, present=True)
    await tab.open("/acme/sign-in?again=1")
    await tab.page.wait_for_url("**/acme/security")
    assert await _cookie(tab) != before
    assert not await _is_signed_in(platform, before)
    assert await _is_signed_in(platform, await _cookie(tab))


async def test_an_administrator_resets_a_sign_in_and_its_person_begins_anew(
    open_tab: Any, person: Any, onboard: Any, argy: Any, platform: Any
) -> None:
    tab = await open_tab()
    await onboard(tab, person)
    before = await _cookie(tab)
    command = ("user", "reset-sign-in", person.email, "--tenant", "acme", "-m", "lost laptop")
    # Nobody is there to say yes.
    assert argy(*command).returncode != 0
    assert await _is_signed_in(platform, before)
    done = argy(*command, "--yes", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["passkeys"], told["tokens"]) == (1, 0)
    assert told["sessions"] >= 1
    assert told["invitation_expires"]
    assert not await _is_signed_in(platform, before)
    key = await tab.add_authenticator(transport="usb", automaticPresenceSimulation=False)
    tab.expected = ("401",)
    await tab.follow_link(person.email)
    await tab.page.get_by_role("button", name="Accept and continue").click()
    await tab.page.wait_for_url("**/acme/enrol")
    await tab.page.get_by_text("An administrator reset your sign-in").wait_for()
    await tab.look("provisional-banner")
    await _until_let_in(tab)
    await tab.enrol(key, "Key")
    await tab.look("after-reset")


async def test_a_terminal_tells_what_happened_elsewhere(
    open_tab: Any, person: Any, onboard: Any, platform: Any
) -> None:
    tab = await open_tab()
    await onboard(tab, person)
    edge = platform.ready["edge"]
    context = ssl.create_default_context(cafile=edge["ca_file"])
    async with httpx.AsyncClient(verify=context, base_url=edge["url"], timeout=60) as terminal:
        begun = await terminal.post(
            "/acme/oauth/device_authorization", data={"client_id": "argy-cli"}
        )
        await tab.page.goto(begun.json()["verification_uri_complete"])
        await tab.page.get_by_role("button", name="Continue").click()
        await tab.page.get_by_role("button", name="Approve").click()
        await tab.page.get_by_role("heading", name="The device is connected").wait_for()
        granted = await terminal.post(
            "/acme/oauth/token",
            data={
                "grant_type": "urn:ietf:params:oauth:grant-type:device_code",
                "device_code": begun.json()["device_code"],
                "client_id": "argy-cli",
            },
        )
        headers = {"authorization": f"Bearer {granted.json()['access_token']}"}
        told = (await terminal.get("/acme/whoami", headers=headers)).json()
        # What is as old as it, or older, it could not tell from its person's own doing.
        assert told["notices"] == []
        thief = await open_tab()
        await _ask_for_link(thief, person.email)
        await thief.follow_link(person.email)
        await thief.page.wait_for_url("**/acme/enrol")
        told = (await terminal.get("/acme/whoami", headers=headers)).json()
    (newest,) = told["notices"]
    assert newest["text"] == "Your account was recovered with a link from your mail"
    assert newest["from"] == "from Chrome on Linux, 127.0.0.1"
