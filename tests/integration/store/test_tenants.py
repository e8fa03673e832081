"""The tenant cache: quick while it hears changes, honest when it does not."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from argy.base.errors import PermissionDenied
from argy.base.ids import PLATFORM_TENANT_ID, uuid7
from argy.store.tenants import TenantCache

Factory = Callable[..., Awaitable[Any]]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 -- the cache hears of it from the database
            await asyncio.sleep(0.005)


async def remember(cache: TenantCache, *ids: UUID) -> None:
    """Have it in memory: an answer that came while the tenant's making was heard is not kept."""
    async with asyncio.timeout(60):
        while cache.peek(*ids) is None:
            await cache.resolve(*ids)


async def set_state(db: Any, tenant_id: UUID, state: str) -> None:
    async with db.tenant(tenant_id) as tx:
        await tx.execute("UPDATE directory.tenant SET state = $1", state)


async def reason_of(cache: TenantCache, *ids: UUID) -> str:
    with pytest.raises(PermissionDenied) as caught:
        await cache.resolve(*ids)
    return f"{caught.value.reason} {caught.value.field}"


@pytest.fixture
async def cache(db_factory: Factory) -> Any:
    made = TenantCache(await db_factory("argy_authz"), max_entries=2)
    await made.start()
    await until(lambda: made.trusted)
    yield made
    await made.close()


async def test_resolves_and_remembers(cache: TenantCache, tenant_factory: Factory) -> None:
    tenant = await tenant_factory(orgs=("sales",))
    assert cache.peek(tenant.tenant_id) is None
    info = await cache.resolve(tenant.tenant_id, tenant.orgs["sales"])
    assert (info.slug, info.state, info.org_slug) == (tenant.slug, "ACTIVE", "sales")
    await remember(cache, tenant.tenant_id, tenant.orgs["sales"])
    assert cache.peek(tenant.tenant_id, tenant.orgs["sales"]) == info
    assert cache.peek(tenant.tenant_id) is None


async def test_refuses_what_is_not_there(cache: TenantCache, tenant_factory: Factory) -> None:
    tenant, other = await tenant_factory(orgs=("a",)), await tenant_factory(orgs=("b",))
    assert await reason_of(cache, uuid7()) == "TENANT_UNKNOWN x-tenant-id"
    refused = await reason_of(cache, tenant.tenant_id, other.orgs["b"])
    assert refused == "ORG_NOT_IN_TENANT x-org-id"


async def test_a_change_is_heard(
    cache: TenantCache, tenant_factory: Factory, db_factory: Factory
) -> None:
    directory = await db_factory("argy_directory")
    tenant = await tenant_factory(orgs=("a",))
    await remember(cache, tenant.tenant_id)
    await remember(cache, tenant.tenant_id, tenant.orgs["a"])
    await set_state(directory, tenant.tenant_id, "SUSPENDED")
    # One of them may be forgotten for the tenant's making, which was heard between the two.
    await until(lambda: cache.peek(tenant.tenant_id) is None)
    await until(lambda: cache.peek(tenant.tenant_id, tenant.orgs["a"]) is None)
    assert await reason_of(cache, tenant.tenant_id) == "TENANT_SUSPENDED x-tenant-id"
    await set_state(directory, tenant.tenant_id, "ACTIVE")
    assert (await cache.resolve(tenant.tenant_id)).slug == tenant.slug


async def test_a_deaf_cache_asks_the_database(
    cache: TenantCache, tenant_factory: Factory, db_factory: Factory, pg_dsn: str
) -> None:
    directory = await db_factory("argy_directory")
    tenant = await tenant_factory()
    await remember(cache, tenant.tenant_id)
    admin = await asyncpg.connect(pg_dsn)
    await admin.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE application_name = 'argy_listen' AND datname = current_database()"
    )
    await admin.close()
    await until(lambda: cache.peek(tenant.tenant_id) is None)
    await set_state(directory, tenant.tenant_id, "SUSPENDED")
    assert await reason_of(cache, tenant.tenant_id) == "TENANT_SUSPENDED x-tenant-id"
    await set_state(directory, tenant.tenant_id, "ACTIVE")
    await until(lambda: cache.trusted)
    await remember(cache, tenant.tenant_id)


async def test_never_listening_means_never_remembering(
    db_factory: Factory, tenant_factory: Factory
) -> None:
    cache = TenantCache(await db_factory("argy_authz"))
    tenant = await tenant_factory()
    await cache.resolve(tenant.tenant_id)
    assert cache.peek(tenant.tenant_id) is None


async def test_it_is_bounded(cache: TenantCache, tenant_factory: Factory) -> None:
    tenants = [await tenant_factory() for _ in range(3)]
    for tenant in tenants:
        await remember(cache, tenant.tenant_id)
    assert [cache.peek(tenant.tenant_id) is None for tenant in tenants] == [True, False, False]


async def test_an_unreadable_notice_forgets_everything(cache: TenantCache, pg_dsn: str) -> None:
    await remember(cache, PLATFORM_TENANT_ID)
    admin = await asyncpg.connect(pg_dsn)
    await admin.execute("NOTIFY directory_changed, 'nonsense'")
    await admin.close()
    await until(lambda: cache.peek(PLATFORM_TENANT_ID) is None)
