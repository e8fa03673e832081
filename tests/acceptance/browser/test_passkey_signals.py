"""Passkey managers hear what became of passkeys, in the browser that tells them."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

TOLD_S = 60.0


@pytest.fixture
def telling() -> Callable[[Any, str], Callable[[], Awaitable[dict[str, Any]]]]:
    """Listen to what an authenticator does: ``await telling(tab, "credentialDeleted")()``."""

    def listen(tab: Any, event: str) -> Callable[[], Awaitable[dict[str, Any]]]:
        told: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        tab.cdp.on(f"WebAuthn.{event}", told.put_nowait)

        async def next_one() -> dict[str, Any]:
            return await asyncio.wait_for(told.get(), TOLD_S)

        return next_one

    return listen


async def test_what_was_removed_on_the_page_is_forgotten_and_nothing_else(
    open_tab: Any, person: Any, onboard: Any, telling: Any
) -> None:
    tab = await open_tab()
    laptop = await onboard(tab, person)
    deleted = telling(tab, "credentialDeleted")
    tab.expected = ("409",)
    # An authenticator that holds none of this person's passkeys has nothing to forget.
    stranger = await tab.add_authenticator(transport="ble", automaticPresenceSimulation=False)
    (held,) = await tab.credentials(laptop)
    foreign = {**held, "credentialId": "Zm9yZWlnbg==", "userHandle": "c29tZWJvZHk="}
    await tab.cdp.send(
        "WebAuthn.addCredential", {"authenticatorId": stranger, "credential": foreign}
    )
    await tab.set_presence(laptop, present=True)
    key = await tab.add_authenticator(transport="usb", automaticPresenceSimulation=False)
    await tab.page.get_by_role("link", name="Add a passkey").click()
    await tab.set_presence(laptop, present=False)
    await tab.enrol(key, "Key")
    await tab.page.get_by_role("button", name="Remove Laptop").click()
    await tab.page.get_by_text("The passkey was removed.").wait_for()
    assert await deleted() == {"authenticatorId": laptop, "credentialId": held["credentialId"]}
    assert await tab.credentials(laptop) == []
    assert len(await tab.credentials(key)) == len(await tab.credentials(stranger)) == 1


async def test_a_passkey_that_was_reset_elsewhere_is_forgotten_when_it_is_tried(
    open_tab: Any, person: Any, onboard: Any, telling: Any, rows: Any
) -> None:
    tab = await open_tab()
    laptop = await onboard(tab, person)
    await tab.sign_out()
    # The page that signed out offers the passkey as well: leave it before the passkey is there.
    await tab.page.goto("about:blank")
    rows("user", "reset-sign-in", person.email, "--tenant", "acme", "-m", "lost laptop", "--yes")
    deleted = telling(tab, "credentialDeleted")
    tab.expected = ("401",)
    await tab.set_presence(laptop, present=True)
    await tab.open("/acme/sign-in")
    await tab.page.get_by_text("This passkey is no longer good here").wait_for()
    await deleted()
    assert await tab.credentials(laptop) == []
    await tab.look("reset-passkey")


async def test_a_passkey_that_the_server_refuses_to_keep_is_forgotten(
    open_tab: Any, person: Any, invite: Any, telling: Any
) -> None:
    tab = await open_tab()
    laptop = await tab.add_authenticator()
    deleted = telling(tab, "credentialDeleted")
    tab.expected = ("400",)
    await invite(person)
    await tab.follow_link(person.email)
    await tab.page.get_by_role("button", name="Accept and continue").click()
    await tab.page.wait_for_url("**/acme/enrol")
    await tab.page.get_by_label("What to call it").fill("Right\u202etop")
    await tab.page.get_by_role("button", name="Make a passkey").click()
    await tab.page.get_by_text("printable characters").wait_for()
    await deleted()
    assert await tab.credentials(laptop) == []


async def test_a_passkey_is_called_as_its_owner_is(
    open_tab: Any, person: Any, onboard: Any, telling: Any
) -> None:
    tab = await open_tab()
    laptop = await onboard(tab, person)
    (held,) = await tab.credentials(laptop)
    named = {"authenticatorId": laptop, "credentialId": held["credentialId"]}
    await tab.cdp.send("WebAuthn.removeCredential", named)
    old = {**held, "userName": "old@acme.example", "userDisplayName": "Old name"}
    await tab.cdp.send("WebAuthn.addCredential", {"authenticatorId": laptop, "credential": old})
    updated = telling(tab, "credentialUpdated")
    await tab.open("/acme/security")
    told = (await updated())["credential"]
    assert (told["userName"], told["userDisplayName"]) == (person.email, "Petra")
    assert len(await tab.credentials(laptop)) == 1
