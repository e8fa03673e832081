"""Debian's Chromium, headless, in front of a running platform, with authenticators of our own.

A page that breaks its content security policy, logs an error, or has a flaw in accessibility
(axe-core) fails the test that looked at it. Screenshots lie under
``.argy/test-output/browser``.
"""

import asyncio
import base64
import hashlib
import json
import os
import secrets
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from playwright.async_api import (
    Browser,
    BrowserContext,
    CDPSession,
    Locator,
    Page,
    Playwright,
    async_playwright,
)
from playwright.async_api import Error as PlaywrightError
from redis.asyncio import Redis

from argy.api.authn.v1.magic_link_pb2 import InviteUserRequest
from argy.api.authn.v1.magic_link_pb2_grpc import MagicLinkServiceStub
from argy.client import Connection
from argy.store.redis import key

CHECKOUT: Final = Path(__file__).parents[3]
SCREENSHOTS: Final = CHECKOUT / ".argy" / "test-output" / "browser"
AXE: Final = files("axe_playwright_python") / "axe.min.js"
TIMEOUT_MS: Final = 60_000
_FLAGS: Final = (
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # Where tests run as root there is no sandbox to be had; the pages are our own.
    "--no-sandbox",
)
_AUTHENTICATOR: Final = {
    "protocol": "ctap2",
    "ctap2Version": "ctap2_1",
    "transport": "internal",
    "hasResidentKey": True,
    "hasUserVerification": True,
    "isUserVerified": True,
    "automaticPresenceSimulation": True,
}
_ASKED: Final = "asked for a passkey: "
_WATCH: Final = f"""
if (window.CredentialsContainer) {{
  const get = CredentialsContainer.prototype.get;
  CredentialsContainer.prototype.get = function (options) {{
    // Whoever waits behind the field is known by it, once it was asked for.
    if (options.mediation === "conditional") document.documentElement.dataset.offered = "";
    const answer = get.call(this, options);
    answer.then(() => console.debug("{_ASKED}" + (options.mediation || "modal")), () => {{}});
    return answer;
  }};
}}
"""
NARROW: Final = 320
MAX_TABS: Final = 40


@dataclass(frozen=True)
class KeptSessions:
    """Redis, as the user who may write sessions, and whose sessions they are."""

    redis_url: str
    tenant_id: UUID


@dataclass
class Tab:
    """One tab with its authenticator; remembers whatever the browser complained about."""

    page: Page
    cdp: CDPSession
    base_url: str
    name: str
    complaints: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    """How assertions were asked for: "conditional" by autofill, "modal" by a button."""
    followed: set[str] = field(default_factory=set)
    """Links of mails that this test followed, in whichever tab."""
    shots: int = 0
    expected: tuple[str, ...] = ()
    """Parts of complaints that the test provokes on purpose."""

    async def open(self, path: str) -> None:
        """Go to a page of the platform."""
        await self.page.goto(self.base_url + path)

    async def add_authenticator(self, **options: Any) -> str:
        """Plug in one more authenticator; returns its id."""
        added = await self.cdp.send(
            "WebAuthn.addVirtualAuthenticator", {"options": {**_AUTHENTICATOR, **options}}
        )
        return str(added["authenticatorId"])

    async def set_presence(self, authenticator: str, *, present: bool) -> None:
        """Whether the authenticator's owner touches it whenever it asks."""
        await self.cdp.send(
            "WebAuthn.setAutomaticPresenceSimulation",
            {"authenticatorId": authenticator, "enabled": present},
        )

    async def credentials(self, authenticator: str) -> list[dict[str, Any]]:
        """What the authenticator holds."""
        held = await self.cdp.send("WebAuthn.getCredentials", {"authenticatorId": authenticator})
        return list(held["credentials"])

    async def touching(self, authenticator: str, button: Locator, url: str) -> None:
        """Press a button and touch the authenticator when it asks, until ``url`` is reached."""
        # An authenticator that asked in vain does not ask again, so this comes before the button.
        await self.set_presence(authenticator, present=True)
        await button.click()
        await self.page.wait_for_url(url)
        await self.set_presence(authenticator, present=False)

    async def follow_link(self, email: str) -> None:
        """Open the newest link that was sent to an address, as its owner would in the mailbox."""
        await self.open("/dev/mail")
        mail = self.page.locator("article", has_text=f"to {email} ")
        links = mail.locator('a[href*="/link/"]')
        ends_s = time.monotonic() + TIMEOUT_MS / 1000
        # Mail leaves after the answer, so the newest that is there may be the one before.
        while not (new := [url for url in await _urls(links) if url not in self.followed]):
            assert time.monotonic() < ends_s, f"no mail to {email} came"
            await self.page.reload()
        self.followed.add(new[0])
        await self.page.locator(f'a[href="{new[0]}"]').click()

    async def enrol(self, authenticator: str, name: str) -> None:
        """Make a passkey on the page for it."""
        await self.page.get_by_label("What to call it").fill(name)
        button = self.page.get_by_role("button", name="Make a passkey")
        await self.touching(authenticator, button, "**/acme/security?done=passkey-added")
        # Whoever came by a link proved the new passkey at once.
        self.asked.clear()

    async def until_offered(self) -> None:
        """Until the page has asked for a passkey that waits behind its field.

        Whoever touches an authenticator before takes that one, and not the button's.
        """
        await self.page.locator("html[data-offered]").wait_for()

    async def was_asked(self, *how: str) -> None:
        """Assertions were asked for like this, in this order, and not otherwise."""
        ends_s = time.monotonic() + TIMEOUT_MS / 1000
        # The browser tells of it beside the page that it leads to.
        while len(self.asked) < len(how) and time.monotonic() < ends_s:  # noqa: ASYNC110
            await asyncio.sleep(0)
        assert self.asked == [*how]

    async def sign_out(self) -> None:
        """End the session here."""
        await self.page.get_by_role("button", name="Sign out", exact=True).click()
        await self.page.wait_for_url("**/acme/sign-in")

    async def age_session(self, kept: "KeptSessions", *, seconds: int) -> None:
        """Let the proof of the session here be older, as if its person had signed in earlier."""
        cookies = {one["name"]: one["value"] for one in await self.page.context.cookies()}
        digest = hashlib.sha256(cookies["__Host-session-acme"].encode()).hexdigest()
        redis, name = Redis.from_url(kept.redis_url), key(kept.tenant_id, "session", digest)
        try:
            session = json.loads(await redis.get(name) or "null")
            session["auth_time_ms"] -= seconds * 1000
            await redis.set(name, json.dumps(session), keepttl=True)
        finally:
            await redis.aclose()

    async def look(self, name: str) -> None:
        """Keep screenshots and hold the page to axe-core: as it is, and narrow in both schemes.

        The page must have no flaw, and must not be wider than the narrowest phone (WCAG 2.2,
        1.4.10: 320 px).
        """
        page, size = self.page, self.page.viewport_size
        dark = await page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
        self.shots += 1
        file = f"{self.name}-{self.shots:02d}-{name}"
        await page.evaluate(AXE.read_text())
        await page.screenshot(path=SCREENSHOTS / f"{file}.png", full_page=True)
        await self._check(name)
        await page.set_viewport_size({"width": NARROW, "height": 640})
        for scheme in ("light", "dark"):
            # Colours on their way from one scheme to the other are nobody's.
            await page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            await self._check(f"{name}, narrow and {scheme}")
            wide = await page.evaluate("document.documentElement.scrollWidth")
            assert wide <= NARROW, f"{name} is {wide} px wide"
        await page.screenshot(path=SCREENSHOTS / f"{file}-narrow.png", full_page=True)
        await page.emulate_media(color_scheme="dark" if dark else "light", reduced_motion="null")
        assert size is not None
        await page.set_viewport_size(size)

    async def _check(self, name: str) -> None:
        found = await self.page.evaluate("axe.run()")
        flaws = [
            f"{one['id']} ({one['impact']}): {one['help']}: {node['html']}"
            for one in found["violations"]
            for node in one["nodes"]
        ]
        assert not flaws, f"{name}: " + "\n".join(flaws)
        assert found["passes"], "axe-core looked at nothing"

    async def tab_to(self, name: str) -> None:
        """Move the focus on by keyboard until it is on what has this name, and can be seen."""
        focused = "document.activeElement"
        for _ in range(MAX_TABS):
            await self.page.keyboard.press("Tab")
            outline = f"getComputedStyle({focused}).outlineStyle"
            assert await self.page.evaluate(outline) != "none", "the focus can't be seen"
            # A field is named by its label, anything else by what it says.
            said = f"({focused}.labels?.[0] || {focused}).textContent.replace(/\\s+/g, ' ').trim()"
            if await self.page.evaluate(said) == name:
                return
        pytest.fail(f"the keyboard does not reach {name}")

    async def tell(self) -> None:
        """Print and keep what a person would look at to see why a test failed."""
        file = SCREENSHOTS / f"{self.name}-failed.png"
        print(f"{self.name} at {self.page.url}, {file}: {self.complaints}, asked {self.asked}")
        with suppress(PlaywrightError):
            await self.page.screenshot(path=file, full_page=True, timeout=5_000)

    def check_quiet(self) -> None:
        """Fail unless the browser complained about nothing but what was expected."""
        loud = [one for one in self.complaints if not any(part in one for part in self.expected)]
        assert not loud, "\n".join(loud)


async def _urls(links: Locator) -> list[str]:
    return list(await links.evaluate_all("all => all.map((one) => one.href)"))


def spki_pin(certificate: Path) -> str:
    """The pin of a certificate's public key as Chromium takes it: base64 of its SHA-256."""
    loaded = x509.load_pem_x509_certificate(certificate.read_bytes())
    spki = loaded.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(hashlib.sha256(spki).digest()).decode()


async def launch(playwright: Playwright, certificate: Path) -> Browser:
    """Start Chromium; it accepts this one certificate beside those that it knows."""
    executable = os.environ.get("ARGY_CHROMIUM") or shutil.which("chromium")
    assert executable, "there is no Chromium: run `make test`, or name yours in ARGY_CHROMIUM"
    return await playwright.chromium.launch(
        executable_path=executable,
        headless=True,
        args=[*_FLAGS, f"--ignore-certificate-errors-spki-list={spki_pin(certificate)}"],
    )


@dataclass(frozen=True)
class Person:
    """Somebody of Acme who never signed in."""

    email: str
    user_id: str


@pytest.fixture
def person(rows: Any, argy: Any) -> Person:
    """A person of this test's own, with the role that everybody has."""
    email = f"p{secrets.token_hex(6)}@acme.example"
    (made,) = rows("user", "create", email, "--tenant", "acme", "--name", "Petra")
    granted = argy(
        "grant", f"user:{made['user_id']}", "PLATFORM_USER", "--tenant", "acme", "-m", "a test"
    )
    assert granted.returncode == 0, granted.stderr
    return Person(email, made["user_id"])


@pytest.fixture
async def invite(platform: Any) -> Callable[[Person], Awaitable[None]]:
    """Send somebody an invitation, as an administrator would."""

    async def send(person: Person) -> None:
        tenant_id = UUID(platform.ready["edge"]["tenant_id"])
        async with Connection(platform.endpoint, timeout_s=30) as connection:
            stub = MagicLinkServiceStub(connection.channel(tenant_id))
            await stub.InviteUser(InviteUserRequest(user_id=person.user_id))

    return send


@pytest.fixture
async def onboard(
    invite: Callable[[Person], Awaitable[None]],
) -> Callable[[Tab, Person], Awaitable[str]]:
    """Accept an invitation and make the first passkey; returns its authenticator."""

    async def accept(tab: Tab, person: Person) -> str:
        laptop = await tab.add_authenticator(automaticPresenceSimulation=False)
        await invite(person)
        await tab.follow_link(person.email)
        await tab.page.get_by_role("button", name="Accept and continue").click()
        await tab.page.wait_for_url("**/acme/enrol")
        await tab.enrol(laptop, "Laptop")
        return laptop

    return accept


@pytest.fixture
def kept_sessions(platform: Any, rows: Any) -> KeptSessions:
    """Where the platform keeps the sessions of acme."""
    url = (platform.home / "run" / "argy_authn_redis_url").read_text()
    acme = next(row["tenant_id"] for row in rows("tenant", "list") if row["slug"] == "acme")
    return KeptSessions(url, UUID(acme))


OpenTab = Callable[..., Awaitable[Tab]]


@pytest.fixture
async def browser(platform: Any) -> AsyncIterator[Browser]:
    """A browser of this test's own, gone with it."""
    async with async_playwright() as playwright:
        browser = await launch(playwright, platform.home / "tls" / "server.pem")
        try:
            yield browser
        finally:
            await browser.close()


@pytest.fixture
async def open_tab(
    browser: Browser,
    platform: Any,
    request: pytest.FixtureRequest,
    has_failed: Callable[[pytest.Item], bool],
) -> AsyncIterator[OpenTab]:
    """Open a tab in a profile of its own: ``await open_tab()``; with WebAuthn on, and watched."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    tabs: list[Tab] = []
    followed: set[str] = set()

    async def open_one(**options: Any) -> Tab:
        context: BrowserContext = await browser.new_context(**options)
        context.set_default_timeout(TIMEOUT_MS)
        page = await context.new_page()
        cdp = await context.new_cdp_session(page)
        await cdp.send("WebAuthn.enable", {"enableUI": False})
        name = request.node.name.removeprefix("test_")
        url = platform.ready["edge"]["url"]
        tab = Tab(page, cdp, url, f"{name}-{len(tabs)}", followed=followed)
        # Tells how credentials are asked for, which no event of the protocol does.
        await context.add_init_script(_WATCH)
        page.on(
            "console",
            lambda message: (
                tab.asked.append(message.text.removeprefix(_ASKED))
                if message.text.startswith(_ASKED)
                else None
            ),
        )
        page.on(
            "console",
            lambda message: (
                tab.complaints.append(f"console: {message.text}")
                if message.type in ("error", "warning")
                else None
            ),
        )
        page.on("pageerror", lambda error: tab.complaints.append(f"error: {error}"))
        tabs.append(tab)
        return tab

    yield open_one
    if has_failed(request.node):
        for tab in tabs:
            await tab.tell()
    for tab in tabs:
        tab.check_quiet()
        await tab.page.context.close()
