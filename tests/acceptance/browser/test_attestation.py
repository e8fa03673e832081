"""A tenant that demands proof of an authenticator's model, in a browser."""

from collections.abc import Iterator
from typing import Any

import attestation
import pytest

CHROMIUMS_MODEL = "01020304-0506-0708-0102-030405060708"
"""What virtual authenticators of Chromium say that they are."""


@pytest.fixture
def demanding(rows: Any, tmp_path: Any) -> Iterator[None]:
    """Acme accepts authenticators of one maker while the test runs."""
    root = tmp_path / "root.pem"
    root.write_text(attestation.authority().pem)
    policy = ("sign-in-policy", "set", "--tenant", "acme")
    rows(*policy, "--attestation", "required", "--aaguid", CHROMIUMS_MODEL, "--root", str(root))
    yield
    rows(*policy, "--attestation", "none", "--aaguid", "any", "--root", "none")


async def test_an_authenticator_of_another_maker_is_refused_in_words(
    open_tab: Any, person: Any, invite: Any, demanding: None
) -> None:
    tab = await open_tab()
    page = tab.page
    await tab.add_authenticator()
    await invite(person)
    await tab.follow_link(person.email)
    await page.get_by_role("button", name="Accept and continue").click()
    await page.wait_for_url("**/acme/enrol")
    tab.expected = ("403",)
    await page.get_by_label("What to call it").fill("Laptop")
    await page.get_by_role("button", name="Make a passkey").click()
    await page.locator("#problem:not([hidden])").wait_for()
    # The browser handed a statement on, as it was asked to; "accepts only authenticators that prove
    # their model" would tell that it did not.
    told = await page.locator("#problem").text_content()
    assert told == "Your organization trusts nobody who vouches for this authenticator"
    await tab.look("refused-authenticator")
