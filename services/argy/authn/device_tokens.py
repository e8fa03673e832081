"""The tokens of a device: of a session of its own, which its person sees and may end."""

from argy.authn.device_domain import DeviceCode
from argy.authn.session_domain import DeviceInfo
from argy.authn.sessions import Sessions
from argy.authn.token_domain import Tokens
from argy.authn.token_issuing import TokenIssuer
from argy.base.errors import Unauthenticated
from argy.rpc.call import Call
from argy.store.database import Tx


class DeviceTokens:
    """Implements ``argy.authn.devices.Issuer``."""

    __slots__ = ("_issuer", "_sessions")

    def __init__(self, issuer: TokenIssuer, sessions: Sessions) -> None:
        self._issuer = issuer
        self._sessions = sessions

    async def for_device(self, tx: Tx, call: Call, approved: DeviceCode) -> Tokens:
        """See ``Issuer``.

        The proof is that of the person who approved, and as old as it was then: a device proves
        nothing itself. Signing out in the browser does not end it.
        """
        user_id = approved.user_id
        if user_id is None:
            raise Unauthenticated("Nobody approved this device", reason="USER_DISABLED")
        asked_from = DeviceInfo(approved.ip, approved.user_agent)
        session, _ = await self._sessions.open(tx, call, user_id, "device", asked_from)
        return await self._issuer.issue(
            tx,
            tenant=call.tenant.slug,
            user_id=user_id,
            session_id=session.session_id,
            acr=approved.acr,
            amr=("device",),
            auth_time_ms=approved.auth_time_s * 1_000,
            client_id=approved.client_id,
            scope=approved.scope,
            with_refresh=True,
        )
