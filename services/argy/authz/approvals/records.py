"""What is told of approvals: to the audit log, and to the people who are waiting."""

from collections.abc import Mapping

from argy.authz.approvals.domain import Approval
from argy.authz.notifications.notifier import Notification
from argy.rpc.call import Call
from argy.store.audit import AuditRecord


def record_of(
    call: Call, verb: str, found: Approval, more: Mapping[str, object], *, now_ms: int
) -> AuditRecord:
    """The audit record of one change to an approval."""
    wanted = found.wanted
    detail: dict[str, object] = {
        "subject": wanted.subject,
        "action": wanted.action,
        "resource": wanted.resource,
        "requester": found.requester,
        "state": found.state,
        "lines": [f"{line.file}:{line.line}" for line in found.requirements],
        **more,
    }
    if wanted.request_digest:
        detail["request_digest"] = wanted.request_digest
    if call.acts_for:
        detail["via"] = call.source
    return AuditRecord(
        actor=call.caller,
        action=f"authz.approval.{verb}",
        resource=f"authz.approval:{found.id}",
        org_id=wanted.org_id,
        on_behalf_of="" if wanted.subject == call.caller else wanted.subject,
        request_id=call.request_id,
        trace_id=call.trace_id,
        detail=detail,
        occurred_at_ms=now_ms,
    )


def notification_of(call: Call, kind: str, found: Approval, *, now_ms: int) -> Notification:
    """What is sent to the people who may vote, or who wait for the votes."""
    wanted = found.wanted
    return Notification(
        kind=kind,
        tenant_id=call.tenant_id,
        tenant=call.tenant.slug,
        resource=f"authz.approval:{found.id}",
        time_ms=now_ms,
        data={
            "subject": wanted.subject,
            "action": wanted.action,
            "resource": wanted.resource,
            "org": found.org_slug,
            "requester": found.requester,
            "reason": found.reason,
            "state": found.state,
            "needs": [
                {"approvals": line.approvals, "roles": list(line.roles)}
                for line in found.requirements
            ],
        },
    )
