"""Attacks with authority that was handed on: it is of its tenant, and ends with its giver's."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest

from argy.api.authn.v1 import credential_pb2 as credentials
from argy.api.authn.v1.credential_pb2_grpc import CredentialServiceStub
from argy.api.authz.v1.approval_pb2 import ElevateRequest, EndElevationRequest
from argy.api.authz.v1.approval_pb2_grpc import ElevationServiceStub
from argy.api.authz.v1.assignment_pb2 import GrantRoleRequest, RevokeRoleRequest
from argy.api.authz.v1.assignment_pb2_grpc import AssignmentServiceStub
from argy.api.directory.v1 import tenant_pb2, user_pb2
from argy.api.directory.v1.tenant_pb2_grpc import TenantServiceStub
from argy.api.directory.v1.user_pb2_grpc import GroupServiceStub, UserServiceStub
from argy.base.errors import ArgyError, PermissionDenied
from argy.base.ids import PLATFORM_TENANT_ID, uuid7
from argy.rpc.pair_keys import RootKeys

ADMIN = "role:PLATFORM_ADMIN"
TENANT_SCOPES = [f"directory.tenant:{verb}" for verb in ("read", "create", "suspend")]
Metadata = tuple[tuple[str, str], ...]


def channel(world: Any, tenant_id: UUID, source: str = "cli", **options: Any) -> Any:
    return world.channel(
        world.replicas[0], tenant_id, RootKeys(world.ring), source=source, **options
    )


@pytest.fixture
async def ops(world: Any, authn: Any) -> str:
    """An agent that runs the platform."""
    agent = f"agent:ops-{uuid7().hex}"
    await world.grant(PLATFORM_TENANT_ID, agent, ADMIN)
    return agent


async def agents_key(world: Any, tenant: Any, ops: str) -> Metadata:
    """The API key of this tenant's own agent of that name, who is its administrator."""
    await world.grant(tenant.tenant_id, ops, ADMIN)
    made = await CredentialServiceStub(channel(world, tenant.tenant_id)).CreateApiKey(
        credentials.CreateApiKeyRequest(subject=ops, name="ours", scopes=TENANT_SCOPES, days=30)
    )
    return (("x-api-key", made.secret),)


async def token_of_a_person(world: Any, tenant: Any, ops: str) -> Metadata:
    _, metadata = await world.person(tenant, ADMIN)
    return metadata  # type: ignore[no-any-return]


async def personal_access_token(world: Any, tenant: Any, ops: str) -> Metadata:
    _, metadata = await world.person(tenant, ADMIN)
    made = await CredentialServiceStub(
        channel(world, tenant.tenant_id, "edge")
    ).CreatePersonalAccessToken(
        credentials.CreatePersonalAccessTokenRequest(name="mine", scopes=TENANT_SCOPES, days=30),
        metadata=metadata,
    )
    return (("authorization", f"Bearer {made.secret}"),)


@pytest.mark.parametrize("bring", [agents_key, token_of_a_person, personal_access_token])
async def test_a_principal_of_a_tenant_is_nobody_on_the_platform(
    world: Any, tenant: Any, ops: str, bring: Callable[..., Awaitable[Metadata]]
) -> None:
    """A tenant names its agents freely: one of the name of the platform's own is another one."""
    metadata = await bring(world, tenant, ops)
    stub: Any = TenantServiceStub(channel(world, tenant.tenant_id, "edge"))
    for call in (
        stub.ListTenants(tenant_pb2.ListTenantsRequest(), metadata=metadata),
        stub.CreateTenant(
            tenant_pb2.CreateTenantRequest(slug="taken-over", display_name="X"), metadata=metadata
        ),
        stub.SuspendTenant(
            tenant_pb2.SuspendTenantRequest(tenant_id=str(tenant.tenant_id), reason="mine now"),
            metadata=metadata,
        ),
    ):
        with pytest.raises(PermissionDenied) as refused:
            await call
        assert refused.value.reason == "PRINCIPAL_OF_ANOTHER_TENANT"


async def test_who_is_named_in_a_tenant_is_nobody_on_the_platform(
    world: Any, tenant: Any, ops: str
) -> None:
    named: Any = TenantServiceStub(channel(world, tenant.tenant_id, subject=ops))
    with pytest.raises(PermissionDenied) as refused:
        await named.ListTenants(tenant_pb2.ListTenantsRequest())
    assert refused.value.reason == "PRINCIPAL_OF_ANOTHER_TENANT"
    # The command line itself is of the platform, whichever tenant it calls in.
    own: Any = TenantServiceStub(channel(world, tenant.tenant_id))
    assert (await own.ListTenants(tenant_pb2.ListTenantsRequest())).tenants


@dataclass
class Giver:
    """Somebody whose authority ends, and how it does."""

    world: Any
    tenant: Any
    subject: str
    metadata: Metadata
    end: Callable[[], Awaitable[None]]

    def stub(self, kind: Any, source: str = "cli") -> Any:
        return kind(channel(self.world, self.tenant.tenant_id, source))


async def elevated(world: Any, tenant: Any) -> Giver:
    """An engineer who broke the glass."""
    subject, metadata = await world.person(tenant, "role:ENGINEER")
    elevations: Any = ElevationServiceStub(channel(world, tenant.tenant_id))
    made = await elevations.Elevate(
        ElevateRequest(role=ADMIN, duration_s=300, reason="INC-7", break_glass=True),
        metadata=metadata,
    )

    async def end() -> None:
        request = EndElevationRequest(elevation_id=made.elevation.elevation_id)
        await elevations.EndElevation(request, metadata=metadata)

    return Giver(world, tenant, subject, metadata, end)


async def expiring(world: Any, tenant: Any) -> Giver:
    """An administrator for eight hours."""
    subject, metadata = await world.person(tenant)
    request = GrantRoleRequest(subject=subject, role=ADMIN, reason="on call")
    request.expire_time.FromMilliseconds(world.clock.now_ms() + 8 * 3_600_000)
    roles: Any = AssignmentServiceStub(channel(world, tenant.tenant_id))
    made = await roles.GrantRole(request)

    async def end() -> None:
        await roles.RevokeRole(
            RevokeRoleRequest(assignment_id=made.assignment.assignment_id, reason="over")
        )

    return Giver(world, tenant, subject, metadata, end)


async def disabled(world: Any, tenant: Any) -> Giver:
    """An administrator who was disabled since."""
    subject, metadata = await world.person(tenant, ADMIN)
    users: Any = UserServiceStub(channel(world, tenant.tenant_id))
    await users.SetUserState(
        user_pb2.SetUserStateRequest(
            user_id=subject.removeprefix("user:"),
            state=user_pb2.USER_STATE_DISABLED,
            reason="left",
        )
    )
    groups: Any = GroupServiceStub(channel(world, tenant.tenant_id))
    async with asyncio.timeout(30):
        # Heard of by announcement: until then one's last moments count.
        with suppress(ArgyError):
            while True:
                await groups.ListGroups(user_pb2.ListGroupsRequest(), metadata=metadata)

    async def end() -> None:
        return

    return Giver(world, tenant, subject, metadata, end)


async def grants_a_role(giver: Giver) -> None:
    mate, _ = await giver.world.person(giver.tenant)
    request = GrantRoleRequest(subject=mate, role=ADMIN, reason="for ever")
    await giver.stub(AssignmentServiceStub).GrantRole(request, metadata=giver.metadata)


async def group_of_administrators(giver: Giver) -> str:
    """A group that holds the role for good, given by the operator."""
    groups: Any = giver.stub(GroupServiceStub)
    request = user_pb2.CreateGroupRequest(slug="admins", display_name="Admins")
    made = await groups.CreateGroup(request)
    group_id = str(made.group.group_id)
    await giver.world.grant(giver.tenant.tenant_id, f"group:{group_id}", ADMIN)
    return group_id


async def grants_a_group_a_role(giver: Giver) -> None:
    request = user_pb2.CreateGroupRequest(slug="mates", display_name="Mates")
    made = await giver.stub(GroupServiceStub).CreateGroup(request)
    grant = GrantRoleRequest(subject=f"group:{made.group.group_id}", role=ADMIN, reason="for ever")
    await giver.stub(AssignmentServiceStub).GrantRole(grant, metadata=giver.metadata)


async def joins_a_group(giver: Giver) -> None:
    """The way that was open: GrantRole asked how long the role is held, AddMember did not."""
    member = user_pb2.AddMemberRequest(
        group_id=await group_of_administrators(giver),
        user_id=giver.subject.removeprefix("user:"),
    )
    await giver.stub(GroupServiceStub).AddMember(member, metadata=giver.metadata)


async def makes_an_api_key(giver: Giver) -> None:
    await giver.world.grant(giver.tenant.tenant_id, "agent:builder", ADMIN)
    request = credentials.CreateApiKeyRequest(
        subject="agent:builder", name="kept", scopes=TENANT_SCOPES, days=366
    )
    await giver.stub(CredentialServiceStub).CreateApiKey(request, metadata=giver.metadata)


async def makes_a_service_key(giver: Giver) -> None:
    """A key of 366 days by a glass of five minutes."""
    request = credentials.CreateServiceKeyRequest(
        service="billing", name="kept", scopes=["directory.org:read"], days=366
    )
    await giver.stub(CredentialServiceStub).CreateServiceKey(request, metadata=giver.metadata)


async def rotates_an_api_key(giver: Giver) -> None:
    await giver.world.grant(giver.tenant.tenant_id, "agent:builder", ADMIN)
    operator: Any = giver.stub(CredentialServiceStub)
    made = await operator.CreateApiKey(
        credentials.CreateApiKeyRequest(
            subject="agent:builder", name="theirs", scopes=TENANT_SCOPES, days=30
        )
    )
    request = credentials.RotateCredentialRequest(credential_id=made.credential.credential_id)
    await giver.stub(CredentialServiceStub, "edge").RotateCredential(
        request, metadata=giver.metadata
    )


async def rotates_a_service_key(giver: Giver) -> None:
    one = await giver.world.make(giver.tenant.tenant_id, "directory.org:read")
    request = credentials.RotateCredentialRequest(credential_id=one.credential_id)
    await giver.stub(CredentialServiceStub, "edge").RotateCredential(
        request, metadata=giver.metadata
    )


WAYS = [
    grants_a_role,
    grants_a_group_a_role,
    joins_a_group,
    makes_an_api_key,
    makes_a_service_key,
    rotates_an_api_key,
    rotates_a_service_key,
]
REFUSED = {"ROLE_NOT_HELD", "SCOPE_BEYOND_RIGHTS"}
"""Why whoever holds something for a while may not hand it on for longer."""


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize("source", [elevated, expiring], ids=lambda source: source.__name__)
async def test_what_is_derived_ends_with_what_it_derives_from(
    world: Any,
    authn: Any,
    tenant: Any,
    source: Callable[..., Awaitable[Giver]],
    way: Callable[[Giver], Awaitable[None]],
) -> None:
    giver = await source(world, tenant)
    with pytest.raises(PermissionDenied) as refused:
        await way(giver)
    assert refused.value.reason in REFUSED
    assert "you hold it until 20" in refused.value.message


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
async def test_who_is_disabled_hands_on_nothing(
    world: Any, authn: Any, tenant: Any, way: Callable[[Giver], Awaitable[None]]
) -> None:
    giver = await disabled(world, tenant)
    with pytest.raises(ArgyError) as refused:
        await way(giver)
    assert refused.value.reason in {"ACCESS_DENIED", "CREDENTIAL_UNKNOWN", "TOKEN_REVOKED"}


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
async def test_who_holds_it_for_good_may_hand_it_on(
    world: Any, authn: Any, tenant: Any, way: Callable[[Giver], Awaitable[None]]
) -> None:
    subject, metadata = await world.person(tenant, ADMIN)

    async def end() -> None:
        return

    await way(Giver(world, tenant, subject, metadata, end))


@pytest.mark.parametrize("source", [elevated, expiring], ids=lambda source: source.__name__)
async def test_a_personal_access_token_made_meanwhile_is_over_with_the_role(
    world: Any, authn: Any, tenant: Any, source: Callable[..., Awaitable[Giver]]
) -> None:
    giver = await source(world, tenant)
    request = credentials.CreatePersonalAccessTokenRequest(
        name="kept", scopes=["directory.group:create"], days=366
    )
    made = await giver.stub(CredentialServiceStub, "edge").CreatePersonalAccessToken(
        request, metadata=giver.metadata
    )
    bearer = (("authorization", f"Bearer {made.secret}"),)
    groups: Any = giver.stub(GroupServiceStub)
    await groups.CreateGroup(
        user_pb2.CreateGroupRequest(slug="one", display_name="One"), metadata=bearer
    )
    await giver.end()
    async with asyncio.timeout(30):
        for number in range(1_000_000):
            more = user_pb2.CreateGroupRequest(slug=f"more-{number}", display_name="More")
            try:
                await groups.CreateGroup(more, metadata=bearer)
            except PermissionDenied:
                return


async def test_a_group_that_holds_a_role_for_a_while_takes_members_of_who_holds_it_as_long(
    world: Any, authn: Any, tenant: Any
) -> None:
    giver = await expiring(world, tenant)
    groups: Any = giver.stub(GroupServiceStub)
    made = await groups.CreateGroup(user_pb2.CreateGroupRequest(slug="shift", display_name="Shift"))
    grant = GrantRoleRequest(
        subject=f"group:{made.group.group_id}", role=ADMIN, reason="the same shift"
    )
    grant.expire_time.FromMilliseconds(world.clock.now_ms() + 4 * 3_600_000)
    await giver.stub(AssignmentServiceStub).GrantRole(grant, metadata=giver.metadata)
    mate, _ = await world.person(tenant)
    member = user_pb2.AddMemberRequest(
        group_id=made.group.group_id, user_id=mate.removeprefix("user:")
    )
    await groups.AddMember(member, metadata=giver.metadata)
