"""The use cases of credentials: made, rotated, listed, revoked, verified.

A secret is told once, when it is made, and kept as its SHA-256. Every use is looked up in the
database, so that what is revoked, and whoever is disabled, is refused by every replica from the
next call on. Service keys differ: their secrets are derived; ``argy.rpc.service_keys`` tells how
servers learn of their end.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final
from uuid import UUID

from argy.authn.credentials import making, store
from argy.authn.credentials.domain import (
    HOUR_MS,
    Credential,
    Kind,
    Made,
    check_agent,
    check_days,
    check_live,
    check_room,
    checked_name,
    checked_scopes,
    expiry,
    recognisable,
    unknown_credential,
)
from argy.authn.credentials.rights import Rights
from argy.authn.credentials.usage import LastUsed
from argy.authn.mail.notices import SecurityNotices
from argy.authn.service_keys.domain import subject_of_service
from argy.authn.service_keys.use_cases import FIRST_GENERATION, ServiceKeys, ended_by_rotation
from argy.authn.sessions.audit import SignInLog
from argy.authn.sessions.domain import DeviceInfo
from argy.authn.sessions.service import require_tenant_scope
from argy.base.clock import Clock
from argy.base.errors import FailedPrecondition, PermissionDenied
from argy.base.ids import uuid7
from argy.base.secret_token import token_digest
from argy.rpc.call import Call
from argy.rpc.credentials import VerifiedCredential, invalid_credential
from argy.rpc.person import require_person
from argy.store.database import Database

_UNKNOWN: Final = DeviceInfo()
READ_ANY: Final = "authn.credential:read_any"
REVOKE_ANY: Final = "authn.credential:revoke_any"


class Credentials:
    """Credentials of a tenant; a ``CredentialVerifier`` where it is hosted."""

    __slots__ = ("_clock", "_db", "_log", "_notices", "_rights", "_service_keys", "_used")

    def __init__(
        self,
        *,
        db: Database,
        rights: Rights,
        used: LastUsed,
        log: SignInLog,
        clock: Clock,
        service_keys: ServiceKeys | None = None,
        notices: SecurityNotices | None = None,
    ) -> None:
        """Without ``service_keys`` there are none to be had, without ``notices`` no mails."""
        self._db = db
        self._rights = rights
        self._used = used
        self._log = log
        self._clock = clock
        self._service_keys = service_keys
        self._notices = notices

    @property
    def service_keys(self) -> ServiceKeys:
        """Service keys; raises FailedPrecondition ``SERVICE_KEYS_OFF``."""
        if self._service_keys is None:
            raise FailedPrecondition("there are no service keys here", reason="SERVICE_KEYS_OFF")
        return self._service_keys

    async def make_token(
        self,
        call: Call,
        *,
        name: str,
        scopes: Sequence[str],
        days: int,
        device: DeviceInfo = _UNKNOWN,
    ) -> Made:
        """Make a personal access token for the caller, who proved lately who they are.

        Raises:
            InvalidArgument: for a malformed name, scope or lifetime.
            Unauthenticated: ``PERSON_REQUIRED``.
            FailedPrecondition: ``STEP_UP_REQUIRED``.
            PermissionDenied: ``SCOPE_BEYOND_RIGHTS``; ``TENANT_WIDE_ONLY`` for a call in an org.
            ResourceExhausted: ``TOO_MANY_CREDENTIALS``.
        """
        person = require_person(call)
        making.check_maker(call)
        made = await self._make(
            call, "TOKEN", call.caller, person, name, scopes, days, device=device
        )
        if self._notices is not None:
            await self._notices.tell(call, person, "token_made", device, name=made.credential.name)
        return made

    async def make_key(
        self, call: Call, *, subject: str, name: str, scopes: Sequence[str], days: int
    ) -> Made:
        """Make an API key for an agent: with rights of the agent that its maker holds too.

        Raises as ``make_token``; that the caller may make keys was asked by the access stage.
        """
        check_agent(subject)
        making.check_maker(call)
        return await self._make(call, "KEY", subject, None, name, scopes, days)

    async def make_service_key(
        self, call: Call, *, service: str, name: str, scopes: Sequence[str], days: int
    ) -> Made:
        """Make a key that a service signs with: rights of the service that its maker holds too.

        Raises as ``make_key``, and InvalidArgument ``SERVICE_RESERVED``.
        """
        subject = subject_of_service(service)
        making.check_maker(call)
        return await self._make(call, "SERVICE", subject, None, name, scopes, days)

    async def rotate(self, call: Call, credential_id: UUID, *, overlap_hours: int) -> Made:
        """Make a new secret; the old one is good for the overlap, and for its own time at most.

        The lifetime begins anew. A token is rotated by its owner, a key by whoever may make it. A
        service key's new secret is derived from the root key that signs now.

        Raises:
            NotFound: ``CREDENTIAL_UNKNOWN``, also for another's.
            FailedPrecondition: ``CREDENTIAL_OVER`` or ``STEP_UP_REQUIRED``.
            PermissionDenied: ``SCOPE_BEYOND_RIGHTS``; ``TENANT_WIDE_ONLY`` for a call in an org.
        """
        making.check_maker(call)
        async with self._db.tenant(call.tenant_id) as tx:
            found = await store.find(tx, credential_id, lock=False)
        await making.check_may_rotate(self._rights, call, found, self._clock.now_ms())
        async with self._db.tenant(call.tenant_id) as tx:
            now_ms = self._clock.now_ms()
            live = check_live(await store.find(tx, credential_id, lock=True), now_ms=now_ms)
            generation = live.generation + 1 if live.kind == "SERVICE" else 0
            secret, key_id = self._secret(call, live.kind, live.id, generation, live.subject)
            rotated = replace(
                live,
                generation=generation,
                prefix=recognisable(secret),
                expires_at_ms=expiry(now_ms, live.lifetime_days),
            )
            until_ms = min(now_ms + overlap_hours * HOUR_MS, live.expires_at_ms)
            await store.rotate(
                tx,
                live.id,
                prefix=rotated.prefix,
                secret_hash=token_digest(secret),
                expires_at_ms=rotated.expires_at_ms,
                overlap_until_ms=until_ms if overlap_hours else None,
                generation=generation,
                now_ms=now_ms,
            )
            await self._log.done(
                tx,
                call,
                "authn.credential.rotate",
                live.resource,
                subject=live.subject,
                kind=live.kind,
                overlap_hours=overlap_hours,
            )
        if live.kind == "SERVICE":
            ended = ended_by_rotation(live.generation, overlap=bool(overlap_hours))
            if ended >= FIRST_GENERATION:
                await self.service_keys.announce(call.tenant_id, live.id, ended)
        return Made(rotated, secret, key_id)

    async def list(
        self, call: Call, *, subject: str, after: UUID | None, limit: int
    ) -> Sequence[Credential]:
        """The live credentials of the caller, or of a subject for who may read any's; newest first.

        Raises:
            PermissionDenied: ``ACCESS_DENIED``; ``TENANT_WIDE_ONLY`` of others in an org.
        """
        whose = subject or call.caller
        if whose != call.caller:
            require_tenant_scope(call)
        if whose != call.caller and not await self._rights.holds(call, call.caller, READ_ANY):
            raise PermissionDenied("These are not your own credentials", reason="ACCESS_DENIED")
        async with self._db.tenant(call.tenant_id) as tx:
            return await store.list_page(
                tx, whose, after=after, limit=limit, now_ms=self._clock.now_ms()
            )

    async def revoke(self, call: Call, credential_id: UUID) -> None:
        """End a credential at once: one's own, or anybody's for who may revoke any's.

        Raises:
            NotFound: ``CREDENTIAL_UNKNOWN``, also for one that the caller may not end.
            PermissionDenied: ``TENANT_WIDE_ONLY`` for another's, by who may end any's in an org.
        """
        may_any = await self._rights.holds(call, call.caller, REVOKE_ANY)
        async with self._db.tenant(call.tenant_id) as tx:
            found = await store.find(tx, credential_id, lock=True)
            if found is None or (found.subject != call.caller and not may_any):
                raise unknown_credential()
            if found.subject != call.caller:
                require_tenant_scope(call)
            # Ended before: said once more, it stays as it was.
            ended = await store.revoke(tx, found.id, now_ms=self._clock.now_ms())
            await self._log.done(
                tx,
                call,
                "authn.credential.revoke",
                found.resource,
                subject=found.subject,
                kind=found.kind,
                first=ended,
            )
        if found.kind == "SERVICE":
            # After the row: should this fail, the next answer is right, and it is said again.
            await self.service_keys.announce(call.tenant_id, found.id, 0)

    async def find(self, tenant_id: UUID, secret: str) -> Credential | None:
        """The credential that a secret is good for now; its use is noted."""
        now_ms = self._clock.now_ms()
        async with self._db.tenant(tenant_id) as tx:
            found = await store.find_by_secret(tx, token_digest(secret), now_ms=now_ms)
        if found is not None:
            self._used.note(tenant_id, found.id, now_ms)
        return found

    async def verify(self, tenant_id: UUID, secret: str) -> VerifiedCredential:
        """See ``argy.rpc.credentials.CredentialVerifier``."""
        found = await self.find(tenant_id, secret)
        if found is None:
            raise invalid_credential()
        return VerifiedCredential(str(found.id), found.subject, frozenset(found.scopes))

    async def _make(
        self,
        call: Call,
        kind: Kind,
        subject: str,
        user_id: UUID | None,
        name: str,
        scopes: Sequence[str],
        days: int,
        *,
        device: DeviceInfo = _UNKNOWN,
    ) -> Made:
        name, wanted = checked_name(name), checked_scopes(scopes)
        check_days(kind, days)
        ends_at_ms = expiry(self._clock.now_ms(), days)
        await making.check_rights(self._rights, call, kind, subject, wanted, ends_at_ms)
        made_id, generation = uuid7(), FIRST_GENERATION if kind == "SERVICE" else 0
        secret, key_id = self._secret(call, kind, made_id, generation, subject)
        async with self._db.tenant(call.tenant_id, errors=store.ERRORS) as tx:
            await store.lock_subject(tx, subject)
            now_ms = self._clock.now_ms()
            check_room(kind, await store.count_live(tx, subject, kind, now_ms=now_ms))
            made = Credential(
                id=made_id,
                kind=kind,
                subject=subject,
                name=name,
                prefix=recognisable(secret),
                scopes=wanted,
                lifetime_days=days,
                created_by=call.caller,
                created_at_ms=now_ms,
                expires_at_ms=expiry(now_ms, days),
                generation=generation,
            )
            await store.insert(tx, made, user_id=user_id, secret_hash=token_digest(secret))
            await self._log.done(
                tx,
                call,
                "authn.credential.create",
                made.resource,
                subject=subject,
                kind=kind,
                name=name,
                scopes=list(wanted),
                expires_at_ms=made.expires_at_ms,
            )
            if user_id is not None:
                await making.tell_of_token(tx, call, user_id, made, device)
        return Made(made, secret, key_id)

    def _secret(
        self, call: Call, kind: Kind, credential_id: UUID, generation: int, subject: str
    ) -> tuple[str, str]:
        """A new secret, and the key id of one that signs."""
        if kind == "SERVICE":
            return self.service_keys.secret(call.tenant_id, credential_id, generation, subject)
        return making.random_secret(kind), ""
