"""``argy policy proposals``, ``show``, ``approve`` and so on: from a proposal to its activation."""

from enum import StrEnum
from typing import Annotated, Any

import typer
from rich.text import Text

from argy.api.authz.v1 import policy_pb2 as pb
from argy.api.authz.v1.policy_pb2_grpc import PolicyServiceStub
from argy.base.errors import InvalidArgument
from argy.cli.options import Comment, Reason, Yes
from argy.cli.output import Screen, printable
from argy.cli.policy.proposed import (
    activation_json,
    activation_text,
    impact_json,
    impact_text,
    proposal_json,
    proposal_row,
    proposal_text,
)
from argy.cli.session import every
from argy.cli.terminal import PLATFORM, Terminal, asking

Id = Annotated[str, typer.Argument(metavar="PROPOSAL_ID", help="From `argy policy proposals`.")]


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


@asking(tenant=PLATFORM)
async def proposals(
    terminal: Terminal,
    state: Annotated[State | None, typer.Option(help="Only those in this state.")] = None,
) -> None:
    """List proposals, newest first."""
    request = pb.ListProposalsRequest(page_size=1000)
    if state is not None:
        request.state = pb.ProposalState.Value(f"PROPOSAL_STATE_{state.name}")
    stub = await policy_stub(terminal)
    found = await every(stub.ListProposals, request, "proposals")
    rows = [proposal_row(one) for one in found]
    await (await terminal.subjects()).named(rows, "author")
    columns = ("proposal_id", "state", "approvals", "changes", "title", "author", "created")
    terminal.output.rows(rows, columns)


@asking(tenant=PLATFORM)
async def show(
    terminal: Terminal,
    proposal_id: Id,
    impact: Annotated[
        bool, typer.Option("--impact", help="Also who gains and who loses, tenant by tenant.")
    ] = False,
) -> None:
    """Show a proposal and what it would change."""
    stub = await policy_stub(terminal)
    found = await _find(stub, proposal_id)
    tenants: list[pb.TenantImpact] = []
    if impact:
        request = pb.GetProposalImpactRequest(proposal_id=proposal_id, page_size=100)
        tenants = await every(stub.GetProposalImpact, request, "tenants")
    names = await names_of(terminal, found)
    value = proposal_json(found, names) | ({"impact": impact_json(tenants)} if impact else {})
    terminal.output.result(
        value,
        lambda: proposal_text(found, names) + (f"\n{impact_text(tenants)}" if impact else ""),
    )


def _check_asks(*, yes: bool, json_output: bool, **_: object) -> None:
    if json_output and not yes:
        raise InvalidArgument("--json asks nobody: give --yes as well", field="yes")


@asking(tenant=PLATFORM, as_=True, first=_check_asks)
async def approve(
    terminal: Terminal, proposal_id: Id, comment: Comment = "", yes: Yes = False
) -> None:
    """Approve what a proposal would change, after looking at it.

    Both digests that were shown are sent: what became another one meanwhile is
    not approved.
    """
    stub = await policy_stub(terminal)
    seen = await _find(stub, proposal_id)
    if not yes:
        told = proposal_text(seen, await names_of(terminal, seen))
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
    terminal.output.result(
        proposal_json(made, await names_of(terminal, made)),
        lambda: f"approved: {counting} of {made.approvals_needed} approvals",
    )


@asking(tenant=PLATFORM, as_=True)
async def reject(terminal: Terminal, proposal_id: Id, comment: Comment) -> None:
    """End a proposal; it can't come back."""
    stub = await policy_stub(terminal)
    response = await stub.RejectProposal(
        pb.RejectProposalRequest(proposal_id=proposal_id, comment=comment)
    )
    value = proposal_json(response.proposal, await names_of(terminal, response.proposal))
    terminal.output.result(value, lambda: f"rejected {proposal_id}")


@asking(tenant=PLATFORM, as_=True)
async def activate(terminal: Terminal, proposal_id: Id) -> None:
    """Put an approved proposal in force on every server."""
    stub = await policy_stub(terminal)
    response = await stub.ActivateProposal(pb.ActivateProposalRequest(proposal_id=proposal_id))
    await _put(terminal, response)


@asking(tenant=PLATFORM, as_=True)
async def rollback(
    terminal: Terminal,
    reason: Reason,
    to: Annotated[
        int, typer.Option("--to", min=0, help="From `argy policy history`; the one before if 0.")
    ] = 0,
) -> None:
    """Return to an earlier policy, on every server.

    Without --to it undoes the last activation, whatever that was: run twice, it is
    back where it began.
    """
    stub = await policy_stub(terminal)
    response = await stub.RollbackPolicy(pb.RollbackPolicyRequest(sequence=to, reason=reason))
    await _put(terminal, response)


@asking(tenant=PLATFORM)
async def active(terminal: Terminal) -> None:
    """Show the policy in force on the server that answers."""
    stub = await policy_stub(terminal)
    found = await stub.GetActivePolicy(pb.GetActivePolicyRequest())
    value = {
        **activation_json(found.activation),
        "problem": found.problem,
        "rules": found.rules,
    }
    await (await terminal.subjects()).named([value], "activated_by")

    def text() -> str:
        problem = f"\n  PROBLEM {found.problem}" if found.problem else ""
        return f"{activation_text(value)}\n  holds   {found.rules} rules{problem}"

    terminal.output.result(value, text)


@asking(tenant=PLATFORM)
async def history(terminal: Terminal) -> None:
    """List what was in force, newest first."""
    request = pb.ListActivationsRequest(page_size=1000)
    stub = await policy_stub(terminal)
    found = await every(stub.ListActivations, request, "activations")
    rows = [activation_json(one) for one in found]
    await (await terminal.subjects()).named(rows, "activated_by")
    columns = (
        "sequence", "kind", "policy_revision", "commit", "activated_by", "reason", "created",
    )  # fmt: skip
    terminal.output.rows(rows, columns)


async def policy_stub(terminal: Terminal) -> Any:
    """The stub of policies, which are the platform's; whoever is signed in acts."""
    return PolicyServiceStub(await terminal.channel())


async def names_of(terminal: Terminal, proposal: pb.Proposal) -> dict[str, str]:
    """What people call those who had part in a proposal."""
    approvers = (given.approver for given in proposal.approvals)
    people = (proposal.author, *proposal.makers, *approvers)
    return await (await terminal.subjects()).names(people)


async def _find(stub: Any, proposal_id: str) -> pb.Proposal:
    response: pb.GetProposalResponse = await stub.GetProposal(
        pb.GetProposalRequest(proposal_id=proposal_id)
    )
    return response.proposal


async def _put(terminal: Terminal, response: Any) -> None:
    value = {**activation_json(response.activation), "revision": response.revision}
    await (await terminal.subjects()).named([value], "activated_by")
    terminal.output.result(
        value, lambda: f"{activation_text(value)}\n  revision {response.revision}"
    )
