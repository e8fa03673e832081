"""Why a subject may not do something, and the smallest thing that would let it.

A rule allows by itself, and a role that is added never makes an allow of another one weaker than
it was with both; so if any set of grants allows, one grant of it does. Each role is tried on the
engine itself, and of those that allow, the one that lets the subject do the fewest other things
stands first. For a model that runs on pycasbin that isn't known, so pairs are tried too.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import combinations, starmap
from typing import Final, Literal

from argy.policy.access import Access, access, normal_text
from argy.policy.atoms import Atom, action_atoms, object_atoms
from argy.policy.combining import combine
from argy.policy.compiled import CompiledPolicy
from argy.policy.conditions import Facts
from argy.policy.explain import explain
from argy.policy.rules import SUBJECT_DISABLED, Decision, Explanation, Rule
from argy.policy.snapshot import TenantSnapshot
from argy.policy.view import Verdict, View

MAX_GRANTS: Final = 10
"""Grants that are suggested."""
_MAX_CLASSES: Final = 50_000
"""Classes of objects, and of actions, by which grants are weighed."""
_MAX_PAIRED: Final = 64
"""Roles that are tried in pairs."""

Verdicts = Literal["allowed", "approval", "grant", "condition", "denied", "disabled", "impossible"]


@dataclass(frozen=True, slots=True)
class Grant:
    """Roles to assign, and what would follow."""

    roles: tuple[str, ...]
    org: str
    """Where; empty for the tenant as a whole."""
    effect: str
    """ALLOW, or NEEDS_APPROVAL."""
    rule: Rule | None
    """The rule that would allow."""
    adds: int = 0
    """Classes of questions that it also allows: the smaller, the less powerful."""
    condition: str = ""
    """What the request must show as well."""


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition of a rule that the subject is under already, and what it would have to be."""

    rule: Rule
    text: str
    must_be: bool
    now: str
    """``true``, ``false``, or why it has no answer."""


@dataclass(frozen=True, slots=True)
class WhyNot:
    """The answer, what would change it, and the nearest misses."""

    decision: Decision
    verdict: Verdicts
    grants: tuple[Grant, ...]
    conditions: tuple[Condition, ...]
    denied_by: tuple[Rule, ...]
    """Rules that deny whatever is granted."""
    explanation: Explanation


def why_not(
    snapshot: TenantSnapshot,
    subject: str,
    org: str,
    obj: str,
    act: str,
    ctx: Mapping[str, object] | None,
    now_ms: int,
) -> WhyNot:
    """Find the smallest change of grants or facts that lets ``subject`` do ``act`` to ``obj``."""
    explanation = explain(snapshot, subject, org, obj, act, ctx, now_ms)
    decision = explanation.decision
    facts = Facts(subject, snapshot.tenant, org, obj, act, ctx, now_ms)
    if decision.effect != "DENY":
        verdict: Verdicts = "allowed" if decision.allowed else "approval"
        return WhyNot(decision, verdict, (), (), (), explanation)
    if decision.reason == SUBJECT_DISABLED:
        return WhyNot(decision, "disabled", (), (), (), explanation)
    question = _Question(snapshot, facts, now_ms)
    grants = question.grants()
    conditions = tuple(question.conditions())
    denied_by = () if grants or conditions else question.denials()
    verdict = "impossible"
    if grants and not grants[0].condition:
        verdict = "grant"
    elif conditions:
        verdict = "condition"
    elif grants:
        verdict = "grant"
    elif denied_by:
        verdict = "denied"
    else:
        denied_by = question.denials_of_others()
    return WhyNot(decision, verdict, grants, conditions, denied_by, explanation)


@dataclass(frozen=True, slots=True)
class _Judged:
    """A rule that matches but for its condition; ``holds`` is None without an answer."""

    rule: Rule
    holds: bool | None
    told: str


class _Question:
    """One question, asked again with other roles and other facts."""

    def __init__(self, snapshot: TenantSnapshot, facts: Facts, now_ms: int) -> None:
        self._policy: CompiledPolicy = snapshot.policy
        self._facts = facts
        self._domain = self._policy.scope(snapshot.tenant, facts.org)
        view = snapshot.holding(facts.sub, facts.org, now_ms).view
        self._names = frozenset(name for name, path in view.paths.items() if len(path) == 1)
        self._held = frozenset(view.paths)

    def grants(self) -> tuple[Grant, ...]:
        """Single grants that allow, the least powerful first; those that need a fact come last."""
        roles = sorted(self._policy.roles - self._held)
        found = [grant for role in roles if (grant := self._try((role,))) is not None]
        if not found and not self._policy.compiled:
            pairs = combinations(roles[:_MAX_PAIRED], 2)
            found = [grant for pair in pairs if (grant := self._try(pair)) is not None]
        if not found:
            found = [grant for role in roles for grant in self._with_a_fact(role)]
        weighed = sorted(
            self._weighed(found), key=lambda item: (item.effect != "ALLOW", item.adds, item.roles)
        )
        return tuple(weighed[:MAX_GRANTS])

    def _view(self, roles: Iterable[str]) -> View:
        return self._policy.view(self._domain, self._names | frozenset(roles))

    def _try(self, roles: tuple[str, ...]) -> Grant | None:
        kind = self._facts.obj.partition(":")[0]
        verdict = self._view(roles).find(kind, self._facts.act)
        if not isinstance(verdict, Verdict):
            verdict = verdict.decide(self._facts)
        decision = Decision(verdict.allowed, verdict.reason, verdict.rule)
        if decision.effect == "DENY":
            return None
        return Grant(roles, self._facts.org, decision.effect, verdict.rule)

    def _with_a_fact(self, role: str) -> Iterator[Grant]:
        """Grants that allow once one condition holds."""
        judged = self._judged((role,))
        for at, item in enumerate(judged):
            if item.rule.effect == "allow" and item.holds is not True:
                changed = [*judged[:at], _Judged(item.rule, True, ""), *judged[at + 1 :]]
                if self._allows(changed):
                    yield Grant((role,), self._facts.org, "ALLOW", item.rule,
                                condition=item.rule.condition)  # fmt: skip

    def conditions(self) -> Iterator[Condition]:
        """Conditions of the subject's own rules of which a single one decides."""
        judged = self._judged(())
        for at, item in enumerate(judged):
            if not item.rule.condition:
                continue
            for must_be in (True, False):
                changed = [*judged[:at], _Judged(item.rule, must_be, ""), *judged[at + 1 :]]
                if item.holds is not must_be and self._allows(changed):
                    yield Condition(item.rule, item.rule.condition, must_be, item.told)

    def denials(self) -> tuple[Rule, ...]:
        """Rules that deny here now."""
        return _denials(self._judged(()))

    def denials_of_others(self) -> tuple[Rule, ...]:
        """Rules that deny whoever holds a role that would allow otherwise."""
        found: dict[str, Rule] = {}
        for role in sorted(self._policy.roles - self._held):
            judged = self._judged((role,))
            if any(item.rule.effect == "allow" for item in judged):
                found |= {rule.id: rule for rule in _denials(judged)}
        return tuple(found.values())

    def _judged(self, roles: Iterable[str]) -> list[_Judged]:
        """The rules that match but for their condition, in order; none on pycasbin."""
        if not self._policy.compiled:
            return []
        return list(starmap(_Judged, self._policy.judged(self._view(roles).paths, self._facts)))

    def _allows(self, judged: Iterable[_Judged]) -> bool:
        reason, _ = combine(self._policy.effect, ((item.rule, item.holds) for item in judged))
        return reason.startswith("ALLOWED")

    def _weighed(self, found: Iterable[Grant]) -> Iterator[Grant]:
        """The grants with how many classes of questions each may allow that are refused now.

        The classes are common to all of them, so that a wildcard counts as what it covers.
        """
        grants = list(found)
        now = self._applicable(())
        then = [self._applicable(grant.roles) for grant in grants]
        lines = [*now, *(rule for side in then for rule in side)]
        objects = object_atoms({rule.obj for rule in lines}, limit=_MAX_CLASSES)
        actions = action_atoms({rule.act for rule in lines}, limit=_MAX_CLASSES)
        for grant, side in zip(grants, then, strict=True):
            yield replace(grant, adds=self._adds((now, side), objects, actions))

    def _applicable(self, roles: Iterable[str]) -> list[Rule]:
        view = self._view(roles)
        return self._policy.applicable(view.paths, view.domain)

    def _adds(
        self, sides: tuple[list[Rule], list[Rule]], objects: list[Atom], actions: list[Atom]
    ) -> int:
        count = 0
        for obj in objects:
            about = [[rule for rule in side if rule.obj in obj.patterns] for side in sides]
            if about[0] == about[1]:
                continue
            for action in actions:
                before, after = (_entry(self._policy, side, action.patterns) for side in about)
                count += before.denied and not after.denied
        return count


def _denials(judged: Iterable[_Judged]) -> tuple[Rule, ...]:
    return tuple(
        item.rule for item in judged if item.rule.effect == "deny" and item.holds is not False
    )


def _entry(policy: CompiledPolicy, rules: Iterable[Rule], actions: Collection[str]) -> Access:
    matching = ((r.effect, normal_text(r.condition)) for r in rules if r.act in actions)
    return access(matching, policy.effect)
