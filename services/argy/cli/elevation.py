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
from argy.cli import times
from argy.cli.approvals import ASKER_MAY_GRANT
from argy.cli.options import Comment, Reason, Role
from argy.cli.output import called
from argy.cli.roles import full_role
from argy.cli.session import every, signed_in_person
from argy.cli.terminal import Terminal, asking

app = typer.Typer(help="Roles for a while.", no_args_is_help=True)

Id = Annotated[str, typer.Argument(metavar="ELEVATION_ID", help="From `argy elevation list`.")]
_REVIEWS: Final = ("not-needed", "open", "justified", "unjustified")


def register(root: typer.Typer) -> None:
    """Add the commands to ``root``."""
    root.command("elevate")(elevate)
    root.add_typer(app, name="elevation")


@asking(org=True, as_=True)
async def elevate(
    terminal: Terminal,
    role: Role,
    reason: Reason,
    lasts: Annotated[str, typer.Option("--for", help="How long: 30m, 2h; at most 8h.")] = "30m",
    break_glass: Annotated[
        bool, typer.Option("--break-glass", help="At once, for an hour at most; it is reviewed.")
    ] = False,
    approval: Annotated[str, typer.Option(help="The granted approval to use.")] = "",
) -> None:
    """Take a role for a while, for oneself.

    With an approval that was granted for it, or at once by breaking the glass:
    `argy elevate PLATFORM_ADMIN --break-glass -t acme -m INC-7`.
    """
    asked = ElevateRequest(
        role=full_role(role),
        duration_s=int(times.parse_duration(lasts, "for").total_seconds()),
        reason=reason,
        break_glass=break_glass,
        approval_id=approval,
        request_id=str(uuid4()),
    )
    stub = await _stub(terminal)
    try:
        response = await stub.Elevate(asked)
    except FailedPrecondition as error:
        person = signed_in_person(terminal.connection)
        who = terminal.as_ or (person.subject if person is not None else "") or "<yourself>"
        raise _with_command(error, terminal.place, who) from error
    await _show(terminal, response.elevation, {"revision": response.revision})


@app.command("list")
@asking(org=True, as_=True)
async def list_(
    terminal: Terminal,
    review: Annotated[str, typer.Option(help=f"Only {', '.join(_REVIEWS)}.")] = "",
) -> None:
    """List elevations, newest first: one's own, or all to who may read any."""
    if review and review not in _REVIEWS:
        raise InvalidArgument(f"--review is one of {', '.join(_REVIEWS)}", field="review")
    name = f"REVIEW_STATE_{review.upper().replace('-', '_') or 'UNSPECIFIED'}"
    stub = await _stub(terminal)
    asked = ListElevationsRequest(review=ReviewState.Value(name), page_size=1000)
    rows = [_row(made) for made in await every(stub.ListElevations, asked, "elevations")]
    await (await terminal.subjects()).named(rows, "subject", "reviewed_by")
    terminal.output.rows(
        rows, ("elevation_id", "subject", "role", "break_glass", "review", "expires", "reason")
    )


@app.command()
@asking(org=True, as_=True)
async def end(terminal: Terminal, elevation_id: Id) -> None:
    """Give a role back before it expires."""
    request = EndElevationRequest(elevation_id=elevation_id)
    response = await (await _stub(terminal)).EndElevation(request)
    await _show(terminal, response.elevation, {"revision": response.revision})


@app.command("review")
@asking(org=True, as_=True)
async def review_(
    terminal: Terminal,
    elevation_id: Id,
    comment: Comment,
    justified: Annotated[
        bool, typer.Option("--justified/--unjustified", help="Whether the use was justified.")
    ],
) -> None:
    """Close the review of a broken glass; never one's own.

    The role must have ended: by `argy elevation end`, or by itself.
    """
    request = CloseReviewRequest(elevation_id=elevation_id, justified=justified, comment=comment)
    await _show(terminal, (await (await _stub(terminal)).CloseReview(request)).elevation, {})


async def _stub(terminal: Terminal) -> Any:
    return ElevationServiceStub(await terminal.channel())


def _with_command(error: FailedPrecondition, where: str, subject: str) -> FailedPrecondition:
    """The error with the command that asks for the approval."""
    wanted = error.metadata
    if error.reason != "APPROVAL_NEEDED":
        return error
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
        "expires": times.shown(given.expire_time),
        "ended": made.HasField("end_time"),
    }


async def _show(terminal: Terminal, made: Elevation, more: dict[str, Any]) -> None:
    row = {**_row(made), **more}
    await (await terminal.subjects()).named([row], "subject", "reviewed_by")

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

    terminal.output.result(row, text)
