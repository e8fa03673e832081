"""Queries: every filter, keyset pages, tenants and orgs kept apart, each read recorded itself."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from argy.api.audit.v1 import audit_pb2 as pb
from argy.base.errors import InvalidArgument, NotFound
from argy.base.ids import uuid7, uuid7_millis

Q = pb.QueryEventsRequest


async def record(stub: Any, *events: pb.Event) -> list[str]:
    return list((await stub.RecordEvents(pb.RecordEventsRequest(events=events))).event_ids)


async def ids(stub: Any, **filters: Any) -> list[str]:
    return [event.event_id for event in (await stub.QueryEvents(Q(**filters))).events]


async def test_each_filter_narrows(audit_stub: Any, tenant_factory: Any, event: Any) -> None:
    stub = audit_stub((await tenant_factory()).tenant_id)
    plain, other = await record(
        stub,
        event(),
        event(
            actor="user:bob",
            action="project.read",
            resource="project:beta",
            outcome=pb.OUTCOME_DENIED,
            request_id="r-2",
        ),
    )
    filters: dict[str, Any] = {
        "actor": "user:bob",
        "action": "project.read",
        "resource": "project:beta",
        "outcome": pb.OUTCOME_DENIED,
        "request_id": "r-2",
    }
    for name, value in filters.items():
        assert await ids(stub, **{name: value}) == [other], name
    assert await ids(stub, **filters) == [other]
    assert await ids(stub, actor="user:bob", action="project.deploy") == []
    assert await ids(stub, actor="user:ada") == [plain]


async def test_a_time_range_holds_its_start_and_not_its_end(
    audit_stub: Any, tenant_factory: Any, event: Any
) -> None:
    stub = audit_stub((await tenant_factory()).tenant_id)
    now_ms = uuid7_millis(uuid7())
    early, late = str(uuid7(now_ms - 60_000)), str(uuid7(now_ms))
    await record(stub, event(event_id=early), event(event_id=late))
    start, end = Q(actor="user:ada"), Q(actor="user:ada")
    start.start_time.FromMilliseconds(now_ms)
    end.end_time.FromMilliseconds(now_ms)
    assert [found.event_id for found in (await stub.QueryEvents(start)).events] == [late]
    assert [found.event_id for found in (await stub.QueryEvents(end)).events] == [early]
    end.start_time.FromMilliseconds(now_ms)
    with pytest.raises(InvalidArgument) as refusal:
        await stub.QueryEvents(end)
    assert (refusal.value.reason, refusal.value.field) == ("EMPTY_TIME_RANGE", "end_time")


async def test_times_before_the_log_and_after_it_are_served(
    audit_stub: Any, tenant_factory: Any, event: Any
) -> None:
    stub = audit_stub((await tenant_factory()).tenant_id)
    (made,) = await record(stub, event())
    wide = Q(actor="user:ada")
    wide.start_time.FromDatetime(datetime(1, 1, 1, tzinfo=UTC))
    wide.end_time.FromDatetime(datetime(9999, 12, 31, tzinfo=UTC))
    assert [found.event_id for found in (await stub.QueryEvents(wide)).events] == [made]
    wide.end_time.nanos = -5
    with pytest.raises(InvalidArgument) as refusal:
        await stub.QueryEvents(wide)
    assert refusal.value.field == "end_time"


async def test_pages_come_newest_first_and_hold_everything_once(
    audit_stub: Any, tenant_factory: Any, event: Any
) -> None:
    stub = audit_stub((await tenant_factory()).tenant_id)
    made = await record(stub, *(event() for _ in range(7)))
    request, seen, sizes = Q(actor="user:ada", page_size=3), [], []
    while True:
        page = await stub.QueryEvents(request)
        seen += [found.event_id for found in page.events]
        sizes.append(len(page.events))
        if not page.next_page_token:
            break
        await record(stub, event())  # newer than every page that is still to come
        request.page_token = page.next_page_token
    assert sizes == [3, 3, 1]
    assert seen == sorted(made, reverse=True)


async def test_a_token_serves_its_own_query_only(
    audit_stub: Any, tenant_factory: Any, event: Any
) -> None:
    tenant, other = await tenant_factory(orgs=("sales",)), await tenant_factory()
    stub = audit_stub(tenant.tenant_id)
    await record(stub, event(), event())
    token = (await stub.QueryEvents(Q(actor="user:ada", page_size=1))).next_page_token
    assert len(await ids(stub, actor="user:ada", page_size=2, page_token=token)) == 1
    spoilt = ("A" if token[0] != "A" else "B") + token[1:]
    attempts = [
        (stub, {"actor": "user:ada", "page_token": spoilt}),
        (stub, {"actor": "user:bob", "page_token": token}),
        (audit_stub(other.tenant_id), {"actor": "user:ada", "page_token": token}),
        (
            audit_stub(tenant.tenant_id, tenant.orgs["sales"]),
            {"actor": "user:ada", "page_token": token},
        ),
        (audit_stub(tenant.tenant_id, source="edge"), {"actor": "user:ada", "page_token": token}),
    ]
    for caller, filters in attempts:
        with pytest.raises(InvalidArgument) as refusal:
            await ids(caller, **filters)
        assert (refusal.value.reason, refusal.value.field) == ("INVALID_PAGE_TOKEN", "page_token")


async def test_tenants_and_orgs_are_kept_apart(
    audit_stub: Any, tenant_factory: Any, event: Any
) -> None:
    tenant, other = await tenant_factory(orgs=("sales", "ops")), await tenant_factory()
    sales = tenant.orgs["sales"]
    stub = audit_stub(tenant.tenant_id)
    wide, of_sales, of_ops = await record(
        stub, event(), event(org_id=str(sales)), event(org_id=str(tenant.orgs["ops"]))
    )
    await record(audit_stub(other.tenant_id), event())
    assert sorted(await ids(stub, actor="user:ada")) == sorted([wide, of_sales, of_ops])
    in_sales = audit_stub(tenant.tenant_id, sales)
    wishes: tuple[dict[str, Any], ...] = ({}, {"resource": "project:alpha"}, {"actor": "user:ada"})
    for filters in wishes:
        found = (await in_sales.QueryEvents(Q(**filters))).events
        assert {event.org_id for event in found} == {str(sales)}
    for hidden in (wide, of_ops):
        with pytest.raises(NotFound):
            await in_sales.GetEvent(pb.GetEventRequest(event_id=hidden))


async def test_every_read_is_recorded(
    audit_stub: Any, audit_replica: Any, tenant_factory: Any, event: Any
) -> None:
    stub = audit_stub((await tenant_factory()).tenant_id, source="edge")
    (made,) = await record(stub, event())
    await ids(stub, actor="user:ada")
    await stub.GetEvent(pb.GetEventRequest(event_id=made))
    await audit_replica.lane.drain()
    (query,) = (await stub.QueryEvents(Q(action="audit.event.query"))).events
    (read,) = (await stub.QueryEvents(Q(action="audit.event.read"))).events
    assert (query.actor, query.resource) == ("service:edge", "audit.event:-")
    assert query.detail["filters"]["actor"] == "user:ada"
    assert query.detail["returned"] == 1
    assert read.resource == f"audit.event:{made}"


async def test_a_week_of_another_month_is_no_error(audit_stub: Any, tenant_factory: Any) -> None:
    stub = audit_stub((await tenant_factory()).tenant_id)
    past = Q()
    past.end_time.FromDatetime(datetime.now(UTC) - timedelta(days=400))
    assert not (await stub.QueryEvents(past)).events
