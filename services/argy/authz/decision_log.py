"""The decision log: each Check and BatchCheck becomes an audit record, off the caller's path.

A call appends what it has at hand; a task writes the record out moments later and gives it to the
asynchronous lane, which is durable within milliseconds. Backlog is bounded: by default a decision
that can't be logged is refused, before it is made. ``serve`` answers anyway; then the lane counts
what is lost and the audit log tells of it.
"""

import asyncio
from collections import deque
from collections.abc import Iterator, Sequence
from operator import attrgetter
from typing import Any, Final, Literal, Protocol
from uuid import UUID

import msgspec

from argy.api.authz.v1.authz_pb2 import Question
from argy.authz.access import CONTEXT_TAG, Asked
from argy.authz.view import TenantView, plain_facts
from argy.base.errors import ResourceExhausted
from argy.policy import Decision
from argy.rpc.call import Call
from argy.store.audit import AuditRecord

ACTION: Final = "authz.decision.check"
BATCH_RESOURCE: Final = "authz.decision:batch"
_MAX_PART_BYTES: Final = 10_000
"""JSON bytes of one record's decisions: jsonb takes up to six times as much, of 65,536."""
_MAX_CONTEXT_BYTES: Final = 2_048
"""JSON bytes; larger contexts are left out of the log, and the record says so."""
_CHUNK: Final = 50
"""Records that are written out before other tasks get a turn."""
_LINGER_S: Final = 0.02
_RETRY_S: Final = 0.1

_ENCODER: Final = msgspec.json.Encoder()
_ALLOWED: Final = attrgetter("allowed")

OnFull = Literal["reject", "serve"]


class Lane(Protocol):
    """Where records go: ``argy.store.lane.AuditLane``."""

    @property
    def full(self) -> bool:
        """Whether ``put`` would refuse."""
        ...

    def put(self, tenant_id: UUID, rec: AuditRecord) -> None:
        """Take a record, or raise ResourceExhausted and count the loss."""
        ...


_MAX_BYTES: Final = 64 << 20
"""Bytes of the requests whose decisions are not yet in the lane."""

_MAX_OUTCOMES: Final = 65_536

_Entry = tuple[Call, TenantView, Sequence[Question], Sequence[Asked], Sequence[Decision], int]
"""Call, view, questions, what they ask, decisions, and the bytes of the request."""
_Outcome = tuple[str, str, str]
"""Effect, reason and rule of a decision."""


class DecisionLog:
    """Takes decisions without waiting; ``max_decisions`` bounds those not yet in the lane."""

    def __init__(
        self, lane: Lane, *, on_full: OnFull = "reject", max_decisions: int = 200_000
    ) -> None:
        self._lane = lane
        self._reject = on_full == "reject"
        self._max_decisions = max_decisions
        self._pending: deque[_Entry] = deque()
        self._outcomes = _Outcomes()
        self._decisions = 0
        self._bytes = 0
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
        while self._pending:
            self._hand_over(self._pending.popleft())

    def require_room(self) -> None:
        """Refuse a decision that could not be logged; call before deciding.

        Raises:
            ResourceExhausted: ``DECISION_LOG_FULL``.
        """
        full = self._decisions >= self._max_decisions or self._bytes >= _MAX_BYTES
        if self._reject and (full or self._lane.full):
            raise ResourceExhausted(
                "Decisions can't be logged fast enough", reason="DECISION_LOG_FULL",
                retry_after_ms=1000,
            )  # fmt: skip

    def put(
        self,
        call: Call,
        view: TenantView,
        questions: Sequence[Question],
        asked: Sequence[Asked],
        decisions: Sequence[Decision],
    ) -> None:
        """Take the decisions of one call; ``asked`` is what ``questions`` ask, one for one."""
        if call.claims is None and CONTEXT_TAG not in call.body:
            # No question has a context: nothing of them is told but what they ask.
            questions = ()
        # The bytes were parsed: what is kept of the call from here on are its questions.
        size, call.body = len(call.body), b""
        self._decisions += len(decisions)
        self._bytes += size
        entry = (call, view, questions, asked, decisions, size)
        full = self._decisions > self._max_decisions or self._bytes > _MAX_BYTES
        if full and not self._reject:
            self._hand_over(entry)
            return
        self._pending.append(entry)
        if not self._work.is_set():
            self._work.set()
            self._idle.clear()

    async def _run(self) -> None:
        while True:
            await self._work.wait()
            await asyncio.sleep(_LINGER_S)
            self._work.clear()
            done = 0
            while self._pending:
                if self._lane.full and self._reject:
                    await asyncio.sleep(_RETRY_S)
                    continue
                self._hand_over(self._pending.popleft())
                done += 1
                if done % _CHUNK == 0:
                    await asyncio.sleep(0)
            if not self._work.is_set():
                self._idle.set()

    def _hand_over(self, entry: _Entry) -> None:
        call, view, questions, asked, decisions, size = entry
        self._decisions -= len(decisions)
        self._bytes -= size
        outcomes = self._outcomes.of(decisions)
        for rec in records(call, view, questions, asked, decisions, outcomes):
            try:
                self._lane.put(call.tenant_id, rec)
            except ResourceExhausted:
                continue  # the lane counts it, and the audit log tells of it


class _Told(msgspec.Struct, gc=False):
    """One decision as the log tells it; what is unset is left out."""

    subject: str
    action: str
    resource: str
    effect: str
    reason: str
    rule: str
    context: object = msgspec.UNSET
    context_omitted: bool | msgspec.UnsetType = msgspec.UNSET


class _Outcomes:
    """What is told of decisions, remembered of those seen lately by identity: they are interned.

    Each entry holds its decision, so an identity can't come to mean another one.
    """

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[int, tuple[Decision, _Outcome]] = {}

    def of(self, decisions: Sequence[Decision]) -> list[_Outcome]:
        """The outcomes of decisions, one for one."""
        known = self._known
        found = []
        for decision in decisions:
            entry = known.get(id(decision))
            if entry is None:
                if len(known) >= _MAX_OUTCOMES:
                    known.clear()
                entry = known[id(decision)] = (decision, _outcome(decision))
            found.append(entry[1])
        return found


def records(
    call: Call,
    view: TenantView,
    questions: Sequence[Question],
    asked: Sequence[Asked],
    decisions: Sequence[Decision],
    outcomes: Sequence[_Outcome],
) -> Iterator[AuditRecord]:
    """Yield a call's record; several with ``part`` and ``parts`` when it is too long for one.

    ``questions`` is empty where none has a context.
    """
    told = [
        _Told(*words, effect, reason, rule)
        for words, (effect, reason, rule) in zip(asked, outcomes, strict=True)
    ]
    if questions:
        for item, question in zip(told, questions, strict=True):
            if question.HasField("context"):
                _tell_context(item, question)
    whole = _ENCODER.encode(told)
    parts = [(0, len(told), whole)] if len(whole) <= _MAX_PART_BYTES else list(_parts(told))
    single = len(decisions) == 1
    subject, permission, resource = "", "", BATCH_RESOURCE
    if single:
        subject, action, resource = asked[0]
        permission = f"{resource.partition(':')[0]}:{action}"
    for number, (start, end, encoded) in enumerate(parts, start=1):
        detail: dict[str, Any] = {
            "policy_revision": view.policy.revision,
            "revision": view.revision,
            # Encoded once, for the spool and for the database.
            "decisions": msgspec.Raw(encoded),
        }
        if len(parts) > 1:
            detail |= {"part": number, "parts": len(parts)}
        allowed = all(map(_ALLOWED, decisions[start:end]))
        yield AuditRecord.of(
            call,
            ACTION,
            resource,
            subject=subject,
            permission=permission,
            outcome="SUCCESS" if allowed else "DENIED",
            reason=decisions[0].reason if single else "",
            detail=detail,
            occurred_at_ms=call.received_ms,
        )


def _parts(told: Sequence[_Told]) -> Iterator[tuple[int, int, bytes]]:
    """Runs of decisions, each with its JSON, which is of ``_MAX_PART_BYTES`` at most."""
    encoded = [_ENCODER.encode(item) for item in told]
    start, total = 0, 0
    for index, item in enumerate(encoded):
        # With the comma or the brackets around it.
        size = len(item) + 2
        if total + size > _MAX_PART_BYTES and index > start:
            yield start, index, b"[%s]" % b",".join(encoded[start:index])
            start, total = index, 0
        total += size
    yield start, len(encoded), b"[%s]" % b",".join(encoded[start:])


def _outcome(decision: Decision) -> _Outcome:
    rule = "" if decision.rule is None else f"{decision.rule.file}:{decision.rule.line}"
    return decision.effect, decision.reason, rule


def _tell_context(item: _Told, question: Question) -> None:
    """Add a question's context, or if it is too long, that it had one."""
    facts = _storable(plain_facts(question.context))
    if len(_ENCODER.encode(facts)) > _MAX_CONTEXT_BYTES:
        item.context_omitted = True
    else:
        item.context = facts


def _storable(value: object) -> object:
    """The value without U+0000, which jsonb can't hold: nobody keeps a decision out of the log."""
    if isinstance(value, str):
        return value.replace("\x00", "\ufffd")
    if isinstance(value, dict):
        return {_storable(name): _storable(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_storable(inner) for inner in value]
    return value
