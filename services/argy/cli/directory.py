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
from argy.cli.options import Name, Reason, Slug, User
from argy.cli.output import Output
from argy.cli.session import every, find_org, find_tenant, tenant_called
from argy.cli.terminal import PLATFORM, REQUIRED, Terminal, asking

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
@asking(tenant=PLATFORM)
async def create_tenant(terminal: Terminal, slug: Slug, name: Name = "") -> None:
    """Make a tenant."""
    stub = TenantServiceStub(await terminal.channel())
    response = await stub.CreateTenant(
        tenants.CreateTenantRequest(slug=slug, display_name=name or slug, request_id=str(uuid4()))
    )
    _show(terminal.output, response.tenant)


@tenant_app.command("list")
@asking(tenant=PLATFORM)
async def list_tenants(terminal: Terminal) -> None:
    """List tenants."""
    stub = TenantServiceStub(await terminal.channel())
    found = await every(stub.ListTenants, tenants.ListTenantsRequest(page_size=1000), "tenants")
    terminal.output.rows(
        [_row(item) for item in found], ("slug", "state", "display_name", "tenant_id")
    )


@tenant_app.command("suspend")
@asking(tenant=PLATFORM)
async def suspend_tenant(terminal: Terminal, tenant: str, reason: Reason) -> None:
    """Refuse every call of a tenant until it is resumed."""
    stub = TenantServiceStub(await terminal.channel())
    tenant_id = str(await tenant_called(terminal.connection, tenant))
    request = tenants.SuspendTenantRequest(tenant_id=tenant_id, reason=reason)
    _show(terminal.output, (await stub.SuspendTenant(request)).tenant)


@tenant_app.command("resume")
@asking(tenant=PLATFORM)
async def resume_tenant(terminal: Terminal, tenant: str, reason: Reason) -> None:
    """Make a suspended tenant active again."""
    stub = TenantServiceStub(await terminal.channel())
    tenant_id = str(await tenant_called(terminal.connection, tenant))
    request = tenants.ResumeTenantRequest(tenant_id=tenant_id, reason=reason)
    _show(terminal.output, (await stub.ResumeTenant(request)).tenant)


@tenant_app.command("delete")
@asking(tenant=PLATFORM)
async def delete_tenant(
    terminal: Terminal,
    tenant: str,
    confirm: Annotated[str, typer.Option(help="The tenant's slug, typed again.")],
    reason: Reason,
) -> None:
    """Delete a suspended tenant with everything in it but its audit events."""
    stub = TenantServiceStub(await terminal.channel())
    tenant_id = str(await tenant_called(terminal.connection, tenant))
    await stub.DeleteTenant(
        tenants.DeleteTenantRequest(tenant_id=tenant_id, confirm_slug=confirm, reason=reason)
    )
    terminal.output.result({"tenant_id": tenant_id, "deleted": True}, lambda: f"deleted {confirm}")


@tenant_app.command("foreign-subjects")
@asking(tenant=PLATFORM)
async def foreign_subjects(
    terminal: Terminal,
    tenant: str,
    setting: Annotated[str, typer.Argument(metavar="[on|off]", help="Shown if not given.")] = "",
    reason: Annotated[str, typer.Option("--reason", "-m", help="Why it is changed.")] = "",
) -> None:
    """Say whether subjects that the directory does not list, such as workload:build, hold roles."""
    if setting not in ("", "on", "off"):
        raise InvalidArgument("the setting is on or off", field="setting")
    tenant_id = await find_tenant(terminal.connection, tenant)
    stub = AssignmentServiceStub(terminal.connection.channel(tenant_id))
    if setting:
        await stub.UpdateAssignmentSettings(
            UpdateAssignmentSettingsRequest(foreign_subjects=setting == "on", reason=reason)
        )
    found = await stub.GetAssignmentSettings(GetAssignmentSettingsRequest())
    told = "on" if found.foreign_subjects else "off"
    terminal.output.result({"foreign_subjects": told}, lambda: f"foreign subjects {told}")


@org_app.command("create")
@asking(tenant=REQUIRED)
async def create_org(terminal: Terminal, slug: Slug, name: Name = "") -> None:
    """Make an org."""
    stub = OrgServiceStub(await terminal.channel())
    request = tenants.CreateOrgRequest(
        slug=slug, display_name=name or slug, request_id=str(uuid4())
    )
    _show(terminal.output, (await stub.CreateOrg(request)).org)


@org_app.command("list")
@asking(tenant=REQUIRED)
async def list_orgs(terminal: Terminal) -> None:
    """List a tenant's orgs."""
    stub = OrgServiceStub(await terminal.channel())
    found = await every(stub.ListOrgs, tenants.ListOrgsRequest(page_size=1000), "orgs")
    terminal.output.rows([_row(item) for item in found], ("slug", "display_name", "org_id"))


@org_app.command("delete")
@asking(tenant=REQUIRED)
async def delete_org(terminal: Terminal, org: str, reason: Reason) -> None:
    """Delete an org with its memberships and the roles granted in it."""
    org_id = await find_org(terminal.connection, await terminal.tenant_id(), org)
    stub = OrgServiceStub(await terminal.channel())
    await stub.DeleteOrg(tenants.DeleteOrgRequest(org_id=str(org_id), reason=reason))
    terminal.output.result({"org_id": str(org_id), "deleted": True}, lambda: f"deleted {org}")


@user_app.command("create")
@asking(tenant=REQUIRED)
async def create_user(
    terminal: Terminal,
    email: Annotated[str, typer.Argument(help="E-mail address.")],
    name: Name = "",
    external_id: Annotated[
        str, typer.Option(help="What another system calls them, such as an IdP's sub.")
    ] = "",
) -> None:
    """Make a user."""
    stub = UserServiceStub(await terminal.channel())
    request = users.CreateUserRequest(
        email=email,
        display_name=name or email,
        external_id=external_id,
        request_id=str(uuid4()),
    )
    _show(terminal.output, (await stub.CreateUser(request)).user)


@user_app.command("list")
@asking(tenant=REQUIRED)
async def list_users(terminal: Terminal) -> None:
    """List a tenant's users."""
    stub = UserServiceStub(await terminal.channel())
    found = await every(stub.ListUsers, users.ListUsersRequest(page_size=1000), "users")
    terminal.output.rows(
        [_row(item) for item in found], ("email", "state", "display_name", "user_id")
    )


@group_app.command("create")
@asking(tenant=REQUIRED)
async def create_group(terminal: Terminal, slug: Slug, name: Name = "") -> None:
    """Make a group."""
    stub = GroupServiceStub(await terminal.channel())
    request = users.CreateGroupRequest(
        slug=slug, display_name=name or slug, request_id=str(uuid4())
    )
    _show(terminal.output, (await stub.CreateGroup(request)).group)


@group_app.command("add")
@asking(tenant=REQUIRED)
async def add_member(
    terminal: Terminal,
    group: Annotated[str, typer.Argument(help="Short name or UUID.")],
    user: User,
) -> None:
    """Put a user into a group."""
    subjects = await terminal.subjects()
    stub = GroupServiceStub(await terminal.channel())
    request = users.AddMemberRequest(
        group_id=await subjects.find_group(group), user_id=await subjects.find_user(user)
    )
    revision = (await stub.AddMember(request)).revision
    terminal.output.result({"revision": revision}, lambda: f"added\n  revision  {revision}")


def _row(message: Message) -> dict[str, Any]:
    row: dict[str, Any] = MessageToDict(message, preserving_proto_field_name=True)
    if "state" in row:
        row["state"] = row["state"].rsplit("_", 1)[-1]
    return row


def _show(output: Output, message: Message) -> None:
    row = _row(message)
    output.result(row, lambda: "\n".join(f"{key:<13} {value}" for key, value in row.items()))
