"""Answers in protobuf's wire form, put together from parts that are encoded once.

``CheckResponse`` and ``BatchCheckResponse`` share their numbers: decisions are field 1, the policy
revision is field 2, the revision token field 3. So an answer is the encoded decisions one after the
other, followed by a trailer that belongs to the tenant's view.
"""

from typing import Final

from argy.api.authz.v1.authz_pb2 import (
    EFFECT_ALLOW,
    EFFECT_DENY,
    ApprovalRequirement,
    CheckResponse,
    Effect,
    RuleRef,
)
from argy.api.authz.v1.authz_pb2 import Decision as DecisionMessage
from argy.policy import ApprovalRule, Decision, Rule

_MAX_DECISIONS: Final = 65_536


def effect_of(*, allowed: bool) -> Effect.ValueType:
    """The effect of a decision; nothing but an explicit yes is ALLOW."""
    return EFFECT_ALLOW if allowed else EFFECT_DENY


def approval_requirement(rule: ApprovalRule) -> ApprovalRequirement:
    """What one line of the approvals asks for."""
    return ApprovalRequirement(
        rule=rule_ref(rule),
        approvals=rule.approvals,
        roles=rule.roles,
        expires_in_s=rule.expires_s,
    )


def rule_ref(rule: Rule | ApprovalRule) -> RuleRef:
    """Where a rule stands."""
    return RuleRef(id=rule.id, file=rule.file, line=rule.line, text=rule.text)


def decision_message(decision: Decision) -> DecisionMessage:
    """The decision as a message."""
    return DecisionMessage(
        effect=Effect.Value(f"EFFECT_{decision.effect}"),
        reason=decision.reason,
        rule=None if decision.rule is None else rule_ref(decision.rule),
        role_path=decision.role_path,
        approvals=[approval_requirement(rule) for rule in decision.approvals],
    )


def trailer(policy_revision: str, revision: str) -> bytes:
    """The end of an answer: what its decisions stood on."""
    return CheckResponse(policy_revision=policy_revision, revision=revision).SerializeToString()


class DecisionEncoder:
    """Encodes decisions, remembering those seen lately by identity: the engine interns them.

    Each entry holds its decision, so an identity can't come to mean another one. ``bare`` leaves
    out all but effect and reason: rule, role path and approvers tell of others' roles.
    """

    __slots__ = ("_bare", "_encoded")

    def __init__(self, *, bare: bool = False) -> None:
        self._bare = bare
        self._encoded: dict[int, tuple[Decision, bytes]] = {}

    def field(self, decision: Decision) -> bytes:
        """Field 1 of an answer: tag, length, decision."""
        known = self._encoded.get(id(decision))
        if known is not None:
            return known[1]
        # An answer with nothing but its decision is that field.
        message = decision_message(decision)
        if self._bare:
            message = DecisionMessage(effect=message.effect, reason=message.reason)
        encoded = CheckResponse(decision=message).SerializeToString()
        if len(self._encoded) >= _MAX_DECISIONS:
            self._encoded = {}
        self._encoded[id(decision)] = (decision, encoded)
        return encoded
