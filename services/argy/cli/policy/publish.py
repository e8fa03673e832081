"""``argy policy publish``: hand a policy in, and see what it would change."""

import asyncio
from contextlib import suppress
from typing import Annotated
from uuid import uuid4

import typer

from argy.api.authz.v1 import policy_pb2 as pb
from argy.base.errors import FailedPrecondition, PermissionDenied
from argy.cli.options import DEFAULT_FOLDER, Folder, Revision
from argy.cli.policy.bundle import Key, signed_bundle
from argy.cli.policy.proposals import names_of, policy_stub
from argy.cli.policy.proposed import proposal_json, proposal_text
from argy.cli.terminal import PLATFORM, Terminal, asking


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command("publish")(publish)


@asking(tenant=PLATFORM, as_=True)
async def publish(
    terminal: Terminal,
    key: Key,
    title: Annotated[str, typer.Option("--title", help="In a few words.")],
    description: Annotated[str, typer.Option("--description", help="Why.")] = "",
    revision: Revision = "",
    folder: Folder = DEFAULT_FOLDER,
    validate_only: Annotated[
        bool, typer.Option("--validate-only", help="Tell what it would change; propose nothing.")
    ] = False,
) -> None:
    """Bundle the policy, sign it and propose it; nothing is in force before it is approved.

    The bundle tells who wrote the commits since the policy in force: none of them,
    nor whose key signs it, can approve it. A trusted key must sign it; the author
    must be allowed to propose:
    `argy policy publish --key author.json --title "Raise quotas"`.
    On the platform of `argy up` the key is `.argy/keys/policy-author.json`.
    """
    stub, since = await policy_stub(terminal), ""
    # Who may propose and not read tells the last commit's authors.
    with suppress(PermissionDenied):
        active = await stub.GetActivePolicy(pb.GetActivePolicyRequest())
        since = active.activation.policy.commit
    made, envelope = await asyncio.to_thread(signed_bundle, folder, revision, key, since=since)
    asked = pb.ProposePolicyRequest(
        bundle=envelope,
        title=title,
        description=description,
        request_id=str(uuid4()),
        validate_only=validate_only,
    )
    try:
        proposal = (await stub.ProposePolicy(asked)).proposal
    except FailedPrecondition as error:
        if error.reason != "POLICY_OLDER" or made.manifest.commit:
            raise
        raise FailedPrecondition(
            f"{folder} is not as it was committed: commit it first", reason="NOT_COMMITTED"
        ) from error
    names = await names_of(terminal, proposal)
    terminal.output.result(
        proposal_json(proposal, names),
        lambda: f"{proposal_text(proposal, names)}\n{_next(proposal)}",
    )


def _next(proposal: pb.Proposal) -> str:
    if not proposal.proposal_id:
        return "nothing was proposed"
    people = "two people" if proposal.approvals_needed > 1 else "somebody else"
    return (
        f"next: have {people} run `argy policy approve {proposal.proposal_id}`, then "
        f"`argy policy activate {proposal.proposal_id}`"
    )
