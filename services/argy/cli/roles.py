"""``argy grant``, ``argy revoke`` and ``argy roles``: who holds which role."""

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final
from uuid import UUID, uuid4

import typer

from argy.api.authz.v1.assignment_pb2 import (
    GrantRoleRequest,
    ListRoleAssignmentsRequest,
    RevokeRoleRequest,
    RoleAssignment,
)
from argy.api.authz.v1.assignment_pb2_grpc import AssignmentServiceStub
from argy.base.errors import InvalidArgument, NotFound
from argy.cli.output import Output
from argy.cli.session import Json, Org, Tenant, every, find_org, run
from argy.cli.subjects import Subject, subjects_of
from argy.client import Connection

_DURATION: Final = re.compile(r"([1-9][0-9]{0,4})([mhd])")
_UNITS: Final = {"m": "minutes", "h": "hours", "d": "days"}


def register(app: typer.Typer) -> None:
    """Add the commands to ``app``."""
    app.command("grant")(grant)
    app.command("revoke")(revoke)
    app.command("roles")(roles)


def grant(
    subject: Subject,
    role: Annotated[str, typer.Argument(help="The role, such as PLATFORM_USER.")],
    reason: Annotated[str, typer.Option("--reason", "-m", help="Why; kept in the audit log.")],
    tenant: Tenant = "",
    org: Org = "",
    expires: Annotated[str, typer.Option(help="How long it lasts: 30m, 8h, 7d.")] = "",
    json_output: Json = False,
) -> None:
    """Give SUBJECT a role in the tenant, or in one org of it."""

    async def work(connection: Connection, output: Output) -> None:
        lasts = parse_duration(expires, "expires") if expires else None
        subjects = await subjects_of(connection, tenant)
        tenant_id = subjects.tenant_id
        org_id = await find_org(connection, tenant_id, org)
        request = GrantRoleRequest(
            subject=await subjects.find(subject),
            role=_full(role),
            org_id=str(org_id) if org_id else "",
            reason=reason,
            request_id=str(uuid4()),
        )
        if lasts is not None:
            request.expire_time.FromDatetime(datetime.now(UTC) + lasts)
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
    what: Annotated[
        str, typer.Argument(metavar="SUBJECT|ID", help="Whose role, or an id from `argy roles`.")
    ],
    reason: Annotated[str, typer.Option("--reason", "-m", help="Why; kept in the audit log.")],
    role: Annotated[str, typer.Argument(help="The role, after a subject.")] = "",
    tenant: Tenant = "",
    org: Org = "",
    json_output: Json = False,
) -> None:
    """Take a role away: `argy revoke bob@acme.example PLATFORM_USER`, or by the assignment's id."""

    async def work(connection: Connection, output: Output) -> None:
        subjects = await subjects_of(connection, tenant)
        stub = AssignmentServiceStub(connection.channel(subjects.tenant_id))
        found = what
        if role:
            org_id = await find_org(connection, subjects.tenant_id, org)
            found = await _held(stub, await subjects.find(what, known=False), role, org_id)
        response = await stub.RevokeRole(RevokeRoleRequest(assignment_id=found, reason=reason))
        value = {"assignment_id": found, "revision": response.revision}
        told = f"{role} of {what}" if role else found
        output.result(value, lambda: f"revoked {told}\n  revision  {response.revision}")

    run(json_output, work)


async def _held(stub: AssignmentServiceStub, subject: str, role: str, org_id: UUID | None) -> str:
    """The assignment by which a subject holds a role in the tenant, or in one org."""
    request = ListRoleAssignmentsRequest(subject=subject, page_size=1000)
    wanted = (_full(role), str(org_id) if org_id else "")
    for held in await every(stub.ListRoleAssignments, request, "assignments"):
        if (held.role, held.org_id) == wanted:
            return str(held.assignment_id)
    raise NotFound(
        f"that role is not held there: `argy roles {subject}` lists what is",
        reason="ASSIGNMENT_NOT_FOUND",
        field="role",
    )


def _full(role: str) -> str:
    return role if role.startswith("role:") else f"role:{role}"


def roles(
    subject: Annotated[str, typer.Argument(help="Only this subject's.")] = "",
    tenant: Tenant = "",
    json_output: Json = False,
) -> None:
    """List role assignments."""

    async def work(connection: Connection, output: Output) -> None:
        subjects = await subjects_of(connection, tenant)
        whose = await subjects.find(subject, known=False) if subject else ""
        stub = AssignmentServiceStub(connection.channel(subjects.tenant_id))
        request = ListRoleAssignmentsRequest(subject=whose, page_size=1000)
        found = await every(stub.ListRoleAssignments, request, "assignments")
        rows = [_row(assignment) for assignment in found]
        await subjects.named(rows, "subject", "created_by")
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
