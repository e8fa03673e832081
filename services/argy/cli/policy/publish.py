"""``argy policy publish``: hand a policy in, and see what it would change."""

import asyncio
from contextlib import suppress
from typing import Annotated
from uuid import uuid4

import typer

from argy.api.authz.v1 import policy_pb2 as pb
from argy.api.authz.v1.policy_pb2_grpc import PolicyServiceStub
from argy.base.errors import FailedPrecondition, PermissionDenied
from argy.cli.output import Output
from argy.cli.policy.bundle import Key, Revision, signed_bundle
from argy.cli.policy.options import DEFAULT_FOLDER, Folder
from argy.cli.policy.proposed import proposal_json, proposal_text
from argy.cli.session import Json, run
from argy.cli.subjects import As, acting_channel, platform_subjects
from argy.client import Connection


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command("publish")(publish)


def publish(
    key: Key,
    title: Annotated[str, typer.Option("--title", help="In a few words.")],
    description: Annotated[str, typer.Option("--description", help="Why.")] = "",
    revision: Revision = "",
    folder: Folder = DEFAULT_FOLDER,
    validate_only: Annotated[
        bool, typer.Option("--validate-only", help="Tell what it would change; propose nothing.")
    ] = False,
    subject: As = "",
    json_output: Json = False,
) -> None:
    """Bundle the policy, sign it and propose it; nothing is in force before it is approved.

    The bundle tells who wrote the commits since the policy in force: none of them,
    nor whose key signs it, can approve it. A trusted key must sign it; the author
    must be allowed to propose:
    `argy policy publish --key author.json --title "Raise quotas"`.
    On the platform of `argy up` the key is `.argy/keys/policy-author.json`.
    """

    async def work(connection: Connection, output: Output) -> None:
        stub = PolicyServiceStub(
            await acting_channel(connection, output, platform_subjects(connection), for_=subject)
        )
        since = ""
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
        people = (proposal.author, *proposal.makers)
        names = await platform_subjects(connection).names(people)
        output.result(
            proposal_json(proposal, names),
            lambda: f"{proposal_text(proposal, names)}\n{_next(proposal)}",
        )

    run(json_output, work)


def _next(proposal: pb.Proposal) -> str:
    if not proposal.proposal_id:
        return "nothing was proposed"
    people = "two people" if proposal.approvals_needed > 1 else "somebody else"
    return (
        f"next: have {people} run `argy policy approve {proposal.proposal_id}`, then "
        f"`argy policy activate {proposal.proposal_id}`"
    )
