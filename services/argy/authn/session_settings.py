"""How people sign in, read from what whoever runs the platform wrote."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit
from uuid import UUID

from argy.authn.passkey_domain import RelyingParty
from argy.authn.session_domain import ABSOLUTE_S, IDLE_S, Limits
from argy.base.errors import InvalidArgument
from argy.base.origins import origin_of, parse_origins

MAX_ABSOLUTE_S: Final = 604_800
"""No session lasts longer than a week, whatever is set."""
_MIN_IDLE_S: Final = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class SignInSettings:
    """How people sign in.

    ``base_url`` is the edge's, without a slash at its end. ``links_off`` are the slugs of tenants
    whose people get no links by mail.
    """

    relying_party: RelyingParty
    base_url: str
    limits: Limits = Limits()  # noqa: RUF009 - frozen
    links_off: Collection[str] = ()

    def links_on(self, tenant: str) -> bool:
        """Whether the people of a tenant, by slug, get links."""
        return tenant not in self.links_off


def sign_in_settings(
    *,
    base_url: str,
    rp_id: str = "",
    rp_name: str = "Argy",
    origins: str = "",
    aaguids: str = "",
    links_off: str = "",
    idle_s: int = IDLE_S,
    absolute_s: int = ABSOLUTE_S,
) -> SignInSettings:
    """Settings of texts.

    ``rp_id`` is the host of ``base_url`` unless given; ``origins`` are pages, beside those of
    ``base_url``, where passkeys may be used, with commas between: of the same relying party, or
    related to it (WebAuthn Level 3 §5.11). ``aaguids`` is ``acme=<uuid>,<uuid>;globex=<uuid>``,
    ``links_off`` has commas between slugs.

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
        allowed_aaguids=_aaguids(aaguids),
    )
    return SignInSettings(
        relying_party=party,
        base_url=base_url,
        limits=Limits(idle_s=idle_s, absolute_s=absolute_s),
        links_off=frozenset(_listed(links_off)),
    )


def _aaguids(text: str) -> Mapping[str, frozenset[UUID]]:
    allowed = {}
    for line in filter(None, (part.strip() for part in text.split(";"))):
        slug, _, models = line.partition("=")
        try:
            allowed[slug.strip()] = frozenset(UUID(model) for model in _listed(models))
        except ValueError as error:
            raise _bad("PASSKEY_AAGUIDS", "must be <tenant>=<uuid>,<uuid>;…") from error
        if not slug.strip() or not allowed[slug.strip()]:
            raise _bad("PASSKEY_AAGUIDS", "names a tenant without models, or none")
    return allowed


def _listed(text: str) -> list[str]:
    return [part for part in (part.strip() for part in text.split(",")) if part]


def _bad(name: str, problem: str) -> InvalidArgument:
    return InvalidArgument(f"ARGY_{name} {problem}", reason="CONFIG_INVALID", field=f"ARGY_{name}")
