"""The gRPC face of sessions: messages in, use cases, messages out."""

from typing import Final
from uuid import UUID

from argy.api.authn.v1 import session_pb2 as pb
from argy.authn.security_notices.domain import SecurityNotice
from argy.authn.security_notices.use_cases import SeenNotices
from argy.authn.sessions.accounts import find_account
from argy.authn.sessions.domain import DeviceInfo, Session
from argy.authn.sessions.use_cases import Sessions
from argy.authn.sign_in_reset import SignInReset
from argy.authn.tokens.issuing import TokenIssuer
from argy.base.errors import PermissionDenied
from argy.rpc.access import AccessDecider
from argy.rpc.call import Call
from argy.rpc.person import require_person
from argy.rpc.provisional import check_ends_itself
from argy.store.database import Database

END_ANY: Final = "authn.session:end_any"
"""The permission to end the sessions of somebody else."""
CLIENT_ID: Final = "edge"
"""The client of access tokens that are made for sessions."""


class SessionService:
    """Who is signed in where."""

    def __init__(
        self,
        sessions: Sessions,
        issuer: TokenIssuer,
        db: Database,
        access: AccessDecider,
        *,
        notices: SeenNotices,
        reset: SignInReset,
    ) -> None:
        self._sessions = sessions
        self._issuer = issuer
        self._db = db
        self._access = access
        self._notices = notices
        self._reset = reset

    async def CheckSession(
        self, request: pb.CheckSessionRequest, call: Call
    ) -> pb.CheckSessionResponse:
        """Tell whose session a secret is."""
        session = await self._sessions.check(call.tenant_id, request.secret)
        told = pb.CheckSessionResponse(session=message(session, current=True))
        await self._tell(call, session, told)
        return told

    async def ListSessions(
        self, request: pb.ListSessionsRequest, call: Call
    ) -> pb.ListSessionsResponse:
        """List the caller's own sessions."""
        found = await self._sessions.list(call)
        asking = call.claims.session_id if call.claims else ""
        return pb.ListSessionsResponse(
            sessions=[message(one, current=str(one.session_id) == asking) for one in found]
        )

    async def EndSession(self, request: pb.EndSessionRequest, call: Call) -> pb.EndSessionResponse:
        """End one of the caller's own sessions."""
        check_ends_itself(call, request.session_id)
        await self._sessions.end(call, UUID(request.session_id))
        return pb.EndSessionResponse()

    async def EndUserSessions(
        self, request: pb.EndUserSessionsRequest, call: Call
    ) -> pb.EndUserSessionsResponse:
        """End every session of a user."""
        user_id = UUID(request.user_id) if request.user_id else require_person(call)
        if call.caller == f"user:{user_id}":
            # That a service says that it acts for somebody is not them.
            require_person(call)
        else:
            await self._check_end_any(call)
        ended = await self._sessions.end_all(
            call,
            user_id,
            keep_current=request.keep_current,
            device=device_of(request.device),
        )
        return pb.EndUserSessionsResponse(ended=ended)

    async def ListSecurityNotices(
        self, request: pb.ListSecurityNoticesRequest, call: Call
    ) -> pb.ListSecurityNoticesResponse:
        """List the caller's own notices."""
        found = await self._notices.of_caller(call)
        asking = call.claims.session_id if call.claims else ""
        since_ms = await self._notices.proof_since_ms(call) if call.claims else 0
        return pb.ListSecurityNoticesResponse(
            notices=[_notice(one, asking, since_ms) for one in found]
        )

    async def AcknowledgeSecurityNotices(
        self, request: pb.AcknowledgeSecurityNoticesRequest, call: Call
    ) -> pb.AcknowledgeSecurityNoticesResponse:
        """Note that the caller saw some of their notices."""
        notice_ids = [UUID(one) for one in request.notice_ids]
        done = await self._notices.acknowledge(call, notice_ids)
        return pb.AcknowledgeSecurityNoticesResponse(acknowledged=done)

    async def ResetSignIn(
        self, request: pb.ResetSignInRequest, call: Call
    ) -> pb.ResetSignInResponse:
        """Take every way in away from a user, and invite them anew."""
        require_tenant_scope(call)
        done = await self._reset.reset(
            call,
            UUID(request.user_id),
            reason=request.reason,
            allow_without_link=request.allow_without_link,
        )
        told = pb.ResetSignInResponse(
            passkeys=done.passkeys,
            tokens=done.tokens,
            sessions=done.sessions,
            kept_keys=[
                pb.KeptKey(credential_id=str(one.id), subject=one.subject, name=one.name)
                for one in done.kept_keys
            ],
        )
        if done.invited_until_ms is not None:
            told.invitation_expire_time.FromMilliseconds(done.invited_until_ms)
        return told

    async def _check_end_any(self, call: Call) -> None:
        require_tenant_scope(call)
        waiting = self._access.permit(call, END_ANY, platform=False)
        if waiting is not None:
            await waiting

    async def _tell(self, call: Call, session: Session, told: pb.CheckSessionResponse) -> None:
        """A token of a session, whose it is, and what they should hear of."""
        asking = str(session.session_id)
        async with self._db.tenant(call.tenant_id) as tx:
            tokens = await self._issuer.issue(
                tx,
                tenant=call.tenant.slug,
                user_id=session.user_id,
                session_id=session.session_id,
                acr=session.acr,
                amr=session.methods,
                auth_time_ms=session.counts_from_ms,
                client_id=CLIENT_ID,
            )
            account = await find_account(tx, session.user_id)
            notices = await self._notices.open_to(tx, session)
        told.access_token = tokens.access_token
        if account is not None:
            told.email, told.display_name = account.email, account.display_name
        told.notices.extend(_notice(one, asking, session.proof_since_ms) for one in notices)


def require_tenant_scope(call: Call) -> None:
    """Refuse a call in an org: how people sign in belongs to the whole tenant.

    Raises:
        PermissionDenied: ``TENANT_WIDE_ONLY``, for a permission held in one org must not act
            outside of it.
    """
    if call.org_id is not None:
        raise PermissionDenied(
            "This belongs to the whole tenant: call without x-org-id",
            reason="TENANT_WIDE_ONLY",
            field="x-org-id",
        )


def device_of(device: pb.Device) -> DeviceInfo:
    """From where somebody acts."""
    return DeviceInfo(ip=device.ip, user_agent=device.user_agent)


def message(session: Session, *, current: bool = False) -> pb.Session:
    """A session as people see it."""
    told = pb.Session(
        session_id=str(session.session_id),
        user_id=str(session.user_id),
        methods=session.methods,
        acr=session.acr,
        device=pb.Device(ip=session.device.ip, user_agent=session.device.user_agent),
        current=current,
    )
    told.auth_time.FromMilliseconds(session.auth_time_ms)
    told.create_time.FromMilliseconds(session.created_at_ms)
    told.last_seen_time.FromMilliseconds(session.last_seen_ms)
    told.expire_time.FromMilliseconds(session.expires_at_ms)
    return told


def _notice(notice: SecurityNotice, asking: str, since_ms: int) -> pb.SecurityNotice:
    """A notice as the session that asks sees it, whose proof exists since ``since_ms``."""
    told = pb.SecurityNotice(
        notice_id=str(notice.id),
        kind=notice.kind,
        device=pb.Device(ip=notice.device.ip, user_agent=notice.device.user_agent),
        name=notice.name,
        own=notice.own(asking),
        open=notice.open_to(asking, since_ms),
    )
    told.create_time.FromMilliseconds(notice.created_at_ms)
    if notice.seen_at_ms is not None:
        told.seen_time.FromMilliseconds(notice.seen_at_ms)
    return told


def new_message(made: tuple[Session, str]) -> pb.NewSession:
    """A session with its secret, for the one answer that tells it."""
    session, secret = made
    return pb.NewSession(session=message(session, current=True), secret=secret)
