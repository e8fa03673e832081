"""Two tenants in every table, made from the catalogue: no role reaches the other's rows.

Values come from column types, check constraints' allowed words and foreign keys, so a new table is
probed without a line here.
"""
# ruff: noqa: S608 -- table and column names come from the catalogue; there is no other way to name them

import re
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import product
from typing import Any

import asyncpg
import pytest

from argy.base.ids import uuid7
from argy.local.areas import AREAS
from argy.store.database import Database

ROLES = tuple(area.role for area in AREAS)
_COLUMNS = """
SELECT a.attname::text AS name, format_type(a.atttypid, NULL) AS type, a.attnotnull AS required,
  a.attgenerated <> '' AS generated, a.atthasdef AS has_default,
  (SELECT string_agg(pg_get_constraintdef(k.oid), ' ') FROM pg_constraint AS k
   WHERE k.conrelid = a.attrelid AND k.contype = 'c' AND a.attnum = ANY (k.conkey)) AS checks
FROM pg_attribute AS a WHERE a.attrelid = $1::text::regclass AND a.attnum > 0
  AND NOT a.attisdropped ORDER BY a.attnum
"""
_FOREIGN = """
SELECT confrelid::regclass::text AS target,
  (SELECT array_agg(a.attname::text ORDER BY k.at) FROM unnest(conkey) WITH ORDINALITY AS k (n, at)
   JOIN pg_attribute AS a ON a.attrelid = conrelid AND a.attnum = k.n) AS here,
  (SELECT array_agg(a.attname::text ORDER BY k.at) FROM unnest(confkey) WITH ORDINALITY AS k (n, at)
   JOIN pg_attribute AS a ON a.attrelid = confrelid AND a.attnum = k.n) AS there
FROM pg_constraint WHERE conrelid = $1::text::regclass AND contype = 'f'
"""
_TABLES = """
SELECT c.oid::regclass::text AS name FROM pg_class AS c
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition
  AND c.relnamespace::regnamespace::text IN ('directory', 'authz', 'audit', 'authn')
"""
_PRIVILEGES = """
SELECT has_any_column_privilege($1, $2, 'SELECT') AS reads, has_table_privilege($1, $2, 'DELETE')
  AS deletes, has_table_privilege($1, $2, 'INSERT') AS inserts,
  (SELECT array_agg(attname::text) FROM pg_attribute WHERE attrelid = $2::text::regclass
   AND attnum > 0 AND has_column_privilege($1, $2, attname, 'UPDATE')) AS updates
"""


@dataclass
class Probe:
    """Fills tables for one tenant, parents first."""

    admin: Any
    tenant_id: uuid.UUID
    rows: dict[str, dict[str, object]] = field(default_factory=dict)

    async def fill(self, table: str) -> None:
        if table in self.rows:
            return
        row: dict[str, object] = {}
        choices: dict[str, Sequence[object]] = {}
        for key in await self.admin.fetch(_FOREIGN, table):
            await self.fill(key["target"])
            for here, there in zip(key["here"], key["there"], strict=True):
                row[here] = self.rows[key["target"]][there]
        for column in await self.admin.fetch(_COLUMNS, table):
            name = column["name"]
            if name == "tenant_id":
                row[name] = self.tenant_id
            elif name not in row and column["required"] and not column["generated"]:
                choices[name] = values_for(column)
        names = ", ".join([*row, *choices])
        places = ", ".join(f"${n}" for n in range(1, len(row) + len(choices) + 1))
        insert = f"INSERT INTO {table} ({names}) VALUES ({places})"
        for chosen in product(*choices.values()):
            # A constraint may tie columns to each other: some choice of theirs satisfies it.
            with suppress(asyncpg.CheckViolationError):
                await self.admin.execute(insert, *row.values(), *chosen)
                self.rows[table] = row | dict(zip(choices, chosen, strict=True))
                return
        raise AssertionError(f"no row satisfies the constraints of {table}")


def values_for(column: Any) -> Sequence[object]:
    """What a column may hold, as its type and its constraints tell."""
    checks = column["checks"] or ""
    if words := re.search(r"ANY \(ARRAY\[(.+?)\]", checks):
        return re.findall(r"'(\w+)'::text", words[1])
    if ":.+" in checks or "user|" in checks:
        return ["user:probe"]
    if "role:" in checks:
        return ["role:PROBE"]
    if "[0-9a-f]{64}" in checks:
        return [uuid.uuid4().hex * 2]
    made: dict[str, Callable[[], Sequence[object]]] = {
        "uuid": lambda: [uuid7()],
        "text": lambda: [f"p{uuid.uuid4().hex}"],
        "timestamp with time zone": lambda: [datetime.now(UTC)],
        "bigint": lambda: [1],
        "integer": lambda: [1],
        "jsonb": lambda: ["{}"],
        "text[]": lambda: [["probe"]],
        "boolean": lambda: [True, False],
        "bytea": lambda: [b"probe"],
    }
    return made[column["type"]]()


@pytest.fixture
async def probes(pg_dsn: str) -> Any:
    """Tenants A and B with a row in every table; rows stay, in tenants of their own."""
    admin = await asyncpg.connect(pg_dsn)
    tables = [row["name"] for row in await admin.fetch(_TABLES)]
    pair = Probe(admin, uuid7()), Probe(admin, uuid7())
    for probe in pair:
        for table in tables:
            await probe.fill(table)
    yield tables, pair
    await admin.close()


def test_values_are_found_for_every_kind_of_column() -> None:
    with pytest.raises(KeyError):
        values_for({"checks": None, "type": "point"})


async def test_no_role_reaches_the_other_tenant(
    probes: Any, login_dsn: Callable[[str], str]
) -> None:
    tables, (mine, other) = probes
    assert len(tables) >= 9
    reached = 0
    for role in ROLES:
        connection = await asyncpg.connect(login_dsn(role))
        for table in tables:
            may = await mine.admin.fetchrow(_PRIVILEGES, role, table)
            for sql, allowed in statements(table, may, other.rows[table]):
                count = await run(connection, role, sql, mine.tenant_id)
                assert count in ((0, "refused") if allowed else ("refused",)), (role, sql, count)
                reached += allowed
            if may["reads"]:
                own = f"SELECT tenant_id FROM {table}"
                assert await run(connection, role, own, mine.tenant_id) == 1, (role, table)
                assert await run(connection, role, own, None) == 0, (role, table)
                assert await run(connection, role, own, "") == 0, (role, table)
            if may["inserts"]:
                theirs = insert_sql(table, other.rows[table])
                assert await run(connection, role, theirs, mine.tenant_id) == "refused"
        await connection.close()
    assert reached > 20


def statements(table: str, may: Any, row: dict[str, object]) -> list[tuple[str, bool]]:
    where = f"WHERE tenant_id = '{row['tenant_id']}'"
    return [
        (f"SELECT tenant_id FROM {table} {where}", may["reads"]),
        (f"DELETE FROM {table} {where}", may["deletes"]),
        (f"DELETE FROM {table}  {where} AND true RETURNING tenant_id", may["deletes"]),
        (f"TRUNCATE {table}", False),
        (f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY", False),
        (f"DROP TABLE {table}", False),
        (f"DROP POLICY tenant_rows ON {table}", False),
        (f"CREATE POLICY mine ON {table} USING (true)", False),
        (f"UPDATE {table} SET tenant_id = tenant_id {where}", False),
        *((f"UPDATE {table} SET {c} = {c} {where}", True) for c in may["updates"] or ()),
    ]


def insert_sql(table: str, row: dict[str, object]) -> str:
    changed = {n: uuid7() if n in ("id", "org_id") else v for n, v in row.items()}
    texts = (
        rf"\x{v.hex()}" if isinstance(v, bytes) else "{}" if isinstance(v, list) else v
        for v in changed.values()
    )
    values = ", ".join(f"'{text}'" for text in texts)
    return f"INSERT INTO {table} ({', '.join(changed)}) VALUES ({values})"


async def run(connection: Any, role: str, sql: str, tenant_id: object) -> int | str:
    """Run as the role in a transaction that is rolled back; rows touched, or "refused"."""
    transaction = connection.transaction()
    await transaction.start()
    try:
        await connection.execute(f"SET LOCAL ROLE {role}")
        if tenant_id is not None:
            await connection.execute(f"SET LOCAL app.tenant_id = '{tenant_id}'")
        status = await connection.execute(sql)
        return int(status.rpartition(" ")[2])
    except (asyncpg.InsufficientPrivilegeError, asyncpg.RaiseError):
        return "refused"
    finally:
        await transaction.rollback()


@pytest.mark.parametrize("role", ROLES)
async def test_a_login_can_not_rise(login_dsn: Callable[[str], str], role: str) -> None:
    connection = await asyncpg.connect(login_dsn(role))
    for sql in (
        "SET ROLE argy_owner",
        "SET ROLE argy_audit_keeper",
        "SET SESSION AUTHORIZATION postgres",
        "SELECT audit.ensure_partitions(3)",
        "ALTER ROLE CURRENT_USER BYPASSRLS",
        "CREATE ROLE argy_more SUPERUSER",
        "CREATE TABLE public.mine (x int)",
        "CREATE SCHEMA mine",
        "SELECT * FROM public.schema_migrations",
    ):
        for start in ("RESET ROLE", f"SET ROLE {role}"):
            await connection.execute(start)
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(sql)
            await connection.execute("RESET ROLE")
    await connection.execute(f"SET ROLE {role}")
    await connection.execute("SET row_security = off")
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="row-level security"):
        await connection.fetch("SELECT tenant_id FROM directory.tenant")
    await connection.close()


async def test_an_org_of_another_tenant_is_refused(db_factory: Any, tenant_factory: Any) -> None:
    db: Database = await db_factory("argy_authz")
    mine, other = await tenant_factory(orgs=("a",)), await tenant_factory(orgs=("a",))
    grant = (
        "INSERT INTO authz.role_assignment (tenant_id, id, subject, role, org_id, created_by)"
        " VALUES ($1, $2, 'user:x', 'role:PROBE', $3, 'user:y')"
    )
    async with db.tenant(mine.tenant_id) as tx:
        await tx.execute(grant, mine.tenant_id, uuid7(), mine.orgs["a"])
    with pytest.raises(Exception, match="refers to does not exist"):
        async with db.tenant(mine.tenant_id) as tx:
            await tx.execute(grant, mine.tenant_id, uuid7(), other.orgs["a"])
    with pytest.raises(Exception, match="refused access"):
        async with db.tenant(mine.tenant_id) as tx:
            await tx.fetchval("SELECT authz.bump_revision($1)", other.tenant_id)


async def test_deleting_a_tenant_removes_everything_but_its_audit(
    probes: Any, db_factory: Any
) -> None:
    tables, (gone, kept) = probes
    db: Database = await db_factory("argy_directory")
    async with db.tenant(gone.tenant_id) as tx:
        assert await tx.execute("DELETE FROM directory.tenant") == 1
    for table in tables:
        count = f"SELECT count(*) FROM {table} WHERE tenant_id = $1"
        left = await gone.admin.fetchval(count, gone.tenant_id)
        assert left == (1 if table == "audit.event" else 0), table
        assert await gone.admin.fetchval(count, kept.tenant_id) == 1, table
