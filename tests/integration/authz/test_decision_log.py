"""Every decision is in the audit log, and none is made that could not be."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import pytest
from google.protobuf.struct_pb2 import Struct

from argy.api.authz.v1 import authz_pb2 as pb
from argy.authz.decision_records import ACTION
from argy.base.errors import InvalidArgument, ResourceExhausted
from argy.trail.records import AuditRecord

Make = Callable[..., Awaitable[Any]]
Client = Callable[..., Any]
USER = "role:PLATFORM_USER"


async def settled(replica: Any) -> None:
    """Everything decided so far is in the log."""
    await replica.authz.log.drain()
    await replica.lane.drain()


async def test_nobody_asks_unseen_by_asking_for_an_explanation(
    authz_replica: Make, authz_client: Client, tenant_factory: Make, audit_events: Make
) -> None:
    tenant, replica = await tenant_factory(), await authz_replica()
    question = pb.Question(subject="user:victim", action="read", resource="secret:root")
    client = authz_client(replica, tenant.tenant_id, source="console")
    answer = await client.authz.Explain(pb.ExplainRequest(question=question))
    assert answer.decision.effect == pb.EFFECT_DENY
    await settled(replica)
    (event,) = await audit_events(tenant.tenant_id, ACTION)
    assert (event["actor"], event["outcome"]) == ("service:console", "DENIED")
    assert json.loads(event["detail"])["decisions"][0]["subject"] == "user:victim"


async def test_checks_are_logged_with_their_reasons(
    authz_replica: Make, authz_client: Client, tenant_factory: Make, audit_events: Make
) -> None:
    tenant = await tenant_factory(orgs=("sales",))
    replica = await authz_replica()
    client = authz_client(replica, tenant.tenant_id, tenant.orgs["sales"])
    granted = await client.grant("agent:a1", USER)
    facts = Struct()
    # U+0000 can't be stored; it must not keep the decision out of the log.
    facts.update({"mfa": True, "note": "a\x00b", "number": float("nan")})
    await client.check("agent:a1", action="deploy", context=facts)
    await client.check("agent:a2")
    await settled(replica)

    allowed, denied = await audit_events(tenant.tenant_id, ACTION)
    assert (allowed["outcome"], denied["outcome"]) == ("SUCCESS", "DENIED")
    assert (allowed["reason"], denied["reason"]) == ("ALLOWED_BY_RULE", "NO_MATCHING_RULE")
    assert allowed["actor"] == "service:cli"
    assert allowed["org_id"] == tenant.orgs["sales"]
    assert allowed["resource"] == "project:alpha"
    detail = json.loads(allowed["detail"])
    assert detail["policy_revision"] == replica.authz.holder.current.revision
    assert detail["revision"] == 1
    assert detail["decisions"] == [
        {
            "subject": "agent:a1",
            "action": "deploy",
            "resource": "project:alpha",
            "effect": "ALLOW",
            "reason": "ALLOWED_BY_RULE",
            "rule": "roles/roles.csv:3",
            "context": {"mfa": True, "note": "a\ufffdb", "number": None},
        }
    ]
    assert granted.revision


async def test_a_batch_is_one_record_or_as_many_as_it_needs(
    authz_replica: Make, authz_client: Client, tenant_factory: Make, audit_events: Make
) -> None:
    tenant = await tenant_factory()
    replica = await authz_replica()
    client = authz_client(replica, tenant.tenant_id)

    async def ask(count: int) -> None:
        questions = [
            pb.Question(subject="agent:a1", action="read", resource=f"project:{number}")
            for number in range(count)
        ]
        await client.authz.BatchCheck(pb.BatchCheckRequest(questions=questions))

    await ask(50)
    await settled(replica)
    (event,) = await audit_events(tenant.tenant_id, ACTION)
    assert len(json.loads(event["detail"])["decisions"]) == 50
    await ask(1000)
    await settled(replica)
    parts = [json.loads(e["detail"]) for e in await audit_events(tenant.tenant_id, ACTION)][1:]
    assert [part["part"] for part in parts] == list(range(1, parts[0]["parts"] + 1))
    resources = [item["resource"] for part in parts for item in part["decisions"]]
    assert resources == [f"project:{number}" for number in range(1000)]


async def test_a_large_hostile_context_does_not_keep_a_decision_out(
    authz_replica: Make, authz_client: Client, tenant_factory: Make, audit_events: Make
) -> None:
    tenant = await tenant_factory()
    replica = await authz_replica()
    client = authz_client(replica, tenant.tenant_id)
    contexts: list[dict[str, Any]] = [
        {"text": "\x01" * 15_000},
        {"zeros": [0] * 1000},
        {"zeros": [0] * 900, "t": "\x01" * 30},
        {"deep": {"er": {"still": [[[[1]]]]}}},
    ]
    for context in contexts:
        facts = Struct()
        facts.update(context)
        questions = [
            pb.Question(subject="agent:a1", action="read", resource="project:x", context=facts)
        ] * 12
        await client.authz.BatchCheck(pb.BatchCheckRequest(questions=questions))
    await settled(replica)
    events = await audit_events(tenant.tenant_id, ACTION)
    assert sum(len(json.loads(event["detail"])["decisions"]) for event in events) == 48
    assert await audit_events(tenant.tenant_id, "audit.gap") == []


async def test_decisions_that_can_not_be_logged_are_refused(
    authz_replica: Make, authz_client: Client, tenant_factory: Make, pg_dsn: str
) -> None:
    tenant = await tenant_factory()
    replica = await authz_replica(lane_bytes=1)
    client = authz_client(replica, tenant.tenant_id)
    admin = await asyncpg.connect(pg_dsn)
    try:
        async with admin.transaction():
            # What is in the lane stays there meanwhile.
            await admin.execute("LOCK TABLE audit.event IN EXCLUSIVE MODE")
            replica.lane.put(tenant.tenant_id, _some_record())
            assert replica.lane.full(tenant.tenant_id)
            with pytest.raises(ResourceExhausted) as refused:
                await client.check("agent:a1")
    finally:
        await admin.close()
    assert refused.value.reason == "DECISION_LOG_FULL"
    assert refused.value.retry_after_ms
    async with asyncio.timeout(60):
        await replica.lane.drain()
    assert not await client.allowed("agent:a1")


def _some_record() -> AuditRecord:
    return AuditRecord(actor="service:test", action="test.fill", resource="test:1")


async def test_the_backlog_is_bounded_by_bytes_too(
    authz_replica: Make, authz_client: Client, tenant_factory: Make
) -> None:
    tenant, replica = await tenant_factory(), await authz_replica()
    client = authz_client(replica, tenant.tenant_id)
    log = replica.authz.log
    seen: list[tuple[int, int]] = []
    log_it = log.put

    def put(call: Any, *rest: Any) -> None:
        log_it(call, *rest)
        seen.append((len(call.body), log._bytes.total))

    log.put = put
    await client.check("agent:a1")
    ((body, held),) = seen
    assert body == 0
    assert held > 0
    await settled(replica)
    assert log._bytes.total == 0
    log._bytes.take(tenant.tenant_id, 64 << 20)
    with pytest.raises(ResourceExhausted) as refused:
        await client.check("agent:a1")
    assert refused.value.reason == "DECISION_LOG_FULL"
    log._bytes.give(tenant.tenant_id, 64 << 20)


def _batch(count: int, text: str, at_least: str = "") -> pb.BatchCheckRequest:
    """Questions that share one context."""
    facts = Struct()
    facts.update({"text": text})
    question = pb.Question(subject="agent:a", action="read", resource="project:x", context=facts)
    return pb.BatchCheckRequest(questions=[question] * count, at_least=at_least)


async def test_a_context_that_a_batch_shares_is_written_once_a_record(
    authz_replica: Make, authz_client: Client, tenant_factory: Make, audit_events: Make
) -> None:
    tenant, replica = await tenant_factory(), await authz_replica()
    client = authz_client(replica, tenant.tenant_id)
    await client.authz.BatchCheck(_batch(1000, "x" * 1_900))
    await settled(replica)
    events = await audit_events(tenant.tenant_id, ACTION)
    details = [json.loads(event["detail"]) for event in events]
    assert sum(len(detail["decisions"]) for detail in details) == 1000
    assert all(detail["contexts"] == [{"text": "x" * 1_900}] for detail in details)
    assert all(one["context_at"] == 0 for detail in details for one in detail["decisions"])
    assert sum(len(event["detail"]) for event in events) < 300_000


async def test_one_tenants_batches_do_not_make_the_log_refuse_another(
    authz_replica: Make, authz_client: Client, tenant_factory: Make, pg_dsn: str
) -> None:
    """The log is stuck meanwhile: whoever fills it is refused, and nobody else."""
    hostile, tenant = await tenant_factory(), await tenant_factory()
    replica = await authz_replica(lane_bytes=4 << 20)
    attacker = authz_client(replica, hostile.tenant_id)
    client = authz_client(replica, tenant.tenant_id)
    admin = await asyncpg.connect(pg_dsn)
    refused: set[str] = set()
    try:
        async with admin.transaction():
            await admin.execute("LOCK TABLE audit.event IN EXCLUSIVE MODE")
            for _ in range(200):
                try:
                    await attacker.authz.BatchCheck(_batch(1000, "x" * 1_900))
                except ResourceExhausted as error:
                    refused.add(error.reason)
                await client.check("agent:a1")
            assert refused == {"DECISION_LOG_FULL"}
    finally:
        await admin.close()
    async with asyncio.timeout(60):
        await settled(replica)


async def test_a_call_that_would_write_too_much_is_refused_before_it_is_decided(
    authz_replica: Make, authz_client: Client, tenant_factory: Make, audit_events: Make
) -> None:
    tenant, replica = await tenant_factory(), await authz_replica()
    client = authz_client(replica, tenant.tenant_id)
    request = pb.BatchCheckRequest()
    for number in range(1000):
        facts = Struct()
        facts.update({"text": f"{number}" + "x" * 1_900})
        request.questions.add(subject="agent:a", action="read", resource="project:x", context=facts)
    with pytest.raises(InvalidArgument) as refused:
        await client.authz.BatchCheck(request)
    assert (refused.value.reason, refused.value.field) == ("BATCH_TOO_LARGE", "questions")
    await settled(replica)
    assert await audit_events(tenant.tenant_id, ACTION) == []
