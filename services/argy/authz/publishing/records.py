"""The audit records of proposals and activations."""

from collections.abc import Mapping
from uuid import UUID

from argy.authz.publishing.domain import Proposal
from argy.policy.statements import Activation
from argy.rpc.call import Call
from argy.trail.records import AuditRecord


def proposal_record(
    call: Call, verb: str, proposal: Proposal, now_ms: int, **detail: object
) -> AuditRecord:
    """What somebody did to a proposal: ``authz.policy_proposal.<verb>``."""
    about = {
        "bundle": proposal.policy.digest,
        "policy_revision": proposal.policy.revision,
        "commit": proposal.policy.commit,
        "diff": proposal.diff_digest,
        "changes": proposal.change_count,
        "approvals_needed": proposal.approvals_needed,
        "author": proposal.author,
        "makers": list(proposal.makers),
        "unknown_makers": list(proposal.unknown_makers),
    }
    return _record(
        call,
        f"authz.policy_proposal.{verb}",
        f"authz.policy_proposal:{_name(proposal.id)}",
        now_ms,
        about | detail,
    )


def activation_record(call: Call, activation: Activation, **detail: object) -> AuditRecord:
    """That a policy came in force: ``authz.policy.activate`` or ``authz.policy.rollback``."""
    verb = "rollback" if activation.kind == "ROLLBACK" else "activate"
    about: dict[str, object] = {
        "sequence": activation.sequence,
        "kind": activation.kind,
        "policy_revision": activation.policy_revision,
        "previous": activation.previous_digest,
        "reason": activation.reason,
    }
    if activation.kind == "ROLLBACK":
        about["restores"] = activation.restores
    else:
        about |= {
            "proposal_id": activation.proposal_id,
            "diff": activation.diff_digest,
            "author": activation.author,
        }
    return _record(
        call,
        f"authz.policy.{verb}",
        f"authz.policy:{activation.bundle_digest}",
        activation.time_ms,
        about | detail,
    )


def _record(
    call: Call, action: str, resource: str, now_ms: int, detail: Mapping[str, object]
) -> AuditRecord:
    return AuditRecord.of(call, action, resource, org_id=None, detail=detail, occurred_at_ms=now_ms)


def _name(proposal_id: UUID) -> str:
    return str(proposal_id) if proposal_id.int else "-"
