"""``argy approval``: ask for approval of one action, vote on it, use it once."""

from pathlib import Path
from typing import Annotated, Any, Final
from uuid import uuid4

import typer
from google.protobuf.json_format import ParseDict
from google.protobuf.struct_pb2 import Struct

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
from argy.api.authz.v1.authz_pb2 import Question
from argy.base.errors import InvalidArgument
from argy.cli.decide import Action, Context, Resource, parse_facts
from argy.cli.output import Output, called, one_line
from argy.cli.session import Json, Org, Tenant, every, find_org, run, signed_in_person
from argy.cli.subjects import As, Subject, Subjects, acting_channel, subjects_of
from argy.client import Connection, request_digest

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
def request(
    subject: Subject,
    action: Action,
    resource: Resource,
    reason: Annotated[str, typer.Option("--reason", "-m", help="Why; the approvers read it.")],
    tenant: Tenant = "",
    org: Org = "",
    context: Context = "{}",
    digest: Digest = "",
    body: Body = None,
    as_: As = "",
    json_output: Json = False,
) -> None:
    """Ask for approval of what `argy check` answered with NEEDS_APPROVAL.

    Whoever is signed in asks; when nobody is, the service for SUBJECT, or for who --as names:
    `argy approval request eva@acme.example promote deployment:prod-shop -m "7.1"`.
    """

    async def work(connection: Connection, output: Output) -> None:
        subjects = await subjects_of(connection, tenant)
        asked = RequestApprovalRequest(
            question=_question(await subjects.find(subject), action, resource, context),
            request_digest=_digest(digest, body),
            reason=reason,
            request_id=str(uuid4()),
        )
        for_ = as_ or ("" if signed_in_person(connection) else subject)
        stub = await _stub(connection, output, subjects, org, for_)
        await _show(output, subjects, (await stub.RequestApproval(asked)).approval)

    run(json_output, work)


@app.command("list")
def list_(
    subject: Annotated[str, typer.Argument(help="Only those for this subject.")] = "",
    state: Annotated[str, typer.Option(help=f"Only {', '.join(_STATES)}.")] = "",
    tenant: Tenant = "",
    org: Org = "",
    as_: As = "",
    json_output: Json = False,
) -> None:
    """List approvals, newest first: one's own, or all to who may read any."""

    async def work(connection: Connection, output: Output) -> None:
        subjects = await subjects_of(connection, tenant)
        if state and state.lower() not in _STATES:
            raise InvalidArgument(f"--state is one of {', '.join(_STATES)}", field="state")
        name = f"APPROVAL_STATE_{state.upper() or 'UNSPECIFIED'}"
        whose = await subjects.find(subject, known=False) if subject else ""
        asked = ListApprovalsRequest(state=ApprovalState.Value(name), subject=whose, page_size=1000)
        stub = await _stub(connection, output, subjects, org, as_)
        rows = [_row(found) for found in await every(stub.ListApprovals, asked, "approvals")]
        await subjects.named(rows, "subject", "requester")
        output.rows(
            rows, ("approval_id", "state", "subject", "action", "resource", "votes", "expires")
        )

    run(json_output, work)


@app.command()
def show(
    approval_id: Id,
    tenant: Tenant = "",
    org: Org = "",
    as_: As = "",
    json_output: Json = False,
) -> None:
    """Show one approval with its votes."""

    async def work(connection: Connection, output: Output) -> None:
        subjects = await subjects_of(connection, tenant)
        stub = await _stub(connection, output, subjects, org, as_)
        found = await stub.GetApproval(GetApprovalRequest(approval_id=approval_id))
        await _show(output, subjects, found.approval)

    run(json_output, work)


@app.command()
def approve(
    approval_id: Id,
    comment: Annotated[str, typer.Option("--comment", "-m", help="What to say about it.")] = "",
    tenant: Tenant = "",
    org: Org = "",
    as_: As = "",
    json_output: Json = False,
) -> None:
    """Vote for an approval. Neither requester nor subject may."""

    async def work(connection: Connection, output: Output) -> None:
        subjects = await subjects_of(connection, tenant)
        stub = await _stub(connection, output, subjects, org, as_)
        voted = await stub.Approve(ApproveRequest(approval_id=approval_id, comment=comment))
        await _show(output, subjects, voted.approval)

    run(json_output, work)


@app.command()
def reject(
    approval_id: Id,
    comment: Annotated[str, typer.Option("--comment", "-m", help="Why.")],
    tenant: Tenant = "",
    org: Org = "",
    as_: As = "",
    json_output: Json = False,
) -> None:
    """End a request."""

    async def work(connection: Connection, output: Output) -> None:
        subjects = await subjects_of(connection, tenant)
        stub = await _stub(connection, output, subjects, org, as_)
        voted = await stub.Reject(RejectRequest(approval_id=approval_id, comment=comment))
        await _show(output, subjects, voted.approval)

    run(json_output, work)


@app.command()
def cancel(
    approval_id: Id,
    tenant: Tenant = "",
    org: Org = "",
    as_: As = "",
    json_output: Json = False,
) -> None:
    """Withdraw a request, or an approval that was not used."""

    async def work(connection: Connection, output: Output) -> None:
        subjects = await subjects_of(connection, tenant)
        stub = await _stub(connection, output, subjects, org, as_)
        ended = await stub.Cancel(CancelRequest(approval_id=approval_id))
        await _show(output, subjects, ended.approval)

    run(json_output, work)


@app.command()
def redeem(
    approval_id: Id,
    subject: Subject,
    action: Action,
    resource: Resource,
    tenant: Tenant = "",
    org: Org = "",
    context: Context = "{}",
    digest: Digest = "",
    body: Body = None,
    as_: As = "",
    json_output: Json = False,
) -> None:
    """Use a granted approval, once, for exactly what was approved.

    What was asked for is named again; with --body or --digest if it was asked with it.
    """

    async def work(connection: Connection, output: Output) -> None:
        subjects = await subjects_of(connection, tenant)
        asked = RedeemApprovalRequest(
            approval_id=approval_id,
            question=_question(await subjects.find(subject), action, resource, context),
            request_digest=_digest(digest, body),
        )
        stub = await _stub(connection, output, subjects, org, as_)
        used = await stub.RedeemApproval(asked)
        value = {
            "effect": "ALLOW",
            "reason": used.decision.reason,
            "approval_id": approval_id,
        }
        output.result(value, lambda: f"ALLOW  {value['reason']}\n  approval  {approval_id}, used")

    run(json_output, work)


async def _stub(
    connection: Connection, output: Output, subjects: Subjects, org: str, for_: str
) -> Any:
    org_id = await find_org(connection, subjects.tenant_id, org)
    return ApprovalServiceStub(
        await acting_channel(connection, output, subjects, org_id, for_=for_)
    )


def _question(subject: str, action: str, resource: str, context: str) -> Question:
    question = Question(subject=subject, action=action, resource=resource)
    if facts := parse_facts(context):
        question.context.CopyFrom(ParseDict(facts, Struct()))
    return question


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
        "expires": found.expire_time.ToDatetime().isoformat(timespec="seconds") + "Z",
    }


async def _show(output: Output, subjects: Subjects, found: Approval) -> None:
    row = _row(found)
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

    output.result(row, text)
