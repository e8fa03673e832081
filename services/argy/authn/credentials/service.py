"""The gRPC face of credentials: messages in, use cases, messages out."""

from typing import Final
from uuid import UUID

from google.protobuf.timestamp_pb2 import Timestamp

from argy.api.authn.v1 import credential_pb2 as pb
from argy.authn.credentials.domain import Credential, Kind
from argy.authn.credentials.use_cases import Credentials
from argy.authn.sessions.domain import DeviceInfo
from argy.base.errors import PermissionDenied
from argy.rpc.call import Call
from argy.rpc.page_token import PageTokens, page_size

_KIND: Final[dict[Kind, pb.CredentialKind.ValueType]] = {
    "TOKEN": pb.CREDENTIAL_KIND_PERSONAL_ACCESS_TOKEN,
    "KEY": pb.CREDENTIAL_KIND_API_KEY,
    "SERVICE": pb.CREDENTIAL_KIND_SERVICE_KEY,
}


class CredentialService:
    """Long-lived credentials."""

    def __init__(self, credentials: Credentials, pages: PageTokens) -> None:
        self._credentials = credentials
        self._pages = pages

    async def CreatePersonalAccessToken(
        self, request: pb.CreatePersonalAccessTokenRequest, call: Call
    ) -> pb.CreatePersonalAccessTokenResponse:
        """Make a token of the caller's own."""
        made = await self._credentials.make_token(
            call,
            name=request.name,
            scopes=request.scopes,
            days=request.days,
            device=DeviceInfo(request.device.ip, request.device.user_agent),
        )
        return pb.CreatePersonalAccessTokenResponse(
            credential=_message(made.credential), secret=made.secret
        )

    async def CreateApiKey(
        self, request: pb.CreateApiKeyRequest, call: Call
    ) -> pb.CreateApiKeyResponse:
        """Make a key of an agent."""
        made = await self._credentials.make_key(
            call,
            subject=request.subject,
            name=request.name,
            scopes=request.scopes,
            days=request.days,
        )
        return pb.CreateApiKeyResponse(credential=_message(made.credential), secret=made.secret)

    async def CreateServiceKey(
        self, request: pb.CreateServiceKeyRequest, call: Call
    ) -> pb.CreateServiceKeyResponse:
        """Make a key of a service."""
        made = await self._credentials.make_service_key(
            call,
            service=request.service,
            name=request.name,
            scopes=request.scopes,
            days=request.days,
        )
        return pb.CreateServiceKeyResponse(
            credential=_message(made.credential), secret=made.secret, key_id=made.key_id
        )

    async def RotateCredential(
        self, request: pb.RotateCredentialRequest, call: Call
    ) -> pb.RotateCredentialResponse:
        """Make a new secret."""
        made = await self._credentials.rotate(
            call, UUID(request.credential_id), overlap_hours=request.overlap_hours
        )
        return pb.RotateCredentialResponse(
            credential=_message(made.credential), secret=made.secret, key_id=made.key_id
        )

    async def ListCredentials(
        self, request: pb.ListCredentialsRequest, call: Call
    ) -> pb.ListCredentialsResponse:
        """List live credentials, newest first."""
        cursor = self._pages.decode(call, request)
        size = page_size(request.page_size)
        found = await self._credentials.list(
            call,
            subject=request.subject,
            after=None if cursor is None else UUID(bytes=cursor),
            limit=size + 1,
        )
        token = ""
        if len(found) > size:
            token = self._pages.encode(call, request, found[size - 1].id.bytes)
        return pb.ListCredentialsResponse(
            credentials=[_message(one) for one in found[:size]], next_page_token=token
        )

    async def RevokeCredential(
        self, request: pb.RevokeCredentialRequest, call: Call
    ) -> pb.RevokeCredentialResponse:
        """End a credential."""
        await self._credentials.revoke(call, UUID(request.credential_id))
        return pb.RevokeCredentialResponse()

    async def VerifyCredential(
        self, request: pb.VerifyCredentialRequest, call: Call
    ) -> pb.VerifyCredentialResponse:
        """Tell whose a secret is."""
        found = await self._credentials.find(call.tenant_id, request.secret)
        if found is None:
            raise PermissionDenied("the credential is not good", reason="CREDENTIAL_INVALID")
        return pb.VerifyCredentialResponse(credential=_message(found))

    async def VerifyServiceKey(
        self, request: pb.VerifyServiceKeyRequest, call: Call
    ) -> pb.VerifyServiceKeyResponse:
        """Tell what a service key's secret is good for."""
        found = await self._credentials.service_keys.standing_of(
            call.tenant_id, UUID(request.credential_id), request.secret_hash
        )
        if found is None:
            return pb.VerifyServiceKeyResponse()
        return pb.VerifyServiceKeyResponse(
            scopes=sorted(found.scopes), expire_time=_time(found.expires_at_ms), epoch=found.epoch
        )


def _message(found: Credential) -> pb.Credential:
    return pb.Credential(
        credential_id=str(found.id),
        kind=_KIND[found.kind],
        subject=found.subject,
        name=found.name,
        prefix=found.prefix,
        scopes=found.scopes,
        create_time=_time(found.created_at_ms),
        expire_time=_time(found.expires_at_ms),
        last_used_time=None if found.last_used_at_ms is None else _time(found.last_used_at_ms),
    )


def _time(ms: int) -> Timestamp:
    return Timestamp(seconds=ms // 1_000, nanos=ms % 1_000 * 1_000_000)
