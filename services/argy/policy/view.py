"""Decides for a set of roles in a domain: the compiled index at work.

A view belongs to (domain, roles held) and is shared by every subject and tenant for which these
are the same. For each (object type, action) it keeps either the one verdict that all objects
share, or the candidates that still depend on the object's id or on a condition.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple, Protocol

from argy.policy.approvals import Gate, conclude_gates
from argy.policy.combining import combine
from argy.policy.conditions import Condition, Facts
from argy.policy.globs import Glob
from argy.policy.model import Effect
from argy.policy.rules import (
    ALLOWED_BY_DEFAULT,
    ALLOWED_BY_RULE,
    AUTO_APPROVED,
    CONDITION_ERROR,
    NO_MATCHING_RULE,
    ApprovalRule,
    Rule,
)

_MAX_WEIGHT = 200_000
"""Candidates that a view keeps before it starts anew; actions and types come from callers."""
_MAX_VERDICTS = 10_000
"""Verdicts with approvals that a view keeps before it starts anew: facts choose among lines."""
_ALLOWING = frozenset((ALLOWED_BY_RULE, ALLOWED_BY_DEFAULT, AUTO_APPROVED))


class Verdict:
    """A decision before it knows its subject. One object for each distinct answer of a view."""

    __slots__ = ("allowed", "approvals", "chain", "reason", "rule")

    def __init__(
        self,
        reason: str,
        rule: Rule | None = None,
        chain: tuple[str, ...] = (),
        approvals: tuple[ApprovalRule, ...] = (),
    ) -> None:
        self.allowed = reason in _ALLOWING
        self.reason = reason
        self.rule = rule
        self.chain = chain
        """From a role that the subject holds to the rule's role."""
        self.approvals = approvals
        """The lines that ask for approval before this is allowed."""


_WITHOUT_RULE = {
    reason: Verdict(reason) for reason in (NO_MATCHING_RULE, ALLOWED_BY_DEFAULT, CONDITION_ERROR)
}


class Candidate(NamedTuple):
    """A rule whose subject, domain, type and action match; ``order`` is its place in the policy."""

    order: int
    rule: Rule
    glob: Glob | None
    condition: Condition | None


def truths(candidates: Iterable[Candidate], facts: Facts) -> Iterator[tuple[Rule, bool | None]]:
    """The candidates that match the object of ``facts``, each with its condition's truth."""
    for _, rule, glob, condition in candidates:
        if glob is None or glob.matches(facts.obj):
            yield rule, condition is None or condition.truth(facts)


class Residual:
    """The candidates of one (type, action) that only the object's id or the facts can settle."""

    __slots__ = ("_general", "_literal", "_narrow", "_otherwise", "_view")

    def __init__(self, view: "View", candidates: Iterable[Candidate]) -> None:
        self._view = view
        self._literal: dict[str, list[Candidate]] = {}
        general: list[Candidate] = []
        for candidate in candidates:
            if candidate.glob is not None and candidate.glob.literal:
                self._literal.setdefault(candidate.glob.pattern, []).append(candidate)
            else:
                general.append(candidate)
        self._general = tuple(general)
        self._narrow = tuple(item.glob.matches for item in general if item.glob is not None)
        wide = [item for item in general if item.glob is None]
        self._otherwise: Verdict | None = None
        if all(item.condition is None for item in wide):
            self._otherwise = view.verdict(wide, _NO_FACTS)

    def settled(self, obj: str) -> Verdict | None:
        """What holds for objects that no narrower rule names, if no condition is asked there."""
        if obj in self._literal:
            return None
        for matches in self._narrow:
            if matches(obj):
                return None
        return self._otherwise

    def decide(self, facts: Facts) -> Verdict:
        """The verdict on one object."""
        candidates: Iterable[Candidate] = self._general
        if named := self._literal.get(facts.obj):
            candidates = sorted((*self._general, *named), key=lambda item: item.order)
        return self._view.verdict(candidates, facts)


class Decider(Protocol):
    """What remains to be decided about one object."""

    def settled(self, obj: str) -> Verdict | None:
        """The verdict on one object when it takes no facts; ``None`` when it may."""
        ...

    def decide(self, facts: Facts) -> Verdict:
        """The verdict on one object."""
        ...


class Gated:
    """What the rules say about one (type, action), and the approvals that stand before it."""

    __slots__ = ("_gates", "_inner", "_view")

    def __init__(self, view: "View", inner: "Verdict | Decider", gates: tuple[Gate, ...]) -> None:
        self._view = view
        self._inner = inner
        self._gates = gates

    def settled(self, obj: str) -> Verdict | None:
        """Nothing: approvals look at the facts."""
        return None

    def decide(self, facts: Facts) -> Verdict:
        """The verdict on one object."""
        inner = self._inner
        verdict = inner if isinstance(inner, Verdict) else inner.decide(facts)
        if not verdict.allowed:
            return verdict
        return self._view.gated(verdict, *conclude_gates(self._gates, facts))


class Rules(Protocol):
    """What a view needs of the policy that it belongs to."""

    @property
    def effect(self) -> Effect:
        """How matching rules combine."""
        ...

    def candidates(self, names: Iterable[str], domain: str, kind: str, act: str) -> list[Candidate]:
        """Rules of ``names`` that match domain, type and action, in the policy's order."""
        ...

    def gates(self, domain: str, kind: str, act: str) -> tuple[Gate, ...]:
        """Approvals in force that match domain, type and action, in the policy's order."""
        ...


class View:
    """The decisions of one set of names (roles, and a service itself) in one domain."""

    __slots__ = ("_gated", "_policy", "_verdicts", "_weight", "domain", "effect", "paths", "table")

    def __init__(self, policy: Rules, domain: str, paths: Mapping[str, tuple[str, ...]]) -> None:
        self._policy = policy
        self._verdicts: dict[tuple[str, str], Verdict] = {}
        self._gated: dict[tuple[Verdict, str, tuple[ApprovalRule, ...]], Verdict] = {}
        self._weight = 0
        self.domain = domain
        self.effect = policy.effect
        self.paths = paths
        """Each name with the way to it from one that the subject holds."""
        self.table: dict[tuple[str, str], Verdict | Decider] = {}

    def find(self, kind: str, act: str) -> "Verdict | Decider":
        """The verdict on every object of a type, or what can decide about one; remembered."""
        candidates = self._policy.candidates(self.paths, self.domain, kind, act)
        entry: Verdict | Decider
        if any(item.glob is not None or item.condition is not None for item in candidates):
            entry = Residual(self, candidates)
        else:
            entry = self.verdict(candidates, _NO_FACTS)
        entry = self.behind_gates(entry, kind, act)
        self._weight += len(candidates) + 10
        if self._weight > _MAX_WEIGHT:
            self.table.clear()
            self._weight = 0
        self.table[kind, act] = entry
        return entry

    def behind_gates(self, entry: "Verdict | Decider", kind: str, act: str) -> "Verdict | Decider":
        """The entry with the approvals that it needs; itself where no line speaks about it."""
        if isinstance(entry, Verdict) and not entry.allowed:
            return entry
        gates = self._policy.gates(self.domain, kind, act)
        if not gates:
            return entry
        if isinstance(entry, Verdict) and not any(g.glob or g.condition for g in gates):
            return self.gated(entry, *conclude_gates(gates, _NO_FACTS))
        return Gated(self, entry, gates)

    def gated(self, verdict: Verdict, reason: str, approvals: tuple[ApprovalRule, ...]) -> Verdict:
        """The interned verdict that lines of the approvals make of one that allows."""
        if not reason:
            return verdict
        key = (verdict, reason, approvals)
        made = self._gated.get(key)
        if made is None:
            if len(self._gated) >= _MAX_VERDICTS:
                self._gated.clear()
            made = Verdict(reason, verdict.rule, verdict.chain, approvals)
            made = self._gated.setdefault(key, made)
        return made

    def verdict(self, candidates: Iterable[Candidate], facts: Facts) -> Verdict:
        """The interned verdict that follows from candidates in the policy's order."""
        return self.named(*combine(self.effect, truths(candidates, facts)))

    def named(self, reason: str, rule: Rule | None) -> Verdict:
        """The interned verdict for a reason and its rule."""
        if rule is None:
            return _WITHOUT_RULE[reason]
        key = (reason, rule.id)
        verdict = self._verdicts.get(key)
        if verdict is None:
            made = Verdict(reason, rule, self.paths.get(rule.role, ()))
            verdict = self._verdicts.setdefault(key, made)
        return verdict


_NO_FACTS = Facts("", "", "", "", "", None, 0)
