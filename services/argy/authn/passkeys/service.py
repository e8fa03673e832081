"""The gRPC face of passkeys: messages in, use cases, messages out."""

from uuid import UUID

from argy.api.authn.v1 import passkey_pb2 as pb
from argy.authn.passkeys.domain import Passkey
from argy.authn.passkeys.sign_in import PasskeySignIn
from argy.authn.passkeys.use_cases import Passkeys
from argy.authn.sessions.service import device_of, new_message
from argy.rpc.call import Call


class PasskeyService:
    """Registers passkeys and signs people in with them."""

    def __init__(self, passkeys: Passkeys, sign_in: PasskeySignIn) -> None:
        self._passkeys = passkeys
        self._sign_in = sign_in

    async def BeginRegistration(
        self, request: pb.BeginRegistrationRequest, call: Call
    ) -> pb.BeginRegistrationResponse:
        """Give the options of a new passkey."""
        ceremony_id, options = await self._passkeys.begin(call)
        return pb.BeginRegistrationResponse(ceremony_id=ceremony_id, options_json=options)

    async def FinishRegistration(
        self, request: pb.FinishRegistrationRequest, call: Call
    ) -> pb.FinishRegistrationResponse:
        """Verify and keep the new passkey."""
        made = await self._passkeys.finish(
            call,
            request.ceremony_id,
            request.credential_json,
            request.name,
            device_of(request.device),
        )
        return pb.FinishRegistrationResponse(passkey=_message(made))

    async def BeginSignIn(
        self, request: pb.BeginSignInRequest, call: Call
    ) -> pb.BeginSignInResponse:
        """Give the options of a sign-in."""
        begun = await self._sign_in.begin(call, device_of(request.device))
        return pb.BeginSignInResponse(
            ceremony_id=begun.ceremony_id, options_json=begun.options, links=begun.links
        )

    async def FinishSignIn(
        self, request: pb.FinishSignInRequest, call: Call
    ) -> pb.FinishSignInResponse:
        """Verify the assertion; make a session, or renew the proof of one."""
        made = await self._sign_in.finish(
            call,
            request.ceremony_id,
            request.credential_json,
            device_of(request.device),
            request.session_secret,
        )
        return pb.FinishSignInResponse(session=new_message(made))

    async def ListPasskeys(
        self, request: pb.ListPasskeysRequest, call: Call
    ) -> pb.ListPasskeysResponse:
        """List the caller's own passkeys."""
        found = await self._passkeys.list(call)
        return pb.ListPasskeysResponse(
            passkeys=[_message(one) for one in found.passkeys],
            user_handle=found.handle,
            rp_id=found.rp_id,
        )

    async def RenamePasskey(
        self, request: pb.RenamePasskeyRequest, call: Call
    ) -> pb.RenamePasskeyResponse:
        """Name one of the caller's own passkeys."""
        renamed = await self._passkeys.rename(call, UUID(request.passkey_id), request.name)
        return pb.RenamePasskeyResponse(passkey=_message(renamed))

    async def RemovePasskey(
        self, request: pb.RemovePasskeyRequest, call: Call
    ) -> pb.RemovePasskeyResponse:
        """Remove one of the caller's own passkeys."""
        device = device_of(request.device)
        await self._passkeys.remove(call, UUID(request.passkey_id), device)
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
