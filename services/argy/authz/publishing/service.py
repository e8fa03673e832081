"""The gRPC face of proposals and activations: messages in, use cases, messages out."""

from typing import Protocol
from uuid import UUID

from argy.api.authz.v1 import policy_pb2 as pb
from argy.authz.publishing.activation import Activations
from argy.authz.publishing.candidates import Candidates
from argy.authz.publishing.impact import Impact
from argy.authz.publishing.review import Review
from argy.authz.publishing.wire import (
    activation_message,
    activation_row_message,
    in_force_message,
    proposal_message,
    state_name,
)
from argy.base.errors import Unimplemented
from argy.base.revisions import policy_token
from argy.policy.statements import Activation
from argy.rpc.call import Call
from argy.rpc.page_token import PageTokens, page_size

_NUMBER_BYTES = 8


class ShadowUseCases(Protocol):
    """Shadow evaluation of proposals; audits what it changes, and marks the call."""

    async def start(self, call: Call, request: pb.StartShadowRequest) -> pb.StartShadowResponse:
        """Have every replica evaluate a proposal beside the policy in force."""
        ...

    async def report(
        self, call: Call, request: pb.GetShadowReportRequest
    ) -> pb.GetShadowReportResponse:
        """Sum what they have seen."""
        ...


class PolicyService:
    """Policies from proposal to activation."""

    def __init__(
        self,
        *,
        review: Review,
        activations: Activations,
        candidates: Candidates,
        impact: Impact,
        pages: PageTokens,
        shadow: ShadowUseCases | None = None,
    ) -> None:
        self._review = review
        self._activations = activations
        self._candidates = candidates
        self._impact = impact
        self._pages = pages
        self._shadow = shadow

    async def ProposePolicy(
        self, request: pb.ProposePolicyRequest, call: Call
    ) -> pb.ProposePolicyResponse:
        """Hand in a signed bundle."""
        proposal = await self._review.propose(
            call,
            envelope=request.bundle,
            title=request.title,
            description=request.description,
            request_id=UUID(request.request_id) if request.request_id else None,
            validate_only=request.validate_only,
        )
        return pb.ProposePolicyResponse(proposal=proposal_message(proposal))

    async def GetProposal(
        self, request: pb.GetProposalRequest, call: Call
    ) -> pb.GetProposalResponse:
        """Return one proposal."""
        proposal = await self._review.get(UUID(request.proposal_id))
        return pb.GetProposalResponse(proposal=proposal_message(proposal))

    async def ListProposals(
        self, request: pb.ListProposalsRequest, call: Call
    ) -> pb.ListProposalsResponse:
        """List proposals, newest first."""
        size = page_size(request.page_size)
        cursor = self._pages.decode(call, request)
        found = await self._review.list(
            before=None if cursor is None else UUID(bytes=cursor),
            state=state_name(request.state),
            limit=size + 1,
        )
        token = ""
        if len(found) > size:
            token = self._pages.encode(call, request, found[size - 1].id.bytes)
        return pb.ListProposalsResponse(
            proposals=[proposal_message(one) for one in found[:size]], next_page_token=token
        )

    async def GetProposalImpact(
        self, request: pb.GetProposalImpactRequest, call: Call
    ) -> pb.GetProposalImpactResponse:
        """Tell who would gain or lose what, a page of tenants at a time."""
        cursor = self._pages.decode(call, request)
        proposal = await self._review.get(UUID(request.proposal_id))
        tenants, last = await self._impact.page(
            await self._candidates.load(proposal.policy.digest),
            after=None if cursor is None else UUID(bytes=cursor),
            only=UUID(request.tenant_id) if request.tenant_id else None,
            limit=request.page_size or 20,
        )
        token = "" if last is None else self._pages.encode(call, request, last.bytes)
        return pb.GetProposalImpactResponse(tenants=tenants, next_page_token=token)

    async def StartShadow(
        self, request: pb.StartShadowRequest, call: Call
    ) -> pb.StartShadowResponse:
        """Have every replica evaluate a proposal."""
        return await self._shadows().start(call, request)

    async def GetShadowReport(
        self, request: pb.GetShadowReportRequest, call: Call
    ) -> pb.GetShadowReportResponse:
        """Sum what the replicas have seen."""
        return await self._shadows().report(call, request)

    async def ApproveProposal(
        self, request: pb.ApproveProposalRequest, call: Call
    ) -> pb.ApproveProposalResponse:
        """Approve a bundle and its diff."""
        proposal = await self._review.approve(
            call,
            UUID(request.proposal_id),
            bundle_digest=request.bundle_digest,
            diff_digest=request.diff_digest,
            comment=request.comment,
        )
        return pb.ApproveProposalResponse(proposal=proposal_message(proposal))

    async def RejectProposal(
        self, request: pb.RejectProposalRequest, call: Call
    ) -> pb.RejectProposalResponse:
        """End a proposal."""
        proposal = await self._review.reject(call, UUID(request.proposal_id), request.comment)
        return pb.RejectProposalResponse(proposal=proposal_message(proposal))

    async def ActivateProposal(
        self, request: pb.ActivateProposalRequest, call: Call
    ) -> pb.ActivateProposalResponse:
        """Put an approved proposal in force."""
        made = await self._activations.activate(call, UUID(request.proposal_id))
        return pb.ActivateProposalResponse(
            activation=self._message(made), revision=policy_token(made.sequence)
        )

    async def RollbackPolicy(
        self, request: pb.RollbackPolicyRequest, call: Call
    ) -> pb.RollbackPolicyResponse:
        """Return to an earlier policy."""
        made = await self._activations.rollback(call, request.sequence, request.reason)
        return pb.RollbackPolicyResponse(
            activation=self._message(made), revision=policy_token(made.sequence)
        )

    async def GetActivePolicy(
        self, request: pb.GetActivePolicyRequest, call: Call
    ) -> pb.GetActivePolicyResponse:
        """Tell what is in force on this server."""
        standing = self._activations.standing()
        return pb.GetActivePolicyResponse(
            activation=in_force_message(standing.in_force),
            problem=standing.problem,
            rules=len(standing.in_force.policy.rules),
        )

    async def ListActivations(
        self, request: pb.ListActivationsRequest, call: Call
    ) -> pb.ListActivationsResponse:
        """List activations, newest first."""
        size = page_size(request.page_size)
        cursor = self._pages.decode(call, request)
        found = await self._activations.list(
            before=None if cursor is None else int.from_bytes(cursor, "big"), limit=size + 1
        )
        token = ""
        if len(found) > size:
            last = found[size - 1].sequence.to_bytes(_NUMBER_BYTES, "big")
            token = self._pages.encode(call, request, last)
        return pb.ListActivationsResponse(
            activations=[activation_row_message(row) for row in found[:size]],
            next_page_token=token,
        )

    def _shadows(self) -> ShadowUseCases:
        if self._shadow is None:
            raise Unimplemented("shadow evaluation is not served here")
        return self._shadow

    def _message(self, made: Activation) -> pb.Activation:
        """The activation, with its commit where it is in force here already."""
        bundle = self._activations.standing().in_force.bundle
        known = bundle is not None and bundle.digest == made.bundle_digest
        return activation_message(made, bundle.manifest.commit if bundle and known else "")
