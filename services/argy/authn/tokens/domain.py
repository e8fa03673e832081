"""What tokens are made of, and how long they last. Pure."""

import secrets
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import UUID

from argy.authn.credentials.domain import checked_scopes
from argy.base.errors import InvalidArgument
from argy.base.revisions import revision_token
from argy.rpc.claims import AUDIENCE, MAX_LIFETIME_S, WireClaims

ACCESS_S: Final = MAX_LIFETIME_S
"""Life of an access token."""
REFRESH_S: Final = 30 * 86_400
"""Life of a family of refresh tokens, from its first one on: a trade does not make it longer."""
REFRESH_KIND: Final = "rt"
"""Refresh tokens begin with ``argy_rt_``."""
MAX_SCOPE: Final = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """Who gets tokens, for which client, and how they signed in."""

    user_id: UUID
    session_id: UUID
    client_id: str
    acr: str
    amr: tuple[str, ...]
    """Methods, strongest first."""
    auth_time_ms: int
    scope: str = ""
    org_id: UUID | None = None
    """The org that the tokens are bound to; None for the tenant as a whole."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """What a client is given. ``refresh_token`` is empty when none was asked for."""

    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    expires_in_s: int
    scope: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshToken:
    """A refresh token as it is kept."""

    token_id: UUID
    family_id: UUID
    grant: Grant
    created_at: datetime
    expires_at: datetime
    used: bool
    revoked: bool

    def good(self, now_ms: int) -> bool:
        """Whether it can be traded."""
        return not (self.used or self.revoked) and self.expires_at.timestamp() * 1000 > now_ms


def narrowed(granted: str, asked: str) -> str:
    """The scope of an access token that asks for ``asked`` of what was granted (RFC 6749 §6).

    Both are separated by spaces; nothing asked is all, and nothing granted is no limit.

    Raises:
        InvalidArgument: ``SCOPE_NOT_GRANTED`` for more than was granted, or no scope at all.
    """
    if not asked.strip():
        return granted
    wanted = checked_scopes(asked.split())
    if granted and not set(wanted) <= set(granted.split()):
        raise InvalidArgument(
            "the scope goes beyond what was granted", reason="SCOPE_NOT_GRANTED", field="scopes"
        )
    return " ".join(wanted)


def claims_of(
    grant: Grant,
    *,
    issuer: str,
    tenant_id: UUID,
    family_id: UUID | None,
    revision: int,
    epoch: str,
    now_ms: int,
) -> WireClaims:
    """The claims of an access token that begins now (RFC 9068 §2.2, and ours)."""
    now_s = now_ms // 1000
    return WireClaims(
        iss=issuer,
        sub=f"user:{grant.user_id}",
        aud=AUDIENCE,
        tenant=str(tenant_id),
        org=str(grant.org_id) if grant.org_id else "",
        rev=revision_token(tenant_id, revision) if revision else "",
        sid=str(grant.session_id),
        client_id=grant.client_id,
        acr=grant.acr,
        amr=list(grant.amr),
        auth_time=grant.auth_time_ms // 1000,
        jti=secrets.token_urlsafe(16),
        fam=str(family_id) if family_id else "",
        scope=grant.scope,
        epoch=epoch,
        iat=now_s,
        exp=now_s + ACCESS_S,
    )
