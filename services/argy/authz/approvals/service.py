"""The gRPC face of approvals: messages in, use cases, messages out."""

from uuid import UUID

from argy.api.authz.v1 import approval_pb2 as pb
from argy.api.authz.v1.authz_pb2 import ApprovalRequirement, Question, RuleRef
from argy.authz.approvals.domain import Action, Approval
from argy.authz.approvals.use_cases import Approvals
from argy.authz.view import plain_facts
from argy.authz.wire import decision_message
from argy.base.clock import Clock
from argy.rpc.call import Call
from argy.rpc.page_token import PageTokens, page_size


class ApprovalService:
    """Approvals of single actions."""

    def __init__(self, approvals: Approvals, pages: PageTokens, clock: Clock) -> None:
        self._approvals = approvals
        self._pages = pages
        self._clock = clock

    async def RequestApproval(
        self, request: pb.RequestApprovalRequest, call: Call
    ) -> pb.RequestApprovalResponse:
        """Ask for approval of one action."""
        made = await self._approvals.request(
            call,
            _action(call, request.question, request.request_digest),
            _facts(request.question),
            reason=request.reason,
            request_id=UUID(request.request_id) if request.request_id else None,
        )
        return pb.RequestApprovalResponse(approval=self._message(made))

    async def GetApproval(
        self, request: pb.GetApprovalRequest, call: Call
    ) -> pb.GetApprovalResponse:
        """Return one approval."""
        found = await self._approvals.get(call, UUID(request.approval_id))
        return pb.GetApprovalResponse(approval=self._message(found))

    async def ListApprovals(
        self, request: pb.ListApprovalsRequest, call: Call
    ) -> pb.ListApprovalsResponse:
        """List approvals, newest first."""
        cursor = self._pages.decode(call, request)
        size = page_size(request.page_size)
        state = pb.ApprovalState.Name(request.state).removeprefix("APPROVAL_STATE_")
        found = await self._approvals.list(
            call,
            state="" if state == "UNSPECIFIED" else state,
            subject=request.subject,
            after=None if cursor is None else UUID(bytes=cursor),
            limit=size + 1,
        )
        token = ""
        if len(found) > size:
            token = self._pages.encode(call, request, found[size - 1].id.bytes)
        return pb.ListApprovalsResponse(
            approvals=[self._message(one) for one in found[:size]], next_page_token=token
        )

    async def Approve(self, request: pb.ApproveRequest, call: Call) -> pb.ApproveResponse:
        """Vote for an approval."""
        found = await self._vote(call, request, approved=True)
        return pb.ApproveResponse(approval=found)

    async def Reject(self, request: pb.RejectRequest, call: Call) -> pb.RejectResponse:
        """End a request."""
        found = await self._vote(call, request, approved=False)
        return pb.RejectResponse(approval=found)

    async def Cancel(self, request: pb.CancelRequest, call: Call) -> pb.CancelResponse:
        """Withdraw an approval."""
        found = await self._approvals.cancel(call, UUID(request.approval_id))
        return pb.CancelResponse(approval=self._message(found))

    async def RedeemApproval(
        self, request: pb.RedeemApprovalRequest, call: Call
    ) -> pb.RedeemApprovalResponse:
        """Use a granted approval once."""
        decision, found = await self._approvals.redeem(
            call,
            UUID(request.approval_id),
            _action(call, request.question, request.request_digest),
            _facts(request.question),
        )
        return pb.RedeemApprovalResponse(
            decision=decision_message(decision), approval=self._message(found)
        )

    async def _vote(
        self, call: Call, request: pb.ApproveRequest | pb.RejectRequest, *, approved: bool
    ) -> pb.Approval:
        found = await self._approvals.vote(
            call, UUID(request.approval_id), approved=approved, comment=request.comment
        )
        return self._message(found)

    def _message(self, found: Approval) -> pb.Approval:
        wanted = found.wanted
        message = pb.Approval(
            approval_id=str(found.id),
            subject=wanted.subject,
            action=wanted.action,
            resource=wanted.resource,
            request_digest=wanted.request_digest,
            org_id="" if wanted.org_id is None else str(wanted.org_id),
            requester=found.requester,
            reason=found.reason,
            requirements=[
                ApprovalRequirement(
                    rule=RuleRef(id=line.rule_id, file=line.file, line=line.line, text=line.text),
                    approvals=line.approvals,
                    roles=line.roles,
                    expires_in_s=line.expires_s,
                )
                for line in found.requirements
            ],
            state=pb.ApprovalState.Value(f"APPROVAL_STATE_{found.state_at(self._clock.now_ms())}"),
        )
        message.create_time.FromMilliseconds(found.created_at_ms)
        message.expire_time.FromMilliseconds(found.expires_at_ms)
        for vote in found.votes:
            told = message.votes.add(
                approver=vote.approver,
                comment=vote.comment,
                approved=vote.approved,
                asker_may_grant=vote.asker_may_grant,
            )
            told.create_time.FromMilliseconds(vote.created_at_ms)
        return message


def _action(call: Call, question: Question, digest: str) -> Action:
    return Action(
        subject=question.subject,
        action=question.action,
        resource=question.resource,
        request_digest=digest,
        org_id=call.org_id,
    )


def _facts(question: Question) -> dict[str, object] | None:
    return plain_facts(question.context) if question.HasField("context") else None
