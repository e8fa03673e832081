"""The use cases of the device flow (RFC 8628): a device begins, a person decides, it polls."""

from typing import Final, Protocol

from argy.authn.credentials.domain import checked_scopes
from argy.authn.devices import store
from argy.authn.devices.domain import (
    DEVICE_AMR,
    INTERVAL_S,
    LIFETIME_S,
    Begun,
    DeviceCode,
    Outcome,
    check_client,
    check_decidable,
    device_digest,
    is_device_code,
    new_device_code,
    new_user_code,
    normal_user_code,
    poll,
    user_digest,
)
from argy.authn.limits import RateLimits
from argy.authn.rates import (
    BEGIN_BY_ADDRESS,
    BEGIN_BY_TENANT,
    ENTRY_BY_ADDRESS,
    ENTRY_BY_PERSON,
    network,
)
from argy.authn.security_notices import store as security_notice_store
from argy.authn.sessions.audit import SignInLog, subject_of
from argy.authn.sessions.domain import DeviceInfo
from argy.authn.tokens.domain import Tokens
from argy.authn.tokens.store import hold_person
from argy.base.clock import Clock
from argy.base.errors import (
    AlreadyExists,
    ArgyError,
    FailedPrecondition,
    PermissionDenied,
    Unauthenticated,
)
from argy.base.ids import uuid7
from argy.rpc.call import Call
from argy.rpc.person import require_claims, require_person, require_recent
from argy.store.database import Database, Tx

_REDEEM: Final = "authn.device_code.redeem"
_TRIES: Final = 3
"""A user code that another device has at this moment is drawn anew."""


class Issuer(Protocol):
    """Makes the tokens of a device for the person who approved it."""

    async def for_device(self, tx: Tx, call: Call, approved: DeviceCode) -> Tokens:
        """Tokens for ``approved.user_id``, in the transaction that uses the code up.

        Raises:
            Unauthenticated: ``USER_DISABLED``, when that person may no longer sign in.
        """
        ...

    async def check_approver(self, call: Call) -> None:
        """Refuse a session that may not make one that outlives it.

        Raises:
            PermissionDenied: ``SESSION_PROVISIONAL``.
        """
        ...


class Devices:
    """Connects a device that asks with a person who decides."""

    __slots__ = ("_clock", "_db", "_issuer", "_limits", "_log")

    def __init__(
        self,
        *,
        db: Database,
        limits: RateLimits,
        issuer: Issuer,
        log: SignInLog,
        clock: Clock,
    ) -> None:
        self._db = db
        self._limits = limits
        self._issuer = issuer
        self._log = log
        self._clock = clock

    async def begin(self, call: Call, *, client_id: str, scope: str, device: DeviceInfo) -> Begun:
        """Keep a device's request for ten minutes.

        Raises:
            InvalidArgument: for a malformed client or scope.
            ResourceExhausted: ``RATE_LIMITED`` by address and by tenant.
        """
        check_client(client_id)
        wanted = " ".join(checked_scopes(scope.split())) if scope.strip() else ""
        await self._limits.count(call.tenant_id, BEGIN_BY_ADDRESS, network(device.ip))
        await self._limits.count(call.tenant_id, BEGIN_BY_TENANT, "all")
        for attempt in range(_TRIES):
            begun = Begun(new_device_code(), new_user_code())
            try:
                await self._keep(call, begun, client_id, wanted, device)
                break
            except AlreadyExists:
                if attempt == _TRIES - 1:
                    raise
        return begun

    async def describe(self, call: Call, typed: str, *, device: DeviceInfo) -> DeviceCode:
        """What a person would approve; ``device`` is theirs.

        Raises:
            NotFound: ``USER_CODE_UNKNOWN``.
            FailedPrecondition: ``DEVICE_CODE_DECIDED``.
            PermissionDenied: ``NOT_SIGNED_IN``, for who did not sign in at a browser.
            ResourceExhausted: ``RATE_LIMITED``.
        """
        digest = await self._entered(call, typed, device)
        try:
            async with self._db.tenant(call.tenant_id) as tx:
                found = await store.find_by_user(tx, digest)
                return check_decidable(found, now_ms=self._clock.now_ms())
        except ArgyError as error:
            await self._refused(call, error, device)
            raise
        finally:
            # Looking changes nothing but the count of tries.
            call.changed_nothing()

    async def decide(self, call: Call, typed: str, *, approved: bool, device: DeviceInfo) -> None:
        """Approve or deny, once, as the person who calls.

        Approving makes a credential that lasts a month: it needs a recent proof, which also holds
        up whoever was talked into it, or finds a session open.

        Raises:
            FailedPrecondition: ``STEP_UP_REQUIRED``, to approve.
            PermissionDenied: ``SESSION_PROVISIONAL``, to approve.
            And as ``describe``.
        """
        person, claims = require_person(call), require_claims(call)
        digest = await self._entered(call, typed, device)
        if approved:
            require_recent(call)
            await self._issuer.check_approver(call)
        try:
            async with self._db.tenant(call.tenant_id) as tx:
                now_ms = self._clock.now_ms()
                found = check_decidable(await store.find_by_user(tx, digest), now_ms=now_ms)
                decided = await store.decide(
                    tx,
                    found.id,
                    "APPROVED" if approved else "DENIED",
                    user_id=person,
                    session_id=claims.session_id,
                    acr=claims.acr,
                    auth_time_s=claims.auth_time_s,
                    now_ms=now_ms,
                )
                if not decided:
                    raise FailedPrecondition(
                        "This code was used before", reason="DEVICE_CODE_DECIDED"
                    )
                if approved:
                    await security_notice_store.note(
                        tx,
                        person,
                        "device_let_in",
                        DeviceInfo(found.ip, found.user_agent),
                        name=found.client_id,
                        session_id=claims.session_id,
                        now_ms=now_ms,
                        notice_id=found.id,
                    )
                await self._log.done(
                    tx,
                    call,
                    "authn.device_code.approve" if approved else "authn.device_code.deny",
                    _resource(found),
                    device=device,
                    client_id=found.client_id,
                    scope=found.scope,
                    asked_from=found.ip,
                )
        except ArgyError as error:
            await self._refused(call, error, device)
            raise

    async def redeem(self, call: Call, device_code: str, client_id: str) -> Outcome:
        """Answer a poll; when approved, use the code up and make its tokens, both or neither."""
        # A poll that waits is no event of its own: all that it changes is when it was made.
        call.changed_nothing()
        if not is_device_code(device_code):
            return Outcome("EXPIRED", INTERVAL_S)
        try:
            async with self._db.tenant(call.tenant_id) as tx:
                return await self._answer(tx, call, device_digest(device_code), client_id)
        except Unauthenticated as error:
            # Whoever approved was disabled since: the device is told no, and the code stays unused.
            await self._log.refused(call, _REDEEM, "authn.device_code:-", error)
            return Outcome("ACCESS_DENIED", INTERVAL_S)

    async def _answer(self, tx: Tx, call: Call, digest: str, client_id: str) -> Outcome:
        now_ms = self._clock.now_ms()
        approver = await store.find_approver(tx, digest)
        if approver is not None:
            await hold_person(tx, approver)
        found = await store.lock_by_device(tx, digest)
        polled = poll(found, client_id=client_id, now_ms=now_ms)
        outcome = Outcome(polled.poll, polled.interval_s)
        if found is None:
            return outcome
        if found.client_id != client_id or found.state == "REDEEMED":
            await self._misused(tx, call, found, client_id)
            return outcome
        if polled.poll != "GRANTED":
            await store.note_poll(tx, found.id, now_ms=now_ms, interval_s=polled.interval_s)
            return outcome
        if not await store.redeem(tx, found.id, now_ms=now_ms):
            return Outcome("EXPIRED", polled.interval_s)
        tokens = await self._issuer.for_device(tx, call, found)
        await self._log.done(
            tx,
            call,
            _REDEEM,
            _resource(found),
            actor=subject_of(found.user_id),
            client_id=found.client_id,
            scope=found.scope,
        )
        return Outcome("GRANTED", polled.interval_s, tokens)

    async def _keep(
        self, call: Call, begun: Begun, client_id: str, scope: str, device: DeviceInfo
    ) -> None:
        now_ms = self._clock.now_ms()
        made = DeviceCode(
            id=uuid7(now_ms),
            client_id=client_id,
            scope=scope,
            ip=device.ip,
            user_agent=device.user_agent,
            state="PENDING",
            user_id=None,
            session_id="",
            acr="",
            auth_time_s=0,
            interval_s=INTERVAL_S,
            polled_at_ms=None,
            created_at_ms=now_ms,
            expires_at_ms=now_ms + LIFETIME_S * 1_000,
        )
        async with self._db.tenant(call.tenant_id) as tx:
            await store.insert(
                tx,
                made,
                device_hash=device_digest(begun.device_code),
                user_hash=user_digest(call.tenant_id, begun.user_code),
            )
            await self._log.done(
                tx,
                call,
                "authn.device_code.begin",
                _resource(made),
                device=device,
                client_id=client_id,
                scope=scope,
            )

    async def _entered(self, call: Call, typed: str, device: DeviceInfo) -> str:
        """Count that somebody who is signed in entered a code; its digest."""
        person = require_person(call)
        claims = require_claims(call)
        # Neither a device lets another one in, nor who is bound to an org one for the whole tenant.
        if claims.amr == DEVICE_AMR or claims.org_id is not None:
            raise PermissionDenied("Sign in to decide about a device", reason="NOT_SIGNED_IN")
        await self._limits.count(call.tenant_id, ENTRY_BY_PERSON, str(person))
        await self._limits.count(call.tenant_id, ENTRY_BY_ADDRESS, network(device.ip))
        try:
            return user_digest(call.tenant_id, normal_user_code(typed))
        except ArgyError as error:
            await self._refused(call, error, device)
            raise

    async def _refused(self, call: Call, error: ArgyError, device: DeviceInfo) -> None:
        if error.reason in {"USER_CODE_UNKNOWN", "DEVICE_CODE_DECIDED"}:
            await self._log.refused(
                call, "authn.device_code.enter", "authn.device_code:-", error, device=device
            )

    async def _misused(self, tx: Tx, call: Call, found: DeviceCode, client_id: str) -> None:
        used = found.state == "REDEEMED"
        await self._log.done(
            tx,
            call,
            _REDEEM,
            _resource(found),
            outcome="DENIED",
            reason="DEVICE_CODE_USED" if used else "CLIENT_OF_ANOTHER",
            client_id=client_id[:64],
        )


def _resource(found: DeviceCode) -> str:
    return f"authn.device_code:{found.id}"
