"""Sign-in and step-up with a passkey."""

import secrets
from dataclasses import dataclass
from hmac import compare_digest
from typing import Final

from argy.authn.limits import RateLimits
from argy.authn.mail.notices import SecurityNotices
from argy.authn.passkeys import store
from argy.authn.passkeys.challenges import Challenges
from argy.authn.passkeys.domain import (
    CEREMONY_MS,
    CHALLENGE_BYTES,
    Challenge,
    Passkey,
    RelyingParty,
    check_challenge,
    check_usable,
    counter_regressed,
    regressed,
)
from argy.authn.passkeys.webauthn import Verified, read_assertion, sign_in_options, verify_assertion
from argy.authn.rates import NAMELESS_BY_TENANT, Rate, network
from argy.authn.security_notices import store as security_notice_store
from argy.authn.sessions.accounts import find_account
from argy.authn.sessions.audit import NOBODY, SignInLog, subject_of
from argy.authn.sessions.domain import DeviceInfo, Session, new_secret
from argy.authn.sessions.use_cases import Sessions
from argy.authn.sign_in_policy import store as sign_in_policy_store
from argy.authn.sign_in_policy.domain import links_on
from argy.authn.tokens.store import hold_person
from argy.base.clock import Clock
from argy.base.errors import ArgyError, Unauthenticated
from argy.rpc.call import Call
from argy.store.database import Database, Tx

_ACTION: Final = "authn.passkey.sign_in"
BEGIN_BY_TENANT: Final = Rate("passkey_begin_tenant", every_ms=10, burst=5_000)
"""Ceremonies begun in a tenant: each lies for minutes in Redis, where nothing is evicted."""
BEGIN_BY_IP: Final = Rate("passkey_begin_ip", every_ms=100, burst=600)
"""Ceremonies begun from one network, so that it can't use up those of the whole tenant."""
TRY_BY_IP: Final = Rate("passkey_try_ip", every_ms=500, burst=120)
"""Assertions from one network, of which each that fails leaves a record."""


@dataclass(slots=True)
class _Progress:
    """What is known of an attempt so far, for its record."""

    resource: str = NOBODY
    passkey: str = ""


@dataclass(frozen=True, slots=True)
class Begun:
    """A sign-in that has begun: its ceremony, and what the browser's API is to be called with."""

    ceremony_id: str
    options: str
    links: bool
    """Whether links by mail are another way in."""


class PasskeySignIn:
    """Turns an assertion into a session, or renews the proof of one."""

    __slots__ = ("_challenges", "_clock", "_db", "_limits", "_log", "_notices", "_rp", "_sessions")

    def __init__(
        self,
        *,
        db: Database,
        challenges: Challenges,
        rp: RelyingParty,
        sessions: Sessions,
        limits: RateLimits,
        log: SignInLog,
        notices: SecurityNotices,
        clock: Clock,
    ) -> None:
        self._db = db
        self._challenges = challenges
        self._rp = rp
        self._sessions = sessions
        self._limits = limits
        self._log = log
        self._notices = notices
        self._clock = clock

    async def begin(self, call: Call, device: DeviceInfo) -> Begun:
        """Begin a sign-in of whoever it will be.

        It changes nothing but a challenge that ends by itself, so there is nothing to record.

        Raises:
            ResourceExhausted: ``RATE_LIMITED``.
        """
        if device.ip:
            await self._limits.count(call.tenant_id, BEGIN_BY_IP, network(device.ip))
        await self._limits.count(call.tenant_id, BEGIN_BY_TENANT, "all")
        ceremony_id, challenge = new_secret(), secrets.token_bytes(CHALLENGE_BYTES)
        expires_at_ms = self._clock.now_ms() + CEREMONY_MS
        await self._challenges.put(
            call.tenant_id,
            ceremony_id,
            Challenge(ceremony="sign_in", challenge=challenge, expires_at_ms=expires_at_ms),
        )
        async with self._db.tenant(call.tenant_id) as tx:
            links = links_on(await sign_in_policy_store.find(tx))
        # A ceremony that begins is no event yet: how it ends is one.
        call.changed_nothing()
        return Begun(ceremony_id, sign_in_options(self._rp, challenge=challenge), links)

    async def finish(
        self, call: Call, ceremony_id: str, credential: str, device: DeviceInfo, session_secret: str
    ) -> tuple[Session, str]:
        """Verify an assertion; returns the session and its secret.

        With ``session_secret`` that session is proved again, and gets a new secret.

        Raises:
            InvalidArgument: ``MALFORMED_CREDENTIAL``.
            Unauthenticated: naming what is wrong, as ``passkey_domain`` does; ``PASSKEY_UNKNOWN``
                for any that can't sign in here, ``PASSKEY_REMOVED`` for one that was made for
                somebody here and is good nowhere, ``OTHER_PERSON`` for a step-up by another person.
            ResourceExhausted: ``RATE_LIMITED``, which alone is not recorded: each would be a row.
        """
        await self._limits.count(call.tenant_id, TRY_BY_IP, network(device.ip))
        progress = _Progress()
        try:
            return await self._finish(
                call, ceremony_id, credential, device, session_secret, progress
            )
        except ArgyError as error:
            if progress.resource == NOBODY:
                await self._limits.count(call.tenant_id, NAMELESS_BY_TENANT, "all")
            await self._log.refused(
                call, _ACTION, progress.resource, error, device=device, passkey=progress.passkey
            )
            raise

    async def _finish(
        self,
        call: Call,
        ceremony_id: str,
        credential: str,
        device: DeviceInfo,
        session_secret: str,
        progress: _Progress,
    ) -> tuple[Session, str]:
        # The challenge is gone whatever comes next: a second try begins anew.
        found = await self._challenges.take(call.tenant_id, ceremony_id)
        begun = check_challenge(found, "sign_in", user_id=None, now_ms=self._clock.now_ms())
        assertion = read_assertion(credential)
        async with self._db.tenant(call.tenant_id) as tx:
            known = await store.find(tx, assertion.credential_id)
            # Tenants share one relying party, so what is unknown here may be good elsewhere; but
            # not with the handle of somebody here, which no other tenant has.
            ours = await store.is_handle(tx, assertion.user_handle or b"")
        if known is None:
            raise _removed() if ours else _unknown()
        passkey, handle = known
        progress.resource, progress.passkey = subject_of(passkey.user_id), str(passkey.id)
        if assertion.user_handle is None or not compare_digest(assertion.user_handle, handle):
            raise Unauthenticated(
                "The passkey was not accepted: it is somebody else's", reason="WRONG_USER_HANDLE"
            )
        verified = verify_assertion(
            assertion, self._rp, challenge=begun.challenge, public_key=passkey.public_key
        )
        current = await self._current(call, session_secret, passkey)
        outcome = await self._use(call, passkey, verified, device, current, session_secret)
        if outcome is None:
            await self._notices.tell(
                call, passkey.user_id, "passkey_blocked", device, name=passkey.name
            )
            raise regressed()
        return outcome

    async def _current(self, call: Call, secret: str, passkey: Passkey) -> Session | None:
        if not secret:
            return None
        session = await self._sessions.find(call.tenant_id, secret)
        if session.user_id != passkey.user_id:
            raise Unauthenticated(
                "This is another person's passkey than the session's", reason="OTHER_PERSON"
            )
        return session

    async def _use(
        self,
        call: Call,
        passkey: Passkey,
        verified: Verified,
        device: DeviceInfo,
        current: Session | None,
        secret: str,
    ) -> tuple[Session, str] | None:
        """Count the use and make the session; None when the passkey had to be blocked instead."""
        now_ms = self._clock.now_ms()
        async with self._db.tenant(call.tenant_id) as tx:
            await hold_person(tx, passkey.user_id)
            # Read again, for this transaction alone: of two assertions at once one counts first.
            locked = await store.lock(tx, passkey.id)
            account = await find_account(tx, passkey.user_id)
            if locked is None or account is None or not account.active:
                raise _unknown()
            check_usable(locked, verified.flags)
            if counter_regressed(locked, verified.sign_count):
                await self._block(tx, call, locked, verified, device, now_ms)
                return None
            await store.note_use(
                tx,
                locked.id,
                sign_count=verified.sign_count,
                backed_up=verified.flags.backed_up,
                now_ms=now_ms,
            )
            since_ms = locked.created_at_ms
            if current is None:
                made = await self._sessions.open(
                    tx, call, locked.user_id, "passkey", device, known_since_ms=since_ms
                )
            else:
                made = await self._sessions.prove_again(
                    tx, current, "passkey", secret, known_since_ms=since_ms
                )
            await self._log.done(
                tx,
                call,
                _ACTION if current is None else "authn.session.step_up",
                f"session:{made[0].session_id}",
                actor=subject_of(locked.user_id),
                device=device,
                passkey=str(locked.id),
            )
        return made

    async def _block(
        self,
        tx: Tx,
        call: Call,
        passkey: Passkey,
        verified: Verified,
        device: DeviceInfo,
        now_ms: int,
    ) -> None:
        await store.block(tx, passkey.id, now_ms=now_ms)
        await security_notice_store.note(
            tx, passkey.user_id, "passkey_blocked", device, name=passkey.name, now_ms=now_ms
        )
        # Whoever has the copy may have signed in with it before: nobody stays who could be them.
        ended = await self._sessions.end_of(call.tenant_id, passkey.user_id)
        await self._log.done(
            tx,
            call,
            "authn.passkey.block",
            f"passkey:{passkey.id}",
            device=device,
            reason="COUNTER_REGRESSION",
            user=subject_of(passkey.user_id),
            kept=passkey.sign_count,
            told=verified.sign_count,
            ended=ended,
        )


def _unknown() -> Unauthenticated:
    return Unauthenticated("This passkey does not sign in here", reason="PASSKEY_UNKNOWN")


def _removed() -> Unauthenticated:
    return Unauthenticated("This passkey is no longer good here", reason="PASSKEY_REMOVED")
