"""The facts of tenants from the running platform, by the lists that anybody with the right may ask.

Assignments are the authorization service's; orgs, people and groups the directory's.
"""

from collections.abc import Sequence
from datetime import UTC
from typing import TYPE_CHECKING
from uuid import UUID

from argy.api.authz.v1.assignment_pb2 import ListRoleAssignmentsRequest
from argy.api.authz.v1.assignment_pb2_grpc import AssignmentServiceStub
from argy.api.directory.v1 import tenant_pb2 as tenants
from argy.api.directory.v1 import user_pb2 as users
from argy.api.directory.v1.tenant_pb2_grpc import OrgServiceStub, TenantServiceStub
from argy.api.directory.v1.user_pb2_grpc import GroupServiceStub, UserServiceStub
from argy.base.errors import InvalidArgument
from argy.base.ids import PLATFORM_TENANT_ID
from argy.cli.session import every, find_tenant
from argy.client import Connection

if TYPE_CHECKING:
    from argy.policy.export import TenantFacts

_PAGE = 1_000


async def read_live(connection: Connection, name: str) -> "TenantFacts":
    """The facts of a tenant, by slug or UUID, as they are now.

    Raises:
        NotFound: when there is no such tenant.
        InvalidArgument: when it has more of something than ``every`` reads.
    """
    from argy.policy.export import Held, TenantFacts

    tenant_id = await find_tenant(connection, name)
    channel = connection.channel(tenant_id)
    orgs = await every(OrgServiceStub(channel).ListOrgs, tenants.ListOrgsRequest(page_size=_PAGE),
                       "orgs")  # fmt: skip
    slugs = {org.org_id: org.slug for org in orgs}
    request = ListRoleAssignmentsRequest(page_size=_PAGE)
    found = await every(AssignmentServiceStub(channel).ListRoleAssignments, request, "assignments")
    people = await every(
        UserServiceStub(channel).ListUsers, users.ListUsersRequest(page_size=_PAGE), "users"
    )
    groups = GroupServiceStub(channel)
    members: dict[str, list[str]] = {}
    names = {f"user:{user.user_id}": f"{user.display_name} <{user.email}>" for user in people}
    listed = await every(groups.ListGroups, users.ListGroupsRequest(page_size=_PAGE), "groups")
    for group in listed:
        asked = users.ListMembersRequest(group_id=group.group_id, page_size=_PAGE)
        held = await every(groups.ListMembers, asked, "users")
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


async def _slug(connection: Connection, tenant_id: UUID, name: str) -> str:
    """The tenant's slug: rules name it, a UUID in its place would match none of them."""
    if tenant_id == PLATFORM_TENANT_ID:
        return "platform"
    stub = TenantServiceStub(connection.channel(PLATFORM_TENANT_ID))
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
