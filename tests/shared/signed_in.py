"""People who call with a credential of their own, and what authn would say of it.

The tokens are real ones, verified as every server verifies them, with a key of the tests' own.
"""

import time
from collections.abc import Mapping
from functools import lru_cache
from typing import Any
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric import rsa

from argy.base.clock import SystemClock
from argy.base.ids import uuid7
from argy.base.secret_token import new_token
from argy.rpc.claims import WireClaims
from argy.rpc.credentials import PAT, VerifiedCredential, invalid_credential
from argy.rpc.jwt import PublicKeys, sign_token
from argy.rpc.revoked import Revoked
from argy.rpc.tokens import TokenVerifier

URL = "https://edge.example.test"
KID = "k" * 43


class _Published:
    """The keys that authn would publish."""

    def __init__(self, known: PublicKeys) -> None:
        self._known = known

    def peek(self) -> PublicKeys:
        return self._known

    async def refreshed(self, kid: str) -> PublicKeys:
        return self._known

    async def confirmed(self) -> PublicKeys:
        return self._known


class _NothingEnded:
    """The deny list of tenants in which nothing was ended."""

    def peek(self, tenant_id: UUID) -> Revoked:
        return Revoked("e1")

    async def get(self, tenant_id: UUID) -> Revoked:
        return Revoked("e1")

    async def renewed(self, tenant_id: UUID) -> Revoked:
        return Revoked("e1")


class Bearer:
    """A channel that brings a credential along with every call."""

    def __init__(self, channel: Any, secret: str) -> None:
        self._channel = channel
        self._metadata = (("authorization", f"Bearer {secret}"),)

    def unary_unary(self, *args: Any, **kwargs: Any) -> Any:
        call = self._channel.unary_unary(*args, **kwargs)
        return lambda request, **options: call(request, metadata=self._metadata, **options)

    def unary_stream(self, *args: Any, **kwargs: Any) -> Any:
        call = self._channel.unary_stream(*args, **kwargs)
        return lambda request, **options: call(request, metadata=self._metadata, **options)


class SignedIn:
    """Issues tokens as authn does, and answers whose a personal access token is."""

    def __init__(self) -> None:
        self._key = rsa.generate_private_key(65537, 2048)
        self._known: dict[str, VerifiedCredential] = {}
        self.keys = _Published({KID: self._key.public_key()})
        self.revocations = _NothingEnded()
        self.verifier = TokenVerifier(
            keys=self.keys,
            revocations=self.revocations,
            public_url=URL,
            clock=SystemClock(),
        )

    async def verify(self, tenant_id: UUID, secret: str) -> VerifiedCredential:
        if secret not in self._known:
            raise invalid_credential()
        return self._known[secret]

    def token(
        self,
        tenant: Any,
        subject: str,
        *,
        age_s: int = 0,
        scope: str = "",
        org: str = "",
        lasts_s: int = 600,
        acr: str = "urn:argy:acr:passkey",
    ) -> str:
        """An access token of somebody who proved who they are so long ago."""
        now_s = int(time.time())
        said: Mapping[str, Any] = {
            "iss": f"{URL}/{tenant.slug}",
            "sub": subject,
            "aud": "argy",
            "tenant": str(tenant.tenant_id),
            "sid": str(uuid7()),
            "client_id": "edge",
            "acr": acr,
            "amr": ["passkey"],
            "auth_time": now_s - age_s,
            "jti": str(uuid7()),
            "epoch": "e1",
            "scope": scope,
            "org": org,
            "iat": now_s + min(0, lasts_s - 1),
            "exp": now_s + lasts_s,
        }
        return sign_token(WireClaims(**said), kid=KID, key=self._key)

    def personal(self, subject: str, *scopes: str) -> str:
        """A personal access token that is limited to permissions."""
        secret = new_token(PAT)
        self._known[secret] = VerifiedCredential(str(uuid7()), subject, frozenset(scopes))
        return secret


@lru_cache(maxsize=1)
def everybody() -> SignedIn:
    """Who signs in the people of tests that are about something else; made once, for its key."""
    return SignedIn()
