"""The facts of tenants from the running platform, by the lists that anybody with the right may ask.

Assignments are the authorization service's; orgs, people and groups the directory's.
"""

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from argy.api.authz.v1.assignment_pb2 import ListRoleAssignmentsRequest
from argy.api.authz.v1.assignment_pb2_grpc import AssignmentServiceStub
from argy.api.directory.v1 import tenant_pb2 as tenants
from argy.api.directory.v1 import user_pb2 as users
from argy.api.directory.v1.tenant_pb2_grpc import OrgServiceStub, TenantServiceStub
from argy.api.directory.v1.user_pb2_grpc import GroupServiceStub, UserServiceStub
from argy.base.errors import InvalidArgument
from argy.base.ids import PLATFORM_TENANT_ID
from argy.cli.session import find_tenant, signed_in_person
from argy.client import Connection

if TYPE_CHECKING:
    from argy.policy.export import TenantFacts

MAX_LISTED: Final = 2_000_000
"""Items of one list; a million assignments are about 200 MB here."""
_PAGE: Final = 1_000


async def read_live(connection: Connection, name: str) -> "TenantFacts":
    """The facts of a tenant, by slug or UUID, as they are now.

    Raises:
        NotFound: when there is no such tenant.
        InvalidArgument: when it has more of something than ``MAX_LISTED``.
    """
    from argy.policy.export import Held, TenantFacts

    tenant_id = await find_tenant(connection, name)
    channel = connection.channel(tenant_id)
    orgs = await _every(OrgServiceStub(channel).ListOrgs, tenants.ListOrgsRequest(page_size=_PAGE),
                       "orgs")  # fmt: skip
    slugs = {org.org_id: org.slug for org in orgs}
    request = ListRoleAssignmentsRequest(page_size=_PAGE)
    found = await _every(AssignmentServiceStub(channel).ListRoleAssignments, request, "assignments")
    people = await _every(
        UserServiceStub(channel).ListUsers, users.ListUsersRequest(page_size=_PAGE), "users"
    )
    groups = GroupServiceStub(channel)
    members: dict[str, list[str]] = {}
    names = {f"user:{user.user_id}": f"{user.display_name} <{user.email}>" for user in people}
    listed = await _every(groups.ListGroups, users.ListGroupsRequest(page_size=_PAGE), "groups")
    for group in listed:
        asked = users.ListMembersRequest(group_id=group.group_id, page_size=_PAGE)
        held = await _every(groups.ListMembers, asked, "users")
        members[f"group:{group.group_id}"] = [f"user:{user.user_id}" for user in held]
        names[f"group:{group.group_id}"] = group.slug
    return TenantFacts(
        tenant=await _slug(connection, tenant_id, name),
        assignments=[
            Held(
                item.subject,
                item.role,
                slugs.get(item.org_id, item.org_id),
                item.expire_time.ToDatetime(UTC) if item.HasField("expire_time") else None,
            )
            for item in found
        ],
        groups=members,
        disabled=[
            f"user:{user.user_id}" for user in people if user.state == users.USER_STATE_DISABLED
        ],
        orgs={slug: org_id for org_id, slug in slugs.items()},
        names=names,
    )


async def _every(call: Callable[[Any], Awaitable[Any]], request: Any, items: str) -> list[Any]:
    found: list[Any] = []
    while True:
        page = await call(request)
        found += getattr(page, items)
        if not page.next_page_token:
            return found
        if len(found) >= MAX_LISTED:
            raise InvalidArgument(f"the tenant has more than {MAX_LISTED} {items}")
        request.page_token = page.next_page_token


async def _slug(connection: Connection, tenant_id: UUID, name: str) -> str:
    """The tenant's slug: rules name it, a UUID in its place would match none of them."""
    if tenant_id == PLATFORM_TENANT_ID:
        return "platform"
    person = signed_in_person(connection)
    if person is not None and person.tenant_id is not None:
        return person.tenant
    stub = TenantServiceStub(connection.own_channel(PLATFORM_TENANT_ID))
    response = await stub.GetTenant(tenants.GetTenantRequest(tenant_id=str(tenant_id)))
    return response.tenant.slug or name


def require_one_source(assignments: Sequence[object], live: bool, tenant: Sequence[str]) -> None:
    """Refuse a call that names no facts, or facts from both places.

    Raises:
        InvalidArgument: saying what to give.
    """
    if live is bool(assignments):
        raise InvalidArgument(
            "give --assignments FILE (from `argy policy export`), or --live", field="assignments"
        )
    if live and not tenant:
        raise InvalidArgument("--live needs --tenant SLUG", field="tenant")
