"""The use cases of sessions: made by a ceremony, used, seen, ended."""

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from argy.authn.security_notices import store as security_notice_store
from argy.authn.sessions.accounts import find_account
from argy.authn.sessions.audit import SignInLog, subject_of
from argy.authn.sessions.domain import (
    DeviceInfo,
    Limits,
    Method,
    Session,
    digest,
    new_secret,
    new_session,
)
from argy.authn.sessions.store import Lapsed, SessionStore, surplus
from argy.authn.sign_in_policy import store as sign_in_policy_store
from argy.authn.sign_in_policy.domain import session_limits
from argy.authn.tokens import store as token_store
from argy.authn.tokens.revocation import RevocationList
from argy.base.clock import Clock
from argy.base.errors import NotFound, Unauthenticated
from argy.base.ids import uuid7
from argy.rpc.call import Call
from argy.rpc.person import require_claims, require_person
from argy.rpc.revoked import session_entry, user_entry
from argy.store.database import Database, Tx

_UNKNOWN: Final = DeviceInfo()


class Sessions:
    """Sessions of people, within the platform's ``limits`` and those of their tenant.

    A session gets its tenant's absolute limit when it is made; its rest is measured at each use by
    the limit that the tenant has then. What was not used since may still be listed.

    An ended session is first put on the revocation list and then forgotten, whatever ended it: when
    Redis fails between the two its tokens are dead already, and ending it again does the rest.
    """

    __slots__ = ("_clock", "_db", "_limits", "_log", "_revocations", "_store")

    def __init__(
        self,
        *,
        db: Database,
        store: SessionStore,
        revocations: RevocationList,
        log: SignInLog,
        clock: Clock,
        limits: Limits,
    ) -> None:
        self._db = db
        self._store = store
        self._revocations = revocations
        self._log = log
        self._clock = clock
        self._limits = limits

    async def open(
        self,
        tx: Tx,
        call: Call,
        user_id: UUID,
        method: Method,
        device: DeviceInfo,
        *,
        provisional: bool = False,
        known_since_ms: int | None = None,
    ) -> tuple[Session, str]:
        """Make a session inside the transaction of the ceremony; returns it and its secret.

        The secret is always a fresh one: none that a browser brings is ever taken over.
        ``provisional``: a passkey must be registered next. ``known_since_ms``: since when what was
        proved is known as the person's; None for as of now. Whoever disables the person waits until
        ``tx`` ends, and ends this session too.

        Raises:
            Unauthenticated: ``USER_DISABLED``, also for a person who is gone.
        """
        await token_store.lock_person(tx, user_id)
        account = await find_account(tx, user_id)
        if account is None or not account.active:
            raise Unauthenticated("This person may not sign in", reason="USER_DISABLED")
        now_ms = self._clock.now_ms()
        for old in surplus(await self._live(tx.tenant_id, user_id)):
            await self._forget(tx.tenant_id, old)
            await self._log.done(
                tx,
                call,
                "authn.session.end",
                f"session:{old.session_id}",
                actor=subject_of(user_id),
                reason="TOO_MANY_SESSIONS",
            )
        made = new_session(
            session_id=uuid7(now_ms),
            user_id=user_id,
            method=method,
            device=device,
            now_ms=now_ms,
            limits=await self._limits_in(tx),
            provisional=provisional,
            known_since_ms=known_since_ms,
        )
        secret = new_secret()
        await self._store.put(tx.tenant_id, made, digest(secret), now_ms)
        return made, secret

    async def find(self, tenant_id: UUID, secret: str) -> Session:
        """The live session of a secret, whose person may still sign in; its use is not noted.

        Raises:
            Unauthenticated: ``SESSION_OVER``.
        """
        found = await self._store.find(tenant_id, digest(secret))
        if found is None:
            raise _over()
        async with self._db.tenant(tenant_id) as tx:
            account = await find_account(tx, found.user_id)
            limits = await self._limits_in(tx)
        if found.over(self._clock.now_ms(), limits):
            await self._lapse(tenant_id, found.user_id, Lapsed(found.session_id, digest(secret)))
            raise _over()
        if account is None or not account.active:
            await self.end_of(tenant_id, found.user_id)
            raise _over()
        return found

    async def check(self, tenant_id: UUID, secret: str) -> Session:
        """The live session of a secret; its idle limit begins anew. Raises as ``find``."""
        found = await self.find(tenant_id, secret)
        now_ms = self._clock.now_ms()
        if found.stale(now_ms):
            found = found.seen(now_ms)
            await self._store.touch(tenant_id, found, digest(secret), now_ms)
        return found

    async def prove_again(
        self, tx: Tx, session: Session, method: Method, secret: str, *, known_since_ms: int
    ) -> tuple[Session, str]:
        """Renew a session's proof; it gets another secret, and the old one is good no more.

        Raises:
            Unauthenticated: ``SESSION_OVER``, when it was ended or renewed meanwhile.
        """
        now_ms, limits = self._clock.now_ms(), await self._limits_in(tx)
        proved, fresh = (
            session.proved(method, now_ms, limits, known_since_ms=known_since_ms),
            new_secret(),
        )
        rotated = await self._store.rotate(
            tx.tenant_id, proved, old=digest(secret), new=digest(fresh), now_ms=now_ms
        )
        if not rotated:
            raise _over()
        return proved, fresh

    async def list(self, call: Call) -> Sequence[Session]:
        """The caller's own sessions, newest first."""
        return await self._live(call.tenant_id, require_person(call))

    async def end(self, call: Call, session_id: UUID) -> None:
        """End one of the caller's own sessions.

        Raises:
            NotFound: ``SESSION_UNKNOWN``; also for somebody else's.
        """
        user_id = require_person(call)
        own = await self._live(call.tenant_id, user_id)
        session = next((one for one in own if one.session_id == session_id), None)
        if session is None:
            raise NotFound("No such session", reason="SESSION_UNKNOWN", field="session_id")
        async with self._db.tenant(call.tenant_id) as tx:
            await self._log.done(tx, call, "authn.session.end", f"session:{session_id}")
            await self._forget(call.tenant_id, session)

    async def end_all(
        self,
        call: Call,
        user_id: UUID,
        *,
        keep_current: bool,
        device: DeviceInfo = _UNKNOWN,
    ) -> int:
        """End the sessions of a user, or all but the one that asks; how many there were."""
        kept = require_claims(call).session_id if keep_current else ""
        now_ms = self._clock.now_ms()
        found = [
            one for one in await self._live(call.tenant_id, user_id) if str(one.session_id) != kept
        ]
        async with self._db.tenant(call.tenant_id) as tx:
            # Tokens outlive a Redis that lost the session that they came of.
            names = {str(one) for one in await token_store.live_sessions(tx, user_id, now_ms)}
            lost = names - {str(one.session_id) for one in found} - {kept}
            await self._log.done(
                tx,
                call,
                "authn.session.end_all",
                subject_of(user_id),
                ended=len(found) + len(lost),
                kept=kept,
            )
            if await find_account(tx, user_id) is not None:
                own = call.claims is not None and call.caller == subject_of(user_id)
                await security_notice_store.note(
                    tx,
                    user_id,
                    "signed_out_everywhere",
                    device,
                    session_id=require_claims(call).session_id if own else "",
                    now_ms=now_ms,
                )
            await self._revocations.deny(call.tenant_id, map(session_entry, sorted(lost)))
            await self._forget(call.tenant_id, *found)
        return len(found) + len(lost)

    async def end_of(self, tenant_id: UUID, user_id: UUID) -> int:
        """End the sessions and tokens of a person, whatever they came of; how many sessions.

        Why (they were disabled, their passkey was copied) has a record of its own.
        """
        await self._revocations.deny(tenant_id, [user_entry(subject_of(user_id))])
        found = await self._live(tenant_id, user_id)
        await self._forget(tenant_id, *found)
        return len(found)

    async def _limits_in(self, tx: Tx) -> Limits:
        return session_limits(await sign_in_policy_store.find(tx), self._limits)

    async def _live(self, tenant_id: UUID, user_id: UUID) -> Sequence[Session]:
        """A user's live sessions, newest first; those that are over end."""
        listed = await self._store.list(tenant_id, user_id, self._clock.now_ms())
        await self._lapse(tenant_id, user_id, *listed.lapsed)
        return listed.live

    async def _lapse(self, tenant_id: UUID, user_id: UUID, *lapsed: Lapsed) -> None:
        entries = [session_entry(str(one.session_id)) for one in lapsed]
        await self._revocations.deny(tenant_id, entries)
        for one in lapsed:
            await self._store.end(tenant_id, user_id, one.session_id, digest=one.digest)

    async def _forget(self, tenant_id: UUID, *sessions: Session) -> None:
        entries = [session_entry(str(session.session_id)) for session in sessions]
        await self._revocations.deny(tenant_id, entries)
        for session in sessions:
            await self._store.end(tenant_id, session.user_id, session.session_id)


def _over() -> Unauthenticated:
    return Unauthenticated("You are signed out: sign in again", reason="SESSION_OVER")
