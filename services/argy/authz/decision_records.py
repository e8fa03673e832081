"""The audit records of decisions: what was asked, how it was answered, on what it stood."""

from collections.abc import Iterator, Sequence
from operator import attrgetter
from typing import Any, Final

import msgspec

from argy.api.authz.v1.authz_pb2 import Question
from argy.authz.access import CONTEXT_TAG, Asked
from argy.authz.view import TenantView, plain_facts
from argy.policy import Decision
from argy.rpc.call import Call
from argy.trail.records import AuditRecord

ACTION: Final = "authz.decision.check"
BATCH_RESOURCE: Final = "authz.decision:batch"
_MAX_PART_BYTES: Final = 10_000
"""JSON bytes of one record's decisions: jsonb takes up to six times as much, of 65,536."""
_MAX_CONTEXT_BYTES: Final = 2_048
"""JSON bytes; larger contexts are left out of the log, and the record says so."""
_ITEM_BYTES: Final = 160
"""What is written of a decision beside its question and context, about."""
_ENCODER: Final = msgspec.json.Encoder()
_ALLOWED: Final = attrgetter("allowed")
_MAX_OUTCOMES: Final = 65_536
_Part = tuple[int, int, bytes, list[bytes]]
"""From which to which decision, their JSON, and the contexts that they name."""
_Outcome = tuple[str, str, str]
"""Effect, reason and rule of a decision."""


class _Told(msgspec.Struct, gc=False):
    """One decision as the log tells it; what is unset is left out."""

    subject: str
    action: str
    resource: str
    effect: str
    reason: str
    rule: str
    context: object = msgspec.UNSET
    context_at: int | msgspec.UnsetType = msgspec.UNSET
    """Where in the record's ``contexts`` its context stands."""
    context_omitted: bool | msgspec.UnsetType = msgspec.UNSET


class Outcomes:
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
    single = len(decisions) == 1
    contexts = _contexts(questions) if questions else []
    if single and contexts and contexts[0] is not None:
        if len(contexts[0]) > _MAX_CONTEXT_BYTES:
            told[0].context_omitted = True
        else:
            told[0].context = msgspec.Raw(contexts[0])
        contexts = []
    whole = b"" if contexts else _ENCODER.encode(told)
    if whole and len(whole) <= _MAX_PART_BYTES:
        parts: list[_Part] = [(0, len(told), whole, [])]
    else:
        parts = list(_parts(told, contexts))
    subject, permission, resource = "", "", BATCH_RESOURCE
    if single:
        subject, action, resource = asked[0]
        permission = f"{resource.partition(':')[0]}:{action}"
    for number, (start, end, encoded, table) in enumerate(parts, start=1):
        detail: dict[str, Any] = {
            "policy_revision": view.policy.revision,
            "revision": view.revision,
            # Encoded once, for the spool and for the database.
            "decisions": msgspec.Raw(encoded),
        }
        if table:
            detail["contexts"] = [msgspec.Raw(context) for context in table]
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


def _parts(told: Sequence[_Told], contexts: Sequence[bytes | None]) -> Iterator[_Part]:
    """Runs of decisions with their JSON and their contexts, together ``_MAX_PART_BYTES`` at most.

    A context that several decisions of a run share stands in it once.
    """
    start, total = 0, 0
    items: list[bytes] = []
    table: dict[int, int] = {}
    """Identity of each context of the run to its place."""
    kept: list[bytes] = []
    for index, item in enumerate(told):
        context = contexts[index] if contexts else None
        if context is not None and len(context) > _MAX_CONTEXT_BYTES:
            item.context_omitted, context = True, None
        more = 0
        if context is not None:
            item.context_at = table.get(id(context), len(table))
            more = 0 if id(context) in table else len(context) + 1
        encoded = _ENCODER.encode(item)
        size = len(encoded) + 1 + more
        if total + size > _MAX_PART_BYTES and index > start:
            yield start, index, b"[%s]" % b",".join(items), kept
            start, total, items, table, kept = index, 0, [], {}, []
            if context is not None:
                item.context_at = 0
                encoded, more = _ENCODER.encode(item), len(context) + 1
                size = len(encoded) + 1 + more
        if context is not None and id(context) not in table:
            table[id(context)] = len(table)
            kept.append(context)
        items.append(encoded)
        total += size
    yield start, len(told), b"[%s]" % b",".join(items), kept


def _contexts(questions: Sequence[Question]) -> list[bytes | None]:
    """The JSON of each question's context, the same object where two in a row are equal."""
    found: list[bytes | None] = []
    last: Any = None
    encoded: bytes | None = None
    for question in questions:
        if not question.HasField("context"):
            found.append(None)
            continue
        if last is None or question.context != last:
            last = question.context
            encoded = _ENCODER.encode(_storable(plain_facts(last)))
        found.append(encoded)
    return found


def written_bytes(call: Call, questions: Sequence[Question]) -> int:
    """About how many bytes the decisions of a call take: a context that is shared counts once."""
    size = _ITEM_BYTES * len(questions) + len(call.body)
    if len(questions) > 1 and CONTEXT_TAG in call.body:
        size += _written_contexts(questions) - _sent_contexts(questions)
    return size


def _sent_contexts(questions: Sequence[Question]) -> int:
    """Bytes of contexts as they came."""
    return sum(one.context.ByteSize() for one in questions if one.HasField("context"))


def _written_contexts(questions: Sequence[Question]) -> int:
    """Bytes of contexts that are written, about: what is too long is left out, the rest once."""
    total = 0
    last: Any = None
    for question in questions:
        if question.HasField("context") and (last is None or question.context != last):
            last = question.context
            total += min(last.ByteSize(), _MAX_CONTEXT_BYTES)
    return total


def _outcome(decision: Decision) -> _Outcome:
    rule = "" if decision.rule is None else f"{decision.rule.file}:{decision.rule.line}"
    return decision.effect, decision.reason, rule


def _storable(value: object) -> object:
    """The value without U+0000, which jsonb can't hold: nobody keeps a decision out of the log."""
    if isinstance(value, str):
        return value.replace("\x00", "\ufffd")
    if isinstance(value, dict):
        return {_storable(name): _storable(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_storable(inner) for inner in value]
    return value
