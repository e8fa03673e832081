"""What is told of approvals: to the audit log, and to the people who are waiting."""

from collections.abc import Mapping

from argy.authz.approvals.domain import Approval
from argy.authz.notifications.notifier import Notification
from argy.rpc.call import Call
from argy.trail.records import AuditRecord


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
    return AuditRecord.of(
        call,
        f"authz.approval.{verb}",
        f"authz.approval:{found.id}",
        subject=wanted.subject,
        org_id=wanted.org_id,
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
