"""What access tokens say: as they lie in a token (RFC 9068 §2.2), and once verified. Pure."""

from dataclasses import dataclass
from typing import Final
from uuid import UUID

import msgspec

AUDIENCE: Final = "argy"
ACR_PROVISIONAL: Final = "urn:argy:acr:provisional"
"""The authentication context of a provisional session, and of whatever was made in one."""
MAX_LIFETIME_S: Final = 600
"""The longest life of an access token, and so of whatever says that one was ended."""


class WireClaims(msgspec.Struct, kw_only=True, omit_defaults=True):
    """The claims as they lie in a token. Members are added, never given another meaning."""

    iss: str
    sub: str
    aud: str
    tenant: str
    org: str = ""
    rev: str = ""
    sid: str
    client_id: str
    acr: str
    amr: list[str]
    auth_time: int
    jti: str
    fam: str = ""
    scope: str = ""
    epoch: str
    iat: int
    exp: int
    nbf: int = 0


@dataclass(frozen=True, slots=True)
class Claims:
    """What a verified access token says about its person and how they signed in."""

    subject: str
    """``user:<id>``."""
    tenant_id: UUID
    org_id: UUID | None
    """The org that the token is bound to; None for the tenant as a whole."""
    session_id: str
    client_id: str
    acr: str
    """Authentication context, such as ``urn:argy:acr:passkey``."""
    amr: tuple[str, ...]
    """Methods, strongest first."""
    auth_time_s: int
    """When the person last proved who they are, in seconds since the Unix epoch."""
    scope: str
    """Scopes, separated by spaces."""
    token_id: str
    family_id: str
    """The refresh tokens that it came with; empty for none."""
    revision: str
    """Consistency token of the roles when it was issued; empty for none."""
    issued_at_s: int
    expires_at_s: int
