"""``argy tenant``, ``argy org``, ``argy user`` and ``argy group``: who and what exists."""

from typing import Annotated, Any
from uuid import uuid4

import typer
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from argy.api.authz.v1.assignment_pb2 import (
    GetAssignmentSettingsRequest,
    UpdateAssignmentSettingsRequest,
)
from argy.api.authz.v1.assignment_pb2_grpc import AssignmentServiceStub
from argy.api.directory.v1 import tenant_pb2 as tenants
from argy.api.directory.v1 import user_pb2 as users
from argy.api.directory.v1.tenant_pb2_grpc import OrgServiceStub, TenantServiceStub
from argy.api.directory.v1.user_pb2_grpc import GroupServiceStub, UserServiceStub
from argy.base.errors import InvalidArgument
from argy.base.ids import PLATFORM_TENANT_ID
from argy.cli.output import Output
from argy.cli.session import Json, Tenant, every, find_org, find_tenant, run
from argy.cli.subjects import User, subjects_of
from argy.client import Connection

Slug = Annotated[str, typer.Argument(help="Short name: lower-case letters, digits, hyphens.")]
Name = Annotated[str, typer.Option("--name", help="For people; the short name if not given.")]
Reason = Annotated[str, typer.Option("--reason", "-m", help="Why; kept in the audit log.")]

tenant_app = typer.Typer(help="Tenants and their life cycle.", no_args_is_help=True)
org_app = typer.Typer(help="Organizations of a tenant.", no_args_is_help=True)
user_app = typer.Typer(help="People of a tenant.", no_args_is_help=True)
group_app = typer.Typer(help="Groups of a tenant.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the command groups to ``app``."""
    app.add_typer(tenant_app, name="tenant")
    app.add_typer(org_app, name="org")
    app.add_typer(user_app, name="user")
    app.add_typer(group_app, name="group")


@tenant_app.command("create")
def create_tenant(slug: Slug, name: Name = "", json_output: Json = False) -> None:
    """Make a tenant."""

    async def work(connection: Connection, output: Output) -> None:
        stub = TenantServiceStub(connection.channel(PLATFORM_TENANT_ID))
        response = await stub.CreateTenant(
            tenants.CreateTenantRequest(
                slug=slug, display_name=name or slug, request_id=str(uuid4())
            )
        )
        _show(output, response.tenant)

    run(json_output, work)


@tenant_app.command("list")
def list_tenants(json_output: Json = False) -> None:
    """List tenants."""

    async def work(connection: Connection, output: Output) -> None:
        stub = TenantServiceStub(connection.channel(PLATFORM_TENANT_ID))
        found = await every(stub.ListTenants, tenants.ListTenantsRequest(page_size=1000), "tenants")
        output.rows([_row(item) for item in found], ("slug", "state", "display_name", "tenant_id"))

    run(json_output, work)


@tenant_app.command("suspend")
def suspend_tenant(tenant: str, reason: Reason, json_output: Json = False) -> None:
    """Refuse every call of a tenant until it is resumed."""

    async def work(connection: Connection, output: Output) -> None:
        stub = TenantServiceStub(connection.channel(PLATFORM_TENANT_ID))
        tenant_id = str(await find_tenant(connection, tenant))
        request = tenants.SuspendTenantRequest(tenant_id=tenant_id, reason=reason)
        _show(output, (await stub.SuspendTenant(request)).tenant)

    run(json_output, work)


@tenant_app.command("resume")
def resume_tenant(tenant: str, reason: Reason, json_output: Json = False) -> None:
    """Make a suspended tenant active again."""

    async def work(connection: Connection, output: Output) -> None:
        stub = TenantServiceStub(connection.channel(PLATFORM_TENANT_ID))
        tenant_id = str(await find_tenant(connection, tenant))
        request = tenants.ResumeTenantRequest(tenant_id=tenant_id, reason=reason)
        _show(output, (await stub.ResumeTenant(request)).tenant)

    run(json_output, work)


@tenant_app.command("delete")
def delete_tenant(
    tenant: str,
    confirm: Annotated[str, typer.Option(help="The tenant's slug, typed again.")],
    reason: Reason,
    json_output: Json = False,
) -> None:
    """Delete a suspended tenant with everything in it but its audit events."""

    async def work(connection: Connection, output: Output) -> None:
        stub = TenantServiceStub(connection.channel(PLATFORM_TENANT_ID))
        tenant_id = str(await find_tenant(connection, tenant))
        await stub.DeleteTenant(
            tenants.DeleteTenantRequest(tenant_id=tenant_id, confirm_slug=confirm, reason=reason)
        )
        output.result({"tenant_id": tenant_id, "deleted": True}, lambda: f"deleted {confirm}")

    run(json_output, work)


@tenant_app.command("foreign-subjects")
def foreign_subjects(
    tenant: str,
    setting: Annotated[str, typer.Argument(metavar="[on|off]", help="Shown if not given.")] = "",
    reason: Annotated[str, typer.Option("--reason", "-m", help="Why it is changed.")] = "",
    json_output: Json = False,
) -> None:
    """Say whether subjects that the directory does not list, such as workload:build, hold roles."""
    if setting not in ("", "on", "off"):
        raise InvalidArgument("the setting is on or off", field="setting")

    async def work(connection: Connection, output: Output) -> None:
        stub = AssignmentServiceStub(connection.channel(await find_tenant(connection, tenant)))
        if setting:
            await stub.UpdateAssignmentSettings(
                UpdateAssignmentSettingsRequest(foreign_subjects=setting == "on", reason=reason)
            )
        found = await stub.GetAssignmentSettings(GetAssignmentSettingsRequest())
        told = "on" if found.foreign_subjects else "off"
        output.result({"foreign_subjects": told}, lambda: f"foreign subjects {told}")

    run(json_output, work)


@org_app.command("create")
def create_org(slug: Slug, tenant: Tenant, name: Name = "", json_output: Json = False) -> None:
    """Make an org."""

    async def work(connection: Connection, output: Output) -> None:
        stub = OrgServiceStub(connection.channel(await find_tenant(connection, tenant)))
        request = tenants.CreateOrgRequest(
            slug=slug, display_name=name or slug, request_id=str(uuid4())
        )
        _show(output, (await stub.CreateOrg(request)).org)

    run(json_output, work)


@org_app.command("list")
def list_orgs(tenant: Tenant, json_output: Json = False) -> None:
    """List a tenant's orgs."""

    async def work(connection: Connection, output: Output) -> None:
        stub = OrgServiceStub(connection.channel(await find_tenant(connection, tenant)))
        found = await every(stub.ListOrgs, tenants.ListOrgsRequest(page_size=1000), "orgs")
        output.rows([_row(item) for item in found], ("slug", "display_name", "org_id"))

    run(json_output, work)


@org_app.command("delete")
def delete_org(org: str, tenant: Tenant, reason: Reason, json_output: Json = False) -> None:
    """Delete an org with its memberships and the roles granted in it."""

    async def work(connection: Connection, output: Output) -> None:
        tenant_id = await find_tenant(connection, tenant)
        org_id = await find_org(connection, tenant_id, org)
        stub = OrgServiceStub(connection.channel(tenant_id))
        await stub.DeleteOrg(tenants.DeleteOrgRequest(org_id=str(org_id), reason=reason))
        output.result({"org_id": str(org_id), "deleted": True}, lambda: f"deleted {org}")

    run(json_output, work)


@user_app.command("create")
def create_user(
    email: Annotated[str, typer.Argument(help="E-mail address.")],
    tenant: Tenant,
    name: Name = "",
    external_id: Annotated[
        str, typer.Option(help="What another system calls them, such as an IdP's sub.")
    ] = "",
    json_output: Json = False,
) -> None:
    """Make a user."""

    async def work(connection: Connection, output: Output) -> None:
        stub = UserServiceStub(connection.channel(await find_tenant(connection, tenant)))
        request = users.CreateUserRequest(
            email=email,
            display_name=name or email,
            external_id=external_id,
            request_id=str(uuid4()),
        )
        _show(output, (await stub.CreateUser(request)).user)

    run(json_output, work)


@user_app.command("list")
def list_users(tenant: Tenant, json_output: Json = False) -> None:
    """List a tenant's users."""

    async def work(connection: Connection, output: Output) -> None:
        stub = UserServiceStub(connection.channel(await find_tenant(connection, tenant)))
        found = await every(stub.ListUsers, users.ListUsersRequest(page_size=1000), "users")
        output.rows([_row(item) for item in found], ("email", "state", "display_name", "user_id"))

    run(json_output, work)


@group_app.command("create")
def create_group(slug: Slug, tenant: Tenant, name: Name = "", json_output: Json = False) -> None:
    """Make a group."""

    async def work(connection: Connection, output: Output) -> None:
        stub = GroupServiceStub(connection.channel(await find_tenant(connection, tenant)))
        request = users.CreateGroupRequest(
            slug=slug, display_name=name or slug, request_id=str(uuid4())
        )
        _show(output, (await stub.CreateGroup(request)).group)

    run(json_output, work)


@group_app.command("add")
def add_member(
    group: Annotated[str, typer.Argument(help="Short name or UUID.")],
    user: User,
    tenant: Tenant,
    json_output: Json = False,
) -> None:
    """Put a user into a group."""

    async def work(connection: Connection, output: Output) -> None:
        subjects = await subjects_of(connection, tenant)
        stub = GroupServiceStub(connection.channel(subjects.tenant_id))
        request = users.AddMemberRequest(
            group_id=await subjects.find_group(group), user_id=await subjects.find_user(user)
        )
        revision = (await stub.AddMember(request)).revision
        output.result({"revision": revision}, lambda: f"added\n  revision  {revision}")

    run(json_output, work)


def _row(message: Message) -> dict[str, Any]:
    row: dict[str, Any] = MessageToDict(message, preserving_proto_field_name=True)
    if "state" in row:
        row["state"] = row["state"].rsplit("_", 1)[-1]
    return row


def _show(output: Output, message: Message) -> None:
    row = _row(message)
    output.result(row, lambda: "\n".join(f"{key:<13} {value}" for key, value in row.items()))
