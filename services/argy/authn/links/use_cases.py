"""The use cases of links by mail: asked for, sent as an invitation, looked at, used."""

import asyncio
from dataclasses import dataclass
from uuid import UUID

from argy.authn.limits import RateLimits
from argy.authn.links import store
from argy.authn.links.domain import (
    INVITATION_MS,
    INVITE_BY_PERSON,
    INVITE_BY_TENANT,
    LINK_BY_ADDRESS,
    LINK_BY_IP,
    LINK_BY_TENANT,
    LINK_MS,
    LOOK_BY_IP,
    TRY_BY_IP,
    Described,
    Link,
    address_key,
    check_bound,
    check_live,
    link_over,
    masked,
    must_register,
    purpose_in_use,
    purpose_of,
)
from argy.authn.mail.message import Mail
from argy.authn.mail.outbox import Outbox
from argy.authn.mail.texts import invitation, recovered, recovery_link, sign_in_link
from argy.authn.passkeys import store as passkey_store
from argy.authn.rates import NAMELESS_BY_TENANT, network
from argy.authn.security_notices import store as security_notice_store
from argy.authn.sessions.accounts import (
    Account,
    check_invitable,
    find_account,
    find_account_by_email,
)
from argy.authn.sessions.audit import NOBODY, SignInLog, subject_of
from argy.authn.sessions.domain import DeviceInfo, Session, digest, new_secret
from argy.authn.sessions.use_cases import Sessions
from argy.authn.sign_in_policy import store as sign_in_policy_store
from argy.authn.sign_in_policy.domain import check_links_on
from argy.base.addresses import email_address
from argy.base.clock import Clock
from argy.base.errors import ArgyError
from argy.base.ids import uuid7
from argy.rpc.call import Call
from argy.store.database import Database, Tx

ANSWER_S = 0.05
"""Seconds after which whoever asks for a link is answered, at the earliest: when the work has long
been done, so that how long it took tells nothing of who has an account here."""
_MINUTE_MS = 60_000
_DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class Redeemed:
    """What a link gave: a session, its secret, and whether a passkey comes next."""

    session: Session
    secret: str
    must_register: bool


@dataclass(frozen=True, slots=True)
class Invitation:
    """An invitation that was made, not sent yet."""

    mail: Mail
    expires_at_ms: int


class Links:
    """Links of a tenant's people. ``base_url`` is the edge's, without a slash at its end."""

    __slots__ = ("_base_url", "_clock", "_db", "_limits", "_log", "_outbox", "_sessions")

    def __init__(
        self,
        *,
        db: Database,
        limits: RateLimits,
        sessions: Sessions,
        log: SignInLog,
        outbox: Outbox,
        clock: Clock,
        base_url: str,
    ) -> None:
        self._db = db
        self._limits = limits
        self._sessions = sessions
        self._log = log
        self._outbox = outbox
        self._clock = clock
        self._base_url = base_url

    async def request(self, call: Call, email: str, device: DeviceInfo) -> str:
        """Send a link if the address is that of somebody who may sign in.

        The answer is the same and so is the work: limits, two look-ups, a row, a record and a mail
        that is sealed. What is left of a difference (a foreign key, the text of a mail that a task
        of its own sends afterwards) ends before ``ANSWER_S``, when everybody is answered.
        Returns the secret for the cookie of the browser that asked.

        Raises:
            InvalidArgument: ``INVALID_EMAIL``.
            ResourceExhausted: ``RATE_LIMITED``, whether or not the address is somebody's.
            FailedPrecondition: ``LINKS_OFF`` for the whole tenant.
        """
        email = email_address(email)
        loop = asyncio.get_running_loop()
        answer_at_s = loop.time() + ANSWER_S
        try:
            return await self._request(call, email, device)
        finally:
            # Errors too: whatever failed must not tell how far the work had come.
            await asyncio.sleep(max(0.0, answer_at_s - loop.time()))

    async def _request(self, call: Call, email: str, device: DeviceInfo) -> str:
        await self._limits.count(call.tenant_id, LINK_BY_IP, network(device.ip))
        # Before the address, of which each leaves a key in Redis, however it was made up.
        await self._limits.count(call.tenant_id, LINK_BY_TENANT, "all")
        await self._limits.count(call.tenant_id, LINK_BY_ADDRESS, address_key(email))
        secret, browser_secret, now_ms = new_secret(), new_secret(), self._clock.now_ms()
        async with self._db.tenant(call.tenant_id) as tx:
            await _check_on(tx)
            found = await find_account_by_email(tx, email)
            account = found if found is not None and found.active else None
            some_id = account.user_id if account is not None else uuid7(now_ms)
            purpose = purpose_of(has_passkey=await passkey_store.has_usable(tx, some_id))
            made = Link(
                id=uuid7(now_ms),
                user_id=None if account is None else account.user_id,
                purpose=purpose,
                browser_digest=digest(browser_secret),
                device=device,
                created_at_ms=now_ms,
                expires_at_ms=now_ms + LINK_MS,
            )
            await store.insert(tx, made, digest=digest(secret))
            await self._log.done(
                tx,
                call,
                "authn.link.request",
                NOBODY if found is None else subject_of(found.user_id),
                device=device,
                outcome="DENIED" if account is None else "SUCCESS",
                reason="" if account else "ADDRESS_UNKNOWN" if found is None else "USER_DISABLED",
                purpose=purpose,
                link=str(made.id),
            )
        mail = None
        if account is not None:
            text = recovery_link if purpose == "recovery" else sign_in_link
            url = self._url(call, secret)
            mail = text(account, call.tenant.slug, url, device, LINK_MS // _MINUTE_MS)
        await self._outbox.put(call.tenant_id, mail, ends_at_ms=made.expires_at_ms)
        return browser_secret

    async def invite(self, call: Call, user_id: UUID) -> int:
        """Send an invitation; until when it is good, in milliseconds since the Unix epoch.

        Raises:
            NotFound: ``USER_UNKNOWN``.
            FailedPrecondition: ``USER_DISABLED``, or ``LINKS_OFF`` for the whole tenant.
            ResourceExhausted: ``RATE_LIMITED``.
        """
        await self._limits.count(call.tenant_id, INVITE_BY_TENANT, "all")
        await self._limits.count(call.tenant_id, INVITE_BY_PERSON, str(user_id))
        async with self._db.tenant(call.tenant_id) as tx:
            await _check_on(tx)
            account = check_invitable(await find_account(tx, user_id))
            made = await self.make_invitation(tx, call, account)
        await self._outbox.put(call.tenant_id, made.mail, ends_at_ms=made.expires_at_ms)
        return made.expires_at_ms

    async def make_invitation(self, tx: Tx, call: Call, account: Account) -> Invitation:
        """Keep an invitation of somebody; its mail is for who calls, to be sent after ``tx``."""
        secret, now_ms = new_secret(), self._clock.now_ms()
        made = Link(
            id=uuid7(now_ms),
            user_id=account.user_id,
            purpose="invitation",
            browser_digest="",
            device=DeviceInfo(),
            created_at_ms=now_ms,
            expires_at_ms=now_ms + INVITATION_MS,
        )
        await store.insert(tx, made, digest=digest(secret))
        await self._log.done(
            tx, call, "authn.invitation.send", subject_of(account.user_id), link=str(made.id)
        )
        days = INVITATION_MS // _DAY_MS
        mail = invitation(account, call.tenant.slug, self._url(call, secret), days)
        return Invitation(mail, made.expires_at_ms)

    async def describe(self, call: Call, secret: str, device: DeviceInfo) -> Described:
        """What a link is, and whom it signs in, which uses nothing.

        Raises:
            NotFound: ``LINK_OVER``.
            ResourceExhausted: ``RATE_LIMITED``.
        """
        if device.ip:
            await self._limits.count(call.tenant_id, LOOK_BY_IP, network(device.ip))
        async with self._db.tenant(call.tenant_id) as tx:
            found = await store.find(tx, digest(secret))
            link = check_live(found, now_ms=self._clock.now_ms())
            account = None if link.user_id is None else await find_account(tx, link.user_id)
        if account is None:
            raise link_over()
        return Described(link, masked(account.email), call.caller == subject_of(account.user_id))

    async def redeem(
        self, call: Call, secret: str, device: DeviceInfo, *, browser_secret: str, confirmed: bool
    ) -> Redeemed:
        """Use a link, once.

        Raises:
            NotFound: ``LINK_OVER``; also for somebody who was disabled meanwhile.
            FailedPrecondition: ``CONFIRMATION_REQUIRED``, which uses nothing; ``LINKS_OFF``.
            ResourceExhausted: ``RATE_LIMITED``, which alone is not recorded: each would be a row.
        """
        await self._limits.count(call.tenant_id, TRY_BY_IP, network(device.ip))
        resource = [NOBODY]
        try:
            async with self._db.tenant(call.tenant_id) as tx:
                await _check_on(tx)
                found = await store.find(tx, digest(secret))
            link = check_live(found, now_ms=self._clock.now_ms())
            resource[0] = subject_of(link.user_id)
            check_bound(link, browser_secret=browser_secret, confirmed=confirmed)
            return await self._use(call, link, secret, device, confirmed=confirmed)
        except ArgyError as error:
            if resource[0] == NOBODY:
                await self._limits.count(call.tenant_id, NAMELESS_BY_TENANT, "all")
            await self._log.refused(call, "authn.link.redeem", resource[0], error, device=device)
            raise

    async def _use(
        self, call: Call, link: Link, secret: str, device: DeviceInfo, *, confirmed: bool
    ) -> Redeemed:
        user_id = link.user_id
        if user_id is None:
            raise link_over()
        async with self._db.tenant(call.tenant_id) as tx:
            # Each use ends the person's other links, so of two at once one waits for the other.
            await passkey_store.queue_up(tx, user_id)
            await _check_on(tx)
            used = await store.use(tx, link, digest=digest(secret), now_ms=self._clock.now_ms())
            account = await find_account(tx, user_id)
            if not used or account is None:
                raise link_over()
            has_passkey = await passkey_store.has_usable(tx, user_id)
            purpose = purpose_in_use(link.purpose, has_passkey=has_passkey)
            provisional = must_register(purpose)
            session, session_secret = await self._sessions.open(
                tx,
                call,
                user_id,
                "magic_link",
                device,
                provisional=provisional,
                # Who has no passkey is known by the mailbox, from the beginning.
                known_since_ms=None if provisional else 0,
            )
            await self._log.done(
                tx,
                call,
                "authn.link.redeem",
                f"session:{session.session_id}",
                actor=subject_of(user_id),
                device=device,
                purpose=purpose,
                link=str(link.id),
                confirmed=confirmed,
            )
            if purpose == "recovery":
                await security_notice_store.note(
                    tx,
                    user_id,
                    "recovery_used",
                    device,
                    session_id=str(session.session_id),
                    now_ms=self._clock.now_ms(),
                )
        if purpose == "recovery":
            await self._outbox.put(call.tenant_id, recovered(account, call.tenant.slug, device))
        return Redeemed(session, session_secret, provisional)

    def _url(self, call: Call, secret: str) -> str:
        return f"{self._base_url}/{call.tenant.slug}/link/{secret}"


async def _check_on(tx: Tx) -> None:
    check_links_on(await sign_in_policy_store.find(tx))
