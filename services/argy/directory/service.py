"""The gRPC face: messages in, use cases, messages out."""

from operator import attrgetter
from uuid import UUID

from argy.api.directory.v1 import tenant_pb2 as tenants_pb
from argy.api.directory.v1 import user_pb2 as users_pb
from argy.directory.changes import request_uuid
from argy.directory.groups import Groups
from argy.directory.orgs import Orgs
from argy.directory.paging import Paged
from argy.directory.tenants import Tenants
from argy.directory.users import Users
from argy.directory.wire import (
    group_message,
    org_message,
    tenant_message,
    user_message,
    user_state,
)
from argy.rpc.call import Call
from argy.rpc.page_token import PageTokens

_tenant_id = attrgetter("tenant_id")
_org_id = attrgetter("org_id")
_user_id = attrgetter("user_id")
_group_id = attrgetter("group_id")


class TenantService:
    """The life cycle of tenants."""

    def __init__(self, tenants: Tenants, pages: PageTokens) -> None:
        self._tenants = tenants
        self._pages = Paged(pages)

    async def CreateTenant(
        self, request: tenants_pb.CreateTenantRequest, call: Call
    ) -> tenants_pb.CreateTenantResponse:
        """Make a tenant."""
        made = await self._tenants.create(
            call,
            slug=request.slug,
            display_name=request.display_name,
            request_id=request_uuid(request.request_id),
        )
        return tenants_pb.CreateTenantResponse(tenant=tenant_message(made))

    async def GetTenant(
        self, request: tenants_pb.GetTenantRequest, call: Call
    ) -> tenants_pb.GetTenantResponse:
        """One tenant."""
        found = await self._tenants.get(UUID(request.tenant_id))
        return tenants_pb.GetTenantResponse(tenant=tenant_message(found))

    async def ListTenants(
        self, request: tenants_pb.ListTenantsRequest, call: Call
    ) -> tenants_pb.ListTenantsResponse:
        """A page of tenants."""
        after, limit = self._pages.window(call, request)
        found = await self._tenants.list(after=after, slug=request.slug, limit=limit)
        shown, token = self._pages.cut(call, request, found, _tenant_id)
        return tenants_pb.ListTenantsResponse(
            tenants=map(tenant_message, shown), next_page_token=token
        )

    async def SuspendTenant(
        self, request: tenants_pb.SuspendTenantRequest, call: Call
    ) -> tenants_pb.SuspendTenantResponse:
        """Refuse every call of a tenant."""
        found = await self._tenants.set_state(
            call, UUID(request.tenant_id), "SUSPENDED", request.reason
        )
        return tenants_pb.SuspendTenantResponse(tenant=tenant_message(found))

    async def ResumeTenant(
        self, request: tenants_pb.ResumeTenantRequest, call: Call
    ) -> tenants_pb.ResumeTenantResponse:
        """Make a suspended tenant active."""
        found = await self._tenants.set_state(
            call, UUID(request.tenant_id), "ACTIVE", request.reason
        )
        return tenants_pb.ResumeTenantResponse(tenant=tenant_message(found))

    async def DeleteTenant(
        self, request: tenants_pb.DeleteTenantRequest, call: Call
    ) -> tenants_pb.DeleteTenantResponse:
        """Delete a suspended tenant."""
        await self._tenants.delete(
            call,
            UUID(request.tenant_id),
            confirm_slug=request.confirm_slug,
            reason=request.reason,
        )
        return tenants_pb.DeleteTenantResponse()


class OrgService:
    """The organizations of the call's tenant."""

    def __init__(self, orgs: Orgs, pages: PageTokens) -> None:
        self._orgs = orgs
        self._pages = Paged(pages)

    async def CreateOrg(
        self, request: tenants_pb.CreateOrgRequest, call: Call
    ) -> tenants_pb.CreateOrgResponse:
        """Make an org."""
        made = await self._orgs.create(
            call,
            slug=request.slug,
            display_name=request.display_name,
            request_id=request_uuid(request.request_id),
        )
        return tenants_pb.CreateOrgResponse(org=org_message(made))

    async def GetOrg(
        self, request: tenants_pb.GetOrgRequest, call: Call
    ) -> tenants_pb.GetOrgResponse:
        """One org."""
        found = await self._orgs.get(call, UUID(request.org_id))
        return tenants_pb.GetOrgResponse(org=org_message(found))

    async def ListOrgs(
        self, request: tenants_pb.ListOrgsRequest, call: Call
    ) -> tenants_pb.ListOrgsResponse:
        """A page of orgs."""
        after, limit = self._pages.window(call, request)
        found = await self._orgs.list(call, after=after, slug=request.slug, limit=limit)
        shown, token = self._pages.cut(call, request, found, _org_id)
        return tenants_pb.ListOrgsResponse(orgs=map(org_message, shown), next_page_token=token)

    async def DeleteOrg(
        self, request: tenants_pb.DeleteOrgRequest, call: Call
    ) -> tenants_pb.DeleteOrgResponse:
        """Delete an org."""
        await self._orgs.delete(call, UUID(request.org_id), request.reason)
        return tenants_pb.DeleteOrgResponse()


class UserService:
    """The people of the call's tenant."""

    def __init__(self, users: Users, pages: PageTokens) -> None:
        self._users = users
        self._pages = Paged(pages)

    async def CreateUser(
        self, request: users_pb.CreateUserRequest, call: Call
    ) -> users_pb.CreateUserResponse:
        """Make a user."""
        made = await self._users.create(
            call,
            email=request.email,
            display_name=request.display_name,
            external_id=request.external_id,
            request_id=request_uuid(request.request_id),
        )
        return users_pb.CreateUserResponse(user=user_message(made))

    async def GetUser(
        self, request: users_pb.GetUserRequest, call: Call
    ) -> users_pb.GetUserResponse:
        """One user."""
        found = await self._users.get(call, UUID(request.user_id))
        return users_pb.GetUserResponse(user=user_message(found))

    async def ListUsers(
        self, request: users_pb.ListUsersRequest, call: Call
    ) -> users_pb.ListUsersResponse:
        """A page of users."""
        after, limit = self._pages.window(call, request)
        ids = [UUID(user_id) for user_id in request.user_ids]
        found = await self._users.list(
            call,
            after=after,
            email=request.email,
            external_id=request.external_id,
            ids=ids,
            limit=limit,
        )
        shown, token = self._pages.cut(call, request, found, _user_id)
        return users_pb.ListUsersResponse(users=map(user_message, shown), next_page_token=token)

    async def SetUserState(
        self, request: users_pb.SetUserStateRequest, call: Call
    ) -> users_pb.SetUserStateResponse:
        """Disable a user, or make one active."""
        found = await self._users.set_state(
            call, UUID(request.user_id), user_state(request.state), request.reason
        )
        return users_pb.SetUserStateResponse(user=user_message(found))

    async def DeleteUser(
        self, request: users_pb.DeleteUserRequest, call: Call
    ) -> users_pb.DeleteUserResponse:
        """Delete a user."""
        await self._users.delete(call, UUID(request.user_id), request.reason)
        return users_pb.DeleteUserResponse()


class GroupService:
    """Groups of the call's tenant."""

    def __init__(self, groups: Groups, pages: PageTokens) -> None:
        self._groups = groups
        self._pages = Paged(pages)

    async def CreateGroup(
        self, request: users_pb.CreateGroupRequest, call: Call
    ) -> users_pb.CreateGroupResponse:
        """Make a group."""
        made = await self._groups.create(
            call,
            slug=request.slug,
            display_name=request.display_name,
            request_id=request_uuid(request.request_id),
        )
        return users_pb.CreateGroupResponse(group=group_message(made))

    async def GetGroup(
        self, request: users_pb.GetGroupRequest, call: Call
    ) -> users_pb.GetGroupResponse:
        """One group."""
        found = await self._groups.get(call, UUID(request.group_id))
        return users_pb.GetGroupResponse(group=group_message(found))

    async def ListGroups(
        self, request: users_pb.ListGroupsRequest, call: Call
    ) -> users_pb.ListGroupsResponse:
        """A page of groups."""
        after, limit = self._pages.window(call, request)
        ids = [UUID(group_id) for group_id in request.group_ids]
        found = await self._groups.list(call, after=after, slug=request.slug, ids=ids, limit=limit)
        shown, token = self._pages.cut(call, request, found, _group_id)
        return users_pb.ListGroupsResponse(groups=map(group_message, shown), next_page_token=token)

    async def DeleteGroup(
        self, request: users_pb.DeleteGroupRequest, call: Call
    ) -> users_pb.DeleteGroupResponse:
        """Delete a group."""
        await self._groups.delete(call, UUID(request.group_id), request.reason)
        return users_pb.DeleteGroupResponse()

    async def AddMember(
        self, request: users_pb.AddMemberRequest, call: Call
    ) -> users_pb.AddMemberResponse:
        """Put a user into a group."""
        revision = await self._groups.add_member(
            call, UUID(request.group_id), UUID(request.user_id)
        )
        return users_pb.AddMemberResponse(revision=revision)

    async def RemoveMember(
        self, request: users_pb.RemoveMemberRequest, call: Call
    ) -> users_pb.RemoveMemberResponse:
        """Take a user out of a group."""
        revision = await self._groups.remove_member(
            call, UUID(request.group_id), UUID(request.user_id)
        )
        return users_pb.RemoveMemberResponse(revision=revision)

    async def ListMembers(
        self, request: users_pb.ListMembersRequest, call: Call
    ) -> users_pb.ListMembersResponse:
        """A page of a group's users."""
        after, limit = self._pages.window(call, request)
        found = await self._groups.members(call, UUID(request.group_id), after=after, limit=limit)
        shown, token = self._pages.cut(call, request, found, _user_id)
        return users_pb.ListMembersResponse(users=map(user_message, shown), next_page_token=token)
