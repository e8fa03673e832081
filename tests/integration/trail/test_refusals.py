"""What the audit log tells of refused calls: of strangers no more than how many they were."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from argy.api.directory.v1.user_pb2 import DESCRIPTOR
from argy.base.clock import FixedClock, SystemClock
from argy.base.errors import PermissionDenied, Unauthenticated
from argy.base.ids import PLATFORM_TENANT_ID, uuid7
from argy.rpc.call import Call
from argy.rpc.declarations import declared_methods
from argy.trail.lane import AuditLane
from argy.trail.refusals import BURST, EVERY_MS, RefusalLog

METHOD = declared_methods(DESCRIPTOR.services_by_name["UserService"])[0]


class Log:
    """A refusal log, and what comes of it."""

    def __init__(self, refusals: RefusalLog, lane: AuditLane, reader: Any, clock: Any) -> None:
        self.refusals, self.clock = refusals, clock
        self._lane, self._reader = lane, reader

    def refuse(self, call: Call, reason: str = "ACCESS_DENIED") -> None:
        self.refusals.refused(call, PermissionDenied("no", reason=reason))

    async def events(self, tenant_id: UUID, request_id: str = "") -> list[Any]:
        await self._lane.drain()
        async with self._reader.tenant(tenant_id) as tx:
            return list(
                await tx.fetch(
                    "SELECT actor, on_behalf_of, reason, outcome, request_id, detail::text"
                    " FROM audit.event WHERE tenant_id = $1 AND action = 'rpc.call.refuse'"
                    " AND ($2 = '' OR request_id = $2) ORDER BY id",
                    tenant_id,
                    request_id,
                )
            )


@pytest.fixture
async def log(db_factory: Any, tmp_path: Path) -> AsyncIterator[Log]:
    lane = AuditLane(await db_factory("argy_authz"), tmp_path)
    await lane.start()
    clock = FixedClock(SystemClock().now_ms())
    refusals = RefusalLog(lane, clock)
    yield Log(refusals, lane, await db_factory("argy_audit"), clock)
    await refusals.close()
    await lane.close()


def call_of(caller: str, tenant_id: UUID) -> Call:
    call = Call(METHOD, b"", SystemClock().now_ms())
    call.tenant_id, call.source, call.caller = tenant_id, "edge", caller
    call.request_id = str(uuid7())
    return call


async def test_a_service_that_tries_a_persons_rights_leaves_both_names(log: Log) -> None:
    call = call_of("service:edge", uuid7())
    call.acts_for = "user:victim"
    log.refuse(call)
    (event,) = await log.events(call.tenant_id)
    assert tuple(event)[:4] == ("service:edge", "user:victim", "ACCESS_DENIED", "DENIED")


async def test_a_strangers_bad_tokens_are_counted_in_one_record_of_the_platform(log: Log) -> None:
    """Whatever tenant the stranger says, existing or not."""
    said, first = uuid7(), call_of("", uuid7())
    for call in (first, *(call_of("", said) for _ in range(400))):
        log.refusals.refused(call, Unauthenticated("no", reason="TOKEN_MALFORMED"))
    log.refusals.flush()
    assert await log.events(said) == []
    (event,) = await log.events(PLATFORM_TENANT_ID, first.request_id)
    assert (event["actor"], event["reason"]) == ("service:edge", "TOKEN_MALFORMED")
    assert json.loads(event["detail"])["count"] == 401
    # Said once.
    log.refusals.flush()
    assert len(await log.events(PLATFORM_TENANT_ID, first.request_id)) == 1


async def test_a_loop_of_refused_calls_does_not_fill_its_tenants_log(log: Log) -> None:
    tenant_id = uuid7()
    for _ in range(BURST + 500):
        log.refuse(call_of("user:1", tenant_id))
    log.refusals.flush()
    events = await log.events(tenant_id)
    assert len(events) == BURST + 1
    assert json.loads(events[-1]["detail"])["count"] == 500
    # Another reason, another tenant and a later moment have room of their own.
    log.refuse(call_of("user:1", tenant_id), "SCOPE_INSUFFICIENT")
    other = uuid7()
    log.refuse(call_of("user:1", other))
    log.clock.advance(EVERY_MS)
    log.refuse(call_of("user:1", tenant_id))
    assert len(await log.events(tenant_id)) == BURST + 3
    assert len(await log.events(other)) == 1


async def test_what_is_counted_is_bounded(log: Log) -> None:
    for number in range(3_000):
        call = call_of("", uuid7())
        call.source = f"s{number}"
        log.refusals.refused(call, Unauthenticated("no", reason="TOKEN_MALFORMED"))
    assert len(log.refusals._counted) <= 1_001
