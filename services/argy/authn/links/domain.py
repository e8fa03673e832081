"""Links by mail: what they are for, for whom they work, and how often they may be asked for. Pure.

- A link is 256 random bits, kept as their SHA-256, used once, for minutes; an invitation for days.
- The browser that asked for it holds a cookie that makes it work at once. In any other browser, and
  for an invitation, the person first sees where it was asked for and confirms it. Looking uses
  nothing, for mail scanners follow links.
- Somebody who has a passkey and asks for a link gets one for recovery: it makes them register a new
  passkey, and their mailbox hears of it. The session of such a link, and of an invitation, ends
  after a quarter of an hour unless a passkey was used in it.
"""

import unicodedata
from dataclasses import dataclass
from hmac import compare_digest
from typing import Final, Literal
from uuid import UUID

from argy.authn.rates import Rate
from argy.authn.sessions.domain import DeviceInfo, digest
from argy.base.errors import FailedPrecondition, NotFound

Purpose = Literal["sign_in", "invitation", "recovery"]

LINK_MS: Final = 600_000
"""How long a link is good, in milliseconds."""
INVITATION_MS: Final = 7 * 86_400_000

LINK_BY_ADDRESS: Final = Rate("link_address", every_ms=300_000, burst=5)
"""Links to one address: nobody's mailbox is flooded."""
LINK_BY_IP: Final = Rate("link_ip", every_ms=10_000, burst=30)
"""Links that are asked for from one network."""
LINK_BY_TENANT: Final = Rate("link_tenant", every_ms=200, burst=500)
"""Links of one tenant."""
INVITE_BY_PERSON: Final = Rate("invite_person", every_ms=3_600_000, burst=5)
"""Invitations to one person: an administrator floods nobody's mailbox either."""
INVITE_BY_TENANT: Final = Rate("invite_tenant", every_ms=1_000, burst=1_000)
"""Invitations of one tenant, whose mail waits together with that of others."""
TRY_BY_IP: Final = Rate("link_try_ip", every_ms=2_000, burst=60)
"""Links that are used from one network: 256 bits can't be guessed, nor cheaply."""
LOOK_BY_IP: Final = Rate("link_look_ip", every_ms=500, burst=240)
"""Links that are looked at from one network; scanners of mail look at many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """One link. Times are milliseconds since the Unix epoch."""

    id: UUID
    user_id: UUID | None
    """None for a link that went to nobody, since the address is nobody's."""
    purpose: Purpose
    browser_digest: str
    device: DeviceInfo
    created_at_ms: int
    expires_at_ms: int
    used: bool = False


@dataclass(frozen=True, slots=True)
class Described:
    """A link as it is shown before it is used."""

    link: Link
    masked_email: str
    yours: bool
    """Whether it signs in whoever calls."""


def purpose_of(*, has_passkey: bool) -> Purpose:
    """What a link that somebody asks for is for."""
    return "recovery" if has_passkey else "sign_in"


def purpose_in_use(asked: Purpose, *, has_passkey: bool) -> Purpose:
    """What a link is for when it is used: who has a passkey by then recovers, whatever it was."""
    return "recovery" if has_passkey else asked


def must_register(purpose: Purpose) -> bool:
    """Whether a passkey must be registered next."""
    return purpose != "sign_in"


def address_key(email: str) -> str:
    """What an address is counted as: one for every way of writing it that may be found as one.

    Databases differ in which letters they take for the same regardless of case (U+0130 is an "i"
    for some), so this is coarser than any of them: without case, marks and compatibility forms.
    """
    parts = unicodedata.normalize("NFKD", email.casefold())
    bare = "".join(char for char in parts if not unicodedata.combining(char))
    return unicodedata.normalize("NFKC", bare.casefold())


def check_live(link: Link | None, *, now_ms: int) -> Link:
    """Accept a link that can be used; one answer for all that can't.

    Raises:
        NotFound: ``LINK_OVER``.
    """
    if link is None or link.user_id is None or link.used or now_ms >= link.expires_at_ms:
        raise link_over()
    return link


def check_bound(link: Link, *, browser_secret: str, confirmed: bool) -> None:
    """Accept the browser that asked, or a person who confirmed what ``DescribeLink`` told.

    Raises:
        FailedPrecondition: ``CONFIRMATION_REQUIRED``; the link stays as good as it was.
    """
    same = bool(link.browser_digest and browser_secret) and compare_digest(
        link.browser_digest, digest(browser_secret)
    )
    if not same and not confirmed:
        raise FailedPrecondition(
            "This link was asked for in another browser: confirm that it was you",
            reason="CONFIRMATION_REQUIRED",
            field="confirmed",
        )


def masked(email: str) -> str:
    """An address for whoever holds a link of somebody: its first character and its domain."""
    local, _, domain = email.rpartition("@")
    return f"{local[:1] if len(local) > 1 else ''}•••@{domain}"


def link_over() -> NotFound:
    """The one answer to a link that is unknown, used or expired."""
    return NotFound("This link was used, or is too old: ask for another", reason="LINK_OVER")
