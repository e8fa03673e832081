"""The decision engine: policy as code in, decisions with their reasons out."""

from argy.policy.compiled import CompiledPolicy, compile_policy
from argy.policy.errors import PolicyError, Problem
from argy.policy.loader import load_policy, parse_policy
from argy.policy.rules import (
    ALLOWED_BY_DEFAULT,
    ALLOWED_BY_RULE,
    APPROVED,
    AUTO_APPROVED,
    CONDITION_ERROR,
    DENIED_BY_RULE,
    NEEDS_APPROVAL,
    NO_MATCHING_RULE,
    SUBJECT_DISABLED,
    ApprovalMatch,
    ApprovalRule,
    Assignment,
    Decision,
    Explanation,
    Link,
    Membership,
    PermissionEntry,
    PolicySource,
    Rule,
    RuleMatch,
)
from argy.policy.snapshot import TenantSnapshot

__all__ = [
    "ALLOWED_BY_DEFAULT",
    "ALLOWED_BY_RULE",
    "APPROVED",
    "AUTO_APPROVED",
    "CONDITION_ERROR",
    "DENIED_BY_RULE",
    "NEEDS_APPROVAL",
    "NO_MATCHING_RULE",
    "SUBJECT_DISABLED",
    "ApprovalMatch",
    "ApprovalRule",
    "Assignment",
    "CompiledPolicy",
    "Decision",
    "Explanation",
    "Link",
    "Membership",
    "PermissionEntry",
    "PolicyError",
    "PolicySource",
    "Problem",
    "Rule",
    "RuleMatch",
    "TenantSnapshot",
    "compile_policy",
    "load_policy",
    "parse_policy",
]
