"""Tells people that something waits for them: by mail and to a webhook, after the commit.

Best effort and never in the way: a caller hands a notification over and goes on. The queue is
bounded; what doesn't fit, or can't be delivered after some attempts, is counted and logged. The
audit log, not this, is the record of what happened.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol
from uuid import UUID

from argy.base.ids import uuid7

MAX_QUEUED: Final = 1_000
ATTEMPTS: Final = 5
BACKOFF_S: Final = (1.0, 5.0, 30.0, 120.0)
"""Waits before the second attempt and those after it."""
ATTEMPT_TIMEOUT_S: Final = 10.0
_CLOSE_TIMEOUT_S: Final = 2.0
_LOG: Final = logging.getLogger("argy.authz.notify")


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification:
    """One thing that happened. ``kind`` is ``approval.requested``, ``break_glass`` and so on."""

    kind: str
    tenant_id: UUID
    tenant: str
    resource: str
    time_ms: int
    data: Mapping[str, object]
    id: UUID = field(default_factory=uuid7)


_LOUD: Final = "break_glass"
"""How the kinds begin that must come through."""

Notify = Callable[[Notification], None]
"""Takes a notification without waiting, and without an error."""


class DeliveryError(Exception):
    """A sink did not take a notification; the message says why, for the log."""


class Sink(Protocol):
    """Where notifications go."""

    @property
    def name(self) -> str:
        """How the log calls it: ``smtp`` or ``webhook``."""
        ...

    async def deliver(self, notification: Notification) -> None:
        """Deliver one notification.

        Raises:
            DeliveryError: when it was not taken.
            OSError: when the sink can't be reached.
        """
        ...


class Notifier:
    """Delivers to each sink in the order of hand-over; a slow sink holds up no other one."""

    def __init__(
        self,
        sinks: Sequence[Sink] = (),
        *,
        max_queued: int = MAX_QUEUED,
        backoff_s: Sequence[float] = BACKOFF_S,
        attempt_timeout_s: float = ATTEMPT_TIMEOUT_S,
    ) -> None:
        self._lanes = [
            _Lane(sink, max_queued, (*backoff_s[: ATTEMPTS - 1],), attempt_timeout_s)
            for sink in sinks
        ]

    def tell(self, notification: Notification) -> None:
        """Take a notification: never waits, never raises."""
        for lane in self._lanes:
            lane.put(notification)

    @property
    def delivered(self) -> int:
        """Deliveries that a sink confirmed."""
        return sum(lane.delivered for lane in self._lanes)

    @property
    def lost(self) -> int:
        """Deliveries that were given up, or for which there was no room."""
        return sum(lane.lost for lane in self._lanes)

    async def start(self) -> None:
        """Begin to deliver."""
        for lane in self._lanes:
            lane.start()

    async def drain(self) -> None:
        """Wait until everything that was handed over is delivered or given up."""
        await asyncio.gather(*(lane.drain() for lane in self._lanes))

    async def close(self) -> None:
        """Stop; what is under way gets a moment, what is left is counted as lost."""
        await asyncio.gather(*(lane.close() for lane in self._lanes))


class _Lane:
    """One sink with its queue and its task."""

    def __init__(
        self, sink: Sink, max_queued: int, backoff_s: tuple[float, ...], timeout_s: float
    ) -> None:
        self._sink = sink
        self._queue: asyncio.Queue[Notification] = asyncio.Queue(max_queued)
        self._kept_free = max_queued // 10
        """Places that only what is loud takes: no flood of requests hides a broken glass."""
        self._backoff_s = backoff_s
        self._timeout_s = timeout_s
        self._task: asyncio.Task[None] | None = None
        self.delivered = 0
        self.lost = 0

    def put(self, notification: Notification) -> None:
        loud = notification.kind.startswith(_LOUD)
        if not loud and self._queue.qsize() >= self._queue.maxsize - self._kept_free:
            self._lose(notification, "the queue is full")
            return
        try:
            self._queue.put_nowait(notification)
        except asyncio.QueueFull:
            self._lose(notification, "the queue is full")

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name=f"notify-{self._sink.name}")

    async def drain(self) -> None:
        await self._queue.join()

    async def close(self) -> None:
        if self._task is None:
            return
        try:
            async with asyncio.timeout(_CLOSE_TIMEOUT_S):
                await self._queue.join()
        except TimeoutError:
            pass
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._task = None
        while not self._queue.empty():
            self._lose(self._queue.get_nowait(), "the process is stopping")

    async def _run(self) -> None:
        while True:
            notification = await self._queue.get()
            try:
                await self._deliver(notification)
            except asyncio.CancelledError:
                self._lose(notification, "the process is stopping")
                raise
            finally:
                self._queue.task_done()

    async def _deliver(self, notification: Notification) -> None:
        why = ""
        for wait_s in (0.0, *self._backoff_s):
            await asyncio.sleep(wait_s)
            try:
                async with asyncio.timeout(self._timeout_s):
                    await self._sink.deliver(notification)
            except TimeoutError:
                why = f"no answer within {self._timeout_s:g} s"
            except (DeliveryError, OSError) as error:
                why = str(error) or type(error).__name__
            except Exception as error:  # noqa: BLE001 - one odd answer must not end the lane
                why = type(error).__name__
            else:
                self.delivered += 1
                return
            _LOG.warning("%s did not take %s yet: %s", self._sink.name, notification.id, why)
        self._lose(notification, why)

    def _lose(self, notification: Notification, why: str) -> None:
        self.lost += 1
        _LOG.warning(
            "%s: %s about %s was not delivered: %s (%d lost so far)",
            self._sink.name,
            notification.kind,
            notification.resource,
            why,
            self.lost,
        )
