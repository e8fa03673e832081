"""The tokens of a device: of a session of its own, which its person sees and may end."""

from argy.authn.devices.domain import DEVICE_AMR, DeviceCode
from argy.authn.security_notices import store as security_notice_store
from argy.authn.sessions.domain import PROVISIONAL_S, DeviceInfo, Session
from argy.authn.sessions.use_cases import Sessions
from argy.authn.tokens import store as token_store
from argy.authn.tokens.domain import Tokens
from argy.authn.tokens.issuing import TokenIssuer
from argy.base.errors import PermissionDenied, Unauthenticated
from argy.rpc.call import Call
from argy.rpc.person import require_claims
from argy.store.database import Tx


class DeviceTokens:
    """Implements ``argy.authn.devices.use_cases.Issuer``."""

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
        # An approval from before a reset is none; who resets waits for this or is waited for.
        await token_store.lock_person(tx, user_id)
        await security_notice_store.require_not_reset(tx, user_id, approved.auth_time_s * 1_000)
        session, _ = await self._sessions.open(tx, call, user_id, "device", asked_from)
        tokens = await self._issuer.issue(
            tx,
            tenant=call.tenant.slug,
            user_id=user_id,
            session_id=session.session_id,
            acr=approved.acr,
            amr=DEVICE_AMR,
            auth_time_ms=approved.auth_time_s * 1_000,
            client_id=approved.client_id,
            scope=approved.scope,
            with_refresh=True,
        )
        await security_notice_store.made_session(tx, approved.id, session.session_id)
        return tokens

    async def check_approver(self, call: Call) -> None:
        """See ``Issuer``."""
        session_id = require_claims(call).session_id
        for session in await self._sessions.list(call):
            if str(session.session_id) == session_id and _provisional(session):
                raise PermissionDenied(
                    "Register a passkey first, then let the device in",
                    reason="SESSION_PROVISIONAL",
                )


def _provisional(session: Session) -> bool:
    """Whether it ends soon, because a passkey must be registered and was not proved in it yet."""
    lasts_ms = session.expires_at_ms - session.created_at_ms
    return "passkey" not in session.methods and lasts_ms <= PROVISIONAL_S * 1_000
