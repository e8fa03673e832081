"""Conditions that don't depend on the request, or that have no answer when a fact is missing."""

from collections.abc import Iterator

from argy.policy.conditions import ConditionError, Facts, compile_condition
from argy.policy.findings import Finding
from argy.policy.lint import ids
from argy.policy.lint.cel_tokens import constant_operands, is_constant, unguarded_facts
from argy.policy.lint.scope import Scope, found
from argy.policy.rules import ApprovalRule, Rule

_NOTHING_SENT = Facts("user:ada", "acme", "", "type:id", "act", {}, 0)


def check_conditions(scope: Scope) -> Iterator[Finding]:
    """Constant conditions of rules and approvals; unguarded facts in those of rules.

    A missing fact on a line of the approvals asks for the approval, which is what one wants.
    """
    rows: tuple[Rule | ApprovalRule, ...] = (*scope.source.rules, *scope.source.approvals)
    for row in rows:
        if row.condition:
            yield from _constant(row)
    for rule in scope.source.rules:
        if rule.condition and not is_constant(rule.condition):
            yield from _unguarded(rule)


def _constant(row: Rule | ApprovalRule) -> Iterator[Finding]:
    if is_constant(row.condition):
        answer = _answer(row.condition)
        fix = {
            "true": "write true for no condition",
            "false": "remove the row: it never applies",
        }.get(answer, "remove the row: it denies whatever it matches")
        message = f"the condition is always {answer}: {row.condition}"
        yield found(ids.CONSTANT, row, message, fix)
        return
    for operand in dict.fromkeys(constant_operands(row.condition)):
        message = f"a part of the condition is always {operand}: {row.condition}"
        yield found(ids.CONSTANT, row, message, f"remove {operand} and what it makes moot")


def _unguarded(rule: Rule) -> Iterator[Finding]:
    name = ids.UNGUARDED_ALLOW if rule.effect == "allow" else ids.UNGUARDED_DENY
    if facts := unguarded_facts(rule.condition):
        told = ", ".join(f"ctx.{fact}" for fact in facts)
        guard = "has" if rule.effect == "allow" else "!has"
        joined = "&&" if rule.effect == "allow" else "||"
        yield found(
            name,
            rule,
            f"no answer when {told} was not sent: {rule.condition}",
            f"write {guard}(ctx.{facts[0]}) {joined} …",
        )
    elif _answer(rule.condition) == "an error":
        yield found(name, rule, f"no answer when nothing was sent: {rule.condition}")


def _answer(condition: str) -> str:
    """What the condition says to a request that sends no facts."""
    compiled = compile_condition(condition)
    try:
        return "true" if compiled is None or compiled.holds(_NOTHING_SENT) else "false"
    except ConditionError:
        return "an error"
