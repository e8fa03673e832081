"""Takes every way in away from somebody who lost theirs, or whose were taken, and invites them.

Passkeys, links, approvals of devices and personal access tokens end in one transaction; with it,
before it commits, their sessions and all tokens of these. When it fails they may be signed out, and
have their ways in still: doing it again does the rest.

What was under way meanwhile does not come through: registering a passkey, making a token and
letting a device in each take a lock that this takes too, and then ask for a sign-in from after the
reset.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from argy.authn.credentials import store as credential_store
from argy.authn.credentials.domain import Credential
from argy.authn.credentials.rights import Rights
from argy.authn.devices import store as device_store
from argy.authn.links import store as link_store
from argy.authn.links.use_cases import Links
from argy.authn.mail.notices import SecurityNotices
from argy.authn.mail.outbox import Outbox
from argy.authn.passkeys import store as passkey_store
from argy.authn.passkeys.rights import proved_passkey, require_own_sign_in
from argy.authn.security_notices import store as security_notice_store
from argy.authn.sessions.accounts import check_invitable, find_account
from argy.authn.sessions.audit import SignInLog, subject_of
from argy.authn.sessions.domain import DeviceInfo
from argy.authn.sessions.use_cases import Sessions
from argy.authn.sign_in_policy import store as sign_in_policy_store
from argy.authn.sign_in_policy.domain import links_on
from argy.base.clock import Clock
from argy.base.errors import ArgyError, FailedPrecondition, InvalidArgument, PermissionDenied
from argy.rpc.call import Call
from argy.rpc.person import STEP_UP_S, require_recent
from argy.store.database import Database, Tx

_ACTION: Final = "authn.user.reset_sign_in"
_NOWHERE: Final = DeviceInfo()
GRANT: Final = "authz.role_assignment:grant"
"""Who may grant roles may do everything, by granting it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reset:
    """What was taken away, and until when the invitation is good; None when none was sent."""

    passkeys: int
    tokens: int
    sessions: int
    invited_until_ms: int | None
    kept_keys: Sequence[Credential]
    """Keys of agents and services that the person made; they go on."""


class SignInReset:
    """Resets people of a tenant; that the caller may was asked by the access stage."""

    __slots__ = ("_clock", "_db", "_links", "_log", "_notices", "_outbox", "_rights", "_sessions")

    def __init__(
        self,
        *,
        db: Database,
        sessions: Sessions,
        links: Links,
        log: SignInLog,
        outbox: Outbox,
        notices: SecurityNotices,
        rights: Rights,
        clock: Clock,
    ) -> None:
        self._db = db
        self._sessions = sessions
        self._links = links
        self._log = log
        self._outbox = outbox
        self._notices = notices
        self._rights = rights
        self._clock = clock

    async def reset(
        self, call: Call, user_id: UUID, *, reason: str, allow_without_link: bool
    ) -> Reset:
        """Take every way in away from a person of the tenant, and send them an invitation.

        Raises:
            InvalidArgument: ``INVALID_REASON``, for an empty one.
            Unauthenticated: ``PERSON_REQUIRED``, for a service that only says for whom it acts.
            PermissionDenied: ``RESET_OF_ONESELF``; ``NOT_SIGNED_IN`` for a device;
                ``RESET_OF_ADMINISTRATOR`` for who grants roles, by who may not.
            FailedPrecondition: ``STEP_UP_REQUIRED``, also for a person who proved no passkey;
                ``LINKS_OFF`` unless ``allow_without_link``; ``USER_DISABLED``.
            NotFound: ``USER_UNKNOWN``, also for somebody of another tenant.
        """
        try:
            return await self._reset(call, user_id, reason.strip(), allow_without_link)
        except ArgyError as error:
            await self._log.refused(call, _ACTION, subject_of(user_id), error)
            raise

    async def _reset(
        self, call: Call, user_id: UUID, reason: str, allow_without_link: bool
    ) -> Reset:
        if not reason:
            raise InvalidArgument("Say why", reason="INVALID_REASON", field="reason")
        _check_caller(call, user_id)
        await self._check_no_more_powerful(call, subject_of(user_id))
        now_ms = self._clock.now_ms()
        async with self._db.tenant(call.tenant_id) as tx:
            # Locks and rows in the order in which whoever signs in and registers takes them.
            await passkey_store.queue_up(tx, user_id)
            account = check_invitable(await find_account(tx, user_id))
            invites = links_on(await sign_in_policy_store.find(tx))
            if not invites and not allow_without_link:
                raise _links_off()
            passkeys, tokens = await _take_away(tx, user_id, now_ms)
            await security_notice_store.note(tx, user_id, "sign_in_reset", _NOWHERE, now_ms=now_ms)
            kept = await credential_store.keys_made_by(tx, subject_of(user_id), now_ms=now_ms)
            sessions = await self._sessions.end_of(call.tenant_id, user_id)
            await self._log.done(
                tx,
                call,
                _ACTION,
                subject_of(user_id),
                why=reason,
                passkeys=passkeys,
                tokens=tokens,
                sessions=sessions,
                invited=invites,
                kept_keys=[str(one.id) for one in kept],
            )
            made = await self._links.make_invitation(tx, call, account) if invites else None
        await self._notices.tell(call, user_id, "sign_in_reset", name=reason)
        if made is not None:
            await self._outbox.put(call.tenant_id, made.mail, ends_at_ms=made.expires_at_ms)
        return Reset(
            passkeys=passkeys,
            tokens=tokens,
            sessions=sessions,
            invited_until_ms=None if made is None else made.expires_at_ms,
            kept_keys=kept,
        )

    async def _check_no_more_powerful(self, call: Call, target: str) -> None:
        # Whoever reads the mail of an administrator, or may change its address, would become one.
        if not await self._rights.might_hold(call, target, GRANT):
            return
        if not await self._rights.might_hold(call, call.caller, GRANT):
            raise PermissionDenied(
                "This user grants roles: ask somebody who does to reset their sign-in",
                reason="RESET_OF_ADMINISTRATOR",
                metadata={"permission": GRANT},
            )


async def _take_away(tx: Tx, user_id: UUID, now_ms: int) -> tuple[int, int]:
    """Passkeys, links, devices and tokens; how many passkeys and tokens there were."""
    passkeys = await passkey_store.delete_all(tx, user_id)
    await link_store.retire(tx, user_id, now_ms=now_ms)
    await device_store.deny_of_user(tx, user_id)
    # From here on nothing is issued to this person until the end.
    await credential_store.lock_subject(tx, subject_of(user_id))
    return passkeys, await credential_store.revoke_of_user(tx, user_id, now_ms=now_ms)


def _check_caller(call: Call, user_id: UUID) -> None:
    if call.caller == subject_of(user_id):
        raise PermissionDenied(
            "Nobody resets themselves: ask another administrator", reason="RESET_OF_ONESELF"
        )
    if not call.caller.startswith("user:"):
        return
    require_own_sign_in(call)
    require_recent(call)
    if not proved_passkey(call):
        raise FailedPrecondition(
            "Prove a passkey to reset somebody's sign-in",
            reason="STEP_UP_REQUIRED",
            metadata={"max_age_s": str(STEP_UP_S)},
        )


def _links_off() -> FailedPrecondition:
    return FailedPrecondition(
        "Links by mail are off, so that no invitation can be sent: turn them on first, or say that "
        "the user is to be without a way in",
        reason="LINKS_OFF",
        field="allow_without_link",
    )
