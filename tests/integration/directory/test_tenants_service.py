"""The life of a tenant: made once, suspended, resumed, deleted for ever."""

import asyncio
from typing import Any
from uuid import UUID, uuid4

import pytest

from argy.api.directory.v1 import tenant_pb2 as pb
from argy.api.directory.v1 import user_pb2 as users
from argy.base.errors import (
    AlreadyExists,
    ArgyError,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
)
from argy.base.ids import PLATFORM_TENANT_ID

TABLES = """
SELECT c.oid::regclass::text AS name FROM pg_class AS c
JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition
  AND c.relnamespace::regnamespace::text NOT IN ('pg_catalog', 'information_schema')
"""


def fresh_slug() -> str:
    return f"t-{uuid4().hex}"


async def create(client: Any, slug: str = "", **fields: Any) -> pb.Tenant:
    request = pb.CreateTenantRequest(
        slug=slug or fresh_slug(), **{"display_name": "Acme", **fields}
    )
    made: pb.Tenant = (await client.tenants.CreateTenant(request)).tenant
    return made


async def suspend(client: Any, tenant_id: str) -> pb.Tenant:
    request = pb.SuspendTenantRequest(tenant_id=tenant_id, reason="unpaid")
    suspended: pb.Tenant = (await client.tenants.SuspendTenant(request)).tenant
    return suspended


async def delete(client: Any, tenant_id: str, slug: str) -> None:
    request = pb.DeleteTenantRequest(tenant_id=tenant_id, confirm_slug=slug, reason="left")
    await client.tenants.DeleteTenant(request)


async def test_life(directory: Any, admin: Any) -> None:
    client = directory()
    made = await create(client)
    assert made.state == pb.TENANT_STATE_ACTIVE
    get = pb.GetTenantRequest(tenant_id=made.tenant_id)
    assert (await client.tenants.GetTenant(get)).tenant == made
    inside = directory(UUID(made.tenant_id))
    await inside.orgs.ListOrgs(pb.ListOrgsRequest())
    assert (await suspend(client, made.tenant_id)).state == pb.TENANT_STATE_SUSPENDED
    await denied_soon(inside, "TENANT_SUSPENDED")
    resume = pb.ResumeTenantRequest(tenant_id=made.tenant_id, reason="paid")
    assert (await client.tenants.ResumeTenant(resume)).tenant.state == pb.TENANT_STATE_ACTIVE
    await inside.orgs.ListOrgs(pb.ListOrgsRequest())
    rows = await admin.fetch(
        "SELECT action FROM audit.event WHERE tenant_id = $1 AND resource LIKE $2 ORDER BY id",
        PLATFORM_TENANT_ID,
        f"%{made.tenant_id}",
    )
    assert [row["action"].rpartition(".")[2] for row in rows] == ["create", "suspend", "resume"]


async def denied_soon(client: Any, reason: str) -> None:
    """The cache hears of the change by NOTIFY, within a moment of the commit."""
    async with asyncio.timeout(60):
        while True:
            try:
                await client.orgs.ListOrgs(pb.ListOrgsRequest())
            except PermissionDenied as refusal:
                told = refusal.reason
                break
    assert told == reason


async def test_deletion_leaves_only_audit_events(
    directory: Any, tenant_factory: Any, admin: Any
) -> None:
    client = directory()
    made = await create(client)
    tenant_id, inside = UUID(made.tenant_id), directory(UUID(made.tenant_id))
    org = (await inside.orgs.CreateOrg(pb.CreateOrgRequest(slug="o", display_name="O"))).org
    gone = (await inside.orgs.CreateOrg(pb.CreateOrgRequest(slug="g", display_name="G"))).org
    await inside.orgs.DeleteOrg(pb.DeleteOrgRequest(org_id=gone.org_id, reason="r"))
    user = (
        await inside.users.CreateUser(users.CreateUserRequest(email="a@b.c", display_name="A"))
    ).user
    group = (
        await inside.groups.CreateGroup(users.CreateGroupRequest(slug="g", display_name="G"))
    ).group
    await inside.groups.AddMember(
        users.AddMemberRequest(group_id=group.group_id, user_id=user.user_id)
    )
    await admin.execute(
        "INSERT INTO authz.role_assignment (tenant_id, id, subject, role, org_id, created_by)"
        " VALUES ($1, $2, 'user:a', 'role:R', $3, 'user:b')",
        tenant_id,
        uuid4(),
        UUID(org.org_id),
    )
    filled = await tables_with(admin, tenant_id)
    assert filled >= {
        "directory.tenant",
        "directory.org",
        "directory.user_account",
        "directory.user_group",
        "directory.group_member",
        "directory.retired_slug",
        "authz.role_assignment",
        "authz.tenant_revision",
    }
    await suspend(client, made.tenant_id)
    await delete(client, made.tenant_id, made.slug)
    assert await tables_with(admin, tenant_id) == {"audit.event"}
    with pytest.raises(NotFound):
        await client.tenants.GetTenant(pb.GetTenantRequest(tenant_id=made.tenant_id))
    with pytest.raises(AlreadyExists) as refusal:
        await create(client, made.slug)
    assert (refusal.value.reason, refusal.value.field) == ("SLUG_RETIRED", "slug")
    await denied_soon(inside, "TENANT_UNKNOWN")


async def tables_with(admin: Any, tenant_id: UUID) -> set[str]:
    names = [row["name"] for row in await admin.fetch(TABLES)]
    assert len(names) >= 9
    found = set()
    for name in names:
        query = f"SELECT EXISTS (SELECT FROM {name} WHERE tenant_id = $1)"  # noqa: S608 - catalogue
        if await admin.fetchval(query, tenant_id):
            found.add(name)
    return found


async def test_deletion_is_refused(directory: Any) -> None:
    client = directory()
    made = await create(client)
    with pytest.raises(FailedPrecondition) as refusal:
        await delete(client, made.tenant_id, made.slug)
    assert refusal.value.reason == "TENANT_ACTIVE"
    await suspend(client, made.tenant_id)
    with pytest.raises(FailedPrecondition) as refusal:
        await delete(client, made.tenant_id, "other")
    assert refusal.value.field == "confirm_slug"


async def test_the_platform_stays(directory: Any) -> None:
    client = directory()
    for attempt in (
        suspend(client, str(PLATFORM_TENANT_ID)),
        delete(client, str(PLATFORM_TENANT_ID), "platform"),
    ):
        with pytest.raises(FailedPrecondition) as refusal:
            await attempt
        assert refusal.value.reason == "PLATFORM_TENANT"


async def test_the_same_request_answers_the_same(directory: Any) -> None:
    client = directory()
    slug, request_id = fresh_slug(), str(uuid4())
    first = await create(client, slug, request_id=request_id)
    assert await create(client, slug, request_id=request_id) == first
    with pytest.raises(AlreadyExists) as refusal:
        await create(client, slug, request_id=request_id, display_name="Other")
    assert (refusal.value.reason, refusal.value.field) == ("REQUEST_ID_REUSED", "request_id")


async def test_one_of_two_at_once_wins(directory: Any) -> None:
    client, slug = directory(), fresh_slug()
    results = await asyncio.gather(
        create(client, slug), create(client, slug), return_exceptions=True
    )
    (refusal,) = [result for result in results if isinstance(result, BaseException)]
    assert isinstance(refusal, AlreadyExists)
    assert refusal.reason == "SLUG_TAKEN"


async def test_the_same_request_twice_at_once_makes_one(directory: Any) -> None:
    client, slug, request_id = directory(), fresh_slug(), str(uuid4())
    made = await asyncio.gather(*(create(client, slug, request_id=request_id) for _ in range(4)))
    assert len({tenant.tenant_id for tenant in made}) == 1


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"slug": "Not A Slug"}, "slug"),
        ({"slug": "ends-"}, "slug"),
        ({"display_name": " "}, "display_name"),
        ({"request_id": "x"}, "request_id"),
    ],
)
async def test_what_is_malformed_is_named(
    directory: Any, fields: dict[str, str], field: str
) -> None:
    with pytest.raises(InvalidArgument) as refusal:
        await create(directory(), **fields)
    assert refusal.value.field == field


async def test_pages(directory: Any) -> None:
    client = directory()
    made = [(await create(client)).tenant_id for _ in range(3)]
    seen: list[str] = []
    request = pb.ListTenantsRequest(page_size=2)
    while True:
        page = await client.tenants.ListTenants(request)
        seen += [tenant.tenant_id for tenant in page.tenants]
        if not page.next_page_token:
            break
        request.page_token = page.next_page_token
    assert seen == sorted(seen)
    assert len(set(seen)) == len(seen)
    assert set(made) < set(seen)


async def test_no_record_no_tenant(directory: Any, admin: Any) -> None:
    client, slug = directory(), fresh_slug()
    await admin.execute("REVOKE INSERT ON audit.event FROM argy_audit_writer")
    try:
        with pytest.raises(ArgyError):
            await create(client, slug)
    finally:
        await admin.execute("GRANT INSERT ON audit.event TO argy_audit_writer")
    assert not (await client.tenants.ListTenants(pb.ListTenantsRequest(slug=slug))).tenants
    await create(client, slug)
