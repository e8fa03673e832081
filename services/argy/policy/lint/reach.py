"""Rules and links without effect, decided exactly: another rule covers them, or takes all away."""

from collections.abc import Iterator

from argy.policy.findings import Finding
from argy.policy.lint import ids
from argy.policy.lint.scope import Scope, at, covers_target, found
from argy.policy.rules import Rule


def check_reach(scope: Scope) -> Iterator[Finding]:
    """Rules that a wider rule repeats, allows that a denial takes away, denials of nothing."""
    for rule in scope.source.rules:
        names = scope.inherited(rule.role, rule.dom)
        wider, denial = None, None
        for other in scope.covering(names, rule):
            if other is rule:
                continue
            if other.effect == rule.effect and other.condition in ("", rule.condition):
                if _replaces(other, rule) and (wider is None or other.role == rule.role):
                    wider = other
            elif other.effect == "deny" and not other.condition:
                denial = other
        if denial is not None:
            message = f"{at(denial)} denies all that this rule allows: {denial.text}"
            yield found(ids.SHADOWED_ALLOW, rule, message)
        elif wider is not None:
            via = "" if wider.role == rule.role else f", inherited from {wider.role}"
            message = f"{at(wider)} says the same already{via}: {wider.text}"
            yield found(ids.UNREACHABLE_RULE, rule, message)
        elif rule.effect == "deny" and not scope.allowed_somewhere(rule):
            yield found(ids.IDLE_DENY, rule, "nothing that this denies is allowed to anybody")


def _replaces(other: Rule, rule: Rule) -> bool:
    """Of two rules of one role that match the same, the later is the one too many."""
    mutual = (
        other.role == rule.role and other.condition == rule.condition and covers_target(rule, other)
    )
    return not mutual or (other.file, other.line) < (rule.file, rule.line)


def check_links(scope: Scope) -> Iterator[Finding]:
    """Links whose parent the child has anyway, wherever the link holds."""
    for link in scope.source.links:
        if link.parent in scope.inherited(link.child, link.dom, without=link):
            message = f"{link.child} has {link.parent} in {link.dom} by other links"
            yield found(ids.REDUNDANT_LINK, link, message)
