"""The tenant transaction: what it sees, what it refuses, what it leaves behind."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from argy.base.errors import (
    Aborted,
    AlreadyExists,
    ArgyError,
    DeadlineExceeded,
    FailedPrecondition,
    InvalidArgument,
    PermissionDenied,
    Unavailable,
)
from argy.base.ids import PLATFORM_TENANT_ID, uuid7
from argy.store.database import Database, Tx

Factory = Callable[..., Awaitable[Any]]

SLUG_TAKEN = {"org_slug_key": lambda: AlreadyExists("slug is taken", reason="SLUG_TAKEN")}


async def insert_org(tx: Tx, slug: str = "sales", org_id: UUID | None = None) -> None:
    await tx.execute(
        "INSERT INTO directory.org (tenant_id, org_id, slug, display_name)"
        " VALUES ($1, $2, $3, 'x')",
        tx.tenant_id,
        org_id or uuid7(),
        slug,
    )


async def org_count(db: Database, tenant_id: UUID) -> int:
    async with db.tenant(tenant_id) as tx:
        return int(await tx.fetchval("SELECT count(*) FROM directory.org"))


async def test_a_transaction_commits_and_sees_only_its_tenant(
    db_factory: Factory, tenant_factory: Factory
) -> None:
    db = await db_factory("argy_directory")
    here, there = await tenant_factory(), await tenant_factory(orgs=("a", "b"))
    async with db.tenant(here.tenant_id) as tx:
        await insert_org(tx)
    assert await org_count(db, here.tenant_id) == 1
    assert await org_count(db, there.tenant_id) == 2
    assert await org_count(db, uuid7()) == 0


async def test_settings_and_role_are_those_of_the_transaction(db_factory: Factory) -> None:
    db = await db_factory("argy_authz")
    tenant_id, org_id = uuid7(), uuid7()
    async with db.tenant(tenant_id, org_id) as tx:
        row = await tx.fetchrow(
            "SELECT current_user::text AS role, current_setting('app.tenant_id') AS tenant,"
            " current_setting('app.org_id') AS org"
        )
    assert row is not None
    assert dict(row) == {"role": "argy_authz", "tenant": str(tenant_id), "org": str(org_id)}


async def test_an_exception_rolls_back(db_factory: Factory, tenant_factory: Factory) -> None:
    db = await db_factory("argy_directory")
    tenant = await tenant_factory()

    async def fail() -> None:
        async with db.tenant(tenant.tenant_id) as tx:
            await insert_org(tx)
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        await fail()
    assert await org_count(db, tenant.tenant_id) == 0


async def test_a_swallowed_failure_is_not_reported_as_success(
    db_factory: Factory, tenant_factory: Factory
) -> None:
    db = await db_factory("argy_directory")
    tenant = await tenant_factory()

    async def swallow() -> None:
        async with db.tenant(tenant.tenant_id) as tx:
            await insert_org(tx)
            with pytest.raises(AlreadyExists):
                await insert_org(tx)

    with pytest.raises(Aborted) as caught:
        await swallow()
    assert caught.value.reason == "TRANSACTION_FAILED"
    assert await org_count(db, tenant.tenant_id) == 0


async def test_a_savepoint_undoes_only_itself(db_factory: Factory, tenant_factory: Factory) -> None:
    db = await db_factory("argy_directory")
    tenant = await tenant_factory()

    async def undone(tx: Tx) -> None:
        async with tx.savepoint():
            await insert_org(tx, "undone")
            async with tx.savepoint():
                await insert_org(tx, "kept")

    async with db.tenant(tenant.tenant_id) as tx:
        await insert_org(tx, "kept")
        with pytest.raises(AlreadyExists):
            await undone(tx)
        async with tx.savepoint():
            await insert_org(tx, "also-kept")
    assert await org_count(db, tenant.tenant_id) == 2


async def test_entering_another_tenant_is_restored(
    db_factory: Factory, tenant_factory: Factory
) -> None:
    db = await db_factory("argy_directory")
    tenant = await tenant_factory(orgs=("a",))
    seen = "SELECT nullif(current_setting('app.tenant_id'), '')::uuid"
    async with db.tenant(PLATFORM_TENANT_ID) as tx:
        async with tx.unsafe_enter(tenant.tenant_id):
            assert await tx.fetchval(seen) == tx.tenant_id == tenant.tenant_id
            async with tx.unsafe_enter(PLATFORM_TENANT_ID):
                assert await tx.fetchval(seen) == PLATFORM_TENANT_ID
            assert await tx.fetchval("SELECT count(*) FROM directory.org") == 1
        assert await tx.fetchval(seen) == tx.tenant_id == PLATFORM_TENANT_ID
        with pytest.raises(AlreadyExists):
            async with tx.savepoint(), tx.unsafe_enter(tenant.tenant_id):
                await insert_org(tx, "a")
        assert await tx.fetchval(seen) == tx.tenant_id == PLATFORM_TENANT_ID


async def test_constraints_become_the_stores_errors(
    db_factory: Factory, tenant_factory: Factory
) -> None:
    db = await db_factory("argy_directory")
    tenant = await tenant_factory(orgs=("sales",))
    with pytest.raises(AlreadyExists, match="slug is taken") as caught:
        async with db.tenant(tenant.tenant_id, errors=SLUG_TAKEN) as tx:
            await insert_org(tx)
    assert caught.value.reason == "SLUG_TAKEN"
    assert isinstance(caught.value.__cause__, asyncpg.UniqueViolationError)


@pytest.mark.parametrize(
    ("statement", "error"),
    [
        ("SELECT pg_sleep(10)", DeadlineExceeded),
        ("SELECT 1/0", InvalidArgument),
        ("SELECT no_such_column", ArgyError),
        ("SELECT * FROM authz.role_assignment", PermissionDenied),
    ],
)
async def test_driver_errors_never_leak(
    db_factory: Factory, statement: str, error: type[ArgyError]
) -> None:
    db = await db_factory("argy_directory", statement_timeout_ms=300)
    with pytest.raises(error) as caught:
        async with db.tenant(uuid7()) as tx:
            await tx.execute(statement)
    assert caught.type is error
    async with db.tenant(uuid7()) as tx:
        assert await tx.fetchval("SELECT 1") == 1


async def test_a_value_outside_its_limits_is_the_callers_fault(
    db_factory: Factory, tenant_factory: Factory
) -> None:
    db = await db_factory("argy_directory")
    tenant = await tenant_factory()
    with pytest.raises(InvalidArgument) as caught:
        async with db.tenant(tenant.tenant_id) as tx:
            await insert_org(tx, "Not A Slug")
    assert caught.value.reason == "CONSTRAINT_VIOLATED"


async def test_a_lost_connection_is_unavailable_and_replaced(
    db_factory: Factory, pg_dsn: str
) -> None:
    db = await db_factory("argy_directory", max_size=1)
    admin = await asyncpg.connect(pg_dsn)
    pids: list[int] = []

    async def lose() -> None:
        async with db.tenant(uuid7()) as tx:
            pids.append(await tx.fetchval("SELECT pg_backend_pid()"))
            await admin.execute("SELECT pg_terminate_backend($1)", pids[0])
            await tx.execute("SELECT 1")

    with pytest.raises(Unavailable):
        await lose()
    await admin.close()
    async with db.tenant(uuid7()) as tx:
        assert await tx.fetchval("SELECT pg_backend_pid()") not in pids


async def test_unstorable_text_is_the_callers_fault(
    db_factory: Factory, tenant_factory: Factory
) -> None:
    db = await db_factory("argy_directory")
    tenant = await tenant_factory()
    for text in ("a\x00b", "\ud800"):
        with pytest.raises(InvalidArgument):
            async with db.tenant(tenant.tenant_id) as tx:
                await tx.fetchval("SELECT $1::text", text)


async def test_a_busy_pool_and_a_closed_one_are_unavailable(db_factory: Factory) -> None:
    db = await db_factory("argy_directory", max_size=1, acquire_timeout_s=0.1)
    async with db.tenant(uuid7()):
        with pytest.raises(Unavailable) as caught:
            async with db.tenant(uuid7()):
                raise AssertionError("a second connection was given")
    assert caught.value.reason == "DATABASE_BUSY"
    await db.close()
    with pytest.raises(Unavailable):
        async with db.tenant(uuid7()):
            raise AssertionError("a closed pool gave a connection")


async def test_cancelling_leaves_a_clean_connection(
    db_factory: Factory, tenant_factory: Factory
) -> None:
    db = await db_factory("argy_directory", max_size=1)
    tenant = await tenant_factory()
    started = asyncio.Event()

    async def work() -> None:
        async with db.tenant(tenant.tenant_id) as tx:
            await insert_org(tx)
            started.set()
            await tx.execute("SELECT pg_sleep(30)")

    task = asyncio.create_task(work())
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await org_count(db, tenant.tenant_id) == 0


async def test_cancelling_at_any_step_leaves_no_transaction_behind(
    db_factory: Factory, tenant_factory: Factory, caplog: pytest.LogCaptureFixture
) -> None:
    """Also while it begins and while it commits, as services are cancelled when they stop."""
    db = await db_factory("argy_directory", max_size=1)
    tenant = await tenant_factory()

    async def work() -> None:
        for _ in range(50):
            async with db.tenant(tenant.tenant_id) as tx:
                await tx.fetchval("SELECT 1")

    for steps in range(60):
        task = asyncio.create_task(work())
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    async with db.tenant(tenant.tenant_id) as tx:
        assert await tx.fetchval("SELECT current_user::text") == "argy_directory"
    assert "active transaction" not in caplog.text


async def test_nothing_leaks_to_the_next_user_of_a_connection(db_factory: Factory) -> None:
    db = await db_factory("argy_directory", max_size=1)
    tenant_id = uuid7()
    async with db.tenant(tenant_id) as tx:
        pid = await tx.fetchval("SELECT pg_backend_pid()")
        await tx.execute("RESET ROLE")
        await tx.execute("SET SESSION ROLE argy_directory")
        await tx.execute(f"SET SESSION app.tenant_id = '{tenant_id}'")
        await tx.execute("SET SESSION work_mem = '1MB'")
    with pytest.raises(InvalidArgument):
        async with db.tenant(tenant_id) as tx:
            await tx.execute("SET SESSION work_mem = '1MB'; SELECT 1/0")
    row = await db._pool.fetchrow(
        "SELECT pg_backend_pid() AS pid, current_user::text AS role,"
        " current_setting('app.tenant_id', true) AS tenant,"
        " current_setting('work_mem') AS work_mem, current_setting('role') AS asked"
    )
    assert row["pid"] == pid
    assert row["role"] == "argy_directory_login"
    assert row["asked"] == "none"
    assert row["work_mem"] != "1MB"
    assert not row["tenant"]


async def test_temporary_tables_do_not_survive(db_factory: Factory) -> None:
    db = await db_factory("argy_directory", max_size=1)
    async with db.tenant(uuid7()) as tx:
        await tx.execute("CREATE TEMP TABLE leak AS SELECT 1 AS x")
    assert await db._pool.fetchval("SELECT to_regclass('pg_temp.leak')") is None


async def test_too_powerful_logins_are_refused(
    pg_dsn: str, login_dsn: Callable[[str], str]
) -> None:
    with pytest.raises(FailedPrecondition, match="provision_login") as caught:
        await Database.open(pg_dsn, role="argy_directory")
    assert caught.value.reason == "DATABASE_LOGIN_TOO_POWERFUL"
    with pytest.raises(FailedPrecondition) as caught:
        await Database.open(login_dsn("argy_authz"), role="argy_directory")
    assert caught.value.reason == "DATABASE_LOGIN_NOT_MEMBER"
    with pytest.raises(FailedPrecondition) as caught:
        await Database.open(login_dsn("argy_authz"), role="argy_owner")
    assert caught.value.reason == "DATABASE_LOGIN_TOO_POWERFUL"
    with pytest.raises(FailedPrecondition) as caught:
        await Database.open(login_dsn("argy_authz"), role="argy_nobody")
    assert caught.value.reason == "DATABASE_NOT_MIGRATED"
    with pytest.raises(FailedPrecondition):
        await Database.open(pg_dsn, role="postgres")


async def test_a_database_that_is_away_is_unavailable() -> None:
    with pytest.raises(Unavailable):
        await Database.open("postgresql://x:y@127.0.0.1:1/none", role="argy_authz")
