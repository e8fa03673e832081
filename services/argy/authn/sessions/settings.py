"""How people sign in, read from what whoever runs the platform wrote."""

from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from argy.authn.passkeys.domain import RelyingParty
from argy.authn.sessions.domain import ABSOLUTE_S, IDLE_S, Limits
from argy.base.errors import InvalidArgument
from argy.base.origins import origin_of, parse_origins

MAX_ABSOLUTE_S: Final = 604_800
"""No session lasts longer than a week, whatever is set."""
_MIN_IDLE_S: Final = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class SignInSettings:
    """How people sign in; ``sign_in_policy_domain`` has what tenants decide for themselves.

    ``base_url`` is the edge's, without a slash at its end. ``limits`` are the most that a tenant
    may give its sessions.
    """

    relying_party: RelyingParty
    base_url: str
    limits: Limits = Limits()  # noqa: RUF009 - frozen


def sign_in_settings(
    *,
    base_url: str,
    rp_id: str = "",
    rp_name: str = "Argy",
    origins: str = "",
    idle_s: int = IDLE_S,
    absolute_s: int = ABSOLUTE_S,
) -> SignInSettings:
    """Settings of texts.

    ``rp_id`` is the host of ``base_url`` unless given; ``origins`` are pages, beside those of
    ``base_url``, where passkeys may be used, with commas between: of the same relying party, or
    related to it (WebAuthn Level 3 §5.11).

    Raises:
        InvalidArgument: naming the variable.
    """
    own = urlsplit(base_url)
    if not _MIN_IDLE_S <= idle_s <= absolute_s <= MAX_ABSOLUTE_S:
        raise _bad(
            "SESSION_IDLE_S",
            f"must be {_MIN_IDLE_S} or more, and ARGY_SESSION_MAX_S no less than that and "
            f"{MAX_ABSOLUTE_S} at most",
        )
    host = own.hostname or ""
    rp_id = rp_id or host
    # A relying party is the page's host or a domain above it (WebAuthn Level 3 §5.1.3, step 8).
    if host != rp_id and not host.endswith(f".{rp_id}"):
        raise _bad("RP_ID", f"must be {host} or a domain above it")
    party = RelyingParty(
        rp_id=rp_id,
        name=rp_name,
        origins=(origin_of(base_url), *parse_origins(origins, field="ARGY_PASSKEY_ORIGINS")),
    )
    return SignInSettings(
        relying_party=party,
        base_url=base_url,
        limits=Limits(idle_s=idle_s, absolute_s=absolute_s),
    )


def _bad(name: str, problem: str) -> InvalidArgument:
    return InvalidArgument(f"ARGY_{name} {problem}", reason="CONFIG_INVALID", field=f"ARGY_{name}")
