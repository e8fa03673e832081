"""The decision log: each Check and BatchCheck becomes an audit record, off the caller's path.

A call appends what it has at hand; a task writes the record out moments later and gives it to the
asynchronous lane, which is durable within milliseconds. Backlog is bounded: by default a decision
that can't be logged is refused, before it is made. ``serve`` answers anyway; then the lane counts
what is lost and the audit log tells of it.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Final, Literal, Protocol
from uuid import UUID

from argy.api.authz.v1.authz_pb2 import Question
from argy.authz.access import CONTEXT_TAG, Asked
from argy.authz.decision_records import Outcomes, records, written_bytes
from argy.authz.view import TenantView
from argy.base.errors import InvalidArgument, ResourceExhausted
from argy.base.shares import Shares
from argy.policy import Decision
from argy.rpc.call import Call
from argy.trail.records import AuditRecord

_CHUNK: Final = 50
"""Records that are written out before other tasks get a turn."""
_LINGER_S: Final = 0.02
_RETRY_S: Final = 0.1


OnFull = Literal["reject", "serve"]


class Lane(Protocol):
    """Where records go: ``argy.trail.lane.AuditLane``."""

    def full(self, tenant_id: UUID) -> bool:
        """Whether ``put`` would refuse a tenant's record."""
        ...

    def put(self, tenant_id: UUID, rec: AuditRecord) -> None:
        """Take a record, or raise ResourceExhausted and count the loss."""
        ...


_MAX_BYTES: Final = 64 << 20
"""Bytes of the requests whose decisions are not yet in the lane."""

_MAX_CALL_BYTES: Final = 1 << 20
"""Bytes that the decisions of one call may write to the log, about."""

_Entry = tuple[Call, TenantView, Sequence[Question], Sequence[Asked], Sequence[Decision], int]
"""Call, view, questions, what they ask, decisions, and about how many bytes they write."""


class DecisionLog:
    """Takes decisions without waiting; ``max_decisions`` bounds those not yet in the lane."""

    def __init__(
        self, lane: Lane, *, on_full: OnFull = "reject", max_decisions: int = 200_000
    ) -> None:
        self._lane = lane
        self._reject = on_full == "reject"
        self._pending: dict[UUID, deque[_Entry]] = {}
        """By tenant: they take turns."""
        self._outcomes = Outcomes()
        self._decisions = Shares(max_decisions)
        self._bytes = Shares(_MAX_BYTES)
        self._work = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to hand decisions to the lane."""
        self._task = asyncio.create_task(self._run(), name="decision-log")

    async def drain(self) -> None:
        """Wait until everything that was put is with the lane."""
        await self._idle.wait()

    async def close(self) -> None:
        """Hand over what is left; what a full lane refuses now is counted as lost."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        for waiting in self._pending.values():
            while waiting:
                self._hand_over(waiting.popleft())
        self._pending.clear()

    def require_room(self, call: Call, questions: Sequence[Question]) -> int:
        """Refuse decisions that could not be logged; call before deciding, and give ``put`` this.

        Returns about how many bytes they write: a context that questions share is written once.

        Raises:
            InvalidArgument: ``BATCH_TOO_LARGE``, for a call that would write too much.
            ResourceExhausted: ``DECISION_LOG_FULL``, for this tenant alone.
        """
        size = written_bytes(call, questions)
        if len(questions) > 1 and size > _MAX_CALL_BYTES:
            raise InvalidArgument(
                f"the decisions would take about {size} bytes of the log, and a call has "
                f"{_MAX_CALL_BYTES}: ask less at a time",
                reason="BATCH_TOO_LARGE",
                field="questions",
            )
        tenant_id = call.tenant_id
        if self._reject and (
            self._decisions.full(tenant_id)
            or self._bytes.full(tenant_id)
            or self._lane.full(tenant_id)
        ):
            raise ResourceExhausted(
                "Decisions of this tenant can't be logged fast enough",
                reason="DECISION_LOG_FULL",
                retry_after_ms=1000,
            )
        return size

    def put(
        self,
        call: Call,
        view: TenantView,
        questions: Sequence[Question],
        asked: Sequence[Asked],
        decisions: Sequence[Decision],
        size: int,
    ) -> None:
        """Take the decisions of one call; ``asked`` is what ``questions`` ask, one for one.

        ``size`` is what ``require_room`` returned.
        """
        if call.claims is None and CONTEXT_TAG not in call.body:
            # No question has a context: nothing of them is told but what they ask.
            questions = ()
        # The bytes were parsed: what is kept of the call from here on are its questions.
        call.body = b""
        tenant_id = call.tenant_id
        full = self._decisions.full(tenant_id) or self._bytes.full(tenant_id)
        self._decisions.take(tenant_id, len(decisions))
        self._bytes.take(tenant_id, size)
        entry = (call, view, questions, asked, decisions, size)
        if full and not self._reject:
            self._hand_over(entry)
            return
        waiting = self._pending.get(tenant_id)
        if waiting is None:
            waiting = self._pending[tenant_id] = deque()
        waiting.append(entry)
        if not self._work.is_set():
            self._work.set()
            self._idle.clear()

    async def _run(self) -> None:
        while True:
            await self._work.wait()
            await asyncio.sleep(_LINGER_S)
            self._work.clear()
            while self._pending:
                if not await self._round():
                    await asyncio.sleep(_RETRY_S)
            if not self._work.is_set():
                self._idle.set()

    async def _round(self) -> int:
        """Hand over a few of each tenant's that has room in the lane; how many."""
        done = 0
        for tenant_id in list(self._pending):
            waiting = self._pending[tenant_id]
            for _ in range(min(_CHUNK, len(waiting))):
                if self._reject and self._lane.full(tenant_id):
                    break
                self._hand_over(waiting.popleft())
                done += 1
            if not waiting:
                del self._pending[tenant_id]
            await asyncio.sleep(0)
        return done

    def _hand_over(self, entry: _Entry) -> None:
        call, view, questions, asked, decisions, size = entry
        self._decisions.give(call.tenant_id, len(decisions))
        self._bytes.give(call.tenant_id, size)
        outcomes = self._outcomes.of(decisions)
        for rec in records(call, view, questions, asked, decisions, outcomes):
            try:
                self._lane.put(call.tenant_id, rec)
            except ResourceExhausted:
                continue  # the lane counts it, and the audit log tells of it
