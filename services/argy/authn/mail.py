"""Mail that sign-in sends: handed over without waiting, delivered by a task of its own.

Best effort, in memory: what a stopped process had not delivered yet is asked for again by whoever
waits for it. The queue is bounded. A mail holds a secret that signs in, so the log tells to whom
one went or didn't go, and never what was in it.
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol
from uuid import UUID

from argy.base.ids import uuid7

MAX_QUEUED: Final = 1_000
BACKOFF_S: Final = (1.0, 5.0, 30.0)
"""Waits before the second attempt and those after it: a link is good for minutes."""
ATTEMPT_TIMEOUT_S: Final = 10.0
_SENDERS: Final = 4
_CLOSE_TIMEOUT_S: Final = 2.0
_LOG: Final = logging.getLogger("argy.authn.mail")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail:
    """One mail to one person."""

    to: str
    subject: str
    text: str = field(repr=False)
    kind: str
    """What it is about, for the log: ``sign_in``, ``invitation``, ``notice`` and so on."""
    tenant: str
    user_id: UUID | None = None
    """Whose mail it is, for the audit log."""
    id: UUID = field(default_factory=uuid7)


class MailError(Exception):
    """A mail was not taken; the message says why, for the log, and holds nothing of the mail."""


class MailRefused(MailError):
    """A mail that will never be taken: trying again is of no use."""


class MailSink(Protocol):
    """Where mail goes."""

    async def deliver(self, mail: Mail) -> None:
        """Deliver one mail; raises MailRefused, MailError or OSError."""
        ...


class Outbox:
    """Delivers mail; some at a time, so that one slow delivery holds up no other person."""

    def __init__(
        self,
        sink: MailSink,
        *,
        max_queued: int = MAX_QUEUED,
        backoff_s: Sequence[float] = BACKOFF_S,
        attempt_timeout_s: float = ATTEMPT_TIMEOUT_S,
    ) -> None:
        self._sink = sink
        self._queue: asyncio.Queue[Mail] = asyncio.Queue(max_queued)
        self._backoff_s = tuple(backoff_s)
        self._timeout_s = attempt_timeout_s
        self._tasks: list[asyncio.Task[None]] = []
        self.delivered = 0
        self.lost = 0

    def put(self, mail: Mail) -> None:
        """Take a mail: never waits, never raises."""
        try:
            self._queue.put_nowait(mail)
        except asyncio.QueueFull:
            self._lose(mail, "the queue is full")

    async def start(self) -> None:
        """Begin to deliver."""
        self._tasks = [
            asyncio.create_task(self._run(), name=f"mail-{number}") for number in range(_SENDERS)
        ]

    async def drain(self) -> None:
        """Wait until everything that was handed over is delivered or given up."""
        await self._queue.join()

    async def close(self) -> None:
        """Stop; what is under way gets a moment, what is left counts as lost."""
        if self._tasks:
            try:
                async with asyncio.timeout(_CLOSE_TIMEOUT_S):
                    await self._queue.join()
            except TimeoutError:
                pass
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        while not self._queue.empty():
            self._lose(self._queue.get_nowait(), "the process is stopping")

    async def _run(self) -> None:
        while True:
            mail = await self._queue.get()
            try:
                await self._deliver(mail)
            except asyncio.CancelledError:
                self._lose(mail, "the process is stopping")
                raise
            finally:
                self._queue.task_done()

    async def _deliver(self, mail: Mail) -> None:
        why = ""
        for wait_s in (0.0, *self._backoff_s):
            await asyncio.sleep(wait_s)
            try:
                async with asyncio.timeout(self._timeout_s):
                    await self._sink.deliver(mail)
            except TimeoutError:
                why = f"no answer within {self._timeout_s:g} s"
            except (MailError, OSError) as error:
                why = str(error) or type(error).__name__
            except Exception as error:  # noqa: BLE001 - one odd answer must not end the task
                why = type(error).__name__
            else:
                self.delivered += 1
                _LOG.info("sent %s mail %s", mail.kind, mail.id)
                return
            _LOG.info("%s mail %s was not taken yet: %s", mail.kind, mail.id, why)
        self._lose(mail, why)

    def _lose(self, mail: Mail, why: str) -> None:
        self.lost += 1
        _LOG.warning(
            "%s mail %s was not delivered: %s (%d lost so far)", mail.kind, mail.id, why, self.lost
        )
