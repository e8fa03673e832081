"""``argy elevate`` and ``argy elevation``: roles for a while, and the review of broken glass."""

from typing import Annotated, Any, Final
from uuid import uuid4

import typer

from argy.api.authz.v1.approval_pb2 import (
    CloseReviewRequest,
    ElevateRequest,
    Elevation,
    EndElevationRequest,
    ListElevationsRequest,
    ReviewState,
)
from argy.api.authz.v1.approval_pb2_grpc import ElevationServiceStub
from argy.base.errors import FailedPrecondition, InvalidArgument
from argy.cli.approvals import ASKER_MAY_GRANT
from argy.cli.output import Output, called
from argy.cli.roles import parse_duration
from argy.cli.session import Json, Org, Tenant, every, find_org, run, signed_in_person, tenant_name
from argy.cli.subjects import As, Subjects, acting_channel, subjects_of
from argy.client import Connection

app = typer.Typer(help="Roles for a while.", no_args_is_help=True)

Id = Annotated[str, typer.Argument(metavar="ELEVATION_ID", help="From `argy elevation list`.")]
_REVIEWS: Final = ("not-needed", "open", "justified", "unjustified")


def register(root: typer.Typer) -> None:
    """Add the commands to ``root``."""
    root.command("elevate")(elevate)
    root.add_typer(app, name="elevation")


def elevate(
    role: Annotated[str, typer.Argument(help="The role, such as PLATFORM_ADMIN.")],
    reason: Annotated[str, typer.Option("--reason", "-m", help="Why; kept in the audit log.")],
    lasts: Annotated[str, typer.Option("--for", help="How long: 30m, 2h; at most 8h.")] = "30m",
    break_glass: Annotated[
        bool, typer.Option("--break-glass", help="At once, for an hour at most; it is reviewed.")
    ] = False,
    approval: Annotated[str, typer.Option(help="The granted approval to use.")] = "",
    tenant: Tenant = "",
    org: Org = "",
    as_: As = "",
    json_output: Json = False,
) -> None:
    """Take a role for a while, for oneself.

    With an approval that was granted for it, or at once by breaking the glass:
    `argy elevate PLATFORM_ADMIN --break-glass -t acme -m INC-7`.
    """

    async def work(connection: Connection, output: Output) -> None:
        subjects = await subjects_of(connection, tenant)
        asked = ElevateRequest(
            role=role if role.startswith("role:") else f"role:{role}",
            duration_s=int(parse_duration(lasts, "for").total_seconds()),
            reason=reason,
            break_glass=break_glass,
            approval_id=approval,
            request_id=str(uuid4()),
        )
        stub = await _stub(connection, output, subjects, org, as_)
        try:
            response = await stub.Elevate(asked)
        except FailedPrecondition as error:
            person = signed_in_person(connection)
            who = as_ or (person.subject if person is not None else "") or "<yourself>"
            raise _with_command(error, tenant_name(connection, tenant), org, who) from error
        await _show(output, subjects, response.elevation, {"revision": response.revision})

    run(json_output, work)


@app.command("list")
def list_(
    review: Annotated[str, typer.Option(help=f"Only {', '.join(_REVIEWS)}.")] = "",
    tenant: Tenant = "",
    org: Org = "",
    as_: As = "",
    json_output: Json = False,
) -> None:
    """List elevations, newest first: one's own, or all to who may read any."""

    async def work(connection: Connection, output: Output) -> None:
        subjects = await subjects_of(connection, tenant)
        if review and review not in _REVIEWS:
            raise InvalidArgument(f"--review is one of {', '.join(_REVIEWS)}", field="review")
        name = f"REVIEW_STATE_{review.upper().replace('-', '_') or 'UNSPECIFIED'}"
        stub = await _stub(connection, output, subjects, org, as_)
        asked = ListElevationsRequest(review=ReviewState.Value(name), page_size=1000)
        rows = [_row(made) for made in await every(stub.ListElevations, asked, "elevations")]
        await subjects.named(rows, "subject", "reviewed_by")
        output.rows(
            rows, ("elevation_id", "subject", "role", "break_glass", "review", "expires", "reason")
        )

    run(json_output, work)


@app.command()
def end(
    elevation_id: Id,
    tenant: Tenant = "",
    org: Org = "",
    as_: As = "",
    json_output: Json = False,
) -> None:
    """Give a role back before it expires."""

    async def work(connection: Connection, output: Output) -> None:
        subjects = await subjects_of(connection, tenant)
        stub = await _stub(connection, output, subjects, org, as_)
        response = await stub.EndElevation(EndElevationRequest(elevation_id=elevation_id))
        await _show(output, subjects, response.elevation, {"revision": response.revision})

    run(json_output, work)


@app.command("review")
def review_(
    elevation_id: Id,
    comment: Annotated[str, typer.Option("--comment", "-m", help="What was found.")],
    justified: Annotated[
        bool, typer.Option("--justified/--unjustified", help="Whether the use was justified.")
    ],
    tenant: Tenant = "",
    org: Org = "",
    as_: As = "",
    json_output: Json = False,
) -> None:
    """Close the review of a broken glass; never one's own.

    The role must have ended: by `argy elevation end`, or by itself.
    """

    async def work(connection: Connection, output: Output) -> None:
        subjects = await subjects_of(connection, tenant)
        stub = await _stub(connection, output, subjects, org, as_)
        closed = await stub.CloseReview(
            CloseReviewRequest(elevation_id=elevation_id, justified=justified, comment=comment)
        )
        await _show(output, subjects, closed.elevation, {})

    run(json_output, work)


async def _stub(
    connection: Connection, output: Output, subjects: Subjects, org: str, for_: str
) -> Any:
    org_id = await find_org(connection, subjects.tenant_id, org)
    return ElevationServiceStub(
        await acting_channel(connection, output, subjects, org_id, for_=for_)
    )


def _with_command(
    error: FailedPrecondition, tenant: str, org: str, subject: str
) -> FailedPrecondition:
    """The error with the command that asks for the approval."""
    wanted = error.metadata
    if error.reason != "APPROVAL_NEEDED":
        return error
    where = f"--tenant {tenant}" + (f" --org {org}" if org else "")
    return FailedPrecondition(
        f"{error.message}:\n  argy approval request {subject} {wanted['action']} "
        f"{wanted['resource']} {where} --digest {wanted['request_digest']} "
        f"--context '{wanted['context']}' -m …",
        reason=error.reason,
        metadata=wanted,
    )


def _row(made: Elevation) -> dict[str, Any]:
    given = made.assignment
    return {
        "elevation_id": made.elevation_id,
        "assignment_id": given.assignment_id,
        "subject": given.subject,
        "role": given.role,
        "org_id": given.org_id,
        "org": made.org,
        "org_gone": made.org_gone,
        "reason": given.reason,
        "break_glass": made.break_glass,
        "review": ReviewState.Name(made.review).removeprefix("REVIEW_STATE_"),
        "reviewed_by": made.reviewed_by,
        "review_comment": made.review_comment,
        "asker_may_grant": made.asker_may_grant,
        "expires": given.expire_time.ToDatetime().isoformat(timespec="seconds") + "Z",
        "ended": made.HasField("end_time"),
    }


async def _show(output: Output, subjects: Subjects, made: Elevation, more: dict[str, Any]) -> None:
    row = {**_row(made), **more}
    await subjects.named([row], "subject", "reviewed_by")

    def text() -> str:
        lines = [
            f"{called(row, 'subject')} {'held' if row['ended'] else 'holds'} {row['role']}",
            f"  elevation  {row['elevation_id']}",
            f"  until      {row['expires']}" + (", given back" if row["ended"] else ""),
        ]
        if row["org"] or row["org_gone"]:
            gone = ", deleted since" if row["org_gone"] else ""
            lines.append(f"  in org     {row['org'] or row['org_id']}{gone}")
        if row["break_glass"]:
            reviewer = f" by {called(row, 'reviewed_by')}" if row["reviewed_by"] else ""
            at_will = f"  ({ASKER_MAY_GRANT})" if row["asker_may_grant"] else ""
            lines.append(f"  review     {row['review']}{reviewer}{at_will}")
        if "revision" in row:
            lines.append(f"  revision   {row['revision']}")
        return "\n".join(lines)

    output.result(row, text)
