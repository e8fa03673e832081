"""The ids of the linter's rules. They are stable: they stand in comments that silence.

P0 can't be read, P1 names, P2 rules without effect, P3 danger, P4 conditions, P5 approvals,
P6 tenants, P7 the model, P8 silences.
"""

from typing import Final

REFUSED: Final = "P001-refused"
UNREADABLE: Final = "P002-unreadable-yaml"
UNKNOWN_ROLE: Final = "P101-unknown-role"
UNTRIED_ROLE: Final = "P102-untried-role"
EMPTY_ROLE: Final = "P103-empty-role"
UNKNOWN_ACTION: Final = "P104-unknown-action"
UNKNOWN_TYPE: Final = "P105-unknown-type"
DUPLICATE_RULE: Final = "P201-duplicate-rule"
UNREACHABLE_RULE: Final = "P202-unreachable-rule"
SHADOWED_ALLOW: Final = "P203-shadowed-allow"
IDLE_DENY: Final = "P204-idle-deny"
REDUNDANT_LINK: Final = "P205-redundant-link"
WILD_ACTION: Final = "P301-wildcard-action"
WILD_OBJECT: Final = "P302-wildcard-object"
ESCALATION: Final = "P303-escalation"
OWN_APPROVAL: Final = "P304-own-approval"
NAMED_ONLY: Final = "P305-named-only"
CONSTANT: Final = "P401-constant-condition"
UNGUARDED_ALLOW: Final = "P402-unguarded-fact"
UNGUARDED_DENY: Final = "P403-unguarded-deny"
OVERLAPPING_APPROVALS: Final = "P501-overlapping-approvals"
IDLE_APPROVAL: Final = "P502-idle-approval"
MISPLACED_TENANT: Final = "P601-misplaced-tenant"
FOREIGN_ROLE: Final = "P602-foreign-role"
INTERPRETED: Final = "P701-interpreted-model"
ALLOW_OVERRIDES: Final = "P702-allow-overrides"
ALLOWED_BY_DEFAULT: Final = "P703-allowed-by-default"
PRIORITY: Final = "P704-priority-effect"
PATTERN_FUNCTION: Final = "P705-pattern-function"
UNASKABLE: Final = "P706-unaskable"
BAD_SILENCE: Final = "P801-bad-silence"
UNUSED_SILENCE: Final = "P802-unused-silence"

UNSILENCED: Final = frozenset((REFUSED, UNREADABLE, DUPLICATE_RULE, BAD_SILENCE, UNUSED_SILENCE))
"""What no comment can silence."""
