"""What a replica serves while it can't hear changes, and while the database is away."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from uuid import UUID

import pytest

from argy.authz.publishing.holder import PolicyHolder
from argy.authz.snapshots import Snapshots
from argy.base.clock import SystemClock
from argy.base.errors import NotFound, Unavailable
from argy.base.ids import uuid7
from argy.policy import compile_policy, load_policy
from argy.store.database import Database

Make = Callable[..., Awaitable[Any]]


@pytest.fixture
async def snapshots_factory(db_factory: Make, policy_root: Any) -> AsyncIterator[Make]:
    """Snapshots over a database, listening when told to."""
    made: list[Snapshots] = []

    async def make(*, listen: bool = True, db: Database | None = None, **limits: int) -> Snapshots:
        db = db or await db_factory("argy_authz", max_size=4)
        holder = PolicyHolder(compile_policy(load_policy(policy_root)))
        options: Any = limits
        snapshots = Snapshots(db, holder, SystemClock(), **options)
        made.append(snapshots)
        if listen:
            await snapshots.start()
            await until(lambda: snapshots.trusted)
        return snapshots

    yield make
    for snapshots in made:
        await snapshots.close()


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that another task brings about."""
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - the thing waited for signals nobody
            await asyncio.sleep(0.005)


async def held(snapshots: Snapshots, tenant_id: UUID) -> None:
    """Have the tenant's view in memory: one that loads while a change is heard is not kept."""
    async with asyncio.timeout(60):
        while snapshots.peek(tenant_id) is None:
            await snapshots.get(tenant_id)


GRANT = (
    "INSERT INTO authz.role_assignment (tenant_id, id, subject, role, created_by)"
    " VALUES ($1, $2, $3, 'role:PLATFORM_USER', 'service:test')"
)


@pytest.fixture
async def grant(db_factory: Make) -> Make:
    """Grant agents a role behind the replica's back; returns the revision."""
    db = await db_factory("argy_authz", max_size=2)

    async def run(tenant_id: Any, *agents: str) -> int:
        async with db.tenant(tenant_id) as tx:
            for agent in agents:
                await tx.execute(GRANT, tenant_id, uuid7(), f"agent:{agent}")
            return int(await tx.fetchval("SELECT authz.bump_revision($1)", tenant_id))

    return run


async def test_many_askers_share_one_load(
    snapshots_factory: Make, tenant_factory: Make, grant: Make
) -> None:
    tenant = await tenant_factory()
    await grant(tenant.tenant_id, "a1")
    snapshots = await snapshots_factory()
    views = await asyncio.gather(*(snapshots.get(tenant.tenant_id) for _ in range(100)))
    assert snapshots.loads == 1
    assert all(view is views[0] for view in views)
    assert snapshots.peek(tenant.tenant_id) is views[0]


async def test_a_change_drops_the_copy_of_its_tenant_only(
    snapshots_factory: Make, tenant_factory: Make, grant: Make
) -> None:
    one, other = await tenant_factory(), await tenant_factory()
    snapshots = await snapshots_factory()
    await snapshots.get(one.tenant_id)
    kept = await snapshots.get(other.tenant_id)
    revision = await grant(one.tenant_id, "a1")
    await until(lambda: snapshots.peek(one.tenant_id) is None)
    assert snapshots.peek(other.tenant_id) is kept
    assert (await snapshots.get(one.tenant_id)).revision == revision


async def test_unheard_changes_are_seen_all_the_same(
    snapshots_factory: Make, tenant_factory: Make, grant: Make
) -> None:
    tenant = await tenant_factory()
    snapshots = await snapshots_factory(listen=False)
    before = await snapshots.get(tenant.tenant_id)
    assert snapshots.peek(tenant.tenant_id) is None
    # Nothing changed: the copy is proved and used again, not read anew.
    assert await snapshots.get(tenant.tenant_id) is before
    assert snapshots.loads == 1
    revision = await grant(tenant.tenant_id, "a1")
    after = await snapshots.get(tenant.tenant_id)
    assert after.revision == revision
    assert snapshots.loads == 2


async def test_a_lost_listener_costs_a_proof_and_never_a_wrong_answer(
    snapshots_factory: Make,
    tenant_factory: Make,
    grant: Make,
    end_listeners: Callable[[], Awaitable[int]],
) -> None:
    tenant = await tenant_factory()
    snapshots = await snapshots_factory()
    lost = asyncio.Event()
    snapshots.subscribe(lambda changed: lost.set() if changed is None else None)
    for number in range(3):
        await snapshots.get(tenant.tenant_id)
        lost.clear()
        assert await end_listeners() >= 1
        await asyncio.wait_for(lost.wait(), 60)
        revision = await grant(tenant.tenant_id, f"a{number}")
        # At once, while nothing is heard or has just come back.
        view = await snapshots.get(tenant.tenant_id)
        assert view.revision == revision
        assert view.snapshot.check(
            f"agent:a{number}", "", "project:x", "read", None, SystemClock().now_ms()
        ).allowed
        await until(lambda: snapshots.trusted)
    await held(snapshots, tenant.tenant_id)


async def test_without_listener_and_database_there_is_no_answer(
    snapshots_factory: Make, tenant_factory: Make, db_factory: Make
) -> None:
    tenant = await tenant_factory()
    db = await db_factory("argy_authz", max_size=1)
    snapshots = await snapshots_factory(listen=False, db=db)
    await snapshots.get(tenant.tenant_id)
    await db.close()
    with pytest.raises(Unavailable):
        await snapshots.get(tenant.tenant_id)


async def test_a_payload_that_can_not_be_read_casts_doubt_on_everything(
    snapshots_factory: Make, tenant_factory: Make, grant: Make, db_factory: Make
) -> None:
    tenant = await tenant_factory()
    snapshots = await snapshots_factory()
    await snapshots.get(tenant.tenant_id)
    db = await db_factory("argy_authz", max_size=1)
    async with db.tenant(tenant.tenant_id) as tx:
        await tx.execute("SELECT pg_notify('authz_revision', 'nonsense')")
    await until(lambda: snapshots.peek(tenant.tenant_id) is None)
    assert (await snapshots.get(tenant.tenant_id)).revision == 0


async def test_memory_is_bounded_by_tenants_and_by_rows(
    snapshots_factory: Make, tenant_factory: Make, grant: Make
) -> None:
    tenants = [await tenant_factory() for _ in range(4)]
    few = await snapshots_factory(max_tenants=2)
    for tenant in tenants:
        await grant(tenant.tenant_id, "a1", "a2", "a3")
        await held(few, tenant.tenant_id)
    assert [few.peek(t.tenant_id) is not None for t in tenants] == [False, False, True, True]
    small = await snapshots_factory(max_rows=7)
    for tenant in tenants:
        await held(small, tenant.tenant_id)
    assert [small.peek(t.tenant_id) is not None for t in tenants] == [False, False, True, True]
    one = await snapshots_factory(max_rows=1)
    await held(one, tenants[0].tenant_id)


async def test_a_tenant_that_does_not_exist_leaves_no_trace(snapshots_factory: Make) -> None:
    snapshots = await snapshots_factory()
    stranger = uuid7()
    with pytest.raises(NotFound):
        await snapshots.get(stranger)
    assert snapshots.peek(stranger) is None
