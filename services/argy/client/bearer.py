"""Whose token a program holds, by what the token itself says; the platform alone can verify it."""

from dataclasses import dataclass
from uuid import UUID

import msgspec

from argy.base.errors import InvalidArgument, Unauthenticated
from argy.base.secret_token import is_token
from argy.rpc.claims import WireClaims
from argy.rpc.credentials import PAT
from argy.rpc.jwt import parse_token


@dataclass(frozen=True, slots=True)
class TokenOwner:
    """Whose a token says to be."""

    subject: str
    """``user:<id>``."""
    tenant: str
    """The tenant's slug."""
    tenant_id: UUID


def token_owner(token: str) -> TokenOwner | None:
    """Whose an access token says to be; None for a personal access token, which doesn't tell.

    Raises:
        InvalidArgument: ``TOKEN_MALFORMED``, for anything else.
    """
    if is_token(token, kind=PAT):
        return None
    try:
        claims = msgspec.json.decode(parse_token(token).payload, type=WireClaims)
        return TokenOwner(claims.sub, claims.iss.rpartition("/")[2], UUID(claims.tenant))
    except (Unauthenticated, msgspec.MsgspecError, ValueError):
        # Nothing of it is told: it may be another secret.
        raise InvalidArgument(
            "this is neither a personal access token nor an access token, or not whole",
            reason="TOKEN_MALFORMED",
        ) from None
