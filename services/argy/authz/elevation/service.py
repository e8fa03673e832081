"""The gRPC face of elevation: messages in, use cases, messages out."""

from uuid import UUID

from argy.api.authz.v1 import approval_pb2 as pb
from argy.api.authz.v1.assignment_pb2 import RoleAssignment
from argy.authz.elevation.domain import Elevation, Wish
from argy.authz.elevation.use_cases import Elevations
from argy.rpc.call import Call
from argy.rpc.page_token import PageTokens, page_size


class ElevationService:
    """Roles for a while."""

    def __init__(self, elevations: Elevations, pages: PageTokens) -> None:
        self._elevations = elevations
        self._pages = pages

    async def Elevate(self, request: pb.ElevateRequest, call: Call) -> pb.ElevateResponse:
        """Give the caller a role until it expires."""
        wish = Wish(
            role=request.role,
            duration_s=request.duration_s,
            reason=request.reason,
            break_glass=request.break_glass,
            org_id=call.org_id,
            approval_id=UUID(request.approval_id) if request.approval_id else None,
            request_id=UUID(request.request_id) if request.request_id else None,
        )
        made, revision = await self._elevations.elevate(call, wish)
        return pb.ElevateResponse(elevation=_message(made), revision=revision)

    async def EndElevation(
        self, request: pb.EndElevationRequest, call: Call
    ) -> pb.EndElevationResponse:
        """Give a role back."""
        ended, revision = await self._elevations.end(call, UUID(request.elevation_id))
        return pb.EndElevationResponse(elevation=_message(ended), revision=revision)

    async def ListElevations(
        self, request: pb.ListElevationsRequest, call: Call
    ) -> pb.ListElevationsResponse:
        """List elevations, newest first."""
        cursor = self._pages.decode(call, request)
        size = page_size(request.page_size)
        review = pb.ReviewState.Name(request.review).removeprefix("REVIEW_STATE_")
        found = await self._elevations.list(
            call,
            review="" if review == "UNSPECIFIED" else review,
            after=None if cursor is None else UUID(bytes=cursor),
            limit=size + 1,
        )
        token = ""
        if len(found) > size:
            token = self._pages.encode(call, request, found[size - 1].id.bytes)
        return pb.ListElevationsResponse(
            elevations=[_message(one) for one in found[:size]], next_page_token=token
        )

    async def CloseReview(
        self, request: pb.CloseReviewRequest, call: Call
    ) -> pb.CloseReviewResponse:
        """Close the review of a broken glass."""
        closed = await self._elevations.close_review(
            call,
            UUID(request.elevation_id),
            justified=request.justified,
            comment=request.comment,
        )
        return pb.CloseReviewResponse(elevation=_message(closed))


def _message(made: Elevation) -> pb.Elevation:
    assignment = RoleAssignment(
        assignment_id=str(made.assignment_id),
        subject=made.subject,
        role=made.role,
        org_id="" if made.org_id is None else str(made.org_id),
        reason=made.reason,
        created_by=made.subject,
    )
    assignment.create_time.FromMilliseconds(made.created_at_ms)
    assignment.expire_time.FromMilliseconds(made.expires_at_ms)
    message = pb.Elevation(
        elevation_id=str(made.id),
        assignment=assignment,
        break_glass=made.break_glass,
        review=pb.ReviewState.Value(f"REVIEW_STATE_{made.review}"),
        reviewed_by=made.reviewed_by,
        review_comment=made.review_comment,
        asker_may_grant=made.asker_may_grant,
        org=made.org_slug,
        org_gone=made.org_gone,
    )
    message.create_time.FromMilliseconds(made.created_at_ms)
    if made.ended_at_ms is not None:
        message.end_time.FromMilliseconds(made.ended_at_ms)
    return message
