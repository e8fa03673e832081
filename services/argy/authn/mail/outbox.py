"""Takes mail, and sends what waits: tenants in turn, some mails at a time.

Every replica does this on the same queue; who put a mail mostly sends it, for it looks at once, the
others look every second.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Coroutine
from typing import Final
from uuid import UUID

from argy.authn.mail.delivery import ORDINARY, MailDelivery, Pace
from argy.authn.mail.message import Mail, MailSink
from argy.authn.mail.queue import Lane, MailQueue, Taken
from argy.base.clock import Clock
from argy.base.errors import ArgyError
from argy.store.database import Database

MAX_WAIT_MS: Final = 86_400_000
"""No mail waits longer, whatever it holds."""
_LOG: Final = logging.getLogger("argy.authn.mail")
_NOBODYS: Final = Mail(
    to="nobody@example.invalid", subject="-", text="-" * 500, kind="sign_in", tenant="-"
)
"""What is sealed for somebody who gets no mail, so that it takes as long."""


class Outbox:
    """Takes mail, and sends what waits."""

    def __init__(
        self, queue: MailQueue, sink: MailSink, *, db: Database, clock: Clock, pace: Pace = ORDINARY
    ) -> None:
        self._queue = queue
        self._clock = clock
        self._pace = pace
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._sending: dict[asyncio.Task[None], UUID] = {}
        self._putting: set[asyncio.Task[None]] = set()
        self._follower: asyncio.Task[None] | None = None
        self._closing = False
        self._last = UUID(int=0)
        self._delivery = MailDelivery(queue, sink, db=db, clock=clock, pace=pace)

    @property
    def counts(self) -> Counter[str]:
        """``sent``, ``retried``, ``put_back``, and by reason what was not sent at all."""
        return self._delivery.counts

    async def put(self, tenant_id: UUID, mail: Mail | None, *, ends_at_ms: int = 0) -> None:
        """Keep a mail, which lives on without this process; raises nothing of ours.

        None does the same work and sends nothing, for whoever must not learn which it was.
        ``ends_at_ms`` is when what it holds is good for nothing any more. Who hangs up meanwhile
        stops nothing.
        """
        await asyncio.shield(self._beside(self._keep(tenant_id, mail, ends_at_ms)))

    async def _keep(self, tenant_id: UUID, mail: Mail | None, ends_at_ms: int) -> None:
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
                # Not for the caller to wait for: it would take longer for somebody who exists.
                self._beside(self._delivery.not_taken(tenant_id, mail, error.reason))
        self._wake.set()

    def _beside(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name="mail-put")
        self._putting.add(task)
        task.add_done_callback(self._putting.discard)
        return task

    async def start(self) -> None:
        """Begin to send."""
        self._follower = asyncio.create_task(self._follow(), name="mail")

    async def drain(self) -> None:
        """Wait until no mail waits, whoever put it."""
        while True:
            self._idle.clear()
            while self._putting:
                await asyncio.gather(*self._putting)
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
        await asyncio.gather(*self._sending, return_exceptions=True)
        while self._putting:
            await asyncio.gather(*self._putting, return_exceptions=True)

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
            except Exception:  # noqa: BLE001 - whatever lies there, mail must go on
                _LOG.exception("mail waits")
                wait_s = self._pace.look_s
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
        task = asyncio.create_task(self._delivery.handle(taken), name=f"mail-{taken.mail_id}")
        self._sending[task] = taken.tenant_id
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        del self._sending[task]
        if not task.cancelled() and (error := task.exception()) is not None:
            _LOG.error("a mail waits until its lease ends: %s", type(error).__name__)
        self._idle.set()
        self._wake.set()
