"""Sign-in by the edge's own calls, for tests and benches of a running platform."""

from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from authenticator import Authenticator
from mail_folder import link_to

from argy.api.authn.v1 import magic_link_pb2 as links_pb
from argy.api.authn.v1 import passkey_pb2 as passkeys_pb
from argy.api.authn.v1 import session_pb2 as sessions_pb
from argy.api.authn.v1.magic_link_pb2_grpc import MagicLinkServiceStub
from argy.api.authn.v1.passkey_pb2_grpc import PasskeyServiceStub
from argy.api.authn.v1.session_pb2_grpc import SessionServiceStub
from argy.client.connection import Connection


class EdgeClient:
    """Signs in one tenant's people as the edge does; ``mail`` is the folder that mail goes to."""

    def __init__(self, connection: Connection, tenant_id: str, *, origin: str, mail: Path) -> None:
        channel = connection.channel(UUID(tenant_id))
        self._mail = mail
        self._origin = origin
        self._links: Any = MagicLinkServiceStub(channel)
        self._passkeys: Any = PasskeyServiceStub(channel)
        self._sessions: Any = SessionServiceStub(channel)

    async def ask_link(self, email: str) -> str:
        """Ask for a link; the secret of the browser."""
        asked = links_pb.RequestLinkRequest(email=email, device=new_device())
        return str((await self._links.RequestLink(asked)).browser_secret)

    async def enrol(self, email: str) -> Authenticator:
        """Sign in by a link and register a passkey."""
        browser = await self.ask_link(email)
        redeem = links_pb.RedeemLinkRequest(
            secret=await link_to(self._mail, email), browser_secret=browser, device=new_device()
        )
        session = (await self._links.RedeemLink(redeem)).session
        metadata = bearer(await self.session(session.secret))
        begun = await self._passkeys.BeginRegistration(
            passkeys_pb.BeginRegistrationRequest(), metadata=metadata
        )
        made = Authenticator(origin=self._origin)
        finish = passkeys_pb.FinishRegistrationRequest(
            ceremony_id=begun.ceremony_id, credential_json=made.create(begun.options_json)
        )
        await self._passkeys.FinishRegistration(finish, metadata=metadata)
        return made

    async def begin(self) -> Any:
        """A ceremony and its options."""
        return await self._passkeys.BeginSignIn(passkeys_pb.BeginSignInRequest())

    async def finish(self, ceremony_id: str, credential: str) -> str:
        """The secret of a new session."""
        asked = passkeys_pb.FinishSignInRequest(
            ceremony_id=ceremony_id, credential_json=credential, device=new_device()
        )
        return str((await self._passkeys.FinishSignIn(asked)).session.secret)

    async def session(self, secret: str) -> str:
        """An access token of a session."""
        asked = sessions_pb.CheckSessionRequest(secret=secret)
        return str((await self._sessions.CheckSession(asked)).access_token)

    async def first_call(self, token: str) -> None:
        """A call with a token that the server has not seen."""
        await self._passkeys.ListPasskeys(passkeys_pb.ListPasskeysRequest(), metadata=bearer(token))

    async def sign_in(self, device: Authenticator) -> None:
        """A whole ceremony."""
        begun = await self.begin()
        secret = await self.finish(begun.ceremony_id, device.get(begun.options_json))
        await self.first_call(await self.session(secret))


def new_device() -> sessions_pb.Device:
    """A network of its own: limits by network are not what is measured."""
    made = uuid4().hex
    return sessions_pb.Device(ip=f"2001:db8:{made[:4]}:{made[4:8]}::1", user_agent="Bench/1")


def bearer(token: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {token}"),)
