"""Sends the mail that waits: tenants in turn, some at a time, again after growing pauses.

Every replica does this on the same queue; who put a mail mostly sends it, for it looks at once, the
others look every second. A mail that can't be sent leaves a record in its tenant's audit log. It
holds a secret that signs in, so log and audit tell whose it was and never what was in it.
"""

import asyncio
import logging
import secrets
from collections import Counter
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from argy.authn.mail import Mail, MailError, MailRefused, MailSink
from argy.authn.mail_queue import Lane, MailQueue, Taken, Waiting
from argy.authn.session_audit import subject_of
from argy.base.clock import Clock
from argy.base.errors import ArgyError, Unavailable
from argy.store.audit import AuditRecord, record
from argy.store.database import Database

MAX_WAIT_MS: Final = 86_400_000
"""No mail waits longer, whatever it holds."""
_FACTOR: Final = 3
_RANDOM: Final = secrets.SystemRandom()
_LOG: Final = logging.getLogger("argy.authn.mail")
_NOBODYS: Final = Mail(
    to="nobody@example.invalid", subject="-", text="-" * 500, kind="sign_in", tenant="-"
)
"""What is sealed for somebody who gets no mail, so that it takes as long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How mail is sent. Of a crashed process' mail another one hears after ``lease_s``."""

    senders: int = 16
    per_tenant: int = 2
    """Of the senders, how many one tenant's mail may hold."""
    tries: int = 12
    attempt_s: float = 10.0
    lease_s: float = 30.0
    """Longer than an attempt and its record take."""
    first_pause_s: float = 2.0
    longest_pause_s: float = 900.0
    look_s: float = 1.0
    """How often is looked for mail that another replica left."""
    close_s: float = 2.0
    """How long what is under way may take when the process stops."""

    def pause_s(self, tries: int) -> float:
        """Seconds until the next attempt, after ``tries``: exponential, the upper half random."""
        longest = min(self.longest_pause_s, self.first_pause_s * _FACTOR ** (tries - 1))
        return _RANDOM.uniform(longest / 2, longest)


class Outbox:
    """Takes mail, and sends what waits."""

    def __init__(
        self, queue: MailQueue, sink: MailSink, *, db: Database, clock: Clock, pace: Pace = Pace()
    ) -> None:
        self._queue = queue
        self._sink = sink
        self._db = db
        self._clock = clock
        self._pace = pace
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._sending: dict[asyncio.Task[None], UUID] = {}
        self._recording: set[asyncio.Task[None]] = set()
        self._follower: asyncio.Task[None] | None = None
        self._closing = False
        self._last = UUID(int=0)
        self.counts: Counter[str] = Counter()
        """``sent``, ``retried``, ``put_back``, and by reason what was not sent at all."""

    async def put(self, tenant_id: UUID, mail: Mail | None, *, ends_at_ms: int = 0) -> None:
        """Keep a mail, which lives on without this process; never raises.

        None does the same work and sends nothing, for whoever must not learn which it was.
        ``ends_at_ms`` is when what it holds is good for nothing any more.
        """
        now_ms = self._clock.now_ms()
        latest = now_ms + MAX_WAIT_MS
        try:
            await self._queue.put(
                tenant_id,
                mail or _NOBODYS,
                now_ms=now_ms,
                ends_at_ms=min(ends_at_ms or latest, latest),
                rehearse=mail is None,
            )
        except ArgyError as error:
            if mail is not None:
                # Beside the call, which would otherwise take longer for somebody who exists.
                told = asyncio.create_task(self._not_taken(tenant_id, mail, error.reason))
                self._recording.add(told)
                told.add_done_callback(self._recording.discard)
        self._wake.set()

    async def start(self) -> None:
        """Begin to send."""
        self._follower = asyncio.create_task(self._follow(), name="mail")

    async def drain(self) -> None:
        """Wait until no mail waits, whoever put it."""
        while True:
            self._idle.clear()
            await asyncio.gather(*self._recording)
            if await self._queue.size() == 0:
                return
            try:
                async with asyncio.timeout(self._pace.look_s):
                    await self._idle.wait()
            except TimeoutError:
                continue

    async def close(self) -> None:
        """Stop; what is under way gets a moment, then goes back to the queue."""
        self._closing = True
        self._wake.set()
        if self._follower is not None:
            await asyncio.gather(self._follower, return_exceptions=True)
            self._follower = None
        if self._sending:
            await asyncio.wait(self._sending, timeout=self._pace.close_s)
        for task in self._sending:
            task.cancel()
        await asyncio.gather(*self._sending, *self._recording, return_exceptions=True)

    async def _follow(self) -> None:
        away = False
        while not self._closing:
            self._wake.clear()
            try:
                wait_s = await self._look()
            except ArgyError as error:
                if not away:
                    _LOG.warning("mail waits: %s", error.reason)
                away, wait_s = True, self._pace.look_s
            else:
                away = False
            try:
                async with asyncio.timeout(min(wait_s, self._pace.look_s)):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _look(self) -> float:
        """Give mail to every free sender, a tenant's after another's; seconds until more is due."""
        wait_s, lanes = self._pace.look_s, self._in_turn(await self._queue.lanes())
        while lanes:
            still = []
            for lane in lanes:
                if self._closing or len(self._sending) >= self._pace.senders:
                    return wait_s
                if self._held(lane) >= self._pace.per_tenant:
                    continue
                found = await self._queue.take(lane, lease_s=self._pace.lease_s)
                if isinstance(found, Taken):
                    self._last = lane.tenant_id
                    self._begin(found)
                    still.append(lane)
                elif found is not None:
                    wait_s = min(wait_s, found)
            lanes = still
        return wait_s

    def _in_turn(self, lanes: list[Lane]) -> list[Lane]:
        """Who comes after the tenant that was served last comes first."""
        return sorted(lanes, key=lambda lane: (lane.tenant_id <= self._last, lane.tenant_id))

    def _held(self, lane: Lane) -> int:
        return sum(tenant_id == lane.tenant_id for tenant_id in self._sending.values())

    def _begin(self, taken: Taken) -> None:
        task = asyncio.create_task(self._handle(taken), name=f"mail-{taken.mail_id}")
        self._sending[task] = taken.tenant_id
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        del self._sending[task]
        self._idle.set()
        self._wake.set()

    async def _handle(self, taken: Taken) -> None:
        try:
            await self._deliver(taken)
        except asyncio.CancelledError:
            self.counts["put_back"] += 1
            await self._put_back(taken, pause_s=0.0, counted=False)
            raise
        except ArgyError as error:
            # The lease ends, and then it is tried again.
            _LOG.warning("mail %s may be sent twice or late: %s", taken.mail_id, error.reason)

    async def _deliver(self, taken: Taken) -> None:
        try:
            waiting = await self._queue.open(taken)
        except ArgyError as error:
            # Another replica may hold a key that this one does not know yet.
            if error.reason == "KEK_UNKNOWN" and taken.tries < self._pace.tries:
                await self._retry(taken, None, error.reason)
            else:
                await self._give_up(taken, None, "MAIL_UNREADABLE")
            return
        if self._clock.now_ms() >= waiting.ends_at_ms:
            await self._give_up(taken, waiting, "MAIL_EXPIRED")
        elif taken.tries > self._pace.tries:
            # Whoever took it the last time did not live to tell.
            await self._give_up(taken, waiting, "MAIL_TRIED_IN_VAIN")
        else:
            await self._attempt(taken, waiting)

    async def _attempt(self, taken: Taken, waiting: Waiting) -> None:
        try:
            async with asyncio.timeout(self._pace.attempt_s):
                await self._sink.deliver(waiting.mail)
        except MailRefused as error:
            await self._give_up(taken, waiting, "MAIL_REFUSED", str(error))
            return
        except TimeoutError:
            why = f"no answer within {self._pace.attempt_s:g} s"
        except (MailError, OSError) as error:
            why = str(error) or type(error).__name__
        except Exception as error:  # noqa: BLE001 - one odd answer must not end the task
            why = type(error).__name__
        else:
            self.counts["sent"] += 1
            _LOG.info("sent %s mail %s", waiting.mail.kind, taken.mail_id)
            await self._queue.remove(taken)
            return
        if taken.tries >= self._pace.tries:
            await self._give_up(taken, waiting, "MAIL_TRIED_IN_VAIN", why)
        else:
            await self._retry(taken, waiting, why)

    async def _retry(self, taken: Taken, waiting: Waiting | None, why: str) -> None:
        self.counts["retried"] += 1
        _LOG.info("mail %s was not taken yet: %s", taken.mail_id, why)
        pause_s = self._pace.pause_s(taken.tries)
        if waiting is not None:
            left_s = (waiting.ends_at_ms - self._clock.now_ms()) / 1_000
            pause_s = max(0.0, min(pause_s, left_s))
        await self._put_back(taken, pause_s=pause_s)

    async def _put_back(self, taken: Taken, *, pause_s: float, counted: bool = True) -> None:
        try:
            await self._queue.put_back(taken, pause_s=pause_s, counted=counted)
        except Unavailable:
            _LOG.info("mail %s waits until its lease ends", taken.mail_id)

    async def _give_up(
        self, taken: Taken, waiting: Waiting | None, reason: str, why: str = ""
    ) -> None:
        """Record, then remove: what is not recorded yet comes again."""
        mail = None if waiting is None else waiting.mail
        try:
            await self._record(taken.tenant_id, taken.mail_id, mail, reason, taken.tries, why)
        except Unavailable as error:
            await self._retry(taken, None, error.reason)
            return
        except ArgyError as error:
            # Such as a tenant that is gone: nobody is left to read a record.
            _LOG.warning("mail %s leaves no record: %s", taken.mail_id, error.reason)
        await self._queue.remove(taken)

    async def _not_taken(self, tenant_id: UUID, mail: Mail, reason: str) -> None:
        try:
            await self._record(tenant_id, str(mail.id), mail, reason, 0, "")
        except ArgyError as error:
            _LOG.warning("mail %s leaves no record: %s", mail.id, error.reason)

    async def _record(
        self, tenant_id: UUID, mail_id: str, mail: Mail | None, reason: str, tries: int, why: str
    ) -> None:
        kind = "unreadable" if mail is None else mail.kind
        async with self._db.tenant(tenant_id) as tx:
            await record(
                tx,
                AuditRecord(
                    actor="service:authn",
                    action="authn.mail.undeliverable",
                    resource=subject_of(None if mail is None else mail.user_id),
                    outcome="FAILURE",
                    reason=reason,
                    detail={"mail": mail_id, "kind": kind, "tries": tries, "why": why},
                    occurred_at_ms=self._clock.now_ms(),
                ),
            )
        self.counts[reason] += 1
        _LOG.warning("%s mail %s was not delivered: %s %s", kind, mail_id, reason, why)
