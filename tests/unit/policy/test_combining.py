"""One rule for how rules combine: against pycasbin's effector, the normal form, and by hand."""

import itertools
from collections.abc import Iterator

import pytest
from casbin.effect import get_effector
from casbin.effect.default_effectors import Effector
from hypothesis import given
from hypothesis import strategies as st

from argy.policy.access import access, allows
from argy.policy.combining import by_precedence, combine
from argy.policy.interpreted import _EFFECTS
from argy.policy.model import Effect
from argy.policy.rules import (
    ALLOWED_BY_DEFAULT,
    ALLOWED_BY_RULE,
    CONDITION_ERROR,
    DENIED_BY_RULE,
    Rule,
    RuleEffect,
)

Judged = list[tuple[Rule, bool | None]]
CONDITIONS = ("", "ctx.a", "ctx.b", "ctx.c")
VALUATIONS: list[dict[str, bool | None]] = [
    dict(zip(CONDITIONS, (True, *values), strict=True))
    for values in itertools.product((True, False, None), repeat=3)
]
RULES = st.lists(
    st.tuples(st.sampled_from(("allow", "deny")), st.sampled_from(CONDITIONS)), max_size=5
)
EFFECTS = st.sampled_from(Effect)


def rule(number: int, effect: RuleEffect, condition: str) -> Rule:
    return Rule(
        str(number), "roles/a.csv", number, "", "role:A", "*", "doc:*", "read", effect, condition
    )


def judged(rules: list[tuple[RuleEffect, str]], valuation: dict[str, bool | None]) -> Judged:
    return [
        (rule(number, effect, condition), valuation[condition])
        for number, (effect, condition) in enumerate(rules)
    ]


def allowed(reason: str) -> bool:
    return reason in (ALLOWED_BY_RULE, ALLOWED_BY_DEFAULT)


@given(effect=EFFECTS, rules=RULES)
def test_as_pycasbins_effector_decides(effect: Effect, rules: list[tuple[RuleEffect, str]]) -> None:
    effector = get_effector(_EFFECTS[effect])
    for valuation in VALUATIONS:
        if None in valuation.values():
            continue
        answers = {"allow": Effector.ALLOW, "deny": Effector.DENY}
        met: set[int] = set()  # as the enforcer meets them: until one settles it
        for r, holds in judged(rules, valuation):
            met.add(answers[r.effect] if holds else Effector.INDETERMINATE)
            if effector.intermediate_effect(met) != Effector.INDETERMINATE:
                break
        reason, _ = combine(effect, judged(rules, valuation))
        assert allowed(reason) == (effector.final_effect(met) == Effector.ALLOW)


@given(effect=EFFECTS, rules=RULES)
def test_the_normal_form_decides_alike(effect: Effect, rules: list[tuple[RuleEffect, str]]) -> None:
    """``access`` never sees a truth; what it allows under each valuation is what combine allows."""
    settles = effect in (Effect.DENY_OVERRIDES, Effect.DENY_ONLY)
    for valuation in VALUATIONS:
        reason, _ = combine(effect, judged(rules, valuation))
        assert allows(access(rules, effect), valuation) == allowed(reason)
        if settles and reason == CONDITION_ERROR:
            assert not any(r.effect == "deny" and h for r, h in judged(rules, valuation))


@given(effect=EFFECTS, rules=RULES)
def test_the_first_by_precedence_that_holds_decides(
    effect: Effect, rules: list[tuple[RuleEffect, str]]
) -> None:
    for valuation in VALUATIONS:
        if None in valuation.values():
            continue
        ordered = by_precedence(effect, rules, "")
        first = next((what for what, condition in ordered if valuation[condition]), "deny")
        assert (first == "allow") == allowed(combine(effect, judged(rules, valuation))[0])


@given(effect=EFFECTS, rules=RULES)
def test_the_rule_that_decides_is_the_first_of_its_kind(
    effect: Effect, rules: list[tuple[RuleEffect, str]]
) -> None:
    for valuation in VALUATIONS:
        given_rules = judged(rules, valuation)
        reason, found = combine(effect, given_rules)
        kinds = {
            ALLOWED_BY_RULE: [r for r, holds in given_rules if holds and r.effect == "allow"],
            DENIED_BY_RULE: [r for r, holds in given_rules if holds and r.effect == "deny"],
            CONDITION_ERROR: [r for r, holds in given_rules if holds is None],
        }
        assert found == (kinds[reason][0] if reason in kinds else None)
        if kinds[CONDITION_ERROR]:
            assert not allowed(reason)


@pytest.mark.parametrize("effect", [Effect.DENY_OVERRIDES, Effect.DENY_ONLY])
def test_behind_a_denial_that_settles_nothing_is_looked_at(effect: Effect) -> None:
    def lazily() -> Iterator[tuple[Rule, bool | None]]:
        yield rule(1, "allow", ""), None
        yield rule(2, "deny", ""), True
        raise AssertionError("the next condition was evaluated")

    assert combine(effect, lazily()) == (DENIED_BY_RULE, rule(2, "deny", ""))
