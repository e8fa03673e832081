"""Granting and revoking: what is refused, what is recorded, what is undone together."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import pytest

from argy.api.authz.v1.assignment_pb2 import ListRoleAssignmentsRequest
from argy.authz.assignments import GRANTED, REVOKED
from argy.base.clock import FixedClock
from argy.base.errors import (
    AlreadyExists,
    ArgyError,
    InvalidArgument,
    NotFound,
    PermissionDenied,
)
from argy.base.ids import uuid7

Make = Callable[..., Awaitable[Any]]
Client = Callable[..., Any]
USER, ADMIN = "role:PLATFORM_USER", "role:PLATFORM_ADMIN"


@pytest.mark.parametrize(
    ("fields", "field", "reason"),
    [
        ({"role": "role:NO_SUCH"}, "role", "UNKNOWN_ROLE"),
        ({"subject": f"user:{uuid7()}"}, "subject", "UNKNOWN_SUBJECT"),
        ({"subject": f"group:{uuid7()}"}, "subject", "UNKNOWN_SUBJECT"),
        ({"subject": "user:somebody"}, "subject", "UNKNOWN_SUBJECT"),
        ({"subject": "workload:build"}, "subject", "UNKNOWN_SUBJECT"),
        ({"subject": "role:PLATFORM_USER"}, "subject", "UNKNOWN_SUBJECT"),
        ({"org_id": str(uuid7())}, "org_id", "ORG_NOT_IN_TENANT"),
        ({"expire_time": {"seconds": 1_000_000_000}}, "expire_time", "EXPIRY_IN_PAST"),
        ({"expire_time": {"seconds": 1 << 50}}, "expire_time", "TIME_OUT_OF_RANGE"),
        ({"reason": ""}, "reason", "INVALID_FIELD"),
    ],
)
async def test_what_cannot_be_granted(
    authz_replica: Make,
    authz_client: Client,
    tenant_factory: Make,
    audit_events: Make,
    fields: dict[str, Any],
    field: str,
    reason: str,
) -> None:
    tenant = await tenant_factory()
    client = authz_client(await authz_replica(), tenant.tenant_id)
    wish = {"subject": "service:robot", "role": USER, **fields}
    with pytest.raises(InvalidArgument) as refused:
        await client.grant(**wish)
    assert (refused.value.field, refused.value.reason) == (field, reason)
    assert await audit_events(tenant.tenant_id, GRANTED) == []


async def test_an_unknown_role_is_answered_with_those_that_exist(
    authz_replica: Make, authz_client: Client, tenant_factory: Make
) -> None:
    client = authz_client(await authz_replica(), (await tenant_factory()).tenant_id)
    with pytest.raises(InvalidArgument, match="role:ACCESS_MANAGER, role:PLATFORM_ADMIN"):
        await client.grant("service:robot", "role:NO_SUCH")


async def test_nobody_grants_a_role_that_it_does_not_hold(
    authz_replica: Make, authz_client: Client, tenant_factory: Make
) -> None:
    tenant = await tenant_factory(orgs=("sales",))
    replica = await authz_replica()
    manager = authz_client(replica, tenant.tenant_id, source="manager")
    for role in (ADMIN, "role:ACCESS_DELEGATE"):
        for org in ("", str(tenant.orgs["sales"])):
            with pytest.raises(PermissionDenied) as refused:
                await manager.grant("service:robot", role, org_id=org)
            assert refused.value.reason == "ROLE_NOT_HELD"
    # Its own role, and the one that it inherits.
    await manager.grant("service:robot", "role:ACCESS_MANAGER")
    await manager.grant("service:robot", USER)
    # Or the permission to give any.
    delegate = authz_client(replica, tenant.tenant_id, source="delegate")
    await delegate.grant("service:robot", ADMIN)


async def test_a_role_held_in_one_org_is_not_granted_outside_it(
    authz_replica: Make, authz_client: Client, tenant_factory: Make
) -> None:
    tenant = await tenant_factory(orgs=("sales", "research"))
    sales, research = str(tenant.orgs["sales"]), str(tenant.orgs["research"])
    replica = await authz_replica()
    admin = authz_client(replica, tenant.tenant_id)
    await admin.grant("service:manager", ADMIN, org_id=sales)
    manager = authz_client(replica, tenant.tenant_id, source="manager")
    await manager.grant("service:robot", ADMIN, org_id=sales)
    for org in ("", research):
        with pytest.raises(PermissionDenied):
            await manager.grant("service:other", ADMIN, org_id=org)


async def test_a_call_in_an_org_stays_in_it(
    authz_replica: Make, authz_client: Client, tenant_factory: Make
) -> None:
    tenant = await tenant_factory(orgs=("sales", "research"))
    sales, research = tenant.orgs["sales"], tenant.orgs["research"]
    replica = await authz_replica()
    whole = authz_client(replica, tenant.tenant_id)
    inside = authz_client(replica, tenant.tenant_id, sales)
    with pytest.raises(PermissionDenied) as refused:
        await inside.grant("service:robot", USER, org_id=str(research))
    assert refused.value.reason == "OUTSIDE_CALL_ORG"
    made = await inside.grant("service:robot", USER)
    assert made.assignment.org_id == str(sales)
    outside = await whole.grant("service:robot", USER)
    listed = await inside.roles.ListRoleAssignments(ListRoleAssignmentsRequest())
    assert [item.assignment_id for item in listed.assignments] == [made.assignment.assignment_id]
    with pytest.raises(NotFound):
        await inside.revoke(outside.assignment.assignment_id)
    await inside.revoke(made.assignment.assignment_id)


async def test_a_role_is_held_once_and_anew_after_it_ended(
    authz_replica: Make, authz_client: Client, tenant_factory: Make
) -> None:
    tenant, clock = await tenant_factory(), FixedClock(1_900_000_000_000)
    client = authz_client(await authz_replica(clock=clock), tenant.tenant_id)
    first = await client.grant("agent:a1", USER, expire_time={"seconds": 1_900_000_001})
    with pytest.raises(AlreadyExists) as refused:
        await client.grant("agent:a1", USER)
    assert refused.value.reason == "ASSIGNMENT_EXISTS"
    clock.advance(1_000)
    second = await client.grant("agent:a1", USER)
    assert second.assignment.assignment_id != first.assignment.assignment_id
    assert not second.assignment.HasField("expire_time")
    assert await client.allowed("agent:a1", second.revision)


async def test_a_repeated_request_is_granted_once(
    authz_replica: Make, authz_client: Client, tenant_factory: Make, audit_events: Make
) -> None:
    tenant, key = await tenant_factory(), str(uuid7())
    client = authz_client(await authz_replica(), tenant.tenant_id)
    answers = await asyncio.gather(
        *(client.grant("service:robot", USER, request_id=key) for _ in range(8))
    )
    assert len({answer.assignment.assignment_id for answer in answers}) == 1
    assert len(await audit_events(tenant.tenant_id, GRANTED)) == 1
    with pytest.raises(AlreadyExists) as refused:
        await client.grant("service:other", USER, request_id=key)
    assert refused.value.reason == "REQUEST_ID_REUSED"


async def test_grant_and_revoke_are_recorded(
    authz_replica: Make, authz_client: Client, tenant_factory: Make, audit_events: Make
) -> None:
    tenant = await tenant_factory(orgs=("sales",))
    client = authz_client(await authz_replica(), tenant.tenant_id)
    sales = tenant.orgs["sales"]
    made = (await client.grant("service:robot", USER, org_id=str(sales))).assignment
    await client.revoke(made.assignment_id)
    for action, reason, revision in ((GRANTED, "the test needs it", 1), (REVOKED, "no longer", 2)):
        (event,) = await audit_events(tenant.tenant_id, action)
        assert event["actor"] == "service:cli"
        assert event["resource"] == f"authz.role_assignment:{made.assignment_id}"
        assert event["org_id"] == sales
        assert event["request_id"]
        detail = json.loads(event["detail"])
        assert detail["subject"] == "service:robot"
        assert detail["role"] == USER
        assert detail["reason"] == reason
        assert detail["revision"] == revision


async def test_without_its_record_nothing_is_granted_or_revoked(
    authz_replica: Make,
    authz_client: Client,
    tenant_factory: Make,
    pg_dsn: str,
) -> None:
    tenant = await tenant_factory()
    client = authz_client(await authz_replica(), tenant.tenant_id)
    kept = await client.grant("service:kept", USER)
    connection = await asyncpg.connect(pg_dsn)
    try:
        await connection.execute(
            "ALTER TABLE audit.event ADD CONSTRAINT nothing_of_roles"
            f" CHECK (tenant_id <> '{tenant.tenant_id}' OR action NOT LIKE 'authz.role%') NOT VALID"
        )
        with pytest.raises(ArgyError):
            await client.grant("service:robot", USER)
        with pytest.raises(ArgyError):
            await client.revoke(kept.assignment.assignment_id)
    finally:
        await connection.execute("ALTER TABLE audit.event DROP CONSTRAINT nothing_of_roles")
        await connection.close()
    assert not await client.allowed("service:robot")
    answer = await client.check("service:kept")
    assert answer.decision.effect == 1
    assert answer.revision == kept.revision


async def test_revoking_what_is_not_there_is_told(
    authz_replica: Make, authz_client: Client, tenant_factory: Make
) -> None:
    tenant, other = await tenant_factory(), await tenant_factory()
    replica = await authz_replica()
    client = authz_client(replica, tenant.tenant_id)
    made = await client.grant("service:robot", USER)
    with pytest.raises(NotFound):
        await client.revoke(str(uuid7()))
    with pytest.raises(NotFound):
        await authz_client(replica, other.tenant_id).revoke(made.assignment.assignment_id)


async def test_assignments_are_listed_in_pages_oldest_first(
    authz_replica: Make, authz_client: Client, tenant_factory: Make
) -> None:
    tenant = await tenant_factory()
    client = authz_client(await authz_replica(), tenant.tenant_id)
    made = [
        (await client.grant(f"agent:a{number}", USER)).assignment.assignment_id
        for number in range(7)
    ]
    await client.grant("agent:a0", "role:ACCESS_MANAGER")

    listed: list[str] = []
    request = ListRoleAssignmentsRequest(role=USER, page_size=3)
    while True:
        page = await client.roles.ListRoleAssignments(request)
        listed.extend(item.assignment_id for item in page.assignments)
        if not page.next_page_token:
            break
        request.page_token = page.next_page_token
    assert listed == made
    both = await client.roles.ListRoleAssignments(ListRoleAssignmentsRequest(subject="agent:a0"))
    assert [item.role for item in both.assignments] == [USER, "role:ACCESS_MANAGER"]
    request.role = "role:ACCESS_MANAGER"
    with pytest.raises(InvalidArgument) as refused:
        await client.roles.ListRoleAssignments(request)
    assert refused.value.reason == "INVALID_PAGE_TOKEN"
