"""The gRPC face of tokens: messages in, use cases, messages out."""

from argy.api.authn.v1 import token_pb2 as pb
from argy.authn.tokens.domain import Tokens
from argy.authn.tokens.revocation import RevocationList
from argy.authn.tokens.signing_keys import SigningKeys
from argy.authn.tokens.use_cases import TokenUse
from argy.rpc.call import Call


class TokenService:
    """Access and refresh tokens, and the keys that sign them."""

    def __init__(self, use: TokenUse, keys: SigningKeys, revocations: RevocationList) -> None:
        self._use = use
        self._keys = keys
        self._revocations = revocations

    async def RefreshTokens(
        self, request: pb.RefreshTokensRequest, call: Call
    ) -> pb.RefreshTokensResponse:
        """Trade a refresh token."""
        tokens = await self._use.refresh(
            call, request.refresh_token, request.client_id, request.scope
        )
        return pb.RefreshTokensResponse(tokens=tokens_message(tokens))

    async def IntrospectToken(
        self, request: pb.IntrospectTokenRequest, call: Call
    ) -> pb.IntrospectTokenResponse:
        """Tell what a token is."""
        found = await self._use.describe(call, request.token)
        if found is None:
            return pb.IntrospectTokenResponse(active=False)
        told = pb.IntrospectTokenResponse(
            active=True,
            token_type=found.token_type,
            subject=found.subject,
            tenant_id=str(call.tenant_id),
            org_id=found.org_id,
            scope=found.scope,
            client_id=found.client_id,
            session_id=found.session_id,
            audience=found.audience,
            token_id=found.token_id,
        )
        if found.issued_at_s:
            told.issue_time.FromSeconds(found.issued_at_s)
        if found.expires_at_s:
            told.expire_time.FromSeconds(found.expires_at_s)
        return told

    async def RevokeToken(
        self, request: pb.RevokeTokenRequest, call: Call
    ) -> pb.RevokeTokenResponse:
        """End a token."""
        await self._use.revoke(call, request.token, request.client_id)
        return pb.RevokeTokenResponse()

    async def GetJwks(self, request: pb.GetJwksRequest, call: Call) -> pb.GetJwksResponse:
        """Tell the public keys."""
        return pb.GetJwksResponse(jwks_json=await self._keys.jwks())

    async def RotateSigningKey(
        self, request: pb.RotateSigningKeyRequest, call: Call
    ) -> pb.RotateSigningKeyResponse:
        """Make a new signing key."""
        if request.withdraw:
            made = await self._keys.withdraw(call, self._revocations)
        else:
            made = await self._keys.rotate(call)
        told = pb.RotateSigningKeyResponse(kid=made.kid, withdrawn_kids=made.withdrawn)
        told.sign_time.FromMilliseconds(made.signs_at_ms)
        return told


def tokens_message(tokens: Tokens) -> pb.Tokens:
    """Tokens as they are given to a client."""
    return pb.Tokens(
        access_token=tokens.access_token,
        refresh_token=tokens.refresh_token,
        expires_in_s=tokens.expires_in_s,
        scope=tokens.scope,
    )
