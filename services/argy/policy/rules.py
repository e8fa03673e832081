"""The values of the engine: rules and links as written, grants as data, decisions as answers."""

from dataclasses import dataclass, field
from typing import Final, Literal

from argy.policy.model import Model

ALLOWED_BY_RULE = "ALLOWED_BY_RULE"
DENIED_BY_RULE = "DENIED_BY_RULE"
NO_MATCHING_RULE = "NO_MATCHING_RULE"
CONDITION_ERROR = "CONDITION_ERROR"
SUBJECT_DISABLED = "SUBJECT_DISABLED"
SCOPE_INSUFFICIENT = "SCOPE_INSUFFICIENT"
"""The credential that the subject came with is limited to other permissions; no snapshot says so by
itself."""
NEEDS_APPROVAL = "NEEDS_APPROVAL"
"""A rule allows it, and lines of the policy's approvals ask for approvers first."""
AUTO_APPROVED = "AUTO_APPROVED"
"""A rule allows it, and the approval that is asked for is given by itself."""
APPROVED = "APPROVED"
"""Allowed because a granted approval was redeemed; no snapshot says so by itself."""
ALLOWED_BY_DEFAULT = "ALLOWED_BY_DEFAULT"
"""Only under the effect ``!some(where (p.eft == deny))``, which allows what no rule denies."""

RuleEffect = Literal["allow", "deny"]
ApprovalMode = Literal["require", "auto", "off"]


@dataclass(frozen=True, slots=True)
class Rule:
    """A ``p`` row. ``file`` is relative to the policy's root; ``line`` counts from 1."""

    id: str
    file: str
    line: int
    text: str
    role: str
    dom: str
    obj: str
    act: str
    effect: RuleEffect
    condition: str = ""


@dataclass(frozen=True, slots=True)
class Link:
    """A ``g`` row: ``child`` has everything that ``parent`` has, in ``dom``."""

    file: str
    line: int
    child: str
    parent: str
    dom: str


@dataclass(frozen=True, slots=True)
class ApprovalRule:
    """An ``a`` row: what is allowed in ``dom`` and matches still needs approvers.

    ``require`` asks for them, ``auto`` is satisfied by itself and says so, ``off`` has no effect.
    """

    id: str
    file: str
    line: int
    text: str
    dom: str
    obj: str
    act: str
    approvals: int
    """How many different people must agree, 1 to 10."""
    roles: tuple[str, ...]
    """An approver holds at least one of them."""
    mode: ApprovalMode
    expires_s: int
    """Seconds for which a request, and then the granted approval, is good."""
    condition: str = ""


@dataclass(frozen=True, slots=True)
class PolicySource:
    """A loaded policy: checked, in (file, line) order, and identified by its content."""

    model: Model
    rules: tuple[Rule, ...]
    links: tuple[Link, ...]
    revision: str
    """SHA-256 over the names and bytes of every file, 64 hexadecimal digits."""
    warnings: tuple[str, ...] = ()
    approvals: tuple[ApprovalRule, ...] = ()


@dataclass(frozen=True, slots=True)
class Assignment:
    """A subject holds a role: in the whole tenant, or in one org of it."""

    subject: str
    role: str
    org: str = ""
    expires_at_ms: int | None = None
    """From this millisecond on the role is no longer held; ``None`` means no end."""
    id: str = ""


@dataclass(frozen=True, slots=True)
class Membership:
    """``member`` has the roles that are assigned to ``group``."""

    group: str
    member: str


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer. Interned: the same answer for the same reasons is the same object."""

    allowed: bool
    reason: str
    rule: Rule | None = None
    role_path: tuple[str, ...] = ()
    """From the subject, through a group and roles, to the rule's role."""
    approvals: tuple[ApprovalRule, ...] = ()
    """With ``NEEDS_APPROVAL``: every line that asks; each must be met."""

    @property
    def effect(self) -> Literal["ALLOW", "DENY", "NEEDS_APPROVAL"]:
        """The outcome by its name in the API."""
        if self.allowed:
            return "ALLOW"
        return "NEEDS_APPROVAL" if self.reason == NEEDS_APPROVAL else "DENY"


BEYOND_SCOPES: Final = Decision(False, SCOPE_INSUFFICIENT)
"""What somebody may not do with the credential that they came with, whatever the policy says."""


@dataclass(frozen=True, slots=True)
class RuleMatch:
    """A rule that took part in a decision, or nearly did."""

    rule: Rule
    effect: RuleEffect
    matched: bool
    detail: str
    role_path: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ApprovalMatch:
    """A line of the approvals that speaks about a question, in force or not."""

    rule: ApprovalRule
    matched: bool
    detail: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """A decision with every rule that matched, the nearest misses, and the roles held."""

    decision: Decision
    matches: tuple[RuleMatch, ...] = field(default=())
    roles: tuple[str, ...] = field(default=())
    approvals: tuple[ApprovalMatch, ...] = field(default=())
    """The approvals' lines about what was asked, when a rule allows it."""


@dataclass(frozen=True, slots=True)
class PermissionEntry:
    """One rule that applies to a subject."""

    obj: str
    act: str
    effect: RuleEffect
    condition: str
    rule: Rule
    role_path: tuple[str, ...]
