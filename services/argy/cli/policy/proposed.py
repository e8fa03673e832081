"""Proposals and activations for people and for programs."""

from collections.abc import Mapping, Sequence
from typing import Any

from argy.api.authz.v1 import policy_pb2 as pb
from argy.cli import times
from argy.cli.approvals import ASKER_MAY_GRANT
from argy.cli.output import called, one_line
from argy.policy.compare.diff_report import holder, located, place

_MARKS = {"gained": "+", "lost": "-", "changed": "~"}
_SHOWN = 200


def state_of(proposal: pb.Proposal) -> str:
    """OPEN, APPROVED, REJECTED or ACTIVATED."""
    return pb.ProposalState.Name(proposal.state).removeprefix("PROPOSAL_STATE_")


def proposal_json(proposal: pb.Proposal, names: Mapping[str, str]) -> dict[str, Any]:
    """All of a proposal; ``names`` is what people call its subjects."""
    return {
        "proposal_id": proposal.proposal_id,
        "state": state_of(proposal),
        "title": proposal.title,
        "description": proposal.description,
        "author": proposal.author,
        "makers": list(proposal.makers),
        "unknown_makers": list(proposal.unknown_makers),
        "created": times.shown(proposal.create_time),
        "policy": _ref(proposal.policy),
        "base": _ref(proposal.base),
        "diff_digest": proposal.diff_digest,
        "change_count": proposal.change_count,
        "changes": [_change_json(change) for change in proposal.changes],
        "approvals_needed": proposal.approvals_needed,
        "approvals": [
            {
                "approver": given.approver,
                "comment": given.comment,
                "created": times.shown(given.create_time),
                "counts": given.counts,
                "asker_may_grant": given.asker_may_grant,
            }
            for given in proposal.approvals
        ],
        "rejection": proposal.rejection,
        "names": dict(names),
    }


def proposal_row(proposal: pb.Proposal) -> dict[str, Any]:
    """A line of a list."""
    counting = sum(given.counts for given in proposal.approvals)
    return {
        "proposal_id": proposal.proposal_id,
        "state": state_of(proposal),
        "approvals": f"{counting}/{proposal.approvals_needed}",
        "changes": proposal.change_count,
        "title": proposal.title,
        "author": proposal.author,
        "created": times.shown(proposal.create_time),
    }


def proposal_text(proposal: pb.Proposal, names: Mapping[str, str]) -> str:
    """A proposal with what it would change; ``names`` is what people call its subjects."""
    counting = sum(given.counts for given in proposal.approvals)
    told = [
        f"{one_line(proposal.title)}  [{state_of(proposal)}]",
        f"  proposal  {proposal.proposal_id or 'none: it was only validated'}",
        f"  author    {names.get(proposal.author, proposal.author)}",
        f"  made by   {_makers(proposal, names)}",
        f"  bundle    {proposal.policy.bundle_digest}",
        f"  commit    {proposal.policy.commit or 'none'}",
        f"  diff      {proposal.diff_digest}",
        f"  approvals {counting} of {proposal.approvals_needed}",
    ]
    if proposal.description:
        told.append(f"  because   {one_line(proposal.description)}")
    if proposal.rejection:
        told.append(f"  rejected  {one_line(proposal.rejection)}")
    for given in proposal.approvals:
        void = f"  ({ASKER_MAY_GRANT})" if given.asker_may_grant else ""
        if not given.counts:
            void = "  (of an earlier diff, or of who made it: does not count)"
        told.append(
            f"    {names.get(given.approver, given.approver)}  {one_line(given.comment)}{void}"
        )
    if not proposal.change_count:
        same = proposal.policy.policy_revision == proposal.base.policy_revision
        because = ": these rules are in force already" if same else ""
        told.append(f"It changes no decision{because}.")
    for change in proposal.changes[:_SHOWN]:
        told.append(f"  {_change_line(change)}")
        told += [f"      {_rule(rule)}" for rule in change.rules]
    rest = proposal.change_count - len(proposal.changes[:_SHOWN])
    # Lists come without their changes.
    if rest and proposal.changes:
        told.append(f"  … and {rest} more changes")
    return "\n".join(told)


def impact_json(tenants: Sequence[pb.TenantImpact]) -> list[dict[str, Any]]:
    """Who gains and who loses, tenant by tenant."""
    return [
        {
            "tenant": one.tenant,
            "tenant_id": one.tenant_id,
            "subject_count": one.subject_count,
            "subjects": [
                {
                    "subject": each.subject,
                    "org": each.org,
                    "changes": [_change_json(change) for change in each.changes],
                }
                for each in one.subjects
            ],
        }
        for one in tenants
    ]


def impact_text(tenants: Sequence[pb.TenantImpact]) -> str:
    """The same for people."""
    told = []
    for one in tenants:
        told.append(f"{one.tenant}: {one.subject_count} gain or lose something")
        for each in one.subjects[:_SHOWN]:
            told.append(f"  {each.subject}{f' in {each.org}' if each.org else ''}")
            told += [f"    {_change_line(change)}" for change in each.changes]
        if len(one.subjects) > _SHOWN:
            told.append("  … and more; --json shows them")
    return "\n".join(told) or "nobody gains or loses anything now"


def activation_json(activation: pb.Activation) -> dict[str, Any]:
    """An activation."""
    return {
        "sequence": activation.sequence,
        "kind": pb.ActivationKind.Name(activation.kind).removeprefix("ACTIVATION_KIND_"),
        **_ref(activation.policy),
        "proposal_id": activation.proposal_id,
        "activated_by": activation.activated_by,
        "reason": activation.reason,
        "created": times.shown(activation.create_time),
    }


def activation_text(value: Mapping[str, Any]) -> str:
    """What ``activation_json`` made of an activation, for people."""
    told = [
        f"activation {value['sequence']}  {value['kind']}",
        f"  bundle  {value['bundle_digest']}",
        f"  policy  {value['policy_revision']}",
        f"  commit  {value['commit'] or 'none'}",
        f"  by      {called(value, 'activated_by')}  {value['created']}",
    ]
    if value["proposal_id"]:
        told.append(f"  of      proposal {value['proposal_id']}")
    if value["reason"]:
        told.append(f"  because {one_line(value['reason'])}")
    return "\n".join(told)


def _makers(proposal: pb.Proposal, names: Mapping[str, str]) -> str:
    """Who signed and wrote it; addresses that are nobody's here are marked."""
    here = (names.get(one, one) for one in proposal.makers)
    known = [*here, *(f"{one} (nobody here)" for one in proposal.unknown_makers)]
    return ", ".join(known) or "not known: neither the key nor a commit says"


def _change_json(change: pb.AccessChange) -> dict[str, Any]:
    return {
        "kind": change.kind,
        "role": change.role,
        "domain": change.domain,
        "resource": change.resource,
        "action": change.action,
        "before": change.before,
        "after": change.after,
        "rules": list(change.rules),
        "escalation": change.escalation,
    }


def _change_line(change: pb.AccessChange) -> str:
    """A change in the words of ``argy policy diff``."""
    mark = "  ESCALATION" if change.escalation else ""
    return (
        f"{_MARKS.get(change.kind, '?')} {holder(change.role)} {change.kind} {change.action} "
        f"{change.resource} {place(change.domain)}: {change.before} → {change.after}{mark}"
    )


def _rule(rule: str) -> str:
    return " ".join(located(rule, "")).strip()


def _ref(ref: pb.PolicyRef) -> dict[str, str]:
    return {
        "bundle_digest": ref.bundle_digest,
        "policy_revision": ref.policy_revision,
        "commit": ref.commit,
    }
