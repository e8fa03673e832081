"""The gRPC face of passkeys: messages in, use cases, messages out."""

from typing import Any
from uuid import UUID

from argy.api.authn.v1 import passkey_pb2 as pb
from argy.api.authn.v1.passkey_pb2_grpc import PasskeyServiceServicer
from argy.authn.passkeys.domain import Passkey
from argy.authn.passkeys.sign_in import PasskeySignIn
from argy.authn.passkeys.use_cases import Passkeys
from argy.authn.sessions.service import device_of, new_message
from argy.rpc.call import current_call


class PasskeyService(PasskeyServiceServicer):
    """Registers passkeys and signs people in with them."""

    def __init__(self, passkeys: Passkeys, sign_in: PasskeySignIn) -> None:
        self._passkeys = passkeys
        self._sign_in = sign_in

    async def BeginRegistration(
        self, request: pb.BeginRegistrationRequest, context: Any
    ) -> pb.BeginRegistrationResponse:
        """Give the options of a new passkey."""
        ceremony_id, options = await self._passkeys.begin(current_call())
        return pb.BeginRegistrationResponse(ceremony_id=ceremony_id, options_json=options)

    async def FinishRegistration(
        self, request: pb.FinishRegistrationRequest, context: Any
    ) -> pb.FinishRegistrationResponse:
        """Verify and keep the new passkey."""
        made = await self._passkeys.finish(
            current_call(),
            request.ceremony_id,
            request.credential_json,
            request.name,
            device_of(request.device),
        )
        return pb.FinishRegistrationResponse(passkey=_message(made))

    async def BeginSignIn(
        self, request: pb.BeginSignInRequest, context: Any
    ) -> pb.BeginSignInResponse:
        """Give the options of a sign-in."""
        begun = await self._sign_in.begin(current_call(), device_of(request.device))
        return pb.BeginSignInResponse(
            ceremony_id=begun.ceremony_id, options_json=begun.options, links=begun.links
        )

    async def FinishSignIn(
        self, request: pb.FinishSignInRequest, context: Any
    ) -> pb.FinishSignInResponse:
        """Verify the assertion; make a session, or renew the proof of one."""
        made = await self._sign_in.finish(
            current_call(),
            request.ceremony_id,
            request.credential_json,
            device_of(request.device),
            request.session_secret,
        )
        return pb.FinishSignInResponse(session=new_message(made))

    async def ListPasskeys(
        self, request: pb.ListPasskeysRequest, context: Any
    ) -> pb.ListPasskeysResponse:
        """List the caller's own passkeys."""
        found = await self._passkeys.list(current_call())
        return pb.ListPasskeysResponse(
            passkeys=[_message(one) for one in found.passkeys],
            user_handle=found.handle,
            rp_id=found.rp_id,
        )

    async def RenamePasskey(
        self, request: pb.RenamePasskeyRequest, context: Any
    ) -> pb.RenamePasskeyResponse:
        """Name one of the caller's own passkeys."""
        renamed = await self._passkeys.rename(
            current_call(), UUID(request.passkey_id), request.name
        )
        return pb.RenamePasskeyResponse(passkey=_message(renamed))

    async def RemovePasskey(
        self, request: pb.RemovePasskeyRequest, context: Any
    ) -> pb.RemovePasskeyResponse:
        """Remove one of the caller's own passkeys."""
        device = device_of(request.device)
        await self._passkeys.remove(current_call(), UUID(request.passkey_id), device)
        return pb.RemovePasskeyResponse()


def _message(passkey: Passkey) -> pb.Passkey:
    told = pb.Passkey(
        passkey_id=str(passkey.id),
        name=passkey.name,
        aaguid=str(passkey.aaguid),
        backed_up=passkey.backed_up,
        blocked=passkey.blocked,
        credential_id=passkey.credential_id,
    )
    told.create_time.FromMilliseconds(passkey.created_at_ms)
    if passkey.last_used_at_ms is not None:
        told.last_used_time.FromMilliseconds(passkey.last_used_at_ms)
    return told
