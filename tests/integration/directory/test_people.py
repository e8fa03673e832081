"""Orgs, users, groups and members: kept per tenant, each change with its record and revision."""

import asyncio
import json
from typing import Any
from uuid import UUID, uuid4

import pytest

from argy.api.directory.v1 import tenant_pb2 as orgs
from argy.api.directory.v1 import user_pb2 as pb
from argy.base.errors import (
    AlreadyExists,
    ArgyError,
    InvalidArgument,
    NotFound,
    PermissionDenied,
)
from argy.base.revisions import parse_revision_token


async def make_org(client: Any, slug: str = "sales", **fields: Any) -> orgs.Org:
    request = orgs.CreateOrgRequest(slug=slug, **{"display_name": "Sales", **fields})
    made: orgs.Org = (await client.orgs.CreateOrg(request)).org
    return made


async def make_user(client: Any, email: str = "ada@example.com", **fields: Any) -> pb.User:
    request = pb.CreateUserRequest(email=email, **{"display_name": "Ada", **fields})
    made: pb.User = (await client.users.CreateUser(request)).user
    return made


async def make_group(client: Any, slug: str = "devs", **fields: Any) -> pb.Group:
    request = pb.CreateGroupRequest(slug=slug, **{"display_name": "Devs", **fields})
    made: pb.Group = (await client.groups.CreateGroup(request)).group
    return made


LET_IN_BY = "SELECT created_by FROM directory.group_member WHERE tenant_id = $1"


async def grant(admin: Any, tenant_id: UUID, subject: str, org_id: UUID | None = None) -> None:
    await admin.execute(
        "INSERT INTO authz.role_assignment (tenant_id, id, subject, role, org_id, created_by)"
        " VALUES ($1, $2, $3, 'role:R', $4, 'user:b')",
        tenant_id,
        uuid4(),
        subject,
        org_id,
    )


async def state(admin: Any, tenant_id: UUID) -> tuple[int, int]:
    """How many roles are held, and the revision; a deletion raises it first and last."""
    row = await admin.fetchrow(
        "SELECT (SELECT count(*) FROM authz.role_assignment WHERE tenant_id = $1) AS held,"
        " (SELECT revision FROM authz.tenant_revision WHERE tenant_id = $1) AS revision",
        tenant_id,
    )
    return row["held"], row["revision"] or 0


async def test_orgs(directory: Any, tenant_factory: Any, admin: Any, actions: Any) -> None:
    tenant = await tenant_factory()
    client = directory(tenant.tenant_id)
    made = await make_org(client)
    found = await client.orgs.GetOrg(orgs.GetOrgRequest(org_id=made.org_id))
    assert found.org == made
    by_slug = await client.orgs.ListOrgs(orgs.ListOrgsRequest(slug="sales"))
    assert list(by_slug.orgs) == [made]
    assert not (await client.orgs.ListOrgs(orgs.ListOrgsRequest(slug="none"))).orgs
    await grant(admin, tenant.tenant_id, "user:a", UUID(made.org_id))
    await client.orgs.DeleteOrg(orgs.DeleteOrgRequest(org_id=made.org_id, reason="closed"))
    assert await state(admin, tenant.tenant_id) == (0, 3)
    with pytest.raises(AlreadyExists) as refusal:
        await make_org(client)
    assert refusal.value.reason == "SLUG_RETIRED"
    with pytest.raises(NotFound):
        await client.orgs.DeleteOrg(orgs.DeleteOrgRequest(org_id=made.org_id, reason="again"))
    assert await state(admin, tenant.tenant_id) == (0, 3)
    assert await actions(tenant.tenant_id) == ["directory.org.create", "directory.org.delete"]


async def test_what_another_system_calls_a_person(
    directory: Any, tenant_factory: Any, admin: Any
) -> None:
    tenant, other = await tenant_factory(), await tenant_factory()
    client = directory(tenant.tenant_id)
    made = await make_user(client, external_id="auth0|Ada é")
    assert made.external_id == "auth0|Ada é"
    for wanted, found in (("auth0|Ada é", [made]), ("auth0|ada é", [])):
        page = await client.users.ListUsers(pb.ListUsersRequest(external_id=wanted))
        assert list(page.users) == found
    with pytest.raises(AlreadyExists) as refusal:
        await make_user(client, "other@example.com", external_id="auth0|Ada é")
    assert (refusal.value.reason, refusal.value.field) == ("EXTERNAL_ID_TAKEN", "external_id")
    # In another tenant it is another person's, and without one nobody is in the way.
    await make_user(directory(other.tenant_id), external_id="auth0|Ada é")
    for number in range(2):
        assert not (await make_user(client, f"{number}@example.com")).external_id
    for wrong in ("a\nb", " a", "e\u0301", "é" * 128):
        with pytest.raises(InvalidArgument) as malformed:
            await make_user(client, "more@example.com", external_id=wrong)
        assert malformed.value.field == "external_id"
    details = await admin.fetch(
        "SELECT detail::text FROM audit.event WHERE tenant_id = $1 ORDER BY id", tenant.tenant_id
    )
    first, *others = [json.loads(row["detail"]) for row in details]
    assert first == {"email": made.email, "external_id": made.external_id}
    assert not any("external_id" in detail for detail in others)


async def test_users(directory: Any, tenant_factory: Any, admin: Any, actions: Any) -> None:
    tenant = await tenant_factory()
    client = directory(tenant.tenant_id)
    made = await make_user(client, "Ada@Example.COM")
    assert (made.email, made.state) == ("Ada@example.com", pb.USER_STATE_ACTIVE)
    assert (await client.users.GetUser(pb.GetUserRequest(user_id=made.user_id))).user == made
    found = await client.users.ListUsers(pb.ListUsersRequest(email="ADA@EXAMPLE.com"))
    assert list(found.users) == [made]
    with pytest.raises(InvalidArgument) as malformed:
        await client.users.ListUsers(pb.ListUsersRequest(email="ada@"))
    assert malformed.value.reason == "INVALID_EMAIL"
    with pytest.raises(AlreadyExists) as refusal:
        await make_user(client, "aDA@example.com")
    assert (refusal.value.reason, refusal.value.field) == ("EMAIL_TAKEN", "email")
    for wanted in (pb.USER_STATE_DISABLED, pb.USER_STATE_ACTIVE):
        request = pb.SetUserStateRequest(user_id=made.user_id, state=wanted, reason="r")
        assert (await client.users.SetUserState(request)).user.state == wanted
    assert await state(admin, tenant.tenant_id) == (0, 2)
    await grant(admin, tenant.tenant_id, f"user:{made.user_id}")
    await grant(admin, tenant.tenant_id, "user:other")
    await client.users.DeleteUser(pb.DeleteUserRequest(user_id=made.user_id, reason="left"))
    assert await state(admin, tenant.tenant_id) == (1, 4)
    with pytest.raises(NotFound) as missing:
        await client.users.GetUser(pb.GetUserRequest(user_id=made.user_id))
    assert (missing.value.reason, missing.value.field) == ("USER_UNKNOWN", "user_id")
    assert await actions(tenant.tenant_id) == [
        "directory.user.create",
        "directory.user.disable",
        "directory.user.enable",
        "directory.user.delete",
    ]


async def test_people_and_groups_are_found_by_their_ids_in_their_own_tenant_alone(
    directory: Any, tenant_factory: Any
) -> None:
    client, other = [directory((await tenant_factory()).tenant_id) for _ in range(2)]
    users = [await make_user(client, f"u{number}@example.com") for number in range(3)]
    ids = [users[2].user_id, users[0].user_id, str(uuid4())]
    asked = pb.ListUsersRequest(user_ids=ids)
    assert list((await client.users.ListUsers(asked)).users) == [users[0], users[2]]
    assert not (await other.users.ListUsers(asked)).users
    page = pb.ListUsersRequest(user_ids=ids, page_size=1)
    first = await client.users.ListUsers(page)
    page.page_token = first.next_page_token
    assert [*first.users, *(await client.users.ListUsers(page)).users] == [users[0], users[2]]
    both = pb.ListUsersRequest(user_ids=ids, email="u2@example.com")
    assert list((await client.users.ListUsers(both)).users) == [users[2]]

    group = await make_group(client)
    for request in (
        pb.ListGroupsRequest(slug=group.slug),
        pb.ListGroupsRequest(group_ids=[group.group_id, str(uuid4())]),
    ):
        assert list((await client.groups.ListGroups(request)).groups) == [group]
        assert not (await other.groups.ListGroups(request)).groups
    assert not (await client.groups.ListGroups(pb.ListGroupsRequest(slug="no-such"))).groups


async def test_groups(directory: Any, tenant_factory: Any, admin: Any) -> None:
    tenant = await tenant_factory()
    client = directory(tenant.tenant_id)
    group, user = await make_group(client), await make_user(client)
    assert (
        await client.groups.GetGroup(pb.GetGroupRequest(group_id=group.group_id))
    ).group == group
    assert list((await client.groups.ListGroups(pb.ListGroupsRequest())).groups) == [group]
    pair = {"group_id": group.group_id, "user_id": user.user_id}
    tokens = [(await client.groups.AddMember(pb.AddMemberRequest(**pair))).revision for _ in "ab"]
    assert all(parse_revision_token(tenant.tenant_id, token) >= 1 for token in tokens)
    members = pb.ListMembersRequest(group_id=group.group_id)
    assert list((await client.groups.ListMembers(members)).users) == [user]
    # Who let them in is kept: a member owes their power to that one.
    assert await admin.fetchval(LET_IN_BY, tenant.tenant_id) == "service:cli"
    removed = (await client.groups.RemoveMember(pb.RemoveMemberRequest(**pair))).revision
    assert parse_revision_token(tenant.tenant_id, removed) > parse_revision_token(
        tenant.tenant_id, tokens[-1]
    )
    with pytest.raises(NotFound):
        await client.groups.RemoveMember(pb.RemoveMemberRequest(**pair))
    await grant(admin, tenant.tenant_id, f"group:{group.group_id}")
    await client.groups.DeleteGroup(pb.DeleteGroupRequest(group_id=group.group_id, reason="r"))
    assert (await state(admin, tenant.tenant_id))[0] == 0
    with pytest.raises(NotFound):
        await client.groups.ListMembers(members)


async def test_members_are_of_the_same_tenant(directory: Any, tenant_factory: Any) -> None:
    mine = directory((await tenant_factory()).tenant_id)
    other = directory((await tenant_factory()).tenant_id)
    group, stranger = await make_group(mine), await make_user(other)
    member = await make_user(mine)
    for pair, field in (
        ({"group_id": group.group_id, "user_id": stranger.user_id}, "user_id"),
        ({"group_id": str(uuid4()), "user_id": member.user_id}, "group_id"),
    ):
        with pytest.raises(NotFound) as refusal:
            await mine.groups.AddMember(pb.AddMemberRequest(**pair))
        assert refusal.value.field == field


async def test_tenants_are_kept_apart(directory: Any, tenant_factory: Any) -> None:
    mine = directory((await tenant_factory()).tenant_id)
    other = directory((await tenant_factory()).tenant_id)
    org, user, group = await make_org(mine), await make_user(mine), await make_group(mine)
    for attempt in (
        other.orgs.GetOrg(orgs.GetOrgRequest(org_id=org.org_id)),
        other.orgs.DeleteOrg(orgs.DeleteOrgRequest(org_id=org.org_id, reason="r")),
        other.users.GetUser(pb.GetUserRequest(user_id=user.user_id)),
        other.users.DeleteUser(pb.DeleteUserRequest(user_id=user.user_id, reason="r")),
        other.users.SetUserState(
            pb.SetUserStateRequest(user_id=user.user_id, state=pb.USER_STATE_DISABLED, reason="r")
        ),
        other.groups.GetGroup(pb.GetGroupRequest(group_id=group.group_id)),
        other.groups.DeleteGroup(pb.DeleteGroupRequest(group_id=group.group_id, reason="r")),
    ):
        with pytest.raises(NotFound):
            await attempt
    assert not (await other.orgs.ListOrgs(orgs.ListOrgsRequest())).orgs
    assert not (await other.users.ListUsers(pb.ListUsersRequest())).users
    assert not (await other.groups.ListGroups(pb.ListGroupsRequest())).groups
    # The same names are free in another tenant.
    await make_org(other)
    await make_user(other)
    await make_group(other)


async def test_a_call_in_an_org_reaches_that_org_only(directory: Any, tenant_factory: Any) -> None:
    tenant = await tenant_factory(orgs=("sales", "ops"))
    sales, ops = tenant.orgs["sales"], tenant.orgs["ops"]
    client = directory(tenant.tenant_id, sales)
    listed = (await client.orgs.ListOrgs(orgs.ListOrgsRequest())).orgs
    assert [org.org_id for org in listed] == [str(sales)]
    with pytest.raises(NotFound):
        await client.orgs.GetOrg(orgs.GetOrgRequest(org_id=str(ops)))
    for attempt in (
        make_org(client, "new"),
        make_user(client),
        make_group(client),
        client.users.ListUsers(pb.ListUsersRequest()),
        client.orgs.DeleteOrg(orgs.DeleteOrgRequest(org_id=str(sales), reason="r")),
    ):
        with pytest.raises(PermissionDenied):
            await attempt


async def test_the_same_request_answers_the_same(directory: Any, tenant_factory: Any) -> None:
    client = directory((await tenant_factory()).tenant_id)
    for make in (make_org, make_user, make_group):
        key = str(uuid4())
        first = await make(client, request_id=key)
        assert await make(client, request_id=key) == first
        with pytest.raises(AlreadyExists) as refusal:
            await make(client, request_id=key, display_name="Other")
        assert refusal.value.reason == "REQUEST_ID_REUSED"


async def test_one_of_two_at_once_wins(directory: Any, tenant_factory: Any) -> None:
    client = directory((await tenant_factory()).tenant_id)
    for make in (make_org, make_user, make_group):
        results = await asyncio.gather(make(client), make(client), return_exceptions=True)
        (refusal,) = [result for result in results if isinstance(result, BaseException)]
        assert isinstance(refusal, AlreadyExists)


async def test_a_token_serves_its_own_query_only(directory: Any, tenant_factory: Any) -> None:
    mine = directory((await tenant_factory()).tenant_id)
    other = directory((await tenant_factory()).tenant_id)
    made = [(await make_user(mine, f"u{n}@example.com")).user_id for n in range(3)]
    request = pb.ListUsersRequest(page_size=2)
    page = await mine.users.ListUsers(request)
    token = page.next_page_token
    assert [user.user_id for user in page.users] == made[:2]
    rest = await mine.users.ListUsers(pb.ListUsersRequest(page_size=2, page_token=token))
    assert ([user.user_id for user in rest.users], rest.next_page_token) == (made[2:], "")
    spoilt = ("A" if token[0] != "A" else "B") + token[1:]
    for client, wish in (
        (mine, pb.ListUsersRequest(page_token=spoilt)),
        (mine, pb.ListUsersRequest(page_token=token, email="u1@example.com")),
        (other, pb.ListUsersRequest(page_token=token)),
    ):
        with pytest.raises(InvalidArgument) as refusal:
            await client.users.ListUsers(wish)
        assert (refusal.value.reason, refusal.value.field) == ("INVALID_PAGE_TOKEN", "page_token")


async def test_what_is_malformed_is_named(directory: Any, tenant_factory: Any) -> None:
    client = directory((await tenant_factory()).tenant_id)
    for attempt, field in (
        (make_org(client, "Bad Slug"), "slug"),
        (make_group(client, "ends-"), "slug"),
        (make_user(client, "nobody"), "email"),
        (make_user(client, "a@-b"), "email"),
        (make_user(client, display_name="a\u202eb"), "display_name"),
        (client.users.GetUser(pb.GetUserRequest(user_id="1")), "user_id"),
        (
            client.users.SetUserState(pb.SetUserStateRequest(user_id=str(uuid4()), reason="r")),
            "state",
        ),
    ):
        with pytest.raises(InvalidArgument) as refusal:
            await attempt
        assert refusal.value.field == field


async def test_no_record_no_change(directory: Any, tenant_factory: Any, admin: Any) -> None:
    tenant = await tenant_factory()
    client = directory(tenant.tenant_id)
    org, user, group = await make_org(client), await make_user(client), await make_group(client)
    pair = {"group_id": group.group_id, "user_id": user.user_id}
    before = await state(admin, tenant.tenant_id)
    await admin.execute("REVOKE INSERT ON audit.event FROM argy_audit_writer")
    try:
        for attempt in (
            client.orgs.DeleteOrg(orgs.DeleteOrgRequest(org_id=org.org_id, reason="r")),
            client.users.DeleteUser(pb.DeleteUserRequest(user_id=user.user_id, reason="r")),
            client.groups.DeleteGroup(pb.DeleteGroupRequest(group_id=group.group_id, reason="r")),
            client.groups.AddMember(pb.AddMemberRequest(**pair)),
            make_user(client, "bob@example.com"),
        ):
            with pytest.raises(ArgyError):
                await attempt
    finally:
        await admin.execute("GRANT INSERT ON audit.event TO argy_audit_writer")
    assert await state(admin, tenant.tenant_id) == before
    assert list((await client.orgs.ListOrgs(orgs.ListOrgsRequest())).orgs) == [org]
    assert list((await client.users.ListUsers(pb.ListUsersRequest())).users) == [user]
    members = pb.ListMembersRequest(group_id=group.group_id)
    assert not (await client.groups.ListMembers(members)).users


async def test_one_rule_for_addresses(directory: Any, tenant_factory: Any) -> None:
    client = directory((await tenant_factory()).tenant_id)
    made = await make_user(client, " eve@bücher.example ")
    assert made.email == "eve@xn--bcher-kva.example"
    found = await client.users.ListUsers(pb.ListUsersRequest(email="EVE@Bücher.example"))
    assert list(found.users) == [made]
    # No link can be sent there.
    with pytest.raises(InvalidArgument, match=r"write one such as ada@example\.com") as refused:
        await make_user(client, "a@localhost")
    assert refused.value.reason == "INVALID_EMAIL"
