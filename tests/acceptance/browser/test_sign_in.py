"""A person's way in: invitation, passkey, autofill, button, step-up, a second passkey, recovery."""

import asyncio
import hashlib
from typing import Any

PAST_STEP_UP_S = 3_600


async def test_onboard_sign_in_step_up_and_change_passkeys(
    open_tab: Any, person: Any, invite: Any, kept_sessions: str
) -> None:
    tab = await open_tab()
    page = tab.page
    laptop = await tab.add_authenticator(automaticPresenceSimulation=False)

    await invite(person)
    await tab.follow_link(person.email)
    await tab.look("invitation")
    await page.get_by_role("button", name="Accept and continue").click()
    await page.wait_for_url("**/acme/enrol")
    await tab.look("enrol")
    await tab.enrol(laptop, "Laptop")
    await page.get_by_text("The passkey was added.").wait_for()
    await tab.look("security")
    assert len(await tab.credentials(laptop)) == 1

    # By autofill: the page offers the passkey behind its field, and the person takes it.
    button = page.get_by_role("button", name="Sign out", exact=True)
    await tab.touching(laptop, button, "**/acme/security")
    await tab.was_asked("conditional")

    # By the button, which takes the place of what waits behind the field.
    await tab.sign_out()
    await tab.until_offered()
    await tab.look("sign-in")
    button = page.get_by_role("button", name="Sign in with a passkey")
    await tab.touching(laptop, button, "**/acme/security")
    await tab.was_asked("conditional", "modal")

    # A second passkey needs a fresh proof once the first one is old: the page asks, and goes on.
    await tab.age_session(kept_sessions, seconds=PAST_STEP_UP_S)
    tab.expected = ("409", "403")
    await page.get_by_role("link", name="Add a passkey").click()
    await page.get_by_label("What to call it").fill("Key")
    # The touch proves who it is; the same authenticator can't hold a second one.
    await tab.set_presence(laptop, present=True)
    await page.get_by_role("button", name="Make a passkey").click()
    await page.get_by_text("holds a passkey of yours already").wait_for()
    await tab.look("one-passkey-a-device")
    await tab.set_presence(laptop, present=False)
    key = await tab.add_authenticator(transport="usb", automaticPresenceSimulation=False)
    await tab.enrol(key, "Key")
    assert len(await tab.credentials(key)) == 1

    # Removing the first one asks for a proof as well, on a page of its own, and then does it.
    await tab.age_session(kept_sessions, seconds=PAST_STEP_UP_S)
    await page.get_by_role("button", name="Remove Laptop").click()
    await page.get_by_role("heading", name="Confirm that it is you").wait_for()
    await tab.look("step-up")
    button = page.get_by_role("button", name="Confirm with a passkey")
    await tab.touching(key, button, "**/acme/security?done=passkey-removed")
    assert await page.get_by_role("heading", name="Laptop", exact=True).count() == 0
    await tab.look("first-removed")

    # A new name shows at once.
    await page.get_by_text("Rename Key").click()
    await page.get_by_label("New name of Key").fill("Key <b>ring</b>")
    await page.get_by_role("button", name="Save").click()
    await page.get_by_text("The passkey was renamed.").wait_for()
    await page.get_by_role("heading", name="Key <b>ring</b>").wait_for()

    # What is left signs in; what was removed its authenticator has forgotten, or will have.
    button = page.get_by_role("button", name="Sign out", exact=True)
    await tab.touching(key, button, "**/acme/security")


async def test_recovery_by_mail_needs_a_new_passkey(
    open_tab: Any, person: Any, onboard: Any
) -> None:
    first = await open_tab()
    await onboard(first, person)
    # On another device, without the passkey.
    tab = await open_tab(viewport={"width": 390, "height": 844}, color_scheme="dark")
    phone = await tab.add_authenticator(automaticPresenceSimulation=False)
    await tab.open("/acme/sign-in")
    await tab.page.get_by_label("E-mail address").fill(person.email)
    await tab.page.get_by_role("button", name="Send me a link").click()
    await tab.page.wait_for_url("**/acme/mail-sent")
    await tab.follow_link(person.email)
    # The browser that asked needs no click.
    await tab.page.wait_for_url("**/acme/enrol")
    await tab.enrol(phone, "Phone")
    await tab.look("security")


async def ask_for_link(tab: Any, email: str) -> None:
    await tab.open("/acme/sign-in")
    await tab.page.get_by_label("E-mail address").fill(email)
    await tab.page.get_by_role("button", name="Send me a link").click()
    await tab.page.wait_for_url("**/acme/mail-sent")


async def test_a_link_that_was_asked_for_in_another_browser_needs_a_click(
    open_tab: Any, person: Any
) -> None:
    mine = await open_tab()
    other = await open_tab()
    # Another browser's own cookie of the same kind makes it no more the one that asked.
    await ask_for_link(other, "nobody@acme.example")
    await ask_for_link(mine, person.email)
    tried = other.page.expect_response("**/mine")
    async with tried as answer:
        await other.follow_link(person.email)
    assert (await (await answer.value).json()) == {"next": ""}
    link = other.page.url
    button = other.page.get_by_role("button", name="Yes, sign me in")
    await button.wait_for()
    await other.page.get_by_text("Chrome on Linux").wait_for()
    await other.look("confirm-link")
    # It used nothing: the browser that asked is signed in by opening it.
    await mine.page.goto(link)
    await mine.page.wait_for_url("**/acme/security")
    other.expected = ("404",)
    await button.click()
    await other.page.get_by_role("heading", name="Nothing here").wait_for()


async def test_a_link_is_used_by_no_look_and_without_scripts_by_a_click(
    open_tab: Any, person: Any
) -> None:
    tab = await open_tab(java_script_enabled=False)
    await ask_for_link(tab, person.email)
    await tab.follow_link(person.email)
    await tab.page.reload()
    await tab.page.get_by_role("button", name="Yes, sign me in").click()
    await tab.page.wait_for_url("**/acme/security")
    assert "/link/" not in await tab.page.content()


async def test_a_whole_visit_can_be_made_by_keyboard(open_tab: Any, person: Any) -> None:
    """In by mail, a token made and revoked, a name changed, out again: without a mouse."""
    tab = await open_tab()
    keyboard, page = tab.page.keyboard, tab.page
    await tab.open("/")
    await tab.tab_to("Short name")
    await keyboard.type("acme")
    await keyboard.press("Enter")
    await page.wait_for_url("**/acme/sign-in")
    await tab.tab_to("E-mail address")
    await keyboard.type(person.email)
    await tab.tab_to("Send me a link")
    await keyboard.press("Enter")
    await page.wait_for_url("**/acme/mail-sent")
    await tab.follow_link(person.email)
    await page.wait_for_url("**/acme/security")
    await tab.tab_to("Skip to the content")
    await keyboard.press("Enter")
    await tab.tab_to("Make a token")
    await keyboard.press("Enter")
    await tab.tab_to("Name")
    await keyboard.type("nightly")
    await tab.tab_to("Scopes")
    await keyboard.type("project:read")
    await tab.tab_to("Good for")
    await keyboard.press("ArrowDown")
    await tab.tab_to("Make the token")
    await keyboard.press("Space")
    await page.get_by_role("heading", name="Your new token").wait_for()
    await tab.tab_to("Revoke nightly")
    await keyboard.press("Enter")
    await page.get_by_text("The token was revoked.").wait_for()
    await tab.tab_to("Sign out")
    await keyboard.press("Enter")
    await page.wait_for_url("**/acme/sign-in")


async def test_after_signing_out_the_way_back_shows_nothing(open_tab: Any, person: Any) -> None:
    tab = await open_tab()
    await ask_for_link(tab, person.email)
    await tab.follow_link(person.email)
    await tab.page.wait_for_url("**/acme/security")
    await tab.page.get_by_role("heading", name="Passkeys").wait_for()
    await tab.sign_out()
    await tab.page.go_back()
    await tab.page.wait_for_url("**/acme/sign-in**")
    assert await tab.page.get_by_role("heading", name="Passkeys").count() == 0


async def test_a_link_works_once_and_says_so(open_tab: Any, person: Any, invite: Any) -> None:
    tab = await open_tab()
    tab.expected = ("404",)
    await invite(person)
    await tab.follow_link(person.email)
    link = tab.page.url
    # Looking again uses nothing: scanners of mail look at every link.
    await tab.page.goto(link)
    await tab.page.get_by_role("button", name="Accept and continue").click()
    await tab.page.wait_for_url("**/acme/enrol")
    await tab.page.goto(link)
    await tab.page.get_by_role("heading", name="Nothing here").wait_for()
    await tab.look("used-link")


async def test_sessions_are_listed_and_ended_from_elsewhere(
    open_tab: Any, person: Any, invite: Any, onboard: Any
) -> None:
    first = await open_tab()
    await onboard(first, person)
    second = await open_tab()
    await invite(person)
    await second.follow_link(person.email)
    await second.page.get_by_role("button", name="Accept and continue").click()
    await second.page.wait_for_url("**/acme/enrol")
    # Until a passkey is used there, that is all that it may do.
    second.expected = ("403",)
    await second.open("/acme/security")
    await second.page.get_by_role("heading", name="Use your passkey").wait_for()
    await second.look("use-your-passkey")
    await second.page.get_by_role("link", name="Make a passkey first").click()
    phone = await second.add_authenticator(automaticPresenceSimulation=False)
    await second.enrol(phone, "Phone")
    await second.page.get_by_role("button", name="End the session of Chrome on Linux").click()
    await second.page.get_by_text("The session was ended.").wait_for()
    await first.page.reload()
    await first.page.wait_for_url("**/acme/sign-in?next=**")
    await second.page.get_by_role("button", name="Sign out everywhere", exact=True).click()
    await second.page.wait_for_url("**/acme/sign-in")
    await second.open("/acme/security")
    await second.page.wait_for_url("**/acme/sign-in?next=**")


async def test_cookies_are_host_only_secure_and_out_of_scripts_reach(
    open_tab: Any, person: Any, onboard: Any
) -> None:
    tab = await open_tab()
    await onboard(tab, person)
    (session,) = [
        one for one in await tab.page.context.cookies() if one["name"] == "__Host-session-acme"
    ]
    assert (session["secure"], session["httpOnly"], session["sameSite"], session["path"]) == (
        True,
        True,
        "Lax",
        "/",
    )
    assert await tab.page.evaluate("document.cookie") == ""


async def test_a_token_is_shown_once_and_revoked(
    open_tab: Any, person: Any, onboard: Any, kept_sessions: str
) -> None:
    tab = await open_tab()
    laptop = await onboard(tab, person)
    page = tab.page
    # A token needs a fresh proof once the first one is old.
    await tab.age_session(kept_sessions, seconds=PAST_STEP_UP_S)
    tab.expected = ("403",)
    await page.get_by_text("Make a token").click()
    await page.get_by_label("Name", exact=True).fill("nightly")
    await page.get_by_label("Scopes").fill("project:read")
    await page.get_by_role("button", name="Make the token").click()
    await tab.set_presence(laptop, present=True)
    await page.get_by_role("button", name="Confirm with a passkey").click()
    secret = await page.locator("#secret").inner_text()
    assert secret.startswith("argy_")
    await tab.look("token-made")
    await tab.open("/acme/security")
    assert secret not in await page.content()
    await page.get_by_role("button", name="Revoke nightly").click()
    await page.get_by_text("The token was revoked.").wait_for()
    assert await page.get_by_role("button", name="Revoke nightly").count() == 0


async def test_a_link_is_not_written_to_the_log_of_the_edge(
    open_tab: Any, person: Any, invite: Any, platform: Any
) -> None:
    tab = await open_tab()
    await invite(person)
    await tab.follow_link(person.email)
    await tab.page.get_by_role("button", name="Accept and continue").wait_for()
    secret = tab.page.url.rpartition("/")[2]
    log = ""
    async with asyncio.timeout(60):
        # A request is written down after its answer.
        while "/acme/link/" not in log:
            log = (platform.home / "log" / "edge.log").read_text()
            await asyncio.sleep(0)
    assert secret not in log
    assert hashlib.sha256(secret.encode()).hexdigest() not in log
