"""Reports decisions made in this process to the audit log, in batches, off the caller's path.

A decision costs its caller one append. Twice a second what was appended is folded (the same
question with the same answer is told once, with its count) and recorded. While the platform is away
events wait, with bounds; past them decisions are refused or counted as lost, as the owner chose,
and the audit log tells of the loss.
"""

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal
from uuid import UUID

from argy.api.audit.v1 import audit_pb2 as pb
from argy.api.audit.v1.audit_pb2_grpc import AuditServiceStub
from argy.base.errors import ArgyError, InvalidArgument, PermissionDenied, ResourceExhausted
from argy.client.authorizer import Answer
from argy.client.connection import Connection
from argy.client.decision_events import (
    Waiting,
    count_of,
    event_of,
    gap_of,
    identified,
    parts_of,
    told_of,
)
from argy.policy import Decision

_PERIOD_S: Final = 0.5
MAX_PENDING: Final = 200_000
"""Decisions that wait to be folded."""
_MAX_EVENTS: Final = 5_000
"""Events that wait for the platform: about 50 MB."""
_BATCH: Final = 100
_BACKOFF_S: Final = (0.1, 0.5, 1.0, 5.0)
_CLOSE_S: Final = 5.0
_FOLD: Final = 1_000
"""Decisions folded together, before other tasks get a turn."""

OnFull = Literal["refuse", "drop"]

Entry = tuple[UUID, "UUID | None", str, str, str, "Mapping[str, Any] | None", Decision, Answer, int]
"""Tenant, org, subject, action, resource, context, decision, answer, and when (ms)."""


class DecisionReport:
    """Takes decisions and brings them to the audit log of their tenants."""

    def __init__(self, connection: Connection, *, on_full: OnFull = "refuse") -> None:
        self._connection = connection
        self._refuse = on_full == "refuse"
        self.pending: list[Entry] = []
        """Where a decision is appended, unless there are ``MAX_PENDING``; a fold takes the list."""
        self._events: deque[Waiting] = deque()
        self._lost: dict[UUID, int] = {}
        self._task: asyncio.Task[None] | None = None
        self.reported = 0
        """Decisions that the audit log has."""
        self.lost = 0
        """Decisions that it will never have."""

    def start(self) -> None:
        """Begin to report."""
        self._task = asyncio.create_task(self._run(), name="decision-report")

    def overflow(self, tenant_id: UUID) -> None:
        """Refuse a decision that can't be reported, or count it as lost; call when it is full.

        Raises:
            ResourceExhausted: ``DECISION_LOG_FULL``.
        """
        if self._refuse:
            raise ResourceExhausted(
                "decisions can't be reported fast enough",
                reason="DECISION_LOG_FULL",
                retry_after_ms=1000,
            )
        self.lost += 1
        self._lost[tenant_id] = self._lost.get(tenant_id, 0) + 1

    async def close(self) -> None:
        """Report what is left, for five seconds at most."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        try:
            async with asyncio.timeout(_CLOSE_S):
                await self._fold()
                await self._send()
                if self._lost:
                    await self._fold()
                    await self._send()
        except (ArgyError, TimeoutError):
            self.lost += len(self.pending) + sum(count_of(event) for _, event, _ in self._events)

    async def _run(self) -> None:
        attempt = 0
        while True:
            await asyncio.sleep(_PERIOD_S)
            await self._fold()
            try:
                await self._send()
                attempt = 0
            except ArgyError:
                await asyncio.sleep(_BACKOFF_S[min(attempt, len(_BACKOFF_S) - 1)])
                attempt += 1

    async def _fold(self) -> None:
        """Turn what is pending into events, a slice at a time: no decision is between the two."""
        while self.pending and len(self._events) < _MAX_EVENTS:
            entries = self.pending[:_FOLD]
            del self.pending[:_FOLD]
            self._fold_slice(entries)
            await asyncio.sleep(0)
        lost, self._lost = self._lost, {}
        for tenant_id, count in lost.items():
            self._add(tenant_id, gap_of(self._source, count))

    def _fold_slice(self, entries: Sequence[Entry]) -> None:
        """One record for equal questions with equal answers."""
        groups: dict[tuple[UUID, UUID | None, str, str], dict[Any, dict[str, Any]]] = {}
        for number, entry in enumerate(entries):
            tenant_id, org_id, subject, action, resource, context, decision, answer, at_ms = entry
            where = (tenant_id, org_id, answer.policy_revision, answer.revision)
            # A context makes a question its own.
            key = (subject, action, resource, id(decision), number if context else -1)
            group = groups.setdefault(where, {})
            told = group.get(key)
            if told is not None:
                told["count"] += 1
            else:
                group[key] = told_of(subject, action, resource, context, answer, at_ms)
        for (tenant_id, org_id, policy, revision), items in groups.items():
            for part in parts_of(list(items.values())):
                detail = {"policy_revision": policy, "revision": revision, "decisions": part}
                self._add(tenant_id, event_of(self._source, org_id, detail))

    @property
    def _source(self) -> str:
        return f"service:{self._connection.source}"

    def _add(self, tenant_id: UUID, event: pb.Event) -> None:
        self._events.append((tenant_id, event, 0.0))

    async def _send(self) -> None:
        """Record what waits, tenant by tenant, in order.

        Raises:
            ArgyError: when the platform can't take it now, or of one tenant not at all; it stays.
        """
        refused: dict[UUID, PermissionDenied] = {}
        kept: list[Waiting] = []
        batch: list[Waiting] = []
        try:
            while self._events:
                tenant_id = self._events[0][0]
                batch = []
                while self._events and self._events[0][0] == tenant_id and len(batch) < _BATCH:
                    batch.append(identified(*self._events.popleft()))
                if tenant_id not in refused:
                    try:
                        await self._record_all(tenant_id, batch)
                    except PermissionDenied as error:
                        # A tenant that is suspended must not hold back what others' logs must have.
                        refused[tenant_id] = error
                if tenant_id in refused:
                    kept += batch
                batch = []
        finally:
            # With their ids: what was recorded all the same is not recorded twice.
            self._events.extendleft(reversed((*kept, *batch)))
        for refusal in refused.values():
            raise refusal

    async def _record_all(self, tenant_id: UUID, batch: list[Waiting]) -> None:
        """Record a batch; what is refused for good is lost, and holds nothing else back."""
        try:
            await self._record(tenant_id, batch)
        except InvalidArgument:
            # Taken off one by one: what an error leaves is tried again.
            while batch:
                try:
                    await self._record(tenant_id, batch[:1])
                except InvalidArgument:
                    self._give_up(tenant_id, batch[0][1])
                del batch[0]

    def _give_up(self, tenant_id: UUID, event: pb.Event) -> None:
        count = count_of(event)
        self.lost += count
        if count:  # not for what tells of a loss itself
            self._lost[tenant_id] = self._lost.get(tenant_id, 0) + count

    async def _record(self, tenant_id: UUID, batch: Sequence[Waiting]) -> None:
        stub: Any = AuditServiceStub(self._connection.channel(tenant_id))
        await stub.RecordEvents(pb.RecordEventsRequest(events=[event for _, event, _ in batch]))
        self.reported += sum(count_of(event) for _, event, _ in batch)
