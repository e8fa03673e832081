"""Pages of permissions and subjects, and the stream of revisions."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from argy.api.authz.v1 import authz_pb2 as pb
from argy.authz.revision_watch import MAX_WATCHERS, RevisionWatch
from argy.base.clock import FixedClock
from argy.base.errors import Aborted, NotFound, PermissionDenied, ResourceExhausted
from argy.policy import compile_policy, load_policy
from argy.rpc.server import ServerConfig

Make = Callable[..., Awaitable[Any]]
Client = Callable[..., Any]
USER, ADMIN = "role:PLATFORM_USER", "role:PLATFORM_ADMIN"


async def pages(call: Callable[[Any], Awaitable[Any]], request: Any, field: str) -> list[list[Any]]:
    found = []
    while True:
        answer = await call(request)
        found.append(list(getattr(answer, field)))
        if not answer.next_page_token:
            return found
        request.page_token = answer.next_page_token


async def test_permissions_come_in_pages_in_rule_order(
    authz_replica: Make, authz_client: Client, tenant_factory: Make
) -> None:
    client = authz_client(await authz_replica(), (await tenant_factory()).tenant_id)
    await client.grant("service:robot", "role:ACCESS_MANAGER")
    request = pb.ListPermissionsRequest(subject="service:robot", page_size=4)
    found = await pages(client.authz.ListPermissions, request, "permissions")
    assert [len(page) for page in found] == [4, 2]
    entries = [entry for page in found for entry in page]
    assert [entry.rule.line for entry in entries] == [2, 3, 4, 5, 6, 7]
    assert entries[1].condition == "has(ctx.mfa) && ctx.mfa"
    assert entries[2].effect == pb.EFFECT_DENY
    assert list(entries[0].role_path) == ["service:robot", "role:ACCESS_MANAGER", USER]


async def test_a_listing_whose_ground_changed_starts_again(
    authz_replica: Make, authz_client: Client, tenant_factory: Make
) -> None:
    client = authz_client(await authz_replica(), (await tenant_factory()).tenant_id)
    await client.grant("service:robot", USER)
    request = pb.ListPermissionsRequest(subject="service:robot", page_size=1)
    first = await client.authz.ListPermissions(request)
    await client.grant("service:other", USER)
    request.page_token = first.next_page_token
    with pytest.raises(Aborted) as refused:
        await client.authz.ListPermissions(request)
    assert refused.value.reason == "LISTING_CHANGED"


async def test_subjects_come_in_pages_and_in_the_calls_scope(
    authz_replica: Make, authz_client: Client, tenant_factory: Make
) -> None:
    tenant = await tenant_factory(orgs=("sales",))
    sales = tenant.orgs["sales"]
    replica = await authz_replica()
    client = authz_client(replica, tenant.tenant_id)
    for number in range(5):
        await client.grant(f"agent:a{number}", USER)
    await client.grant("agent:sales", USER, org_id=str(sales))
    request = pb.ListSubjectsRequest(action="read", resource="project:alpha", page_size=4)
    found = await pages(client.authz.ListSubjects, request, "subjects")
    everywhere = [*(f"agent:a{number}" for number in range(5)), *(
        f"service:{name}" for name in ("cli", "delegate", "manager")
    )]  # fmt: skip
    assert [subject for page in found for subject in page] == everywhere
    assert len(found[0]) == 4
    inside = authz_client(replica, tenant.tenant_id, sales)
    request = pb.ListSubjectsRequest(action="read", resource="project:alpha")
    answer = await inside.authz.ListSubjects(request)
    assert "agent:sales" in answer.subjects
    assert len(answer.subjects) == 9


async def test_a_watch_tells_the_present_state_and_each_change(
    authz_replica: Make, authz_client: Client, tenant_factory: Make, policy_root: Path
) -> None:
    tenant = await tenant_factory()
    first, second = await authz_replica(), await authz_replica()
    here = authz_client(first, tenant.tenant_id)
    there = authz_client(second, tenant.tenant_id)
    async with asyncio.timeout(60):
        async with aclosing(there.authz.WatchRevisions(pb.WatchRevisionsRequest())) as states:
            present = await anext(states)
            assert present.policy_revision == second.authz.holder.current.revision
            granted = await here.grant("service:robot", USER)
            assert (await anext(states)).revision == granted.revision
            rules = policy_root / "roles" / "roles.csv"
            rules.write_text(rules.read_text() + "\n# a comment makes another revision\n")
            policy = compile_policy(load_policy(policy_root))
            second.authz.holder.activate(policy)
            changed = await anext(states)
            assert changed.policy_revision == policy.revision
            assert changed.revision == granted.revision


async def test_a_watcher_that_was_away_sees_the_latest_state_only(
    authz_replica: Make, authz_client: Client, tenant_factory: Make
) -> None:
    tenant = await tenant_factory()
    replica = await authz_replica()
    client = authz_client(replica, tenant.tenant_id)
    watch = RevisionWatch(replica.authz.snapshots, max_watchers=1)
    async with asyncio.timeout(60), aclosing(watch.watch(tenant.tenant_id)) as states:
        await anext(states)
        for number in range(5):
            latest = await client.grant(f"agent:a{number}", USER)
        assert (await anext(states))[1] == latest.revision
        async with aclosing(watch.watch(tenant.tenant_id)) as another:
            with pytest.raises(ResourceExhausted):
                await anext(another)


@pytest.mark.parametrize("ended", ["revoked", "suspended", "deleted"])
async def test_a_watch_does_not_outlive_its_permission_or_its_tenant(
    authz_replica: Make, authz_client: Client, tenant_factory: Make, db_factory: Make, ended: str
) -> None:
    tenant, db = await tenant_factory(), await db_factory("argy_directory", max_size=1)
    first, second = await authz_replica(), await authz_replica()
    client = authz_client(first, tenant.tenant_id)
    granted = await client.grant("service:spy", ADMIN)
    spy = authz_client(second, tenant.tenant_id, source="spy")
    await spy.allowed("service:spy", granted.revision)
    async with (
        asyncio.timeout(60),
        aclosing(spy.authz.WatchRevisions(pb.WatchRevisionsRequest())) as states,
    ):
        assert (await anext(states)).revision == granted.revision
        if ended == "revoked":
            await client.revoke(granted.assignment.assignment_id)
        else:
            async with db.tenant(tenant.tenant_id) as tx:
                await tx.execute("UPDATE directory.tenant SET state = 'SUSPENDED'")
                if ended == "deleted":
                    await tx.execute("DELETE FROM directory.tenant")
        with pytest.raises((PermissionDenied, NotFound)) as refused:
            await anext(states)
    reasons = {
        "revoked": "ACCESS_DENIED",
        "suspended": "TENANT_SUSPENDED",
        "deleted": "TENANT_UNKNOWN",
    }
    assert refused.value.reason == reasons[ended]


async def test_a_watch_ends_with_a_role_that_ends_by_itself(
    authz_replica: Make, authz_client: Client, tenant_factory: Make
) -> None:
    tenant, clock = await tenant_factory(), FixedClock(1_900_000_000_000)
    replica = await authz_replica(clock=clock)
    granted = await authz_client(replica, tenant.tenant_id).grant(
        "service:spy", ADMIN, expire_time={"seconds": 1_900_000_060}
    )
    spy = authz_client(replica, tenant.tenant_id, source="spy")
    async with (
        asyncio.timeout(60),
        aclosing(spy.authz.WatchRevisions(pb.WatchRevisionsRequest())) as states,
    ):
        assert (await anext(states)).revision == granted.revision
        clock.advance(60_000)
        with pytest.raises(PermissionDenied):
            await anext(states)


def test_watchers_leave_room_for_other_calls() -> None:
    assert ServerConfig().max_concurrent_calls >= 2 * MAX_WATCHERS
