"""The asynchronous lane to the audit log: a bounded spool on disk, drained in large inserts.

For what must not wait for the database, such as denials and telemetry. What is put is on disk
within ``LINGER_S`` and in the log at least once; ids make that exactly once. When the spool is
full ``put`` refuses, and the log tells of it: an ``audit.gap`` event when the loss begins and
another, with the count, when it is over.
"""

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Final
from uuid import UUID

import msgspec

from argy.base.errors import ArgyError, InvalidArgument, ResourceExhausted
from argy.base.ids import PLATFORM_TENANT_ID
from argy.base.shares import NOBODY, Shares
from argy.store.database import Database
from argy.trail.records import AuditRecord, record, record_many
from argy.trail.spool import Segment, Spool

LINGER_S: Final = 0.05
"""How long the first record of a segment waits for company: every segment costs two fsyncs."""
BATCH_ROWS: Final = 1000
BUSY_ROWS: Final = 64
"""From so many rows in one go on, the next go waits for company."""
BUSY_PAUSE_S: Final = 0.15
"""How long a busy lane waits: what is in the spool is safe, and every go costs six round trips."""
GAP_ACTION: Final = "audit.gap"
"""Action of the events that tell of a loss."""
_MAX_SEGMENT_LINES: Final = 5000
_MAX_GAPS: Final = 1000
_HELD_SEGMENTS: Final = 4
"""Segments whose records stay in memory too, so that a lane that keeps up never reads back."""
_BACKOFF_S: Final = (0.05, 0.2, 1.0, 5.0)
_ENCODER: Final = msgspec.json.Encoder()
_DECODER: Final = msgspec.json.Decoder(tuple[UUID, AuditRecord])

_LOG: Final = logging.getLogger(__name__)

_Entry = tuple[UUID, AuditRecord]


class AuditLane:
    """Takes audit records without waiting; ``max_bytes`` bounds memory and disk together."""

    def __init__(self, db: Database, spool_dir: Path, *, max_bytes: int = 256 << 20) -> None:
        self._db = db
        self._spool_dir = spool_dir
        self._spool: Spool | None = None
        self._lines: list[bytes] = []
        self._entries: list[_Entry] = []
        """What the lines say, line by line."""
        self._segments: deque[Segment] = deque()
        self._held: dict[Segment, list[_Entry]] = {}
        self._shares = Shares(max_bytes)
        self._owed: dict[Segment, Counter[UUID]] = {}
        """Bytes of each tenant in a segment."""
        self._lost: dict[UUID, int] = {}
        self._work = asyncio.Event()
        self._stored = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._tasks: list[asyncio.Task[None]] = []
        self._delivered = 0
        self._broken = False

    @property
    def backlog_bytes(self) -> int:
        """Bytes taken and not yet in the log."""
        return self._shares.total

    def full(self, tenant_id: UUID) -> bool:
        """Whether ``put`` would refuse a tenant's record: it holds its share of the room."""
        return self._broken or self._shares.full(tenant_id)

    @property
    def delivered(self) -> int:
        """Records that this lane brought into the log."""
        return self._delivered

    async def start(self) -> None:
        """Take over what earlier processes left in the spool, and begin to drain.

        Raises:
            FailedPrecondition: if no share of the spool folder is free.
        """
        spool = self._spool = await asyncio.to_thread(Spool, self._spool_dir)
        self._segments.extend(await asyncio.to_thread(spool.adopt))
        for segment in self._segments:
            self._owe(segment, Counter({NOBODY: segment.size}))
        if spool.interrupted:
            self._take(PLATFORM_TENANT_ID, _gap("INTERRUPTED", segments=spool.interrupted))
        if self._segments:
            self._idle.clear()
            self._stored.set()
        self._tasks = [
            asyncio.create_task(self._write(spool), name="audit-lane-write"),
            asyncio.create_task(self._drain(spool), name="audit-lane-drain"),
        ]
        for task in self._tasks:
            task.add_done_callback(self._ended)

    def put(self, tenant_id: UUID, rec: AuditRecord) -> None:
        """Take a record; returns at once.

        Raises:
            ResourceExhausted: ``AUDIT_LANE_FULL``: the record is lost, and the log will say so.
            InvalidArgument: if the record's detail is not JSON.
        """
        if self.full(tenant_id):
            self._lose(tenant_id)
            raise ResourceExhausted(
                "The audit lane has no more room for this tenant",
                reason="AUDIT_LANE_FULL",
                retry_after_ms=1000,
            )
        if tenant_id in self._lost:
            self._close_gap(tenant_id)
        self._take(tenant_id, rec)

    async def drain(self) -> None:
        """Wait until everything that was put is in the log."""
        await self._idle.wait()

    async def close(self, *, timeout_s: float = 5.0) -> None:
        """Drain for ``timeout_s`` at most; what is left stays in the spool for the next start."""
        for tenant_id in list(self._lost):
            self._close_gap(tenant_id)
        drained = asyncio.create_task(self.drain())
        await asyncio.wait([drained], timeout=timeout_s if self._tasks else 0)
        stopping = [drained, *self._tasks]
        for task in stopping:
            task.cancel()
        await asyncio.gather(*stopping, return_exceptions=True)
        self._tasks = []
        if self._spool is not None:
            if self._lines:
                await asyncio.to_thread(self._spool.write, self._lines)
                self._lines = []
            self._spool.close()
            self._spool = None

    def _ended(self, task: "asyncio.Task[None]") -> None:
        """A lane that lost one of its tasks to a bug takes nothing more: no record, no action."""
        if task.cancelled() or task.exception() is None:
            return
        self._broken = True
        _LOG.critical("the audit lane is broken: restart the process", exc_info=task.exception())

    def _take(self, tenant_id: UUID, rec: AuditRecord) -> None:
        try:
            line = _ENCODER.encode((tenant_id, rec))
        except (TypeError, ValueError, OverflowError) as error:
            raise InvalidArgument("The detail is not JSON", field="detail") from error
        self._lines.append(line)
        self._entries.append((tenant_id, rec))
        self._shares.take(tenant_id, len(line) + 1)
        self._idle.clear()
        self._work.set()

    def _lose(self, tenant_id: UUID) -> None:
        if tenant_id not in self._lost and len(self._lost) >= _MAX_GAPS:
            tenant_id = PLATFORM_TENANT_ID
        if tenant_id not in self._lost:
            # Beyond the limit by one small record a tenant, so that a crash can't hide the loss.
            self._lost[tenant_id] = 0
            self._take(tenant_id, _gap("BEGAN"))
        self._lost[tenant_id] += 1

    def _close_gap(self, tenant_id: UUID) -> None:
        self._take(tenant_id, _gap("ENDED", lost=self._lost.pop(tenant_id)))

    def _owe(self, segment: Segment, owed: Counter[UUID]) -> None:
        """Count a segment that was there before this process."""
        self._owed[segment] = owed
        for tenant_id, size in owed.items():
            self._shares.take(tenant_id, size)

    async def _write(self, spool: Spool) -> None:
        while True:
            await self._work.wait()
            await asyncio.sleep(LINGER_S)
            self._work.clear()
            while self._lines:
                lines = self._lines[:_MAX_SEGMENT_LINES]
                try:
                    # Kept in memory until it is on disk; shielded, so that a segment whose write
                    # was begun is not stored twice.
                    segment = await asyncio.shield(asyncio.to_thread(spool.write, lines))
                except OSError:
                    await asyncio.sleep(_BACKOFF_S[-1])  # a full disk: the bound in memory holds
                    continue
                del self._lines[: len(lines)]
                entries = self._entries[: len(lines)]
                del self._entries[: len(lines)]
                owed: Counter[UUID] = Counter()
                for (tenant_id, _), line in zip(entries, lines, strict=True):
                    owed[tenant_id] += len(line) + 1
                self._owed[segment] = owed
                if len(self._held) < _HELD_SEGMENTS:
                    self._held[segment] = entries
                self._segments.append(segment)
                self._stored.set()

    async def _drain(self, spool: Spool) -> None:
        attempt = 0
        while True:
            await self._stored.wait()
            while self._segments:
                segments = self._next_segments()
                try:
                    entries: list[_Entry] = []
                    for segment in segments:
                        entries += self._held.get(segment) or await self._read(spool, segment)
                    for start in range(0, len(entries), BATCH_ROWS):
                        await self._deliver(entries[start : start + BATCH_ROWS])
                    await asyncio.to_thread(spool.remove, segments)
                except (ArgyError, OSError):
                    # The database or the disk is away; the ids make a second delivery harmless.
                    await asyncio.sleep(_BACKOFF_S[min(attempt, len(_BACKOFF_S) - 1)])
                    attempt += 1
                    continue
                attempt = 0
                for segment in segments:
                    self._segments.popleft()
                    self._held.pop(segment, None)
                    for tenant_id, size in self._owed.pop(segment).items():
                        self._shares.give(tenant_id, size)
                self._delivered += len(entries)
                if len(entries) >= BUSY_ROWS and self._lines:
                    await asyncio.sleep(BUSY_PAUSE_S)
            self._stored.clear()
            if not self._lines:
                self._idle.set()

    def _next_segments(self) -> list[Segment]:
        """The oldest segment, and those after it that memory holds and one insert has room for."""
        chosen = [self._segments[0]]
        rows = len(self._held.get(chosen[0], ()))
        for segment in islice(self._segments, 1, None):
            rows += len(self._held.get(segment, ()))
            if rows > BATCH_ROWS or segment not in self._held:
                break
            chosen.append(segment)
        return chosen

    async def _read(self, spool: Spool, segment: Segment) -> list[_Entry]:
        entries, damaged = await asyncio.to_thread(_decode, spool, segment)
        if damaged:
            entries.append((PLATFORM_TENANT_ID, _gap("DAMAGED", lost=damaged)))
        return entries

    async def _deliver(self, entries: Sequence[_Entry]) -> None:
        by_tenant: dict[UUID, list[AuditRecord]] = {}
        for tenant_id, rec in entries:
            by_tenant.setdefault(tenant_id, []).append(rec)
        try:
            async with self._db.tenant(PLATFORM_TENANT_ID) as tx:
                for tenant_id, recs in by_tenant.items():
                    async with tx.unsafe_enter(tenant_id):
                        await record_many(tx, recs)
        except InvalidArgument:
            for tenant_id, recs in by_tenant.items():
                await self._deliver_singly(tenant_id, recs)

    async def _deliver_singly(self, tenant_id: UUID, recs: Sequence[AuditRecord]) -> None:
        """Find the records that the database refuses for good, and tell of them."""
        refused: list[AuditRecord] = []
        for rec in recs:
            try:
                async with self._db.tenant(tenant_id) as tx:
                    await record_many(tx, [rec])
            except InvalidArgument:
                refused.append(rec)
        if refused:
            ids = [str(rec.id) for rec in refused[:100]]
            async with self._db.tenant(tenant_id) as tx:
                await record(tx, _gap("REFUSED", lost=len(refused), ids=ids))


def _decode(spool: Spool, segment: Segment) -> tuple[list[_Entry], int]:
    """Return a segment's entries, and how many lines can't be read."""
    entries: list[_Entry] = []
    damaged = 0
    for line in spool.read(segment):
        try:
            entries.append(_DECODER.decode(line))
        except msgspec.DecodeError:
            damaged += 1
    return entries, damaged


def _gap(reason: str, **detail: object) -> AuditRecord:
    return AuditRecord(
        actor="system:audit-lane",
        action=GAP_ACTION,
        resource="audit.event:-",
        outcome="FAILURE",
        reason=reason,
        detail=detail or None,
    )
