"""Audit events as values: which ids and times are accepted, and which range a query reads."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal
from uuid import RFC_4122, UUID

from argy.base.errors import FieldViolation, InvalidArgument, PermissionDenied
from argy.base.ids import uuid7_millis

Outcome = Literal["SUCCESS", "FAILURE", "DENIED"]

MAX_SKEW_MS: Final = 5 * 60 * 1000
"""How far an event's id may be from the server's clock; partitions are made well around it."""
REPORTED_BY: Final = "reported_by"
"""Key of ``detail`` that the server sets to the calling service.

The actor of a reported event is what the caller says. Who said so is kept beside it, can't be
chosen, and is absent from what our own services write in the transaction of a change.
"""
_MAX_MS: Final = (1 << 48) - 1
_MAX_ID: Final = UUID(int=(1 << 128) - 1)
_MIN_TIME_MS: Final = -62_135_596_800_000  # 0001-01-01, as google.protobuf.Timestamp says


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One event of the log. ``detail`` is JSON text or None; times are in UTC."""

    id: UUID
    org_id: UUID | None
    actor: str
    on_behalf_of: str
    via: str
    subject: str
    permission: str
    action: str
    resource: str
    outcome: Outcome
    reason: str
    occurred_at: datetime
    recorded_at: datetime
    request_id: str
    trace_id: str
    detail: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """What a query asks for; empty means any. Reads ids from ``first`` up to, not with, ``end``."""

    actor: str = ""
    action: str = ""
    resource: str = ""
    outcome: str = ""
    request_id: str = ""
    subject: str = ""
    first: UUID
    end: UUID


def id_range(start_ms: int | None, end_ms: int | None, *, before: UUID | None) -> tuple[UUID, UUID]:
    """Return the ids of a time range (milliseconds, the end excluded), going on below ``before``.

    Raises:
        InvalidArgument: ``EMPTY_TIME_RANGE``.
    """
    if start_ms is not None and end_ms is not None and start_ms >= end_ms:
        raise InvalidArgument(
            "end_time must be after start_time", reason="EMPTY_TIME_RANGE", field="end_time"
        )
    first = UUID(int=0) if start_ms is None else _first_id(start_ms)
    end = _MAX_ID if end_ms is None else _first_id(end_ms)
    return first, end if before is None else min(end, before)


def check_ids(ids: Sequence[UUID | None], *, now_ms: int) -> None:
    """Refuse ids that are no UUIDv7, lie outside ±5 minutes, or are there twice.

    Raises:
        InvalidArgument: naming each such ``events[i].event_id``.
    """
    problems: list[FieldViolation] = []
    seen: set[UUID] = set()
    for index, event_id in enumerate(ids):
        if event_id is None:
            continue
        problem = _id_problem(event_id, seen, now_ms)
        seen.add(event_id)
        if problem:
            problems.append(FieldViolation(f"events[{index}].event_id", problem))
    if problems:
        raise InvalidArgument(
            f"{problems[0].field} {problems[0].description}",
            reason="INVALID_EVENT_ID",
            violations=problems[:20],
        )


def check_occurred(occurred_ms: int, *, now_ms: int, field: str) -> None:
    """Refuse times that can't be: events may be told of late, but not before they happen.

    Raises:
        InvalidArgument: ``TIME_OUT_OF_RANGE``.
    """
    if not _MIN_TIME_MS <= occurred_ms <= now_ms + MAX_SKEW_MS:
        raise InvalidArgument(
            f"{field} must be no more than five minutes ahead of now",
            reason="TIME_OUT_OF_RANGE",
            field=field,
        )


def event_org(asked: UUID | None, *, call_org: UUID | None, field: str) -> UUID | None:
    """Return the org of an event: a call in an org tells of that org only.

    Raises:
        PermissionDenied: ``OUTSIDE_CALL_ORG``.
    """
    if call_org is None or asked in (None, call_org):
        return asked or call_org
    raise PermissionDenied(
        "A call in an org can record events of that org only",
        reason="OUTSIDE_CALL_ORG",
        field=field,
    )


def reported(detail: Mapping[str, Any] | None, *, by: str, field: str) -> dict[str, Any]:
    """Return the detail with its reporter.

    Raises:
        InvalidArgument: ``RESERVED_DETAIL_KEY`` or ``UNSTORABLE_VALUE``.
    """
    given = dict(detail or {})
    if REPORTED_BY in given:
        raise InvalidArgument(
            f"{field}.{REPORTED_BY} is set by the server",
            reason="RESERVED_DETAIL_KEY",
            field=field,
        )
    if _has_nul(given):
        raise InvalidArgument(
            f"{field} must not contain NUL", reason="UNSTORABLE_VALUE", field=field
        )
    return {**given, REPORTED_BY: by}


def _first_id(milliseconds: int) -> UUID:
    return UUID(int=min(max(milliseconds, 0), _MAX_MS) << 80)


def _id_problem(event_id: UUID, seen: set[UUID], now_ms: int) -> str:
    if event_id.variant != RFC_4122 or event_id.version != 7:
        return "must be a UUIDv7"
    if abs(uuid7_millis(event_id) - now_ms) > MAX_SKEW_MS:
        return "must be of a time within five minutes of the server's"
    return "is there twice" if event_id in seen else ""


def _has_nul(value: object) -> bool:
    if isinstance(value, str):
        return "\x00" in value
    if isinstance(value, Mapping):
        return any(_has_nul(key) or _has_nul(item) for key, item in value.items())
    return isinstance(value, list) and any(_has_nul(item) for item in value)
