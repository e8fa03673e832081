"""The catalogue proves tenancy for every table, partition and view; and the proof itself works."""

from collections.abc import Callable
from typing import Any

import pytest

Checker = Callable[[Any], Any]

GOOD = """
CREATE SCHEMA extra;
CREATE TABLE extra.thing (
  tenant_id uuid NOT NULL REFERENCES directory.tenant ON DELETE CASCADE,
  id uuid NOT NULL, slug text NOT NULL, PRIMARY KEY (tenant_id, id), UNIQUE (tenant_id, slug)
);
ALTER TABLE extra.thing ENABLE ROW LEVEL SECURITY;
ALTER TABLE extra.thing FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_rows ON extra.thing
USING (tenant_id = (SELECT nullif(current_setting('app.tenant_id', true), '')::uuid))
WITH CHECK (tenant_id = (SELECT nullif(current_setting('app.tenant_id', true), '')::uuid));
ALTER TABLE extra.thing OWNER TO argy_owner;
"""


async def test_every_table_of_ours_keeps_the_rules(admin: Any, check_catalogue: Checker) -> None:
    assert await check_catalogue(admin) == []


async def test_the_exemptions_exist_and_have_reasons(admin: Any, exempt: dict[str, str]) -> None:
    assert len(exempt) <= 6
    for name, reason in exempt.items():
        assert len(reason) > 20
        schema, table, *rest = name.split(".")
        assert await admin.fetchval("SELECT to_regclass($1) IS NOT NULL", f"{schema}.{table}")
        for part in rest:
            assert await admin.fetchval(
                "SELECT EXISTS (SELECT FROM pg_constraint WHERE conname = $1)"
                " OR EXISTS (SELECT FROM pg_policy WHERE polname = $1)",
                part,
            )


async def test_a_good_table_is_accepted(admin: Any, check_catalogue: Checker) -> None:
    await admin.execute(GOOD)
    assert await check_catalogue(admin) == []


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ("ALTER TABLE extra.thing DISABLE ROW LEVEL SECURITY", "has no row-level security"),
        ("ALTER TABLE extra.thing NO FORCE ROW LEVEL SECURITY", "does not force"),
        ("ALTER TABLE extra.thing OWNER TO CURRENT_USER", "not owned by argy_owner"),
        ("DROP POLICY tenant_rows ON extra.thing", "no tenant policy"),
        ("ALTER POLICY tenant_rows ON extra.thing USING (true)", "no tenant policy"),
        ("ALTER POLICY tenant_rows ON extra.thing WITH CHECK (true)", "no tenant policy"),
        (
            "ALTER POLICY tenant_rows ON extra.thing"
            " USING (tenant_id = current_setting('app.tenant_id')::uuid)",
            "initplan form",
        ),
        ("CREATE POLICY wide ON extra.thing FOR SELECT USING (true)", "widens the policy"),
        ("ALTER POLICY tenant_rows ON extra.thing TO argy_authz", "no tenant policy"),
        ("ALTER TABLE extra.thing ADD UNIQUE (slug)", "unique without tenant_id"),
        ("CREATE UNIQUE INDEX ON extra.thing (slug, tenant_id)", "unique without tenant_id"),
        (
            "ALTER TABLE extra.thing ADD other uuid UNIQUE;"
            "ALTER TABLE extra.thing ADD FOREIGN KEY (other) REFERENCES extra.thing (other)",
            "refers without tenant_id",
        ),
        ("CREATE TABLE extra.bare (id uuid)", "has no tenant_id"),
        ("CREATE VIEW extra.seen AS SELECT 1 AS x", "is no security_invoker"),
        ("CREATE MATERIALIZED VIEW extra.kept AS SELECT 1 AS x", "can't have row-level security"),
        ("GRANT SELECT ON extra.thing TO PUBLIC", "granted to everybody"),
        (
            "DO $$ BEGIN EXECUTE format('GRANT SELECT ON audit.%I TO argy_audit',"
            " 'event_' || to_char(now() AT TIME ZONE 'UTC', 'YYYY_MM')); END $$",
            "is a granted partition",
        ),
        (
            "CREATE TABLE audit.event_2030_01 PARTITION OF audit.event"
            " FOR VALUES FROM (audit.id_at('2030-01-01Z')) TO (audit.id_at('2030-02-01Z'))",
            "has no row-level security",
        ),
        ("ALTER ROLE argy_authz BYPASSRLS", "argy_authz: is too powerful"),
        ("ALTER ROLE argy_audit_login SUPERUSER", "argy_audit_login: is too powerful"),
        ("ALTER ROLE argy_audit_login INHERIT", "is a login that inherits"),
        ("GRANT argy_owner TO argy_authz", "argy_authz: may act as the owner"),
        (
            "CREATE FUNCTION extra.f() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 1'",
            "without a pinned search_path",
        ),
        (
            "CREATE FUNCTION extra.f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
            "called by everybody",
        ),
    ],
)
async def test_each_violation_is_found(
    admin: Any, check_catalogue: Checker, change: str, problem: str
) -> None:
    await admin.execute(GOOD)
    await admin.execute(change)
    assert any(problem in found for found in await check_catalogue(admin))
