"""What approvals ask of the policy, in the view that a call stands on."""

from collections.abc import Mapping

from argy.authz.approval_domain import APPROVAL_RESOURCE, Action, Approval, Roles
from argy.authz.view import TenantView
from argy.base.errors import PermissionDenied
from argy.policy import Decision
from argy.rpc.call import Call

Facts = Mapping[str, object] | None


def roles_of(view: TenantView, org: str, now_ms: int) -> Roles:
    """The roles that subjects hold in an org, inherited and by groups; none when disabled."""

    def held(subject: str) -> frozenset[str]:
        holding = view.snapshot.holding(subject, org, now_ms)
        return frozenset(holding.view.paths) if holding.fixed is None else frozenset()

    return held


def ask(view: TenantView, call: Call, action: Action, facts: Facts, now_ms: int) -> Decision:
    """Decide whether the action's subject may do it, in the call's org."""
    return view.snapshot.check(
        action.subject, call.tenant.org_slug, action.resource, action.action, facts, now_ms
    )


def may(view: TenantView, call: Call, permission: str, now_ms: int) -> bool:
    """Whether the caller has a permission on approvals as such."""
    return view.snapshot.check(
        call.caller, call.tenant.org_slug, APPROVAL_RESOURCE, permission, None, now_ms
    ).allowed


def require_vote(view: TenantView, call: Call, found: Approval, now_ms: int) -> None:
    """Ask the policy about this one request: it may say more than who holds which role.

    Raises:
        PermissionDenied: ``ACCESS_DENIED``.
    """
    facts = {
        "subject": found.wanted.subject,
        "action": found.wanted.action,
        "resource": found.wanted.resource,
        "requester": found.requester,
    }
    name = f"authz.approval:{found.id}"
    decision = view.snapshot.check(call.caller, found.org_slug, name, "approve", facts, now_ms)
    if not decision.allowed:
        raise PermissionDenied(
            f"Permission 'approve' denied on resource '{name}' (or it might not exist)",
            reason="ACCESS_DENIED",
            metadata={"decision": decision.reason},
        )


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
