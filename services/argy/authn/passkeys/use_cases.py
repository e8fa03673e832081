"""The use cases of a person's own passkeys: register, list, rename, remove."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from argy.authn.limits import RateLimits
from argy.authn.links import store as link_store
from argy.authn.mail.notices import SecurityNotices
from argy.authn.passkeys import store
from argy.authn.passkeys.challenges import Challenges
from argy.authn.passkeys.domain import (
    CEREMONY_MS,
    CHALLENGE_BYTES,
    Challenge,
    Passkey,
    RelyingParty,
    check_aaguid,
    check_challenge,
    check_may_remove,
    check_room,
    checked_name,
)
from argy.authn.passkeys.rights import (
    proved_passkey,
    require_may_register,
    require_own_sign_in,
)
from argy.authn.passkeys.webauthn import (
    NewCredential,
    registration_options,
    verify_registration,
)
from argy.authn.rates import Rate
from argy.authn.security_notices import store as security_notice_store
from argy.authn.sessions.accounts import Account, find_account
from argy.authn.sessions.audit import SignInLog
from argy.authn.sessions.domain import DeviceInfo, new_secret
from argy.authn.sign_in_policy import store as sign_in_policy_store
from argy.authn.sign_in_policy.domain import allowed_models, attested_by, links_on
from argy.base.clock import Clock
from argy.base.errors import ArgyError, NotFound, PermissionDenied
from argy.base.ids import uuid7
from argy.rpc.call import Call
from argy.rpc.person import require_claims, require_person, require_recent
from argy.store.database import Database, Tx

BEGIN_BY_PERSON: Final = Rate("passkey_register_person", every_ms=10_000, burst=60)
"""Registrations that a person begins: each leaves a record, lies in Redis and may send a mail."""


@dataclass(frozen=True, slots=True)
class Held:
    """A person's passkeys, oldest first, with what names them to authenticators."""

    passkeys: Sequence[Passkey]
    handle: bytes
    """Empty for who never began to register one."""
    rp_id: str


class Passkeys:
    """A person's own passkeys; each change needs a proof that is minutes old."""

    __slots__ = ("_challenges", "_clock", "_db", "_limits", "_log", "_notices", "_rp")

    def __init__(
        self,
        *,
        db: Database,
        challenges: Challenges,
        rp: RelyingParty,
        limits: RateLimits,
        log: SignInLog,
        notices: SecurityNotices,
        clock: Clock,
    ) -> None:
        self._db = db
        self._challenges = challenges
        self._rp = rp
        self._limits = limits
        self._log = log
        self._notices = notices
        self._clock = clock

    async def begin(self, call: Call) -> tuple[str, str]:
        """Begin a registration for the caller; returns the ceremony's id and its options.

        Raises:
            FailedPrecondition: ``STEP_UP_REQUIRED``.
            ResourceExhausted: ``TOO_MANY_PASSKEYS`` or ``RATE_LIMITED``.
        """
        user_id = require_may_register(call)
        await self._limits.count(call.tenant_id, BEGIN_BY_PERSON, str(user_id))
        async with self._db.tenant(call.tenant_id) as tx:
            account = await _active(tx, user_id)
            held = await store.list_of(tx, user_id)
            check_room(held)
            handle = await store.handle_of(tx, user_id)
            policy = await sign_in_policy_store.find(tx)
            await self._log.done(tx, call, "authn.passkey.begin", f"user:{user_id}")
        ceremony_id, challenge = new_secret(), secrets.token_bytes(CHALLENGE_BYTES)
        await self._challenges.put(
            call.tenant_id,
            ceremony_id,
            Challenge(
                ceremony="register",
                challenge=challenge,
                expires_at_ms=self._clock.now_ms() + CEREMONY_MS,
                user_id=user_id,
            ),
        )
        options = registration_options(
            self._rp,
            account,
            handle=handle,
            challenge=challenge,
            held=held,
            attested=policy.attestation == "REQUIRED",
        )
        return ceremony_id, options

    async def finish(
        self, call: Call, ceremony_id: str, credential: str, name: str, device: DeviceInfo
    ) -> Passkey:
        """Verify a registration and keep the passkey.

        Raises:
            InvalidArgument: ``MALFORMED_CREDENTIAL`` or ``INVALID_NAME``.
            Unauthenticated: naming what is wrong, as ``passkey_domain`` does; ``SESSION_OVER``
                when every way in was taken away meanwhile.
            PermissionDenied: ``AUTHENTICATOR_NOT_ALLOWED``, or as ``passkey_attestation`` says.
            AlreadyExists: ``PASSKEY_EXISTS``, whoever's it is.
        """
        user_id = require_person(call)
        try:
            made = await self._finish(call, user_id, ceremony_id, credential, name, device)
        except ArgyError as error:
            await self._log.refused(call, "authn.passkey.register", f"user:{user_id}", error)
            raise
        await self._notices.tell(call, user_id, "passkey_added", device, name=made.name)
        return made

    async def _finish(
        self,
        call: Call,
        user_id: UUID,
        ceremony_id: str,
        credential: str,
        name: str,
        device: DeviceInfo,
    ) -> Passkey:
        require_may_register(call)
        name = checked_name(name, default="Passkey")
        now_ms = self._clock.now_ms()
        found = await self._challenges.take(call.tenant_id, ceremony_id)
        begun = check_challenge(found, "register", user_id=user_id, now_ms=now_ms)
        async with self._db.tenant(call.tenant_id, errors=store.ERRORS) as tx:
            version = await sign_in_policy_store.find_version(tx)
            roots = attested_by(version)
            new = verify_registration(credential, self._rp, challenge=begun.challenge, roots=roots)
            check_aaguid(new.aaguid, allowed_models(version.policy))
            made = _passkey(new, user_id, name, now_ms)
            await _active(tx, user_id)
            check_room(await store.list_of(tx, user_id, alone=True))
            claims = require_claims(call)
            await security_notice_store.require_not_reset(tx, user_id, claims.issued_at_s * 1_000)
            await store.insert(tx, made, attested=roots is not None)
            # A link from before would let somebody in as if there were no passkey.
            await link_store.retire(tx, user_id, now_ms=now_ms)
            await security_notice_store.note(
                tx,
                user_id,
                "passkey_registered",
                device,
                name=name,
                session_id=claims.session_id,
                now_ms=now_ms,
            )
            await self._log.done(
                tx,
                call,
                "authn.passkey.register",
                f"passkey:{made.id}",
                name=name,
                aaguid=str(made.aaguid),
                attested=roots is not None,
                synced=made.backup_eligible,
            )
        return made

    async def list(self, call: Call) -> Held:
        """The caller's own passkeys, and whom authenticators know them as."""
        user_id = require_person(call)
        async with self._db.tenant(call.tenant_id) as tx:
            handle = await store.find_handle(tx, user_id)
            return Held(await store.list_of(tx, user_id), handle, self._rp.rp_id)

    async def rename(self, call: Call, passkey_id: UUID, name: str) -> Passkey:
        """Name one of the caller's own; raises NotFound ``PASSKEY_UNKNOWN``."""
        user_id, name = require_own_sign_in(call), checked_name(name)
        async with self._db.tenant(call.tenant_id) as tx:
            renamed = await store.rename(tx, user_id, passkey_id, name)
            if renamed is None:
                raise _unknown()
            await self._log.done(
                tx, call, "authn.passkey.rename", f"passkey:{passkey_id}", name=name
            )
        return renamed

    async def remove(self, call: Call, passkey_id: UUID, device: DeviceInfo) -> None:
        """Forget one of the caller's own passkeys.

        Raises:
            NotFound: ``PASSKEY_UNKNOWN``.
            FailedPrecondition: ``STEP_UP_REQUIRED``, also for who proved no passkey, or
                ``LAST_WAY_IN``.
        """
        user_id = require_person(call)
        try:
            removed = await self._remove(call, user_id, passkey_id, device)
        except ArgyError as error:
            await self._log.refused(
                call, "authn.passkey.remove", f"user:{user_id}", error, passkey=str(passkey_id)
            )
            raise
        await self._notices.tell(call, user_id, "passkey_removed", device, name=removed.name)

    async def _remove(
        self, call: Call, user_id: UUID, passkey_id: UUID, device: DeviceInfo
    ) -> Passkey:
        require_own_sign_in(call)
        require_recent(call)
        async with self._db.tenant(call.tenant_id) as tx:
            await _active(tx, user_id)
            held = await store.list_of(tx, user_id, alone=True)
            target = next((one for one in held if one.id == passkey_id), None)
            if target is None:
                raise _unknown()
            check_may_remove(
                target,
                held,
                links=links_on(await sign_in_policy_store.find(tx)),
                proved_passkey=proved_passkey(call),
            )
            await store.delete(tx, user_id, passkey_id)
            await security_notice_store.note(
                tx,
                user_id,
                "passkey_removed",
                device,
                name=target.name,
                session_id=require_claims(call).session_id,
                now_ms=self._clock.now_ms(),
            )
            await self._log.done(
                tx, call, "authn.passkey.remove", f"passkey:{passkey_id}", name=target.name
            )
        return target


def _passkey(new: NewCredential, user_id: UUID, name: str, now_ms: int) -> Passkey:
    return Passkey(
        id=uuid7(now_ms),
        user_id=user_id,
        name=name,
        credential_id=new.credential_id,
        public_key=new.public_key,
        sign_count=new.sign_count,
        aaguid=new.aaguid,
        transports=new.transports,
        backup_eligible=new.backup_eligible,
        backed_up=new.backed_up,
        created_at_ms=now_ms,
    )


async def _active(tx: Tx, user_id: UUID) -> Account:
    account = await find_account(tx, user_id)
    if account is None or not account.active:
        raise PermissionDenied("This account is disabled", reason="ACCOUNT_DISABLED")
    return account


def _unknown() -> NotFound:
    return NotFound("No such passkey", reason="PASSKEY_UNKNOWN", field="passkey_id")
