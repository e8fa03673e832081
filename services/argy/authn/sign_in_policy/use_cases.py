"""The use cases of a tenant's sign-in policy: read, replaced."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from argy.authn.passkeys import store as passkey_store
from argy.authn.passkeys.attestation import read_roots
from argy.authn.sessions.audit import SignInLog
from argy.authn.sessions.domain import Limits
from argy.authn.sign_in_policy import store
from argy.authn.sign_in_policy.domain import (
    SignInPolicy,
    Version,
    check_etag,
    check_not_locked_out,
    check_policy,
    etag_mismatch,
    told,
)
from argy.authn.sign_in_policy.store import Standing
from argy.base.clock import Clock
from argy.rpc.call import Call
from argy.rpc.person import require_recent
from argy.store.database import Database, Tx

_USER = "user:"


@dataclass(frozen=True, slots=True)
class Told:
    """A version of the policy, and whom it leaves out."""

    version: Version
    standing: Standing


class SignInPolicies:
    """Policies of tenants; ``limits`` are the platform's, which no tenant exceeds."""

    __slots__ = ("_clock", "_db", "_limits", "_log")

    def __init__(self, *, db: Database, log: SignInLog, clock: Clock, limits: Limits) -> None:
        self._db = db
        self._log = log
        self._clock = clock
        self._limits = limits

    async def get(self, call: Call) -> Told:
        """The policy that holds."""
        async with self._db.tenant(call.tenant_id) as tx:
            return await _told(tx, await store.find_version(tx))

    async def update(
        self, call: Call, policy: SignInPolicy, *, roots: Sequence[str], etag: str
    ) -> Told:
        """Replace the version that ``etag`` names; a person proved lately who they are.

        Raises:
            InvalidArgument: ``INVALID_SIGN_IN_POLICY``, with every field at fault.
            Unauthenticated: ``PERSON_REQUIRED``, for a service that only says for whom it acts.
            FailedPrecondition: ``STEP_UP_REQUIRED``, or ``WOULD_LOCK_OUT``.
            Aborted: ``ETAG_MISMATCH``.
        """
        if call.caller.startswith(_USER):
            require_recent(call)
        now_ms = self._clock.now_ms()
        certificates, wrong = read_roots(roots, now_ms=now_ms)
        check_policy(policy, roots=certificates, platform=self._limits, found=wrong)
        async with self._db.tenant(call.tenant_id) as tx:
            # First, so that the caller's last passkey is not removed between the check and the end.
            own = await _own_passkeys(tx, call)
            held = await store.find_version(tx)
            check_etag(held, etag)
            if own is not None:
                check_not_locked_out(held.policy, policy, own_passkeys=own)
            made = Version(policy, certificates, held.revision + 1)
            if not await store.save(tx, made, now_ms=now_ms):
                raise etag_mismatch()
            await self._log.done(
                tx,
                call,
                "authn.sign_in_policy.update",
                f"sign_in_policy:{call.tenant_id}",
                old=told(held),
                new=told(made),
            )
            return await _told(tx, made)


async def _own_passkeys(tx: Tx, call: Call) -> int | None:
    """How many passkeys the caller signs in with; None for who is no person."""
    if not call.caller.startswith(_USER):
        return None
    user_id = UUID(call.caller.removeprefix(_USER))
    held = await passkey_store.list_of(tx, user_id, alone=True)
    return sum(not passkey.blocked for passkey in held)


async def _told(tx: Tx, version: Version) -> Told:
    policy = version.policy
    standing = await store.count(tx, policy.models, attested=policy.attestation == "REQUIRED")
    return Told(version, standing)
