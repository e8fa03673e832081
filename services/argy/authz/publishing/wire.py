"""Proposals and activations as messages."""

from collections.abc import Iterable
from typing import Final

from argy.api.authz.v1 import policy_pb2 as pb
from argy.authz.publishing.domain import ActivationRow, PolicyName, Proposal
from argy.authz.publishing.holder import InForce
from argy.policy.compare.changes import AccessChange
from argy.policy.statements import Activation

_KINDS: Final = {
    "BOOTSTRAP": pb.ACTIVATION_KIND_BOOTSTRAP,
    "FOLDER": pb.ACTIVATION_KIND_FOLDER,
    "PROPOSAL": pb.ACTIVATION_KIND_PROPOSAL,
    "ROLLBACK": pb.ACTIVATION_KIND_ROLLBACK,
}


def policy_ref(name: PolicyName) -> pb.PolicyRef:
    """Which bundle."""
    return pb.PolicyRef(
        bundle_digest=name.digest, policy_revision=name.revision, commit=name.commit
    )


def change_messages(changes: Iterable[AccessChange]) -> list[pb.AccessChange]:
    """The changes of a diff."""
    return [
        pb.AccessChange(
            kind=change.kind,
            role=change.role,
            domain=change.domain,
            resource=change.resource,
            action=change.action,
            before=change.before,
            after=change.after,
            rules=change.rules,
            escalation=change.escalation,
        )
        for change in changes
    ]


def proposal_message(proposal: Proposal) -> pb.Proposal:
    """A proposal; without an id when it was only validated."""
    message = pb.Proposal(
        proposal_id=str(proposal.id) if proposal.id.int else "",
        policy=policy_ref(proposal.policy),
        base=policy_ref(proposal.base),
        diff_digest=proposal.diff_digest,
        changes=change_messages(proposal.changes),
        change_count=proposal.change_count,
        title=proposal.title,
        description=proposal.description,
        author=proposal.author,
        state=_state(proposal),
        approvals_needed=proposal.approvals_needed,
        rejection=proposal.rejection,
        makers=proposal.makers,
        unknown_makers=proposal.unknown_makers,
    )
    message.create_time.FromMilliseconds(proposal.created_at_ms)
    if proposal.shadow_until_ms is not None:
        message.shadow_end_time.FromMilliseconds(proposal.shadow_until_ms)
    for given in proposal.approvals:
        added = message.approvals.add(
            approver=given.approver,
            comment=given.comment,
            counts=given.counts_for(proposal),
            asker_may_grant=given.asker_may_grant,
        )
        added.create_time.FromMilliseconds(given.created_at_ms)
    return message


def state_name(state: "pb.ProposalState.ValueType") -> str:
    """The state to filter by; empty for every one."""
    return "" if not state else pb.ProposalState.Name(state).removeprefix("PROPOSAL_STATE_")


def activation_row_message(row: ActivationRow) -> pb.Activation:
    """An activation of a list."""
    message = pb.Activation(
        sequence=row.sequence,
        policy=policy_ref(row.policy),
        kind=_KINDS[row.kind],
        proposal_id="" if row.proposal_id is None else str(row.proposal_id),
        activated_by=row.activated_by,
        reason=row.reason,
    )
    message.create_time.FromMilliseconds(row.created_at_ms)
    return message


def activation_message(activation: Activation, commit: str) -> pb.Activation:
    """An activation as it was signed."""
    message = pb.Activation(
        sequence=activation.sequence,
        policy=pb.PolicyRef(
            bundle_digest=activation.bundle_digest,
            policy_revision=activation.policy_revision,
            commit=commit,
        ),
        kind=_KINDS[activation.kind],
        proposal_id=activation.proposal_id,
        activated_by=activation.activated_by,
        reason=activation.reason,
    )
    message.create_time.FromMilliseconds(activation.time_ms)
    return message


def in_force_message(in_force: InForce) -> pb.Activation:
    """What is in force, as it was signed and verified."""
    if in_force.activation is None or in_force.bundle is None:
        return pb.Activation(policy=pb.PolicyRef(policy_revision=in_force.policy.revision))
    return activation_message(in_force.activation, in_force.bundle.manifest.commit)


def _state(proposal: Proposal) -> "pb.ProposalState.ValueType":
    if proposal.state == "OPEN":
        approved = proposal.approved
        return pb.PROPOSAL_STATE_APPROVED if approved else pb.PROPOSAL_STATE_OPEN
    return pb.ProposalState.Value(f"PROPOSAL_STATE_{proposal.state}")
