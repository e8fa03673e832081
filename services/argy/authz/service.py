"""The gRPC face: messages in, use cases, messages out."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any, Final
from uuid import UUID

from google.protobuf.timestamp_pb2 import Timestamp

from argy.api.authz.v1 import assignment_pb2 as assignment
from argy.api.authz.v1 import authz_pb2 as authz
from argy.api.authz.v1.authz_pb2 import Question
from argy.authz.access import Asked, LocalAccess, answers, explain, may_explain
from argy.authz.assignments import Assignments
from argy.authz.decision_log import DecisionLog
from argy.authz.delegation import Giver, missing_of
from argy.authz.domain import Grant, RoleGrant
from argy.authz.listing import Listing
from argy.authz.revision_watch import RevisionWatch
from argy.authz.shadow.evaluation import Shadow
from argy.authz.snapshots import Snapshots
from argy.authz.subjects import Subjects, denying
from argy.authz.view import LazyContext, TenantView
from argy.authz.wire import DecisionEncoder, decision_message, effect_of, rule_ref
from argy.base.clock import Clock
from argy.base.errors import InvalidArgument
from argy.base.revisions import parse_revision
from argy.base.turns import Turns
from argy.policy import Decision
from argy.rpc.call import Call
from argy.rpc.delegation import Delegation
from argy.rpc.page_token import PageTokens, page_size

_SLICE: Final = 100
"""Questions that are decided at a stretch."""
READMIT_S: Final = 1.0
"""How soon a watch notices that its caller's role ended by itself; changes it notices at once."""


class AuthzService:
    """The policy decision point."""

    def __init__(
        self,
        *,
        snapshots: Snapshots,
        log: DecisionLog,
        watch: RevisionWatch,
        subjects: Subjects,
        listing: Listing,
        shadow: Shadow,
        clock: Clock,
    ) -> None:
        self._shadow = shadow
        self._snapshots = snapshots
        self._log = log
        self._watch = watch
        self._subjects = subjects
        self._listing = listing
        self._clock = clock
        self._access = LocalAccess(snapshots, clock)
        self._encoder = DecisionEncoder()
        self._bare = DecisionEncoder(bare=True)
        self._turns = Turns(1)
        """Large batches, one at a time."""

    async def Check(self, request: authz.CheckRequest, call: Call) -> bytes:
        """Decide one question."""
        view = self._snapshots.peek(call.tenant_id)
        if view is None or request.at_least:
            view = await self._fresh(call, request.at_least)
        question = request.question
        resolved = request.resolve_subjects
        unknown = await self._subjects.settle(view, (question,)) if resolved else ()
        size = self._log.require_room(call, (question,))
        now_ms = self._clock.now_ms()
        asked, decisions = answers(view, call, (question,), now_ms)
        (decision,) = decisions = denying(unknown, (question,), decisions)
        self._log.put(call, view, (question,), asked, decisions, size)
        if self._shadow.active:
            self._shadow.put(call, view, (question,), decisions, now_ms)
        told_why = asked[0][0] == call.caller or may_explain(view, call, now_ms)
        return (self._encoder if told_why else self._bare).field(decision) + view.trailer

    async def BatchCheck(self, request: authz.BatchCheckRequest, call: Call) -> bytes:
        """Decide many questions on one view."""
        view = self._snapshots.peek(call.tenant_id)
        if view is None or request.at_least:
            view = await self._fresh(call, request.at_least)
        questions = request.questions
        resolved = request.resolve_subjects
        unknown = await self._subjects.settle(view, questions) if resolved else ()
        size = self._log.require_room(call, questions)
        field, now_ms = self._encoder.field, self._clock.now_ms()
        if len(questions) <= _SLICE:
            asked, decisions = answers(view, call, questions, now_ms)
        else:
            asked, decisions = await self._sliced(view, call, questions, now_ms)
        decisions = denying(unknown, questions, decisions)
        self._log.put(call, view, questions, asked, decisions, size)
        if self._shadow.active:
            self._shadow.put(call, view, questions, decisions, now_ms)
        caller = call.caller
        if all(one[0] == caller for one in asked) or may_explain(view, call, now_ms):
            parts = [field(decision) for decision in decisions]
        else:
            bare = self._bare.field
            parts = [
                field(decision) if one[0] == caller else bare(decision)
                for one, decision in zip(asked, decisions, strict=True)
            ]
        parts.append(view.trailer)
        return b"".join(parts)

    async def Explain(self, request: authz.ExplainRequest, call: Call) -> authz.ExplainResponse:
        """Decide one question and tell every rule that took part."""
        view = await self._fresh(call, request.at_least)
        question = request.question
        size = self._log.require_room(call, (question,))
        explained = explain(view, call, question, self._clock.now_ms())
        asked = [(question.subject, question.action, question.resource)]
        self._log.put(call, view, (question,), asked, (explained.decision,), size)
        return authz.ExplainResponse(
            decision=decision_message(explained.decision),
            matches=[
                authz.RuleMatch(
                    rule=rule_ref(match.rule),
                    effect=effect_of(allowed=match.effect == "allow"),
                    matched=match.matched,
                    detail=match.detail,
                    role_path=match.role_path,
                )
                for match in explained.matches
            ]
            + [
                authz.RuleMatch(
                    rule=rule_ref(line.rule),
                    effect=authz.EFFECT_NEEDS_APPROVAL,
                    matched=line.matched,
                    detail=line.detail,
                )
                for line in explained.approvals
            ],
            roles=explained.roles,
            policy_revision=view.policy.revision,
            revision=view.token,
        )

    async def CheckDelegation(
        self, request: authz.CheckDelegationRequest, call: Call
    ) -> authz.CheckDelegationResponse:
        """Tell whether somebody may hand on authority."""
        giver = Giver(
            await self._snapshots.get(call.tenant_id),
            request.giver,
            call.tenant.org_slug,
            LazyContext(request.context),
            self._clock.now_ms(),
            only_what_is_held=request.only_what_is_held,
        )
        wanted = Delegation(
            permissions=[(one.permission, one.resource_id) for one in request.permissions],
            ends_at_ms=millis_of(request, "end_time"),
            group_id=UUID(request.group_id) if request.group_id else None,
        )
        missing = missing_of(giver, wanted)
        if missing is None:
            return authz.CheckDelegationResponse(allowed=True)
        answer = authz.CheckDelegationResponse(missing=missing.name)
        if missing.held_until_ms is not None:
            answer.held_until_time.FromMilliseconds(missing.held_until_ms)
        return answer

    async def ListPermissions(
        self, request: authz.ListPermissionsRequest, call: Call
    ) -> authz.ListPermissionsResponse:
        """Tell what a subject may do."""
        return await self._listing.permissions(call, request)

    async def ListSubjects(
        self, request: authz.ListSubjectsRequest, call: Call
    ) -> authz.ListSubjectsResponse:
        """Tell who may act on a resource."""
        return await self._listing.subjects(call, request)

    async def WatchRevisions(
        self, request: authz.WatchRevisionsRequest, call: Call
    ) -> AsyncIterator[authz.WatchRevisionsResponse]:
        """Stream the tenant's revisions, for as long as the caller may and the tenant is active."""
        told: tuple[str, str] | None = None
        async with aclosing(self._watch.watch(call.tenant_id, tick_s=READMIT_S)) as states:
            async for state in states:
                self._access.readmit(await self._snapshots.get(call.tenant_id), call)
                if state != told:
                    told = state
                    yield authz.WatchRevisionsResponse(policy_revision=state[0], revision=state[1])

    async def _sliced(
        self, view: TenantView, call: Call, questions: Sequence[Question], now_ms: int
    ) -> tuple[list[Asked], list[Decision]]:
        """Decide a large batch as ``answers`` does, with turns for other calls in between."""
        asked: list[Asked] = []
        decisions: list[Decision] = []
        given = list(questions)
        await self._turns.take(call.tenant_id)
        try:
            for start in range(0, len(given), _SLICE):
                some_asked, some = answers(view, call, given[start : start + _SLICE], now_ms)
                asked += some_asked
                decisions += some
                await asyncio.sleep(0)
        finally:
            self._turns.give(call.tenant_id)
        return asked, decisions

    async def _fresh(self, call: Call, at_least: str) -> TenantView:
        wanted = parse_revision(call.tenant_id, at_least)
        return await self._snapshots.get(
            call.tenant_id, at_least=wanted.assignments, policy=wanted.policy, token=at_least
        )


class AssignmentService:
    """Who holds which role."""

    def __init__(self, assignments: Assignments, pages: PageTokens) -> None:
        self._assignments = assignments
        self._pages = pages

    async def GrantRole(
        self, request: assignment.GrantRoleRequest, call: Call
    ) -> assignment.GrantRoleResponse:
        """Give a role."""
        wish = Grant(
            subject=request.subject,
            role=request.role,
            org_id=UUID(request.org_id) if request.org_id else None,
            expires_at_ms=millis_of(request, "expire_time"),
            reason=request.reason,
            request_id=UUID(request.request_id) if request.request_id else None,
        )
        made, revision = await self._assignments.grant(call, wish)
        return assignment.GrantRoleResponse(assignment=_message(made), revision=revision)

    async def RevokeRole(
        self, request: assignment.RevokeRoleRequest, call: Call
    ) -> assignment.RevokeRoleResponse:
        """Take a role away."""
        revision = await self._assignments.revoke(call, UUID(request.assignment_id), request.reason)
        return assignment.RevokeRoleResponse(revision=revision)

    async def ListRoleAssignments(
        self, request: assignment.ListRoleAssignmentsRequest, call: Call
    ) -> assignment.ListRoleAssignmentsResponse:
        """List assignments."""
        cursor = self._pages.decode(call, request)
        size = page_size(request.page_size)
        found = await self._assignments.list(
            call,
            subject=request.subject,
            role=request.role,
            after=None if cursor is None else UUID(bytes=cursor),
            limit=size + 1,
        )
        token = ""
        if len(found) > size:
            token = self._pages.encode(call, request, found[size - 1].id.bytes)
        return assignment.ListRoleAssignmentsResponse(
            assignments=[_message(grant) for grant in found[:size]], next_page_token=token
        )

    async def GetAssignmentSettings(
        self, request: assignment.GetAssignmentSettingsRequest, call: Call
    ) -> assignment.GetAssignmentSettingsResponse:
        """Tell who may hold roles."""
        allowed = await self._assignments.foreign_subjects(call)
        return assignment.GetAssignmentSettingsResponse(foreign_subjects=allowed)

    async def UpdateAssignmentSettings(
        self, request: assignment.UpdateAssignmentSettingsRequest, call: Call
    ) -> assignment.UpdateAssignmentSettingsResponse:
        """Say who may hold roles."""
        await self._assignments.set_foreign_subjects(
            call, request.reason, allowed=request.foreign_subjects
        )
        return assignment.UpdateAssignmentSettingsResponse()


def millis_of(request: Any, field: str) -> int | None:
    """A moment of a request, in milliseconds since the Unix epoch; None when there is none."""
    if not request.HasField(field):
        return None
    time: Timestamp = getattr(request, field)
    # 0001-01-01 to 9999-12-31, as google.protobuf.Timestamp says.
    if not (-62_135_596_800 <= time.seconds <= 253_402_300_799 and 0 <= time.nanos < 10**9):
        raise InvalidArgument(f"{field} is out of range", reason="TIME_OUT_OF_RANGE", field=field)
    return time.seconds * 1000 + time.nanos // 1_000_000


def _message(grant: RoleGrant) -> assignment.RoleAssignment:
    message = assignment.RoleAssignment(
        assignment_id=str(grant.id),
        subject=grant.subject,
        role=grant.role,
        org_id="" if grant.org_id is None else str(grant.org_id),
        reason=grant.reason,
        created_by=grant.created_by,
    )
    message.create_time.FromMilliseconds(grant.created_at_ms)
    if grant.expires_at_ms is not None:
        message.expire_time.FromMilliseconds(grant.expires_at_ms)
    return message
