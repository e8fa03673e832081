"""Attacks on who holds what: races, roles that should have ended, crowds."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from argy.api.authz.v1.assignment_pb2 import ListRoleAssignmentsRequest
from argy.api.directory.v1.user_pb2 import DESCRIPTOR
from argy.authz.access import LocalAccess
from argy.authz.assignments import GRANTED
from argy.base.clock import FixedClock, SystemClock
from argy.base.errors import InvalidArgument, PermissionDenied
from argy.base.ids import uuid7
from argy.directory.changes import Recorder
from argy.directory.groups import Groups
from argy.directory.users import Users
from argy.rpc.call import Call
from argy.rpc.declarations import declared_methods

Make = Callable[..., Awaitable[Any]]
Client = Callable[..., Any]
USER, MANAGER = "role:PLATFORM_USER", "role:ACCESS_MANAGER"


def directory_call(tenant_id: UUID) -> Call:
    """A call as the chain hands it to the directory."""
    method = declared_methods(DESCRIPTOR.services_by_name["UserService"])[0]
    call = Call(method, b"", SystemClock().now_ms())
    call.tenant_id, call.caller = tenant_id, "service:cli"
    return call


async def waiting_for_locks(connection: Any, count: int) -> None:
    """Until so many statements wait for one another in this database."""
    async with asyncio.timeout(60):
        while count > await connection.fetchval(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE datname = current_database() AND wait_event_type = 'Lock'"
        ):
            pass


@pytest.mark.parametrize("kind", ["user", "group"])
@pytest.mark.parametrize("first", ["grant", "delete"])
async def test_a_grant_that_races_a_deletion_leaves_no_role_behind(
    authz_replica: Make,
    authz_client: Client,
    tenant_factory: Make,
    person: Make,
    db_factory: Make,
    pg_dsn: str,
    kind: str,
    first: str,
) -> None:
    tenant, group, replica = await tenant_factory(), uuid7(), await authz_replica()
    client = authz_client(replica, tenant.tenant_id)
    user = await person(tenant.tenant_id, group)
    subject = user if kind == "user" else f"group:{group}"
    deleted = UUID(subject.partition(":")[2])
    db, recorder = await db_factory("argy_directory", max_size=2), Recorder(SystemClock())
    access = LocalAccess(replica.authz.snapshots, SystemClock())
    delete = (Users(db, recorder) if kind == "user" else Groups(db, recorder, access)).delete
    call = directory_call(tenant.tenant_id)
    steps: dict[str, Callable[[], Awaitable[Any]]] = {
        "grant": lambda: client.grant(subject, USER),
        "delete": lambda: delete(call, deleted, "left"),
    }
    # Loaded, so that the grant waits for nothing but what it locks.
    await client.allowed(subject)
    # On record, so that nothing waits but the two.
    await replica.authz.log.drain()
    await replica.lane.drain()
    brake = await asyncpg.connect(pg_dsn)
    try:
        await brake.execute("BEGIN; LOCK TABLE audit.event IN ACCESS EXCLUSIVE MODE")
        running = [asyncio.ensure_future(steps[first]())]
        await waiting_for_locks(brake, 1)  # everything is done but its record
        running.append(asyncio.ensure_future(steps[({*steps} - {first}).pop()]()))
        await waiting_for_locks(brake, 2)
        await brake.execute("COMMIT")
        done = await asyncio.gather(*running, return_exceptions=True)
    finally:
        await brake.close()
    failed = [one for one in done if isinstance(one, BaseException)]
    assert [getattr(one, "reason", one) for one in failed] == (
        ["UNKNOWN_SUBJECT"] if first == "delete" else []
    )
    left = await client.roles.ListRoleAssignments(ListRoleAssignmentsRequest(subject=subject))
    assert not left.assignments


async def test_who_holds_a_role_for_a_while_cannot_give_it_for_longer(
    authz_replica: Make, authz_client: Client, tenant_factory: Make
) -> None:
    tenant, clock = await tenant_factory(), FixedClock(1_900_000_000_000)
    replica = await authz_replica(clock=clock)
    await authz_client(replica, tenant.tenant_id).grant(
        "service:temp", MANAGER, expire_time={"seconds": 1_900_003_600}
    )
    temp = authz_client(replica, tenant.tenant_id, source="temp")
    for ends in ({}, {"expire_time": {"seconds": 1_900_003_601}}):
        with pytest.raises(PermissionDenied) as refused:
            await temp.grant("service:accomplice", MANAGER, **ends)
        assert refused.value.reason == "ROLE_NOT_HELD"
    await temp.grant("service:helper", MANAGER, expire_time={"seconds": 1_900_003_600})


async def test_a_crowd_of_grants_does_not_use_up_the_connections(
    authz_replica: Make, authz_client: Client, tenant_factory: Make, audit_events: Make
) -> None:
    tenant = await tenant_factory()
    client = authz_client(await authz_replica(), tenant.tenant_id)
    async with asyncio.timeout(60):
        await asyncio.gather(*(client.grant(f"agent:a{n}", USER) for n in range(40)))
    assert len(await audit_events(tenant.tenant_id, GRANTED)) == 40
    with pytest.raises(InvalidArgument):
        await client.grant(f"user:{uuid7()}", USER)
