"""Lines that say what needs approval, and how they gate what the rules allow.

    a, dom, obj, act, approvals, roles, mode, expires, cond
    a, *, deployment:prod-*, promote, 2, role:COMPLIANCE_APPROVER, require, 24h, true

Approvals stand outside of Casbin's model: they never allow anything. What the rules deny stays
denied; what they allow needs approval when a ``require`` line matches, and each line that matches
must be met. A condition without an answer counts as true on a ``require`` line: nobody gets around
an approval by leaving out a fact. On an ``auto`` line it counts as false.
"""

import hashlib
from collections.abc import Collection, Iterable
from typing import Final, NamedTuple, cast

from argy.policy.approval_columns import expires_s
from argy.policy.conditions import Condition, Facts
from argy.policy.errors import Problem
from argy.policy.globs import Glob
from argy.policy.rows import Row
from argy.policy.rules import (
    AUTO_APPROVED,
    NEEDS_APPROVAL,
    ApprovalMode,
    ApprovalRule,
)
from argy.policy.texts import meant

MAX_LINES: Final = 10_000


def approval_rules(
    rows: Iterable[Row], defined: Collection[str], problems: list[Problem]
) -> tuple[ApprovalRule, ...]:
    """Turn sound ``a`` rows into lines, in their order; ``defined`` are the policy's roles."""
    seen: dict[tuple[str, ...], Row] = {}
    found: list[ApprovalRule] = []
    for row in rows:
        if row.kind != "a":
            continue
        rule = _rule(row)
        key = (rule.dom, rule.obj, rule.act, *rule.roles, rule.mode, rule.condition)
        first = seen.setdefault(key, row)
        if first is not row:
            where = f"{first.file}:{first.line}"
            problems.append(
                Problem(row.file, row.line, f"asks the same as {where}", "keep the one you mean")
            )
        problems.extend(
            Problem(
                row.file,
                row.line,
                f"unknown role {role}",
                meant(role, defined, "name a role that has a rule"),
            )
            for role in rule.roles
            if role not in defined
        )
        found.append(rule)
    if len(found) > MAX_LINES:
        problems.append(Problem("", 0, f"more than {MAX_LINES} approvals", "use globs"))
    return tuple(found)


def _rule(row: Row) -> ApprovalRule:
    fields = row.fields
    condition = "" if fields["cond"] == "true" else fields["cond"]
    roles = tuple(fields["roles"].split("|"))
    seconds = expires_s(fields["expires"])
    key = ("a", *(fields[name] for name in ("dom", "obj", "act", "approvals")), *sorted(roles),
           fields["mode"], str(seconds), condition)  # fmt: skip
    return ApprovalRule(
        id=hashlib.sha256("\x1f".join(key).encode()).hexdigest()[:16],
        file=row.file,
        line=row.line,
        text=row.text,
        dom=fields["dom"],
        obj=fields["obj"],
        act=fields["act"],
        approvals=int(fields["approvals"]),
        roles=roles,
        mode=cast(ApprovalMode, fields["mode"]),
        expires_s=seconds,
        condition=condition,
    )


class Gate(NamedTuple):
    """A line in force whose domain, type and action match; what is left of it to match."""

    rule: ApprovalRule
    glob: Glob | None
    condition: Condition | None


def conclude_gates(gates: Iterable[Gate], facts: Facts) -> tuple[str, tuple[ApprovalRule, ...]]:
    """The reason that the lines give to what the rules allow, and the lines that ask.

    The reason is empty when no line speaks about the object.
    """
    asking: list[ApprovalRule] = []
    automatic = False
    for rule, glob, condition in gates:
        if glob is not None and not glob.matches(facts.obj):
            continue
        required = rule.mode == "require"
        holds = True if condition is None else condition.truth(facts)
        if not (required if holds is None else holds):
            continue
        if required:
            asking.append(rule)
        else:
            automatic = True
    if asking:
        return NEEDS_APPROVAL, tuple(asking)
    return (AUTO_APPROVED if automatic else ""), ()
