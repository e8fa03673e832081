"""What approvals ask of the policy, in the view that a call stands on."""

from argy.authz import access
from argy.authz.access import Facts
from argy.authz.approvals.domain import APPROVAL_RESOURCE, Action, Approval, Roles
from argy.authz.domain import not_permitted
from argy.authz.provenance.domain import appointed
from argy.authz.view import TenantView
from argy.base.errors import PermissionDenied
from argy.policy import Decision
from argy.rpc.call import Call


def roles_of(view: TenantView, org: str, now_ms: int) -> Roles:
    """The roles that subjects hold in an org, inherited and by groups; none when disabled."""

    def held(subject: str) -> frozenset[str]:
        holding = view.snapshot.holding(subject, org, now_ms)
        return frozenset(holding.view.paths) if holding.fixed is None else frozenset()

    return held


def ask(view: TenantView, call: Call, action: Action, facts: Facts, now_ms: int) -> Decision:
    """Decide whether the action's subject may do it, in the call's org."""
    org, subject = call.tenant.org_slug, action.subject
    return access.decide(
        view, call, org, action.resource, action.action, facts, now_ms, subject=subject
    )


def may(view: TenantView, call: Call, permission: str, now_ms: int) -> bool:
    """Whether the caller has a permission on approvals as such."""
    return access.may(view, call, APPROVAL_RESOURCE, permission, now_ms)


def require_vote(
    view: TenantView, others: TenantView, call: Call, found: Approval, now_ms: int
) -> None:
    """Ask the policy about this one request: it may say more than who holds which role.

    ``others`` is the view in which the caller holds what no asker gave.

    Raises:
        PermissionDenied: ``ACCESS_DENIED``, ``SCOPE_INSUFFICIENT``, or ``APPOINTED_BY_ASKER``.
    """
    decision = vote_decision(view, call, found, now_ms)
    if not decision.allowed:
        raise not_permitted(decision, "approve", f"authz.approval:{found.id}")
    if not vote_decision(others, call, found, now_ms).allowed:
        raise appointed()


def vote_decision(view: TenantView, call: Call, found: Approval, now_ms: int) -> Decision:
    """Decide whether the caller may vote on this one request."""
    facts = {
        "subject": found.wanted.subject,
        "action": found.wanted.action,
        "resource": found.wanted.resource,
        "requester": found.requester,
    }
    name = f"authz.approval:{found.id}"
    return access.decide(view, call, found.org_slug, name, "approve", facts, now_ms)


def require_self(view: TenantView, call: Call, subject: str, permission: str, now_ms: int) -> None:
    """Let the caller act for itself; for others only with a permission of its own.

    Raises:
        PermissionDenied: ``NOT_ONESELF``.
    """
    if call.caller != subject and not may(view, call, permission, now_ms):
        raise PermissionDenied(
            f"For another subject you need the permission 'authz.approval:{permission}'",
            reason="NOT_ONESELF",
            field="question.subject",
        )
