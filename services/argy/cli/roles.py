"""``argy grant``, ``argy revoke`` and ``argy roles``: who holds which role."""

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final
from uuid import uuid4

import typer

from argy.api.authz.v1.assignment_pb2 import (
    GrantRoleRequest,
    ListRoleAssignmentsRequest,
    RevokeRoleRequest,
    RoleAssignment,
)
from argy.api.authz.v1.assignment_pb2_grpc import AssignmentServiceStub
from argy.base.errors import InvalidArgument
from argy.cli.output import Output
from argy.cli.session import Json, Org, Tenant, every, find_org, find_tenant, run
from argy.client import Connection

_DURATION: Final = re.compile(r"([1-9][0-9]{0,4})([mhd])")
_UNITS: Final = {"m": "minutes", "h": "hours", "d": "days"}


def register(app: typer.Typer) -> None:
    """Add the commands to ``app``."""
    app.command("grant")(grant)
    app.command("revoke")(revoke)
    app.command("roles")(roles)


def grant(
    subject: Annotated[str, typer.Argument(help="user:<id>, group:<id>, service:<name>, …")],
    role: Annotated[str, typer.Argument(help="The role, such as PLATFORM_USER.")],
    reason: Annotated[str, typer.Option("--reason", "-m", help="Why; kept in the audit log.")],
    tenant: Tenant = "",
    org: Org = "",
    expires: Annotated[str, typer.Option(help="How long it lasts: 30m, 8h, 7d.")] = "",
    json_output: Json = False,
) -> None:
    """Give SUBJECT a role in the tenant, or in one org of it."""

    async def work(connection: Connection, output: Output) -> None:
        tenant_id = await find_tenant(connection, tenant)
        org_id = await find_org(connection, tenant_id, org)
        request = GrantRoleRequest(
            subject=subject,
            role=role if role.startswith("role:") else f"role:{role}",
            org_id=str(org_id) if org_id else "",
            reason=reason,
            request_id=str(uuid4()),
        )
        if expires:
            request.expire_time.FromDatetime(datetime.now(UTC) + parse_duration(expires, "expires"))
        stub = AssignmentServiceStub(connection.channel(tenant_id))
        response = await stub.GrantRole(request)
        value = {**_row(response.assignment), "revision": response.revision}
        output.result(
            value,
            lambda: (
                f"granted {value['role']} to {subject} ({value['scope']})\n"
                f"  assignment  {value['assignment_id']}\n"
                f"  revision    {response.revision}"
            ),
        )

    run(json_output, work)


def revoke(
    assignment_id: Annotated[str, typer.Argument(help="UUID, from `argy roles`.")],
    reason: Annotated[str, typer.Option("--reason", "-m", help="Why; kept in the audit log.")],
    tenant: Tenant = "",
    json_output: Json = False,
) -> None:
    """Take a role assignment away."""

    async def work(connection: Connection, output: Output) -> None:
        tenant_id = await find_tenant(connection, tenant)
        stub = AssignmentServiceStub(connection.channel(tenant_id))
        response = await stub.RevokeRole(
            RevokeRoleRequest(assignment_id=assignment_id, reason=reason)
        )
        value = {"assignment_id": assignment_id, "revision": response.revision}
        output.result(value, lambda: f"revoked {assignment_id}\n  revision  {response.revision}")

    run(json_output, work)


def roles(
    subject: Annotated[str, typer.Argument(help="Only this subject's.")] = "",
    tenant: Tenant = "",
    json_output: Json = False,
) -> None:
    """List role assignments."""

    async def work(connection: Connection, output: Output) -> None:
        tenant_id = await find_tenant(connection, tenant)
        stub = AssignmentServiceStub(connection.channel(tenant_id))
        request = ListRoleAssignmentsRequest(subject=subject, page_size=1000)
        found = await every(stub.ListRoleAssignments, request, "assignments")
        rows = [_row(assignment) for assignment in found]
        output.rows(rows, ("subject", "role", "scope", "expires", "reason", "assignment_id"))

    run(json_output, work)


def parse_duration(text: str, option: str) -> timedelta:
    """The time that ``30m``, ``8h`` or ``7d`` stands for.

    Raises:
        InvalidArgument: naming the option that holds something else.
    """
    match = _DURATION.fullmatch(text)
    if match is None:
        raise InvalidArgument(f"--{option} takes a number and m, h or d: 30m, 8h, 7d", field=option)
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


def _row(assignment: RoleAssignment) -> dict[str, Any]:
    expires = (
        assignment.expire_time.ToDatetime(UTC).isoformat(timespec="seconds")
        if assignment.HasField("expire_time")
        else ""
    )
    return {
        "assignment_id": assignment.assignment_id,
        "subject": assignment.subject,
        "role": assignment.role,
        "scope": f"org {assignment.org_id}" if assignment.org_id else "tenant",
        "expires": expires,
        "reason": assignment.reason,
        "created_by": assignment.created_by,
    }
