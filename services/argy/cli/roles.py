"""``argy grant``, ``argy revoke`` and ``argy roles``: who holds which role."""

from typing import Annotated, Any
from uuid import UUID, uuid4

import typer

from argy.api.authz.v1.assignment_pb2 import (
    GrantRoleRequest,
    ListRoleAssignmentsRequest,
    RevokeRoleRequest,
    RoleAssignment,
)
from argy.api.authz.v1.assignment_pb2_grpc import AssignmentServiceStub
from argy.base.errors import NotFound
from argy.cli import times
from argy.cli.options import OfSubject, Reason, Role, Subject
from argy.cli.session import every
from argy.cli.terminal import Terminal, asking


def register(app: typer.Typer) -> None:
    """Add the commands to ``app``."""
    app.command("grant")(grant)
    app.command("revoke")(revoke)
    app.command("roles")(roles)


@asking(org=True)
async def grant(
    terminal: Terminal,
    subject: Subject,
    role: Role,
    reason: Reason,
    expires: Annotated[
        str, typer.Option(help="How long it lasts: 30m, 8h, 7d; or until 2027-01-31T18:00+01:00.")
    ] = "",
) -> None:
    """Give SUBJECT a role in the tenant, or in one org of it."""
    ends = times.parse_end(expires, "expires") if expires else None
    org_id = await terminal.org_id()
    request = GrantRoleRequest(
        subject=await (await terminal.subjects()).find(subject),
        role=full_role(role),
        org_id=str(org_id) if org_id else "",
        reason=reason,
        request_id=str(uuid4()),
    )
    if ends is not None:
        request.expire_time.FromDatetime(ends)
    response = await (await _stub(terminal)).GrantRole(request)
    value = {**_row(response.assignment), "revision": response.revision}
    terminal.output.result(
        value,
        lambda: (
            f"granted {value['role']} to {subject} ({value['scope']})\n"
            f"  assignment  {value['assignment_id']}\n"
            f"  revision    {response.revision}"
        ),
    )


@asking(org=True)
async def revoke(
    terminal: Terminal,
    what: Annotated[
        str, typer.Argument(metavar="SUBJECT|ID", help="Whose role, or an id from `argy roles`.")
    ],
    reason: Reason,
    role: Annotated[str, typer.Argument(help="The role, after a subject.")] = "",
) -> None:
    """Take a role away: `argy revoke bob@acme.example PLATFORM_USER`, or by the assignment's id."""
    subjects = await terminal.subjects()
    stub = await _stub(terminal)
    found = what
    if role:
        org_id = await terminal.org_id()
        found = await _held(stub, await subjects.find(what, known=False), role, org_id)
    response = await stub.RevokeRole(RevokeRoleRequest(assignment_id=found, reason=reason))
    value = {"assignment_id": found, "revision": response.revision}
    told = f"{role} of {what}" if role else found
    terminal.output.result(value, lambda: f"revoked {told}\n  revision  {response.revision}")


async def _stub(terminal: Terminal) -> Any:
    """Assignments of the tenant: the org of one stands in the request."""
    return AssignmentServiceStub(terminal.connection.channel(await terminal.tenant_id()))


async def _held(stub: Any, subject: str, role: str, org_id: UUID | None) -> str:
    """The assignment by which a subject holds a role in the tenant, or in one org."""
    request = ListRoleAssignmentsRequest(subject=subject, page_size=1000)
    wanted = (full_role(role), str(org_id) if org_id else "")
    for held in await every(stub.ListRoleAssignments, request, "assignments"):
        if (held.role, held.org_id) == wanted:
            return str(held.assignment_id)
    raise NotFound(
        f"that role is not held there: `argy roles {subject}` lists what is",
        reason="ASSIGNMENT_NOT_FOUND",
        field="role",
    )


def full_role(role: str) -> str:
    """The role as policies write it, from its name alone too."""
    return role if role.startswith("role:") else f"role:{role}"


@asking()
async def roles(terminal: Terminal, subject: OfSubject = "") -> None:
    """List role assignments."""
    subjects = await terminal.subjects()
    whose = await subjects.find(subject, known=False) if subject else ""
    stub = await _stub(terminal)
    request = ListRoleAssignmentsRequest(subject=whose, page_size=1000)
    found = await every(stub.ListRoleAssignments, request, "assignments")
    rows = [_row(assignment) for assignment in found]
    await subjects.named(rows, "subject", "created_by")
    terminal.output.rows(rows, ("subject", "role", "scope", "expires", "reason", "assignment_id"))


def _row(assignment: RoleAssignment) -> dict[str, Any]:
    return {
        "assignment_id": assignment.assignment_id,
        "subject": assignment.subject,
        "role": assignment.role,
        "scope": f"org {assignment.org_id}" if assignment.org_id else "tenant",
        "expires": times.shown(assignment.expire_time)
        if assignment.HasField("expire_time")
        else "",
        "reason": assignment.reason,
        "created_by": assignment.created_by,
    }
