"""Runs a model on pycasbin itself: for models that the index doesn't know, and as the oracle.

Correct and slow: each decision re-reads the matcher and walks every rule. pycasbin matches and
combines effects; around it stand the two additions of ``argy.policy.combining``: an error in a
condition denies, and the first matching rule explains (pycasbin alone names the last one).
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from threading import Lock
from typing import Any, Protocol

import casbin
from casbin.rbac import RoleManager
from simpleeval import InvalidExpression  # type: ignore[import-untyped]

from argy.policy.combining import DENY_SETTLES
from argy.policy.conditions import Condition, ConditionError, Facts, compile_condition
from argy.policy.errors import Problem
from argy.policy.globs import action_match, domain_match, domain_of, glob_match
from argy.policy.model import Effect, Model
from argy.policy.rules import (
    ALLOWED_BY_DEFAULT,
    ALLOWED_BY_RULE,
    CONDITION_ERROR,
    DENIED_BY_RULE,
    NO_MATCHING_RULE,
    Rule,
)
from argy.policy.view import Decider, Rules, Verdict, View

_EFFECTS = {
    Effect.DENY_OVERRIDES: "some(where (p_eft == allow)) && !some(where (p_eft == deny))",
    Effect.ALLOW_OVERRIDES: "some(where (p_eft == allow))",
    Effect.DENY_ONLY: "!some(where (p_eft == deny))",
    Effect.PRIORITY: "priority(p_eft) || deny",
}
"""Each effect as pycasbin spells it."""
_REFUSALS = (
    RuntimeError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    SyntaxError,
    InvalidExpression,
    re.error,
)
"""What pycasbin raises on a matcher that it can't evaluate."""


class Judge:
    """A model and its rules on pycasbin, with the functions that ``model.conf`` names.

    ``roles`` is a pycasbin role manager; without one, ``links`` (child, parent, domain) fill
    pycasbin's own.
    """

    def __init__(
        self,
        model: Model,
        rules: Iterable[Rule],
        *,
        roles: Any = None,
        links: Iterable[tuple[str, str, str]] = (),
    ) -> None:
        self._model = model
        self._rules = {rule.id: rule for rule in rules}
        self._conditions: dict[str, Condition | None] = {
            rule.id: compile_condition(rule.condition) for rule in self._rules.values()
        }
        self._conditional = any(self._conditions.values())
        self._links = [link[: model.link_columns] for link in links]
        self._roles = roles
        self._errors: list[Rule] = []
        self._lock = Lock()
        self._effect = model.effect if self._rules else Effect.DENY_OVERRIDES
        self._by_row = {tuple(self._row(rule)): rule for rule in self._rules.values()}
        effects = (self._effect, Effect.ALLOW_OVERRIDES, Effect.DENY_OVERRIDES)
        made = {combine: self._enforcer(combine) for combine in dict.fromkeys(effects)}
        self._decider, self._first_allow, self._first_deny = (made[effect] for effect in effects)
        self._every = (
            self._enforcer(Effect.DENY_ONLY, effect="allow") if self._conditional else None
        )

    def judge(self, facts: Facts) -> tuple[str, Rule | None]:
        """Reason and deciding rule for one request."""
        if not self._rules:
            return NO_MATCHING_RULE, None
        values = {
            "sub": facts.sub,
            "dom": domain_of(facts.tenant, facts.org),
            "obj": facts.obj,
            "act": facts.act,
            "ctx": facts,
        }
        request = [values[name] for name in self._model.request]
        with self._lock:
            try:
                error = self._first_error(request)
                allowed, rule = self._enforce(self._decider, request)
                if self._effect is not Effect.PRIORITY:
                    namer = self._first_allow if allowed else self._first_deny
                    rule = self._enforce(namer, request)[1]
            except _REFUSALS:
                return CONDITION_ERROR, None
        if allowed:
            reason = ALLOWED_BY_RULE if rule else ALLOWED_BY_DEFAULT
        else:
            reason = DENIED_BY_RULE if rule else NO_MATCHING_RULE
        settled = reason == DENIED_BY_RULE and self._effect in DENY_SETTLES
        if error is not None and not settled:
            return CONDITION_ERROR, error
        return reason, rule

    def read(self, request: list[Any]) -> None:
        """Evaluate the matcher once; what pycasbin raises is raised."""
        self._decider.enforce(*request)

    def _first_error(self, request: list[Any]) -> Rule | None:
        """The first rule that matches but for a condition without an answer."""
        if self._every is None:
            return None
        # No rule denies in this enforcer, so pycasbin visits each of them.
        del self._errors[:]
        self._every.enforce_ex(*request)
        return self._errors[0] if self._errors else None

    def _enforce(self, enforcer: Any, request: list[Any]) -> tuple[bool, Rule | None]:
        allowed, row = enforcer.enforce_ex(*request)
        return bool(allowed), self._by_row[tuple(row)] if row else None

    def _condition(self, rule_id: str, *rest: Any) -> bool:
        condition, facts = self._conditions[rule_id], rest[-1]
        try:
            return condition is None or condition.holds(facts)
        except ConditionError:
            self._errors.append(self._rules[rule_id])
            return False

    def _row(self, rule: Rule, effect: str = "") -> list[str]:
        """The rule's columns, with its id in place of its condition."""
        values = {
            "sub": rule.role,
            "dom": rule.dom,
            "obj": rule.obj,
            "act": rule.act,
            "eft": effect or rule.effect,
            "cond": rule.id,
        }
        return [values[name] for name in self._model.columns]

    def _enforcer(self, combine: Effect, effect: str = "") -> Any:
        model = casbin.Model()
        model.load_model_from_text(self._model.text)
        model["e"]["e"].value = _EFFECTS[combine]
        enforcer = casbin.Enforcer(model)
        register_functions(enforcer, self._condition)
        if self._roles is not None and self._model.link_columns:
            enforcer.set_role_manager(self._roles)
            enforcer.build_role_links()
        _fill(model, [self._row(rule, effect) for rule in self._rules.values()])
        if self._links and self._model.link_columns:
            enforcer.add_grouping_policies([list(link) for link in self._links])
        return enforcer


def _fill(model: Any, rows: Iterable[list[str]]) -> None:
    """Add rows as pycasbin's ``add_policies`` does, whose search for each among all is quadratic.

    No model of ours has a column by which pycasbin would sort, so rows keep their order.
    """
    section = model["p"]["p"]
    section.policy = [list(row) for row in dict.fromkeys(map(tuple, rows))]
    section.policy_map = {",".join(row): place for place, row in enumerate(section.policy)}


def register_functions(enforcer: Any, condition: Any) -> None:
    """Register what ``model.conf`` calls; ``condition`` takes its text and the request."""
    enforcer.add_function("domainMatch", domain_match)
    enforcer.add_function("objMatch", glob_match)
    enforcer.add_function("actMatch", action_match)
    enforcer.add_function("condition", condition)


def check_matcher(model: Model) -> Iterator[Problem]:
    """Yield what keeps pycasbin from reading the matcher of a model that does not compile.

    A matcher that reads well may still have no answer for some request; that denies.
    """
    probe = Rule("probe", "", 0, "", "role:PROBE", "*", "probe:*", "probe", "allow")
    values = {"sub": "user:probe", "dom": "probe", "obj": "probe:1", "act": "probe", "ctx": {}}
    judge = Judge(model, (probe,))
    try:
        judge.read([values[name] for name in model.request])
    except (SyntaxError, InvalidExpression) as error:
        told = " ".join(str(error).split())
        yield Problem("model.conf", 0, f"the matcher can't be read: {told}", "mend [matchers] m")
    except _REFUSALS:
        return


class WholeRules(Rules, Protocol):
    """A policy as pycasbin needs it."""

    @property
    def model(self) -> Model:
        """The model as written."""
        ...

    @property
    def rules(self) -> tuple[Rule, ...]:
        """Every rule in order."""
        ...


class InterpretedView(View):
    """A view whose every decision is pycasbin's."""

    __slots__ = ("_judge",)

    def __init__(
        self, policy: WholeRules, domain: str, paths: Mapping[str, tuple[str, ...]]
    ) -> None:
        super().__init__(policy, domain, paths)
        self._judge = Judge(policy.model, policy.rules, roles=_HeldRoles(frozenset(paths)))

    def find(self, kind: str, act: str) -> "Verdict | Decider":
        """Itself, behind approvals: nothing is known before the object is."""
        return self.behind_gates(self, kind, act)

    def settled(self, obj: str) -> Verdict | None:
        """Nothing: pycasbin looks at the whole request."""
        return None

    def decide(self, facts: Facts) -> Verdict:
        """Pycasbin's decision on the request in ``facts``."""
        return self.named(*self._judge.judge(facts))


class _HeldRoles(RoleManager):  # type: ignore[misc]
    """A role manager that knows what one subject holds; unknown names cost it no memory."""

    def __init__(self, held: frozenset[str]) -> None:
        self._held = held

    def clear(self) -> None:
        """Hold on to what is held."""

    def add_link(self, name1: str, name2: str, *domain: str) -> None:
        """Links are followed before a view is made."""

    def has_link(self, name1: str, name2: str, *domain: str) -> bool:
        """Whether the subject is, or holds, ``name2``."""
        return name1 == name2 or name2 in self._held

    def print_roles(self) -> None:
        """Say nothing."""
