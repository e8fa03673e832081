"""The use cases of security notices: seen and acknowledged by the person concerned."""

from collections.abc import Sequence
from typing import Protocol
from uuid import UUID

from argy.authn.passkeys.rights import require_own_sign_in
from argy.authn.security_notices import store
from argy.authn.security_notices.domain import SecurityNotice
from argy.authn.sessions.audit import SignInLog, subject_of
from argy.authn.sessions.domain import Session
from argy.base.clock import Clock
from argy.rpc.call import Call
from argy.rpc.person import require_claims, require_person
from argy.rpc.provisional import check_not_provisional
from argy.store.database import Database, Tx


class OwnSessions(Protocol):
    """Where the caller is signed in; ``argy.authn.sessions.use_cases`` implements it."""

    async def list(self, call: Call) -> Sequence[Session]:
        """The caller's own sessions."""
        ...


class SeenNotices:
    """A person's own notices; ``store.note`` is how they are made."""

    __slots__ = ("_clock", "_db", "_log", "_sessions")

    def __init__(
        self, *, db: Database, sessions: OwnSessions, log: SignInLog, clock: Clock
    ) -> None:
        self._db = db
        self._sessions = sessions
        self._log = log
        self._clock = clock

    async def of_caller(self, call: Call) -> list[SecurityNotice]:
        """The caller's own notices, newest first.

        Raises:
            Unauthenticated: ``PERSON_REQUIRED``.
        """
        user_id = require_person(call)
        async with self._db.tenant(call.tenant_id) as tx:
            return await store.list_of(tx, user_id, now_ms=self._clock.now_ms())

    async def open_to(self, tx: Tx, session: Session) -> list[SecurityNotice]:
        """What a session is to show its person still, newest first."""
        found = await store.list_of(tx, session.user_id, now_ms=self._clock.now_ms())
        session_id = str(session.session_id)
        return [one for one in found if one.open_to(session_id, session.proof_since_ms)]

    async def proof_since_ms(self, call: Call) -> int:
        """Since when the proof of the caller's session exists; that of no session is of now."""
        session_id = "" if call.claims is None else call.claims.session_id
        for session in await self._sessions.list(call):
            if str(session.session_id) == session_id:
                return session.proof_since_ms
        return self._clock.now_ms()

    async def acknowledge(self, call: Call, notice_ids: Sequence[UUID]) -> int:
        """Note that the caller saw some of their notices; how many this call did.

        Others', what came from the session that asks, and what is not older than the proof of the
        one who asks, stay as they are.

        Raises:
            PermissionDenied: ``PASSKEY_REQUIRED``, or ``NOT_SIGNED_IN`` for a device.
        """
        user_id, claims = require_own_sign_in(call), require_claims(call)
        check_not_provisional(claims)
        since_ms = await self.proof_since_ms(call)
        async with self._db.tenant(call.tenant_id) as tx:
            seen = await store.acknowledge(
                tx,
                user_id,
                notice_ids,
                session_id=claims.session_id,
                since_ms=since_ms,
                now_ms=self._clock.now_ms(),
            )
            await self._log.done(
                tx,
                call,
                "authn.security_notice.acknowledge",
                subject_of(user_id),
                notices=[str(one) for one in seen],
                session=claims.session_id,
            )
        return len(seen)
