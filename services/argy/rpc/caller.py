"""Whose token or key came with a call."""

from collections.abc import Awaitable
from typing import Final

from argy.base.errors import PermissionDenied, Unauthenticated
from argy.rpc.call import Call
from argy.rpc.claims import Claims
from argy.rpc.credentials import CredentialVerifier, presented
from argy.rpc.tokens import TokenVerifier

_BEARER: Final = "bearer "
_BASIC: Final = "basic "


def brings_credential(call: Call) -> bool:
    """Whether a token or a key came with a call, which speaks for itself."""
    return "authorization" in call.metadata or "x-api-key" in call.metadata


def end_caller(
    call: Call, tokens: TokenVerifier | None, credentials: CredentialVerifier | None
) -> Awaitable[None] | None:
    """Set the caller to whose credential it is; done at once when nothing has to be asked.

    Raises (or the awaitable does):
        Unauthenticated: ``CREDENTIAL_UNSUPPORTED`` for one that nobody here verifies, else with
            the verifier's reason.
        PermissionDenied: ``ORG_NOT_IN_TOKEN``, when the token is bound to another org.
        Unavailable: when nobody can say.
    """
    call.credential = True
    secret = presented(call.metadata)
    if secret:
        if credentials is None:
            raise _unsupported("x-api-key" if "x-api-key" in call.metadata else "authorization")
        return _by_credential(call, credentials, secret)
    header = call.metadata["authorization"]
    if header[: len(_BASIC)].lower() == _BASIC:
        raise Unauthenticated(
            "there are no passwords here: send authorization: Bearer <access token>",
            reason="PASSWORD_UNSUPPORTED",
            field="authorization",
        )
    # A token that nobody verifies must not look as if it counted.
    if tokens is None or header[: len(_BEARER)].lower() != _BEARER:
        raise _unsupported("authorization")
    found = tokens.verify(
        header[len(_BEARER) :].strip(" "), tenant_id=call.tenant_id, slug=call.tenant.slug
    )
    if isinstance(found, Claims):
        _admit(call, found)
        return None
    return _by_token(call, found)


async def _by_token(call: Call, asked: Awaitable[Claims]) -> None:
    _admit(call, await asked)


async def _by_credential(call: Call, credentials: CredentialVerifier, secret: str) -> None:
    found = await credentials.verify(call.tenant_id, secret)
    call.caller = found.subject
    call.scopes = both(call.scopes, found.scopes)


def _admit(call: Call, claims: Claims) -> None:
    if claims.org_id is not None and claims.org_id != call.org_id:
        raise PermissionDenied(
            "the access token is bound to another org",
            reason="ORG_NOT_IN_TOKEN",
            field="x-org-id",
        )
    call.caller = claims.subject
    call.claims = claims
    call.scopes = both(call.scopes, limits_of(claims.scope))


def limits_of(scope: str) -> frozenset[str] | None:
    """The permissions that a scope limits its token to; None when it names none at all."""
    named = frozenset(word for word in scope.split() if ":" in word)
    return named or None


def both(one: frozenset[str] | None, two: frozenset[str] | None) -> frozenset[str] | None:
    """What two limits leave: of the service key that signed, and of the token that came along."""
    if one is None or two is None:
        return two if one is None else one
    return one & two


def _unsupported(name: str) -> Unauthenticated:
    return Unauthenticated(
        f"{name} is not accepted by this server", reason="CREDENTIAL_UNSUPPORTED", field=name
    )
