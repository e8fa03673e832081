"""What becomes of one mail that was taken: sent, tried again after a growing pause, or given up.

What is given up leaves a record in its tenant's audit log. A mail holds a secret that signs in, so
log and audit tell whose it was and never what was in it.
"""

import asyncio
import logging
import secrets
from collections import Counter
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from argy.authn.mail.message import Mail, MailError, MailRefused, MailSink
from argy.authn.mail.queue import MailQueue, Taken, Waiting
from argy.authn.sessions.audit import subject_of
from argy.base.clock import Clock
from argy.base.errors import ArgyError, Unavailable
from argy.store.database import Database
from argy.trail.records import AuditRecord, record

_FACTOR: Final = 3
_TRIES_TO_RECORD: Final = 3
"""How many times as often as mail is sent its record is tried."""
_RANDOM: Final = secrets.SystemRandom()
_LOG: Final = logging.getLogger("argy.authn.mail")


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


ORDINARY: Final = Pace()


class MailDelivery:
    """Handles taken mail."""

    def __init__(
        self, queue: MailQueue, sink: MailSink, *, db: Database, clock: Clock, pace: Pace
    ) -> None:
        self._queue = queue
        self._sink = sink
        self._db = db
        self._clock = clock
        self._pace = pace
        self.counts: Counter[str] = Counter()

    async def handle(self, taken: Taken) -> None:
        """Send it, put it back, or give it up; puts it back when cancelled."""
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
            if error.reason == "SEALED_VALUE_REFUSED" or taken.tries >= self._pace.tries:
                await self._give_up(taken, None, "MAIL_UNREADABLE", error.reason)
            else:
                # Another replica may hold a key that this one does not know yet.
                await self._retry(taken, None, error.reason)
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
        _LOG.warning("mail %s was not taken yet: %s", taken.mail_id, why)
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
        """Record, then remove: what can't be recorded yet comes again, but not for ever."""
        mail = None if waiting is None else waiting.mail
        try:
            await self._record(taken.tenant_id, taken.mail_id, mail, reason, taken.tries, why)
        except ArgyError as error:
            if taken.tries < _TRIES_TO_RECORD * self._pace.tries:
                await self._retry(taken, None, error.reason)
                return
            _LOG.warning("mail %s leaves no record: %s", taken.mail_id, error.reason)
        await self._queue.remove(taken)

    async def not_taken(self, tenant_id: UUID, mail: Mail, reason: str) -> None:
        """Record a mail that the queue had no room for."""
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
