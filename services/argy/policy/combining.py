"""How the rules that match one question combine, under each of Casbin's effects.

An error in the condition of a rule that matches otherwise denies, whatever the rule's effect: an
allow must not be given on facts that could not be read, and a deny must not be missed. Only a
deny that matches without error, where the model lets denies override, speaks first.
"""

from collections.abc import Iterable
from typing import Final, TypeVar

from argy.policy.model import Effect
from argy.policy.rules import (
    ALLOWED_BY_DEFAULT,
    ALLOWED_BY_RULE,
    CONDITION_ERROR,
    DENIED_BY_RULE,
    NO_MATCHING_RULE,
    Rule,
    RuleEffect,
)

DENY_SETTLES: Final = frozenset((Effect.DENY_OVERRIDES, Effect.DENY_ONLY))
"""Effects under which nothing outweighs a denial, not even a condition without an answer."""

_Item = TypeVar("_Item")


def combine(effect: Effect, judged: Iterable[tuple[Rule, bool | None]]) -> tuple[str, Rule | None]:
    """The reason and the deciding rule of rules with their truths, in the policy's order.

    A truth of ``None`` is a condition without an answer. Of a lazy iterable no more is taken than
    what can matter.
    """
    allow = deny = error = None
    deny_leads = False
    deny_settles = effect in DENY_SETTLES
    for rule, holds in judged:
        if holds is None:
            error = error or rule
        elif not holds:
            continue
        elif rule.effect == "allow":
            allow = allow or rule
        elif deny_settles:
            return DENIED_BY_RULE, rule
        elif deny is None:
            deny, deny_leads = rule, allow is None
    if error is not None:
        return CONDITION_ERROR, error
    if allow is not None and not (deny_leads and effect is Effect.PRIORITY):
        return ALLOWED_BY_RULE, allow
    if deny is not None:
        return DENIED_BY_RULE, deny
    return (ALLOWED_BY_DEFAULT if effect is Effect.DENY_ONLY else NO_MATCHING_RULE), None


def by_precedence(
    effect: Effect, rules: Iterable[tuple[RuleEffect, _Item]], always: _Item
) -> list[tuple[RuleEffect, _Item]]:
    """``combine`` without truths: rules in the order in which the first that holds decides.

    ``always`` stands for the default under the effect that allows what nothing denies.
    """
    rules = list(rules)
    if effect is Effect.PRIORITY:
        return rules
    allows = [item for item in rules if item[0] == "allow"]
    denies = [item for item in rules if item[0] == "deny"]
    if effect is Effect.ALLOW_OVERRIDES:
        return [*allows, *denies]
    default: list[tuple[RuleEffect, _Item]] = [("allow", always)]
    return [*denies, *(default if effect is Effect.DENY_ONLY else ()), *allows]
