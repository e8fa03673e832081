"""``argy policy proposals``, ``show``, ``approve`` and so on: from a proposal to its activation."""

from enum import StrEnum
from typing import Annotated, Any

import typer
from rich.text import Text

from argy.api.authz.v1 import policy_pb2 as pb
from argy.api.authz.v1.policy_pb2_grpc import PolicyServiceStub
from argy.base.errors import InvalidArgument
from argy.cli.output import Output, Screen, printable
from argy.cli.policy.proposed import (
    activation_json,
    activation_text,
    impact_json,
    impact_text,
    proposal_json,
    proposal_row,
    proposal_text,
)
from argy.cli.session import Json, every, run
from argy.cli.subjects import As, acting_channel, platform_subjects
from argy.client import Connection

Id = Annotated[str, typer.Argument(metavar="PROPOSAL_ID", help="From `argy policy proposals`.")]
Comment = Annotated[str, typer.Option("--comment", "-m", help="What to say about it.")]


class State(StrEnum):
    """States to filter by."""

    OPEN = "open"
    APPROVED = "approved"
    REJECTED = "rejected"
    ACTIVATED = "activated"


def register(app: typer.Typer) -> None:
    """Add the commands to ``app``."""
    for name, command in (
        ("proposals", proposals),
        ("show", show),
        ("approve", approve),
        ("reject", reject),
        ("activate", activate),
        ("rollback", rollback),
        ("active", active),
        ("history", history),
    ):
        app.command(name)(command)


def proposals(
    state: Annotated[State | None, typer.Option(help="Only those in this state.")] = None,
    json_output: Json = False,
) -> None:
    """List proposals, newest first."""

    async def work(connection: Connection, output: Output) -> None:
        request = pb.ListProposalsRequest(page_size=1000)
        if state is not None:
            request.state = pb.ProposalState.Value(f"PROPOSAL_STATE_{state.name}")
        stub = await policy_stub(connection, output)
        found = await every(stub.ListProposals, request, "proposals")
        rows = [proposal_row(one) for one in found]
        await platform_subjects(connection).named(rows, "author")
        columns = ("proposal_id", "state", "approvals", "changes", "title", "author", "created")
        output.rows(rows, columns)

    run(json_output, work)


def show(
    proposal_id: Id,
    impact: Annotated[
        bool, typer.Option("--impact", help="Also who gains and who loses, tenant by tenant.")
    ] = False,
    json_output: Json = False,
) -> None:
    """Show a proposal and what it would change."""

    async def work(connection: Connection, output: Output) -> None:
        stub = await policy_stub(connection, output)
        found = await _find(stub, proposal_id)
        tenants: list[pb.TenantImpact] = []
        if impact:
            request = pb.GetProposalImpactRequest(proposal_id=proposal_id, page_size=100)
            tenants = await every(stub.GetProposalImpact, request, "tenants")
        names = await names_of(connection, found)
        value = proposal_json(found, names) | ({"impact": impact_json(tenants)} if impact else {})
        output.result(
            value,
            lambda: proposal_text(found, names) + (f"\n{impact_text(tenants)}" if impact else ""),
        )

    run(json_output, work)


def approve(
    proposal_id: Id,
    comment: Comment = "",
    subject: As = "",
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask.")] = False,
    json_output: Json = False,
) -> None:
    """Approve what a proposal would change, after looking at it.

    Both digests that were shown are sent: what became another one meanwhile is
    not approved.
    """
    if json_output and not yes:
        raise InvalidArgument("--json asks nobody: give --yes as well", field="yes")

    async def work(connection: Connection, output: Output) -> None:
        stub = await policy_stub(connection, output, subject)
        seen = await _find(stub, proposal_id)
        if not yes:
            told = proposal_text(seen, await names_of(connection, seen))
            Screen().print(Text(printable(told)))
            typer.confirm("Approve this?", abort=True)
        response = await stub.ApproveProposal(
            pb.ApproveProposalRequest(
                proposal_id=proposal_id,
                bundle_digest=seen.policy.bundle_digest,
                diff_digest=seen.diff_digest,
                comment=comment,
            )
        )
        made = response.proposal
        counting = sum(given.counts for given in made.approvals)
        output.result(
            proposal_json(made, await names_of(connection, made)),
            lambda: f"approved: {counting} of {made.approvals_needed} approvals",
        )

    run(json_output, work)


def reject(
    proposal_id: Id,
    comment: Annotated[str, typer.Option("--comment", "-m", help="Why.")],
    subject: As = "",
    json_output: Json = False,
) -> None:
    """End a proposal; it can't come back."""

    async def work(connection: Connection, output: Output) -> None:
        stub = await policy_stub(connection, output, subject)
        response = await stub.RejectProposal(
            pb.RejectProposalRequest(proposal_id=proposal_id, comment=comment)
        )
        value = proposal_json(response.proposal, await names_of(connection, response.proposal))
        output.result(value, lambda: f"rejected {proposal_id}")

    run(json_output, work)


def activate(proposal_id: Id, subject: As = "", json_output: Json = False) -> None:
    """Put an approved proposal in force on every server."""

    async def work(connection: Connection, output: Output) -> None:
        stub = await policy_stub(connection, output, subject)
        response = await stub.ActivateProposal(pb.ActivateProposalRequest(proposal_id=proposal_id))
        await _put(connection, output, response)

    run(json_output, work)


def rollback(
    reason: Annotated[str, typer.Option("--reason", "-m", help="Why; kept in the audit log.")],
    to: Annotated[
        int, typer.Option("--to", min=0, help="From `argy policy history`; the one before if 0.")
    ] = 0,
    subject: As = "",
    json_output: Json = False,
) -> None:
    """Return to an earlier policy, on every server.

    Without --to it undoes the last activation, whatever that was: run twice, it is
    back where it began.
    """

    async def work(connection: Connection, output: Output) -> None:
        stub = await policy_stub(connection, output, subject)
        response = await stub.RollbackPolicy(pb.RollbackPolicyRequest(sequence=to, reason=reason))
        await _put(connection, output, response)

    run(json_output, work)


def active(json_output: Json = False) -> None:
    """Show the policy in force on the server that answers."""

    async def work(connection: Connection, output: Output) -> None:
        stub = await policy_stub(connection, output)
        found = await stub.GetActivePolicy(pb.GetActivePolicyRequest())
        value = {
            **activation_json(found.activation),
            "problem": found.problem,
            "rules": found.rules,
        }
        await platform_subjects(connection).named([value], "activated_by")

        def text() -> str:
            problem = f"\n  PROBLEM {found.problem}" if found.problem else ""
            return f"{activation_text(value)}\n  holds   {found.rules} rules{problem}"

        output.result(value, text)

    run(json_output, work)


def history(json_output: Json = False) -> None:
    """List what was in force, newest first."""

    async def work(connection: Connection, output: Output) -> None:
        request = pb.ListActivationsRequest(page_size=1000)
        stub = await policy_stub(connection, output)
        found = await every(stub.ListActivations, request, "activations")
        rows = [activation_json(one) for one in found]
        await platform_subjects(connection).named(rows, "activated_by")
        columns = (
            "sequence", "kind", "policy_revision", "commit", "activated_by", "reason", "created",
        )  # fmt: skip
        output.rows(rows, columns)

    run(json_output, work)


async def policy_stub(connection: Connection, output: Output, subject: str = "") -> Any:
    """The stub of policies, which are the platform's; whoever is signed in acts."""
    return PolicyServiceStub(
        await acting_channel(connection, output, platform_subjects(connection), for_=subject)
    )


async def names_of(connection: Connection, proposal: pb.Proposal) -> dict[str, str]:
    """What people call those who had part in a proposal."""
    approvers = (given.approver for given in proposal.approvals)
    people = (proposal.author, *proposal.makers, *approvers)
    return await platform_subjects(connection).names(people)


async def _find(stub: Any, proposal_id: str) -> pb.Proposal:
    response: pb.GetProposalResponse = await stub.GetProposal(
        pb.GetProposalRequest(proposal_id=proposal_id)
    )
    return response.proposal


async def _put(connection: Connection, output: Output, response: Any) -> None:
    value = {**activation_json(response.activation), "revision": response.revision}
    await platform_subjects(connection).named([value], "activated_by")
    output.result(value, lambda: f"{activation_text(value)}\n  revision {response.revision}")
