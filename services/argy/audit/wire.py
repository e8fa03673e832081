"""Between the messages of the audit API and the values of its domain."""

import json
from typing import Any, Final
from uuid import UUID

from google.protobuf.json_format import MessageToDict, SerializeToJsonError
from google.protobuf.timestamp_pb2 import Timestamp

from argy.api.audit.v1 import audit_pb2 as pb
from argy.audit.domain import Event, Outcome
from argy.base.errors import InvalidArgument

_MIN_S: Final = -62_135_596_800  # 0001-01-01
_MAX_S: Final = 253_402_300_799  # 9999-12-31, as google.protobuf.Timestamp says
_OUTCOMES: Final[dict[int, Outcome]] = {
    pb.OUTCOME_SUCCESS: "SUCCESS",
    pb.OUTCOME_FAILURE: "FAILURE",
    pb.OUTCOME_DENIED: "DENIED",
}
_OUTCOME_VALUES: Final = {word: pb.Outcome.Value(f"OUTCOME_{word}") for word in _OUTCOMES.values()}


def outcome_of(value: int) -> Outcome:
    """The outcome that a message names; the value is one of those that the rules let in."""
    return _OUTCOMES[value]


def uuid_or_none(text: str) -> UUID | None:
    """The id, or None for the empty string; validation has seen to its form."""
    return UUID(text) if text else None


def milliseconds(time: Timestamp, *, field: str, round_up: bool = False) -> int:
    """A time as milliseconds since the Unix epoch, rounded down unless told otherwise.

    Raises:
        InvalidArgument: ``TIME_OUT_OF_RANGE``.
    """
    if not (_MIN_S <= time.seconds <= _MAX_S and 0 <= time.nanos < 10**9):
        raise InvalidArgument(f"{field} is out of range", reason="TIME_OUT_OF_RANGE", field=field)
    nanos = time.nanos + (999_999 if round_up else 0)
    return time.seconds * 1000 + nanos // 1_000_000


def detail_of(message: pb.Event, *, field: str) -> dict[str, Any] | None:
    """An event's detail as JSON values; None when it has none.

    Raises:
        InvalidArgument: for values that JSON does not have.
    """
    if not message.HasField("detail"):
        return None
    try:
        detail: dict[str, Any] = MessageToDict(message.detail)
    except (SerializeToJsonError, ValueError) as error:
        raise InvalidArgument(
            f"{field} holds what JSON does not have, such as NaN",
            reason="UNSTORABLE_VALUE",
            field=field,
        ) from error
    return detail


def event_message(event: Event) -> pb.Event:
    """The event as a message."""
    message = pb.Event(
        event_id=str(event.id),
        org_id=str(event.org_id) if event.org_id else "",
        actor=event.actor,
        on_behalf_of=event.on_behalf_of,
        via=event.via,
        subject=event.subject,
        permission=event.permission,
        action=event.action,
        resource=event.resource,
        outcome=_OUTCOME_VALUES[event.outcome],
        reason=event.reason,
        request_id=event.request_id,
        trace_id=event.trace_id,
    )
    message.occur_time.FromDatetime(event.occurred_at)
    message.record_time.FromDatetime(event.recorded_at)
    if event.detail is not None:
        message.detail.update(json.loads(event.detail))
    return message
