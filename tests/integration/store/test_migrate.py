"""Migrations apply again, at once, down and up; logins are provisioned; partitions are kept."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import pytest

from argy.base.errors import AlreadyExists, ArgyError, InvalidArgument, PermissionDenied
from argy.base.ids import PLATFORM_TENANT_ID, uuid7
from argy.store.database import Database
from argy.store.migrate import (
    MigrationFailed,
    apply,
    dbmate,
    provision_login,
    rollback,
    with_login,
)
from argy.trail.partitions import ensure_partitions
from argy.trail.records import MAX_DETAIL_BYTES, AuditRecord, record, record_many

Factory = Callable[..., Awaitable[Any]]
_SHAPE = """
SELECT table_schema || '.' || table_name || '.' || column_name || ' ' || data_type AS line
FROM information_schema.columns
WHERE table_schema IN ('directory', 'authz', 'audit', 'authn') ORDER BY 1
"""


@pytest.fixture
def empty_dsn(fresh_database: Callable[..., str], worker_number: int) -> str:
    return fresh_database(f"argy_empty_{worker_number}", template="template0")


async def fetch(dsn: str, sql: str) -> list[Any]:
    connection = await asyncpg.connect(dsn)
    try:
        return list(await connection.fetch(sql))
    finally:
        await connection.close()


async def test_many_at_once_then_again_then_down_and_up(empty_dsn: str) -> None:
    await asyncio.gather(*(apply(empty_dsn) for _ in range(3)))
    versions = await fetch(empty_dsn, "SELECT version FROM public.schema_migrations ORDER BY 1")
    shape = await fetch(empty_dsn, _SHAPE)
    assert len(shape) > 50
    await apply(empty_dsn)
    for _ in versions:
        await rollback(empty_dsn)
    assert await fetch(empty_dsn, _SHAPE) == []
    await apply(empty_dsn)
    assert await fetch(empty_dsn, _SHAPE) == shape


async def test_a_failed_migration_says_so(empty_dsn: str) -> None:
    await fetch(empty_dsn, "CREATE SCHEMA authz")
    with pytest.raises(MigrationFailed) as caught:
        await apply(empty_dsn)
    assert 'schema "authz" already exists' in str(caught.value.__cause__)
    assert not await fetch(
        empty_dsn, "SELECT WHERE to_regclass('authz.role_assignment') IS NOT NULL"
    )


async def test_a_login_is_provisioned_twice(pg_dsn: str, login_dsn: Callable[[str], str]) -> None:
    dsn = login_dsn("argy_audit_keeper")
    assert await ensure_partitions(dsn) == 0
    with pytest.raises(InvalidArgument):
        await provision_login(pg_dsn, "postgres", secrets.token_hex(16))
    with pytest.raises(InvalidArgument):
        await provision_login(pg_dsn, "argy_audit", "short")
    with pytest.raises(ArgyError):
        await provision_login(dsn, "argy_audit", secrets.token_hex(16))
    stored = await fetch(
        pg_dsn, "SELECT rolpassword FROM pg_authid WHERE rolname = 'argy_audit_keeper_login'"
    )
    assert stored[0]["rolpassword"].startswith("SCRAM-SHA-256$")


def test_a_dsn_is_given_another_login() -> None:
    assert with_login("postgresql://a:b@h:1/d?x=y", "c", "p@s") == "postgresql://c:p%40s@h:1/d?x=y"
    assert with_login("postgresql:///d?host=/s", "c", "p") == "postgresql://c:p@/d?host=/s"
    assert dbmate().is_file()


async def test_partitions_are_made_ahead(login_dsn: Callable[[str], str]) -> None:
    keeper = login_dsn("argy_audit_keeper")
    made = await asyncio.gather(*(ensure_partitions(keeper, months_ahead=5) for _ in range(3)))
    assert sorted(made) in ([0, 0, 3], [0, 0, 0])
    with pytest.raises(PermissionDenied):
        await ensure_partitions(login_dsn("argy_audit"))
    with pytest.raises(InvalidArgument):
        await ensure_partitions(keeper, months_ahead=25)


async def test_records_share_the_transaction(db_factory: Factory) -> None:
    db, reader = await db_factory("argy_directory"), await db_factory("argy_audit")
    tenant_id, org_id = uuid7(), uuid7()
    kept = AuditRecord(
        actor="service:directory",
        action="a.b",
        resource="thing:1",
        reason="why",
        org_id=org_id,
        on_behalf_of="user:y",
        request_id="r",
        trace_id="t",
        detail={"a": [1, None, "é"]},
        occurred_at_ms=1_700_000_000_123,
    )
    lost = AuditRecord(actor="user:x", action="a.b", resource="thing:1")
    async with db.tenant(tenant_id) as tx:
        assert await record(tx, kept) == kept.id
        assert await record_many(tx, []) == []
        assert await record_many(tx, [kept, kept]) == [kept.id, kept.id]

    async def undo() -> None:
        async with db.tenant(tenant_id) as tx:
            await record(tx, lost)
            raise RuntimeError("the change failed")

    with pytest.raises(RuntimeError):
        await undo()
    with pytest.raises(AlreadyExists):
        async with db.tenant(tenant_id) as tx:
            await record(tx, kept)
    async with reader.tenant(tenant_id) as tx:
        rows = await tx.fetch(
            "SELECT id, org_id, actor_kind, on_behalf_of, reason, request_id, trace_id, detail,"
            " extract(epoch FROM occurred_at)::text AS occurred FROM audit.event"
        )
    assert [dict(row) for row in rows] == [
        {
            "id": kept.id,
            "org_id": org_id,
            "actor_kind": "service",
            "on_behalf_of": "user:y",
            "reason": "why",
            "request_id": "r",
            "trace_id": "t",
            "detail": '{"a": [1, null, "é"]}',
            "occurred": "1700000000.123000",
        }
    ]


async def test_an_oversized_detail_is_refused(db_factory: Factory) -> None:
    db: Database = await db_factory("argy_directory")
    huge = AuditRecord(
        actor="user:x", action="a.b", resource="t:1", detail={"a": "x" * MAX_DETAIL_BYTES}
    )
    with pytest.raises(InvalidArgument):
        async with db.tenant(PLATFORM_TENANT_ID) as tx:
            await record(tx, huge)


async def test_slugs_are_never_given_again(db_factory: Factory, tenant_factory: Factory) -> None:
    db: Database = await db_factory("argy_directory")
    tenant = await tenant_factory(orgs=("sales",))
    async with db.tenant(tenant.tenant_id) as tx:
        await tx.execute("DELETE FROM directory.org WHERE slug = 'sales'")
    insert_org = (
        "INSERT INTO directory.org (tenant_id, org_id, slug, display_name)"
        " VALUES ($1, $2, 'sales', 'x')"
    )
    errors = {"org_slug_retired": lambda: AlreadyExists("slug was used", reason="SLUG_RETIRED")}
    with pytest.raises(AlreadyExists, match="slug was used"):
        async with db.tenant(tenant.tenant_id, errors=errors) as tx:
            await tx.execute(insert_org, tenant.tenant_id, uuid7())
    async with db.tenant(tenant.tenant_id) as tx:
        await tx.execute("DELETE FROM directory.tenant")
    with pytest.raises(AlreadyExists):
        await tenant_factory(slug=tenant.slug)
    with pytest.raises(InvalidArgument):
        async with db.tenant(PLATFORM_TENANT_ID) as tx:
            await tx.execute(
                "DELETE FROM directory.tenant WHERE tenant_id = $1", PLATFORM_TENANT_ID
            )
