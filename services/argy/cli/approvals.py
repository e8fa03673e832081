"""``argy approval``: ask for approval of one action, vote on it, use it once."""

from pathlib import Path
from typing import Annotated, Any, Final
from uuid import uuid4

import typer

from argy.api.authz.v1.approval_pb2 import (
    Approval,
    ApprovalState,
    ApproveRequest,
    CancelRequest,
    GetApprovalRequest,
    ListApprovalsRequest,
    RedeemApprovalRequest,
    RejectRequest,
    RequestApprovalRequest,
)
from argy.api.authz.v1.approval_pb2_grpc import ApprovalServiceStub
from argy.base.errors import InvalidArgument
from argy.cli import times
from argy.cli.decide import question_of
from argy.cli.options import Action, Comment, Context, OfSubject, Resource, Subject
from argy.cli.output import called, one_line
from argy.cli.session import every, signed_in_person
from argy.cli.terminal import Terminal, asking
from argy.client import request_digest

app = typer.Typer(help="Approvals of single actions.", no_args_is_help=True)

Id = Annotated[str, typer.Argument(metavar="APPROVAL_ID", help="From `argy approval list`.")]
Digest = Annotated[str, typer.Option("--digest", help="SHA-256 of what would be done, in hex.")]
Body = Annotated[
    Path | None, typer.Option("--body", help="A file with what would be done; its SHA-256 counts.")
]
_STATES: Final = ("pending", "granted", "rejected", "cancelled", "redeemed", "expired")
ASKER_MAY_GRANT: Final = "by a role that who asks may grant at will"
_MAX_BODY: Final = 64 * 1024 * 1024


@app.command()
@asking(org=True, as_=True)
async def request(
    terminal: Terminal,
    subject: Subject,
    action: Action,
    resource: Resource,
    reason: Annotated[str, typer.Option("--reason", "-m", help="Why; the approvers read it.")],
    context: Context = "{}",
    digest: Digest = "",
    body: Body = None,
) -> None:
    """Ask for approval of what `argy check` answered with NEEDS_APPROVAL.

    Whoever is signed in asks; when nobody is, the service for SUBJECT, or for who --as names:
    `argy approval request eva@acme.example promote deployment:prod-shop -m "7.1"`.
    """
    subjects = await terminal.subjects()
    asked = RequestApprovalRequest(
        question=question_of(await subjects.find(subject), action, resource, context),
        request_digest=_digest(digest, body),
        reason=reason,
        request_id=str(uuid4()),
    )
    stub = await _stub(terminal, "" if signed_in_person(terminal.connection) else subject)
    await _show(terminal, (await stub.RequestApproval(asked)).approval)


@app.command("list")
@asking(org=True, as_=True)
async def list_(
    terminal: Terminal,
    subject: OfSubject = "",
    state: Annotated[str, typer.Option(help=f"Only {', '.join(_STATES)}.")] = "",
) -> None:
    """List approvals, newest first: one's own, or all to who may read any."""
    subjects = await terminal.subjects()
    if state and state.lower() not in _STATES:
        raise InvalidArgument(f"--state is one of {', '.join(_STATES)}", field="state")
    name = f"APPROVAL_STATE_{state.upper() or 'UNSPECIFIED'}"
    whose = await subjects.find(subject, known=False) if subject else ""
    asked = ListApprovalsRequest(state=ApprovalState.Value(name), subject=whose, page_size=1000)
    stub = await _stub(terminal)
    rows = [_row(found) for found in await every(stub.ListApprovals, asked, "approvals")]
    await subjects.named(rows, "subject", "requester")
    terminal.output.rows(
        rows, ("approval_id", "state", "subject", "action", "resource", "votes", "expires")
    )


@app.command()
@asking(org=True, as_=True)
async def show(terminal: Terminal, approval_id: Id) -> None:
    """Show one approval with its votes."""
    request = GetApprovalRequest(approval_id=approval_id)
    await _show(terminal, (await (await _stub(terminal)).GetApproval(request)).approval)


@app.command()
@asking(org=True, as_=True)
async def approve(terminal: Terminal, approval_id: Id, comment: Comment = "") -> None:
    """Vote for an approval. Neither requester nor subject may."""
    request = ApproveRequest(approval_id=approval_id, comment=comment)
    await _show(terminal, (await (await _stub(terminal)).Approve(request)).approval)


@app.command()
@asking(org=True, as_=True)
async def reject(terminal: Terminal, approval_id: Id, comment: Comment) -> None:
    """End a request."""
    request = RejectRequest(approval_id=approval_id, comment=comment)
    await _show(terminal, (await (await _stub(terminal)).Reject(request)).approval)


@app.command()
@asking(org=True, as_=True)
async def cancel(terminal: Terminal, approval_id: Id) -> None:
    """Withdraw a request, or an approval that was not used."""
    request = CancelRequest(approval_id=approval_id)
    await _show(terminal, (await (await _stub(terminal)).Cancel(request)).approval)


@app.command()
@asking(org=True, as_=True)
async def redeem(
    terminal: Terminal,
    approval_id: Id,
    subject: Subject,
    action: Action,
    resource: Resource,
    context: Context = "{}",
    digest: Digest = "",
    body: Body = None,
) -> None:
    """Use a granted approval, once, for exactly what was approved.

    What was asked for is named again; with --body or --digest if it was asked with it.
    """
    subjects = await terminal.subjects()
    asked = RedeemApprovalRequest(
        approval_id=approval_id,
        question=question_of(await subjects.find(subject), action, resource, context),
        request_digest=_digest(digest, body),
    )
    reason = (await (await _stub(terminal)).RedeemApproval(asked)).decision.reason
    terminal.output.result(
        {"effect": "ALLOW", "reason": reason, "approval_id": approval_id},
        lambda: f"ALLOW  {reason}\n  approval  {approval_id}, used",
    )


async def _stub(terminal: Terminal, for_: str = "") -> Any:
    return ApprovalServiceStub(await terminal.channel(for_))


def _digest(given: str, body: Path | None) -> str:
    if body is None:
        return given
    if given:
        raise InvalidArgument("give --digest or --body, not both", field="digest")
    try:
        with body.open("rb") as file:
            data = file.read(_MAX_BODY + 1)
    except OSError as error:
        raise InvalidArgument(f"--body can't be read: {error.strerror}", field="body") from error
    if len(data) > _MAX_BODY:
        raise InvalidArgument(f"--body has more than {_MAX_BODY} bytes", field="body")
    return request_digest(data)


def _row(found: Approval) -> dict[str, Any]:
    return {
        "approval_id": found.approval_id,
        "state": ApprovalState.Name(found.state).removeprefix("APPROVAL_STATE_"),
        "subject": found.subject,
        "action": found.action,
        "resource": found.resource,
        "request_digest": found.request_digest,
        "org_id": found.org_id,
        "requester": found.requester,
        "reason": found.reason,
        "needs": [
            {
                "approvals": line.approvals,
                "roles": list(line.roles),
                "rule": f"{line.rule.file}:{line.rule.line}",
            }
            for line in found.requirements
        ],
        "votes": sum(vote.approved for vote in found.votes),
        "voters": [
            {
                "approver": vote.approver,
                "approved": vote.approved,
                "comment": vote.comment,
                "asker_may_grant": vote.asker_may_grant,
            }
            for vote in found.votes
        ],
        "expires": times.shown(found.expire_time),
    }


async def _show(terminal: Terminal, found: Approval) -> None:
    row, subjects = _row(found), await terminal.subjects()
    await subjects.named([row], "subject", "requester")
    await subjects.named(row["voters"], "approver")

    def text() -> str:
        lines = [
            f"{row['state']}  {row['approval_id']}",
            f"  {called(row, 'subject')} {row['action']} {row['resource']}",
            f"  asked by {called(row, 'requester')}: {one_line(row['reason'])}",
        ]
        lines += [
            f"  needs {need['approvals']} of {' or '.join(need['roles'])}  ({need['rule']})"
            for need in row["needs"]
        ]
        lines += [
            f"  {'approved' if vote['approved'] else 'rejected'} by {called(vote, 'approver')}"
            + (f": {one_line(vote['comment'])}" if vote["comment"] else "")
            + (f"  ({ASKER_MAY_GRANT})" if vote["asker_may_grant"] else "")
            for vote in row["voters"]
        ]
        lines.append(f"  until {row['expires']}")
        return "\n".join(lines)

    terminal.output.result(row, text)
