"""What the database must be, read from its catalogue: the checker that the tests run and test."""

from collections.abc import Callable
from typing import Any

import asyncpg
import pytest

POLICY = (
    "(tenant_id = ( SELECT (NULLIF(current_setting('app.tenant_id'::text, true), ''::text))::uuid"
    ' AS "nullif"))'
)

EXEMPT: dict[str, str] = {
    "public.schema_migrations": "dbmate's own list of versions; no role of a service may read it",
    "directory.tenant.tenant_slug_key": "a tenant's name is unique in the platform; only the"
    " platform's life-cycle calls can meet it",
    "directory.tenant.tenant_request_id_key": "one CreateTenant a request id, whose tenant id is"
    " not known before; only the platform's life-cycle calls can meet it",
    "directory.tenant.platform_reads_tenants": "the platform tenant lists tenants: SELECT only,"
    " argy_directory only",
}
"""Everything that a rule below does not hold for, with the reason."""

_RELATIONS = """
SELECT n.nspname || '.' || c.relname AS name, c.oid, c.relkind::text AS kind, c.relispartition,
  c.relrowsecurity AS secured, c.relforcerowsecurity AS forced,
  pg_get_userbyid(c.relowner)::text AS owner, c.reloptions::text[] AS options,
  c.relacl IS NOT NULL AND EXISTS (
    SELECT FROM aclexplode(c.relacl) AS a WHERE a.grantee <> c.relowner
  ) AS granted,
  EXISTS (
    SELECT FROM pg_attribute AS t
    WHERE t.attrelid = c.oid AND t.attname = 'tenant_id' AND t.attnotnull
      AND t.atttypid = 'uuid'::regtype
  ) AS tenant_column
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
  AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
ORDER BY 1
"""
_POLICIES = """
SELECT polname::text AS name, polcmd::text AS command, polpermissive AS permissive,
  pg_get_expr(polqual, polrelid) AS using, pg_get_expr(polwithcheck, polrelid) AS check,
  polroles = '{0}' AS everybody
FROM pg_policy WHERE polrelid = $1
"""
_KEYS = """
SELECT i.relname::text AS name, EXISTS (
  SELECT FROM pg_attribute AS a
  WHERE a.attrelid = x.indrelid AND a.attname = 'tenant_id' AND a.attnum = x.indkey[0]
) AS tenant_first
FROM pg_index AS x JOIN pg_class AS i ON i.oid = x.indexrelid
WHERE x.indrelid = $1 AND (x.indisunique OR x.indisexclusion)
"""
_FOREIGN_KEYS = """
SELECT k.conname::text AS name, (
  SELECT count(*) FROM generate_subscripts(k.conkey, 1) AS s
  JOIN pg_attribute AS a ON a.attrelid = k.conrelid AND a.attnum = k.conkey[s]
  JOIN pg_attribute AS b ON b.attrelid = k.confrelid AND b.attnum = k.confkey[s]
  WHERE a.attname = 'tenant_id' AND b.attname = 'tenant_id'
) > 0 AS tenant
FROM pg_constraint AS k WHERE k.contype = 'f' AND k.conrelid = $1
"""
_ROLES = """
SELECT r.rolname::text AS name,
  r.rolsuper OR r.rolbypassrls OR r.rolcreaterole OR r.rolcreatedb OR r.rolreplication AS powerful,
  pg_has_role(r.oid, 'argy_owner', 'MEMBER') AND r.rolname <> 'argy_owner' AS owner,
  r.rolcanlogin AS login, r.rolinherit AS inherits
FROM pg_roles AS r WHERE r.rolname LIKE 'argy\\_%'
"""
_FUNCTIONS = """
SELECT n.nspname || '.' || p.proname AS name, p.prosecdef AS definer,
  coalesce(p.proconfig::text, '') AS config, has_function_privilege('public', p.oid, 'EXECUTE')
    AS everybody
FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace
WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
"""
_EVERYBODY = """
SELECT n.nspname || '.' || c.relname AS name
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace, aclexplode(c.relacl) AS a
WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND a.grantee = 0
"""


async def catalogue_problems(connection: Any) -> list[str]:
    """Return what is wrong, one line each: ``<object>: <what>``."""
    problems: list[str] = []

    def expect(good: object, name: str, what: str) -> None:
        if not good and name not in EXEMPT:
            problems.append(f"{name}: {what}")

    for table in await connection.fetch(_RELATIONS):
        name = table["name"]
        if name in EXEMPT:
            continue
        expect(table["owner"] == "argy_owner", name, "is not owned by argy_owner")
        if table["kind"] == "v":
            expect(
                "security_invoker=true" in (table["options"] or []), name, "is no security_invoker"
            )
            continue
        expect(table["kind"] in ("r", "p"), name, "can't have row-level security")
        expect(table["secured"], name, "has no row-level security")
        expect(table["forced"], name, "does not force row-level security")
        expect(table["tenant_column"], name, "has no tenant_id uuid NOT NULL")
        expect(not (table["relispartition"] and table["granted"]), name, "is a granted partition")
        policies = await connection.fetch(_POLICIES, table["oid"])
        expect(
            any(
                p["using"] == POLICY and p["check"] == POLICY and p["command"] == "*"
                for p in policies
                if p["everybody"]
            ),
            name,
            "has no tenant policy in the initplan form",
        )
        for policy in policies:
            same = policy["using"] == POLICY and policy["check"] == POLICY
            expect(
                same or not policy["permissive"], f"{name}.{policy['name']}", "widens the policy"
            )
        for key in await connection.fetch(_KEYS, table["oid"]):
            expect(
                key["tenant_first"], f"{name}.{key['name']}", "is unique without tenant_id first"
            )
        for key in await connection.fetch(_FOREIGN_KEYS, table["oid"]):
            expect(key["tenant"], f"{name}.{key['name']}", "refers without tenant_id")
    for row in await connection.fetch(_EVERYBODY):
        expect(False, row["name"], "is granted to everybody")
    for role in await connection.fetch(_ROLES):
        expect(not role["powerful"], role["name"], "is too powerful")
        expect(not role["owner"], role["name"], "may act as the owner")
        expect(not (role["login"] and role["inherits"]), role["name"], "is a login that inherits")
    for function in await connection.fetch(_FUNCTIONS):
        expect(not function["everybody"], function["name"], "may be called by everybody")
        expect(
            not function["definer"] or "search_path=" in function["config"],
            function["name"],
            "is SECURITY DEFINER without a pinned search_path",
        )
    return problems


@pytest.fixture
def check_catalogue() -> Callable[[Any], Any]:
    """The checker: ``await check_catalogue(connection) -> list of problems``."""
    return catalogue_problems


@pytest.fixture
def exempt() -> dict[str, str]:
    """What is exempt, and why."""
    return EXEMPT


@pytest.fixture
async def admin(pg_dsn: str) -> Any:
    """An administrator's connection to the worker's database; what it did is rolled back."""
    connection = await asyncpg.connect(pg_dsn)
    transaction = connection.transaction()
    await transaction.start()
    yield connection
    await transaction.rollback()
    await connection.close()
