"""Recording: durable, once, all or nothing, and told with the name of who reported it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict

from argy.api.audit.v1 import audit_pb2 as pb
from argy.base.errors import InvalidArgument, NotFound, PermissionDenied
from argy.base.ids import uuid7, uuid7_millis


async def record(stub: Any, *events: pb.Event) -> list[str]:
    return list((await stub.RecordEvents(pb.RecordEventsRequest(events=events))).event_ids)


async def read(stub: Any, event_id: str) -> pb.Event:
    response: pb.GetEventResponse = await stub.GetEvent(pb.GetEventRequest(event_id=event_id))
    return response.event


async def test_what_was_recorded_is_read(audit_stub: Any, tenant_factory: Any, event: Any) -> None:
    tenant = await tenant_factory(orgs=("sales",))
    stub = audit_stub(tenant.tenant_id, source="example")
    happened = datetime.now(UTC).replace(microsecond=0) - timedelta(days=2)
    given = event(
        org_id=str(tenant.orgs["sales"]),
        on_behalf_of="user:bob",
        reason="BECAUSE",
        request_id="r-1",
        trace_id="t-1",
        detail={"size": 3, "nested": {"list": [1, None, "x"]}},
    )
    given.occur_time.FromDatetime(happened)
    given.record_time.FromDatetime(happened)
    found = await read(stub, (await record(stub, given))[0])
    assert found.occur_time.ToDatetime(UTC) == happened
    assert abs(found.record_time.ToDatetime(UTC) - datetime.now(UTC)) < timedelta(minutes=1)
    assert found.detail["reported_by"] == "service:example"
    assert MessageToDict(found.detail)["nested"] == {"list": [1, None, "x"]}
    for name in ("org_id", "actor", "on_behalf_of", "action", "resource", "outcome", "reason"):
        assert getattr(found, name) == getattr(given, name)
    assert (found.request_id, found.trace_id) == ("r-1", "t-1")


async def test_ids_come_in_order_and_are_written_once(
    audit_stub: Any, tenant_factory: Any, event: Any
) -> None:
    stub = audit_stub((await tenant_factory()).tenant_id)
    chosen = str(uuid7())
    first = await record(stub, event(event_id=chosen, action="a.first"), event())
    assert first[0] == chosen
    assert uuid7_millis(uuid7()) - (int(first[1].replace("-", ""), 16) >> 80) < 60_000
    assert await record(stub, event(event_id=chosen, action="a.second")) == [chosen]
    assert (await read(stub, chosen)).action == "a.first"


@pytest.mark.parametrize("minutes", [-6, 6])
async def test_ids_of_another_time_are_refused_with_the_whole_batch(
    audit_stub: Any, tenant_factory: Any, event: Any, minutes: int
) -> None:
    stub = audit_stub((await tenant_factory()).tenant_id)
    good, bad = uuid7(), uuid7(uuid7_millis(uuid7()) + minutes * 60_000)
    with pytest.raises(InvalidArgument) as refusal:
        await record(stub, event(event_id=str(good)), event(event_id=str(bad)))
    assert (refusal.value.reason, refusal.value.field) == ("INVALID_EVENT_ID", "events[1].event_id")
    with pytest.raises(NotFound):
        await read(stub, str(good))


async def test_other_ids_are_refused(audit_stub: Any, tenant_factory: Any, event: Any) -> None:
    stub = audit_stub((await tenant_factory()).tenant_id)
    twice = str(uuid7())
    version_4 = "0f8fad5b-d9cb-469f-a165-70867728950e"
    with pytest.raises(InvalidArgument) as refusal:
        await record(stub, event(event_id=version_4), event(event_id=twice), event(event_id=twice))
    assert [violation.field for violation in refusal.value.violations] == [
        "events[0].event_id",
        "events[2].event_id",
    ]


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"actor": "ada"}, "events[0].actor"),
        ({"action": "Not An Action"}, "events[0].action"),
        ({"resource": ""}, "events[0].resource"),
        ({"outcome": pb.OUTCOME_UNSPECIFIED}, "events[0].outcome"),
        ({"detail": {"reported_by": "service:innocent"}}, "events[0].detail"),
        ({"detail": {"deep": [{"x": "a\x00b"}]}}, "events[0].detail"),
        ({"detail": {"number": float("nan")}}, "events[0].detail"),
        ({"detail": {"escaped": "\x01" * 16_000}}, "events[0].detail"),
        ({"detail": {"long": "x" * 17_000}}, "events[0].detail"),
    ],
)
async def test_what_is_malformed_is_named(
    audit_stub: Any, tenant_factory: Any, event: Any, fields: dict[str, Any], field: str
) -> None:
    stub = audit_stub((await tenant_factory()).tenant_id)
    with pytest.raises(InvalidArgument) as refusal:
        await record(stub, event(**fields))
    assert refusal.value.field == field


async def test_the_future_is_refused(audit_stub: Any, tenant_factory: Any, event: Any) -> None:
    stub = audit_stub((await tenant_factory()).tenant_id)
    early = event()
    early.occur_time.FromDatetime(datetime.now(UTC) + timedelta(minutes=10))
    malformed = event()
    malformed.occur_time.nanos = -1
    for given in (early, malformed):
        with pytest.raises(InvalidArgument) as refusal:
            await record(stub, given)
        assert refusal.value.field == "events[0].occur_time"


async def test_a_call_in_an_org_records_for_that_org(
    audit_stub: Any, tenant_factory: Any, event: Any
) -> None:
    tenant = await tenant_factory(orgs=("sales", "ops"))
    sales, ops = tenant.orgs["sales"], tenant.orgs["ops"]
    stub = audit_stub(tenant.tenant_id, sales)
    (made,) = await record(stub, event())
    assert (await read(stub, made)).org_id == str(sales)
    with pytest.raises(PermissionDenied) as refusal:
        await record(stub, event(), event(org_id=str(ops)))
    assert (refusal.value.reason, refusal.value.field) == ("OUTSIDE_CALL_ORG", "events[1].org_id")


async def test_events_are_read_in_their_tenant_only(
    audit_stub: Any, tenant_factory: Any, event: Any
) -> None:
    mine, other = await tenant_factory(), await tenant_factory()
    (made,) = await record(audit_stub(mine.tenant_id), event())
    with pytest.raises(NotFound) as refusal:
        await read(audit_stub(other.tenant_id), made)
    assert refusal.value.reason == "EVENT_UNKNOWN"
