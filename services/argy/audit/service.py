"""AuditService: record events durably, and find them again."""

from typing import Final
from uuid import UUID

from argy.api.audit.v1 import audit_pb2 as pb
from argy.audit import store
from argy.audit.domain import (
    Filters,
    check_ids,
    check_occurred,
    event_org,
    id_range,
    reported,
)
from argy.audit.wire import detail_of, event_message, milliseconds, outcome_of, uuid_or_none
from argy.base.clock import Clock
from argy.base.errors import InvalidArgument
from argy.base.ids import uuid7
from argy.rpc.call import Call
from argy.rpc.page_token import PageTokens, page_size
from argy.store.database import Database
from argy.trail.lane import AuditLane
from argy.trail.records import AuditRecord, record_many

QUERIED: Final = "audit.event.query"
READ: Final = "audit.event.read"


class AuditService:
    """Events of the call's tenant; a call in an org records and sees that org's alone."""

    def __init__(self, db: Database, lane: AuditLane, pages: PageTokens, clock: Clock) -> None:
        self._db = db
        self._lane = lane
        self._pages = pages
        self._clock = clock

    async def RecordEvents(
        self, request: pb.RecordEventsRequest, call: Call
    ) -> pb.RecordEventsResponse:
        """Write all events or none; they are durable when this answers."""
        now_ms = self._clock.now_ms()
        check_ids([uuid_or_none(event.event_id) for event in request.events], now_ms=now_ms)
        records = [
            _record(call, event, now_ms=now_ms, index=index)
            for index, event in enumerate(request.events)
        ]
        async with self._db.tenant(call.tenant_id, call.org_id) as tx:
            ids = await record_many(tx, records)
        # They are the record.
        call.mark_audited()
        return pb.RecordEventsResponse(event_ids=[str(event_id) for event_id in ids])

    async def QueryEvents(
        self, request: pb.QueryEventsRequest, call: Call
    ) -> pb.QueryEventsResponse:
        """Find events, newest first; times are those of the events' ids."""
        cursor = self._pages.decode(call, request)
        filters = _filters(request, None if cursor is None else UUID(bytes=cursor))
        size = page_size(request.page_size)
        async with self._db.tenant(call.tenant_id, call.org_id) as tx:
            found = await store.list_page(tx, filters, limit=size + 1)
        token = ""
        if len(found) > size:
            token = self._pages.encode(call, request, found[size - 1].id.bytes)
        found = found[:size]
        asked = {
            name: getattr(filters, name)
            for name in ("actor", "action", "resource", "outcome", "request_id", "subject")
            if getattr(filters, name)
        }
        for name in ("start_time", "end_time"):
            if request.HasField(name):
                asked[name] = getattr(request, name).ToJsonString()
        self._tell(call, QUERIED, "audit.event:-", {"filters": asked, "returned": len(found)})
        return pb.QueryEventsResponse(
            events=[event_message(event) for event in found], next_page_token=token
        )

    async def GetEvent(self, request: pb.GetEventRequest, call: Call) -> pb.GetEventResponse:
        """Return one event."""
        async with self._db.tenant(call.tenant_id, call.org_id) as tx:
            event = await store.find(tx, UUID(request.event_id))
        self._tell(call, READ, f"audit.event:{event.id}", None)
        return pb.GetEventResponse(event=event_message(event))

    def _tell(
        self, call: Call, action: str, resource: str, detail: dict[str, object] | None
    ) -> None:
        """Record that the log was read; no answer is given when the lane can't take that."""
        self._lane.put(
            call.tenant_id,
            AuditRecord.of(call, action, resource, detail=detail, occurred_at_ms=call.received_ms),
        )


def _filters(request: pb.QueryEventsRequest, before: UUID | None) -> Filters:
    start_ms = end_ms = None
    if request.HasField("start_time"):
        start_ms = milliseconds(request.start_time, field="start_time")
    if request.HasField("end_time"):
        end_ms = milliseconds(request.end_time, field="end_time", round_up=True)
    first, end = id_range(start_ms, end_ms, before=before)
    return Filters(
        actor=request.actor,
        action=request.action,
        resource=request.resource,
        outcome=outcome_of(request.outcome) if request.outcome else "",
        request_id=request.request_id,
        subject=request.subject,
        first=first,
        end=end,
    )


def _record(call: Call, event: pb.Event, *, now_ms: int, index: int) -> AuditRecord:
    field = f"events[{index}]"
    occurred_ms = now_ms
    if event.HasField("occur_time"):
        occurred_ms = milliseconds(event.occur_time, field=f"{field}.occur_time")
        check_occurred(occurred_ms, now_ms=now_ms, field=f"{field}.occur_time")
    detail_field = f"{field}.detail"
    rec = AuditRecord(
        id=uuid_or_none(event.event_id) or uuid7(now_ms, order=index),
        actor=event.actor,
        action=event.action,
        resource=event.resource,
        outcome=outcome_of(event.outcome),
        reason=event.reason,
        org_id=event_org(uuid_or_none(event.org_id), call_org=call.org_id, field=f"{field}.org_id"),
        on_behalf_of=event.on_behalf_of,
        via=event.via,
        subject=event.subject,
        permission=event.permission,
        request_id=event.request_id,
        trace_id=event.trace_id,
        detail=reported(detail_of(event, field=detail_field), by=call.caller, field=detail_field),
        occurred_at_ms=occurred_ms,
    )
    try:
        rec.detail_json()
    except InvalidArgument as error:
        raise InvalidArgument(
            error.message, reason="DETAIL_TOO_LONG", field=detail_field
        ) from error
    return rec
