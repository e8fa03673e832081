"""What the audit log tells of refused calls."""

from pathlib import Path
from typing import Any

from argy.api.directory.v1.user_pb2 import DESCRIPTOR
from argy.base.clock import SystemClock
from argy.base.errors import PermissionDenied
from argy.base.ids import uuid7
from argy.local.refusals import RefusalLog
from argy.rpc.call import Call
from argy.rpc.declarations import declared_methods
from argy.store.lane import AuditLane


async def test_a_service_that_tries_a_persons_rights_leaves_both_names(
    db_factory: Any, tmp_path: Path
) -> None:
    lane = AuditLane(await db_factory("argy_authz"), tmp_path)
    await lane.start()
    call = Call(
        declared_methods(DESCRIPTOR.services_by_name["UserService"])[0],
        b"",
        SystemClock().now_ms(),
    )
    call.tenant_id, call.source, call.acts_for = uuid7(), "edge", "user:victim"
    RefusalLog(lane).refused(call, PermissionDenied("no", reason="ACCESS_DENIED"))
    await lane.drain()
    await lane.close()
    reader = await db_factory("argy_audit")
    async with reader.tenant(call.tenant_id) as tx:
        (event,) = await tx.fetch("SELECT actor, on_behalf_of, reason, outcome FROM audit.event")
    assert tuple(event) == ("service:edge", "user:victim", "ACCESS_DENIED", "DENIED")
