"""What a caller may put into questions must not keep decisions from the audit log."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from argy.api.audit.v1 import audit_pb2 as pb
from argy.base.clock import SystemClock
from argy.client.authorizer import Answer
from argy.client.connection import Connection
from argy.client.decision_report import DecisionReport

Make = Callable[..., Any]
DENIED = Answer(False, "DENY", "NO_RULE", "", (), "p1", "r1")


def nested(depth: int) -> dict[str, Any]:
    value: Any = "x"
    for _ in range(depth):
        value = [value]
    return {"tags": value}


def decided(tenant: Any, resource: str, context: Mapping[str, Any] | None = None) -> Any:
    return (
        tenant.tenant_id, None, "user:ada", "read", resource, context, object(), DENIED,
        SystemClock().now_ms(),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("resource", "context"),
    [
        ("invoice:" + "\U0001f600" * 500, None),  # four bytes each
        ("invoice:" + "\x1f" * 500, None),
        ("invoice:1", {"numbers": [1] * 170}),  # eleven bytes each, two in JSON
        ("invoice:1", nested(60)),  # deeper than a server reads
        ("invoice:1", nested(300)),
        ("invoice:1", {"": {"": {"": 1}}}),
    ],
)
async def test_no_question_keeps_the_decisions_of_others_from_the_log(
    connection: Connection,
    tenant_factory: Make,
    audit_stub: Make,
    resource: str,
    context: Mapping[str, Any] | None,
) -> None:
    evil, other = await tenant_factory(), await tenant_factory()
    report = DecisionReport(connection)
    for number in range(40):
        report.pending.append(
            decided(evil, resource, {**context, "n": number} if context else None)
        )
        report.pending.append(decided(evil, f"{resource}{number}", context))
    report.pending.append(decided(other, "invoice:2"))
    await report.close()
    assert report.lost == 0
    assert report.reported == 81
    told = await audit_stub(other.tenant_id).QueryEvents(pb.QueryEventsRequest())
    assert len(told.events) == 1


async def test_an_event_that_the_log_refuses_for_good_is_told_as_a_gap(
    connection: Connection, tenant_factory: Make, audit_stub: Make
) -> None:
    tenant, other = await tenant_factory(), await tenant_factory()
    report = DecisionReport(connection)
    long = Answer(False, "DENY", "X" * 20_000, "", (), "p1", "r1")
    report.pending += [
        (*decided(tenant, "invoice:1")[:7], long, SystemClock().now_ms()),
        decided(tenant, "invoice:2"),
        decided(other, "invoice:3"),
    ]
    await report.close()
    assert (report.reported, report.lost) == (2, 1)
    seen = await audit_stub(tenant.tenant_id).QueryEvents(pb.QueryEventsRequest())
    assert sorted(event.action for event in seen.events) == ["audit.gap", "authz.decision.check"]
