"""Asks the platform what a subject may do, and refuses for the caller who forgets to look."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC
from typing import Any
from uuid import UUID

from google.protobuf.struct_pb2 import Struct

from argy.api.authz.v1.approval_pb2 import (
    ApprovalState,
    RedeemApprovalRequest,
    RequestApprovalRequest,
)
from argy.api.authz.v1.approval_pb2_grpc import ApprovalServiceStub
from argy.api.authz.v1.authz_pb2 import (
    EFFECT_ALLOW,
    ApprovalRequirement,
    BatchCheckRequest,
    CheckRequest,
    Decision,
    Effect,
    Question,
)
from argy.api.authz.v1.authz_pb2_grpc import AuthzServiceStub
from argy.base.errors import Aborted, PermissionDenied
from argy.base.facts import refuse_inexact
from argy.client.approvals import Need, RequestedApproval
from argy.client.connection import Connection


@dataclass(frozen=True, slots=True)
class Answer:
    """One decision and what it stood on."""

    allowed: bool
    effect: str
    """``ALLOW``, ``DENY`` or ``NEEDS_APPROVAL``."""
    reason: str
    rule: str
    """The deciding rule as ``file:line``; empty when none matched."""
    role_path: tuple[str, ...]
    policy_revision: str
    revision: str
    approvals: tuple[Need, ...] = ()
    """With ``NEEDS_APPROVAL``: what to ask for; each must be met."""


def permitted(answer: Answer, action: str, resource: str) -> Answer:
    """The answer itself, if it allows.

    Raises:
        PermissionDenied: ``ACCESS_DENIED`` unless the decision is ALLOW.
    """
    if not answer.allowed:
        raise PermissionDenied(
            f"Permission '{action}' denied on resource '{resource}' (or it might not exist)",
            reason="ACCESS_DENIED",
            metadata={"decision": answer.reason},
        )
    return answer


class Authorizer:
    """Decisions of the platform's authz service over one signed connection.

    Anything but an explicit ALLOW is a refusal; an error of the transport is raised, never read as
    an answer.
    """

    def __init__(self, connection: Connection, *, timeout_s: float = 2.0) -> None:
        self._connection = connection
        self._timeout_s = timeout_s

    def _stub(self, tenant_id: UUID, org_id: UUID | None) -> AuthzServiceStub:
        return AuthzServiceStub(self._connection.channel(tenant_id, org_id))

    async def check(
        self,
        subject: str,
        action: str,
        resource: str,
        *,
        tenant_id: UUID,
        org_id: UUID | None = None,
        context: Mapping[str, Any] | None = None,
        at_least: str = "",
    ) -> Answer:
        """Decide one question.

        Args:
            subject: ``user:<id>``, ``service:<name>``, ``agent:<id>`` or ``group:<id>``.
            action: the verb, such as ``deploy``.
            resource: ``<type>:<id>``, such as ``project:alpha``.
            tenant_id: the tenant that is asked about.
            org_id: the org, when the resource belongs to one.
            context: facts for conditions, at most 16 KiB encoded.
            at_least: revision token of a grant or revoke that the answer must have seen.

        Raises:
            ArgyError: when no decision could be had; treat it as a refusal.
        """
        request = CheckRequest(
            question=_question(subject, action, resource, context), at_least=at_least
        )
        response = await self._stub(tenant_id, org_id).Check(request, timeout=self._timeout_s)
        return _answer(response.decision, response.policy_revision, response.revision)

    async def require(
        self,
        subject: str,
        action: str,
        resource: str,
        *,
        tenant_id: UUID,
        org_id: UUID | None = None,
        context: Mapping[str, Any] | None = None,
        at_least: str = "",
    ) -> Answer:
        """Like ``check``, but a refusal is raised, so that it can't be forgotten.

        Raises:
            PermissionDenied: with reason ``ACCESS_DENIED`` unless the decision is ALLOW.
        """
        answer = await self.check(
            subject,
            action,
            resource,
            tenant_id=tenant_id,
            org_id=org_id,
            context=context,
            at_least=at_least,
        )
        return permitted(answer, action, resource)

    async def check_many(
        self,
        questions: Sequence[tuple[str, str, str]],
        *,
        tenant_id: UUID,
        org_id: UUID | None = None,
        at_least: str = "",
    ) -> list[Answer]:
        """Decide up to 1,000 (subject, action, resource) questions on one snapshot, in order."""
        request = BatchCheckRequest(
            questions=[_question(s, a, r, None) for s, a, r in questions], at_least=at_least
        )
        response = await self._stub(tenant_id, org_id).BatchCheck(request, timeout=self._timeout_s)
        if len(response.decisions) != len(questions):
            raise Aborted("the answer does not match the questions; ask again")
        return [
            _answer(decision, response.policy_revision, response.revision)
            for decision in response.decisions
        ]

    async def request_approval(
        self,
        subject: str,
        action: str,
        resource: str,
        *,
        reason: str,
        tenant_id: UUID,
        org_id: UUID | None = None,
        context: Mapping[str, Any] | None = None,
        digest: str = "",
        request_id: str = "",
    ) -> RequestedApproval:
        """Ask for approval of what a check answered with ``NEEDS_APPROVAL``.

        Args:
            subject: who would act; another one than the caller needs a permission of its own.
            action: the verb.
            resource: ``<type>:<id>``.
            reason: what the approvers read.
            tenant_id: the tenant.
            org_id: the org; the approval is good in this org only.
            context: facts for conditions, as in the check.
            digest: ``request_digest`` of the request that would be made; the approval is then good
                for this request only.
            request_id: a UUID; with it the call is retried, and asks once.

        Raises:
            PermissionDenied: when the policy denies it, with or without approvals.
            FailedPrecondition: ``APPROVAL_NOT_NEEDED``.
        """
        request = RequestApprovalRequest(
            question=_question(subject, action, resource, context),
            request_digest=digest,
            reason=reason,
            request_id=request_id,
        )
        stub = ApprovalServiceStub(self._connection.channel(tenant_id, org_id))
        response = await stub.RequestApproval(request, timeout=self._timeout_s)
        approval = response.approval
        return RequestedApproval(
            approval_id=approval.approval_id,
            state=ApprovalState.Name(approval.state).removeprefix("APPROVAL_STATE_"),
            needs=_needs(approval.requirements),
            expires_at=approval.expire_time.ToDatetime(UTC),
        )

    async def redeem(
        self,
        approval_id: str,
        subject: str,
        action: str,
        resource: str,
        *,
        tenant_id: UUID,
        org_id: UUID | None = None,
        context: Mapping[str, Any] | None = None,
        digest: str = "",
    ) -> Answer:
        """Use a granted approval, just before doing what it is for: once, and exactly that.

        Returns an answer that allows, or raises. After a lost connection the approval may be used
        up: it is not tried again.

        Raises:
            FailedPrecondition: ``APPROVAL_USED``, ``APPROVAL_MISMATCH``, ``APPROVAL_OUTDATED`` or
                another state than granted.
            PermissionDenied: when the policy denies it by now.
        """
        request = RedeemApprovalRequest(
            approval_id=approval_id,
            question=_question(subject, action, resource, context),
            request_digest=digest,
        )
        stub = ApprovalServiceStub(self._connection.channel(tenant_id, org_id))
        response = await stub.RedeemApproval(request, timeout=self._timeout_s)
        answer = _answer(response.decision, "", "")
        if not answer.allowed:
            raise PermissionDenied("the approval was not accepted", reason="ACCESS_DENIED")
        return answer


def _question(
    subject: str, action: str, resource: str, context: Mapping[str, Any] | None
) -> Question:
    question = Question(subject=subject, action=action, resource=resource)
    if context:
        refuse_inexact(context)
        facts = Struct()
        facts.update(dict(context))
        question.context.CopyFrom(facts)
    return question


def _answer(decision: Decision, policy_revision: str, revision: str) -> Answer:
    return Answer(
        allowed=decision.effect == EFFECT_ALLOW,
        effect=Effect.Name(decision.effect).removeprefix("EFFECT_"),
        reason=decision.reason,
        rule=f"{decision.rule.file}:{decision.rule.line}" if decision.HasField("rule") else "",
        role_path=tuple(decision.role_path),
        policy_revision=policy_revision,
        revision=revision,
        approvals=_needs(decision.approvals),
    )


def _needs(requirements: Iterable[ApprovalRequirement]) -> tuple[Need, ...]:
    return tuple(
        Need(
            approvals=line.approvals,
            roles=tuple(line.roles),
            rule=f"{line.rule.file}:{line.rule.line}",
            expires_in_s=line.expires_in_s,
        )
        for line in requirements
    )
