"""Decisions as events of the audit log: within its limits, whatever was asked.

Who asks may have subjects, resources and contexts from anybody. What the log would refuse is cut,
or left out and said to be: one such question must not keep all other decisions from it.
"""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from google.protobuf.struct_pb2 import Struct

from argy.api.audit.v1 import audit_pb2 as pb
from argy.base.ids import uuid7
from argy.client.authorizer import Answer

ACTION: Final = "authz.decision.check"
RESOURCE: Final = "authz.decision:local"
_PER_EVENT: Final = 40
"""Decisions of one event."""
_MAX_DETAIL: Final = 14_000
"""Bytes: the detail of an event has at most 16 KiB."""
_MAX_CONTEXT: Final = 2_048
"""Encoded bytes; larger contexts are left out, and the record says so."""
_MAX_DEPTH: Final = 16
"""Objects and lists within each other: no server reads a message that is much deeper."""
_OVERHEAD: Final = 200
"""Bytes that the members of one decision take besides their texts, and more."""
_STALE_ID_S: Final = 240.0
"""The audit log takes ids of the last five minutes; what waited longer gets new ones."""

Waiting = tuple[UUID, pb.Event, float]
"""Tenant, event, and when it got its id (seconds)."""


def identified(tenant_id: UUID, event: pb.Event, given_s: float) -> tuple[UUID, pb.Event, float]:
    """The event with an id that the audit log takes now, and when it got it."""
    now_s = time.time()
    if now_s - given_s > _STALE_ID_S:
        event.event_id = str(uuid7())
        return tenant_id, event, now_s
    return tenant_id, event, given_s


def told_of(
    subject: str,
    action: str,
    resource: str,
    context: Mapping[str, Any] | None,
    answer: Answer,
    at_ms: int,
) -> dict[str, Any]:
    """One decision as an event tells it, whatever its caller put into the question."""
    told: dict[str, Any] = {
        "subject": _storable(subject, 256),
        "action": _storable(action, 64),
        "resource": _storable(resource, 512),
        "effect": answer.effect,
        "reason": answer.reason,
        "rule": answer.rule,
        "count": 1,
        "at_ms": at_ms,
    }
    if context:
        facts = _facts(context)
        told |= {"context_omitted": True} if facts is None else {"context": facts}
    return told


def _storable(text: str, most: int) -> str:
    """The start of a text that a caller may have had from anybody, as the audit log can hold it."""
    return text[:most].encode("utf-8", "replace").decode().replace("\0", "\ufffd")


def _facts(context: Mapping[str, Any]) -> dict[str, Any] | None:
    """A copy of a context that the audit log can hold; ``None`` for any other."""
    try:
        text = json.dumps(dict(context), allow_nan=False)
        facts: dict[str, Any] = json.loads(text)
        if _deeper(facts, _MAX_DEPTH) or _encoded(facts) > _MAX_CONTEXT:
            return None
    except (ValueError, TypeError, OverflowError, RecursionError):
        return None
    return None if "\\u0000" in text else facts


def _deeper(value: Any, levels: int) -> bool:
    """Whether there are more than so many levels of objects and lists."""
    if not isinstance(value, dict | list):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(_deeper(one, levels - 1) for one in inner)


def _encoded(value: Mapping[str, Any]) -> int:
    """How many bytes a JSON object takes in an event, where a number takes eleven."""
    struct = Struct()
    struct.update(dict(value))
    return struct.ByteSize()


def parts_of(items: Sequence[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """The decisions of each event, so that its detail is within the limits of the audit log."""
    part: list[dict[str, Any]] = []
    size = 0
    for item in items:
        # As JSON, where a control character takes six bytes; in a message a number takes eleven.
        length = _OVERHEAD + len(json.dumps(item, ensure_ascii=False).encode())
        if "context" in item:
            length += _encoded(item["context"])
        if part and (len(part) >= _PER_EVENT or size + length > _MAX_DETAIL):
            yield part
            part, size = [], 0
        part.append(item)
        size += length
    if part:
        yield part


def event_of(source: str, org_id: UUID | None, detail: Mapping[str, Any]) -> pb.Event:
    """The event of some decisions; DENIED when one of them is not ALLOW."""
    decisions = detail["decisions"]
    denied = any(item["effect"] != "ALLOW" for item in decisions)
    event = pb.Event(
        org_id=str(org_id) if org_id else "",
        actor=source,
        action=ACTION,
        resource=RESOURCE,
        outcome=pb.OUTCOME_DENIED if denied else pb.OUTCOME_SUCCESS,
    )
    event.occur_time.FromMilliseconds(min(item["at_ms"] for item in decisions))
    event.detail.update(dict(detail))
    return event


def gap_of(source: str, lost: int) -> pb.Event:
    """The event that tells of decisions that were lost."""
    event = pb.Event(
        actor=source,
        action="audit.gap",
        resource="audit.event:-",
        outcome=pb.OUTCOME_FAILURE,
        reason="DECISIONS_LOST",
    )
    event.detail.update({"lost": lost})
    return event


def count_of(event: pb.Event) -> int:
    """How many decisions an event tells; 0 for a gap."""
    decisions = event.detail.fields.get("decisions")
    if decisions is None:
        return 0
    return sum(
        int(item.struct_value.fields["count"].number_value) for item in decisions.list_value.values
    )
