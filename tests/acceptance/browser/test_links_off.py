"""The page to sign in at, for a tenant that sends no links."""

from collections.abc import Iterator
from typing import Any

import pytest


@pytest.fixture
def without_links(rows: Any) -> Iterator[None]:
    """Acme signs in by passkeys alone while the test runs."""
    policy = ("sign-in-policy", "set", "--tenant", "acme", "--yes", "--links")
    rows(*policy, "off")
    yield
    rows(*policy, "on")


async def test_a_tenant_without_links_is_offered_none(open_tab: Any, without_links: None) -> None:
    tab = await open_tab()
    await tab.open("/acme/sign-in")
    await tab.page.get_by_text("signs in with passkeys alone").wait_for()
    await tab.page.get_by_role("button", name="Send me a link").wait_for(state="hidden")
    await tab.page.get_by_role("button", name="Sign in with a passkey").wait_for()
    await tab.look("passkeys-alone")
