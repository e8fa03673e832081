"""Long-lived credentials that come with a call: personal access tokens and API keys.

The caller stage finds one with ``presented`` and asks a ``CredentialVerifier`` whose it is. What it
may do is what its owner may at that moment, and of that no more than its scopes name.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol
from uuid import UUID

from argy.api.authn.v1.credential_pb2 import VerifyCredentialRequest
from argy.api.authn.v1.credential_pb2_grpc import CredentialServiceStub
from argy.base.errors import PermissionDenied, Unauthenticated
from argy.base.secret_token import is_token
from argy.rpc.client import SignedChannel

PAT: Final = "pat"
"""Personal access tokens begin with ``argy_pat_``; they come as bearer tokens."""
API_KEY: Final = "key"
"""API keys begin with ``argy_key_``; they come in ``x-api-key``."""
_BEARER: Final = "bearer "
_TOKEN_START: Final = f"argy_{PAT}_"


@dataclass(frozen=True, slots=True)
class VerifiedCredential:
    """Whose a secret is, and what it may be used for."""

    credential_id: str
    subject: str
    """``user:<id>`` or ``agent:<id>``."""
    scopes: frozenset[str]
    """Permissions as ``type:action``; any other one is refused. Never empty."""


class CredentialVerifier(Protocol):
    """Tells whose a secret is."""

    async def verify(self, tenant_id: UUID, secret: str) -> VerifiedCredential:
        """Whose a secret of this tenant is, at this moment.

        Raises:
            Unauthenticated: ``CREDENTIAL_INVALID`` for a secret that is unknown here, revoked or
                over, or whose owner is disabled. The answer tells which to nobody.
            Unavailable: when nobody can say.
        """
        ...


def presented(metadata: Mapping[str, str]) -> str:
    """The personal access token or API key in a call's metadata; empty when there is none.

    A bearer token that is no personal access token is left to whoever verifies access tokens.

    Raises:
        Unauthenticated: ``CREDENTIAL_AMBIGUOUS`` for an API key beside any other credential;
            ``CREDENTIAL_INVALID`` for what begins like one and is none, by its checksum.
    """
    authorization, key = metadata.get("authorization", ""), metadata.get("x-api-key")
    # An empty one was sent all the same: it is none of ours, and hides nothing beside it.
    if "authorization" in metadata and key is not None:
        raise Unauthenticated(
            "give one credential: authorization or x-api-key", reason="CREDENTIAL_AMBIGUOUS"
        )
    if key is not None:
        if not is_token(key, kind=API_KEY):
            raise invalid_credential()
        return key
    token = authorization[len(_BEARER) :].strip(" ")
    if authorization[: len(_BEARER)].lower() != _BEARER or not token.startswith(_TOKEN_START):
        return ""
    if not is_token(token, kind=PAT):
        raise invalid_credential()
    return token


def invalid_credential() -> Unauthenticated:
    """The one answer to every secret that is not good."""
    return Unauthenticated("the credential is not good", reason="CREDENTIAL_INVALID")


def check_scope(scopes: frozenset[str], permission: str) -> None:
    """Hold a method to the scopes of the credential that calls it.

    ``permission`` is empty for a method that declares none; no scope can name that one, so a
    credential of scopes never calls it.

    Raises:
        PermissionDenied: ``SCOPE_INSUFFICIENT``.
    """
    if not permission or permission not in scopes:
        raise PermissionDenied(
            "the credential's scopes don't cover this",
            reason="SCOPE_INSUFFICIENT",
            metadata={"permission": permission} if permission else None,
        )


class NoCredentials:
    """Refuses every credential, for servers that nobody told how to verify one."""

    async def verify(self, tenant_id: UUID, secret: str) -> VerifiedCredential:
        """See ``CredentialVerifier``."""
        raise Unauthenticated(
            "this server takes no personal access tokens or API keys",
            reason="CREDENTIAL_UNSUPPORTED",
        )


class RemoteCredentials:
    """Asks the authn service over a signed channel, for servers that don't host it.

    Nothing is remembered, so what is revoked there is refused here at once.
    """

    __slots__ = ("_channel", "_timeout_s")

    def __init__(self, channel: SignedChannel, *, timeout_s: float = 2.0) -> None:
        self._channel = channel
        self._timeout_s = timeout_s

    async def verify(self, tenant_id: UUID, secret: str) -> VerifiedCredential:
        """See ``CredentialVerifier``."""
        stub = CredentialServiceStub(self._channel.for_tenant(tenant_id))
        try:
            response = await stub.VerifyCredential(
                VerifyCredentialRequest(secret=secret), timeout=self._timeout_s
            )
        except PermissionDenied as error:
            # Also when this service may not ask: nobody is let in for that.
            raise invalid_credential() from error
        found = response.credential
        return VerifiedCredential(found.credential_id, found.subject, frozenset(found.scopes))
