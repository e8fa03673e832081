"""Compiles a policy into an index; one compiled policy serves every tenant.

The index leads from (name, object type, action) to the rules that can match, so a decision never
looks at a rule of another role, type or action. A type or an action with a wildcard is filed
under ``*``. Nothing here changes after compilation but bounded caches of views, which hold no
decision that a fresh view would not give.
"""

from collections.abc import Iterable, Iterator
from operator import attrgetter

from argy.policy.approvals import Gate
from argy.policy.conditions import Condition, Facts, compile_condition
from argy.policy.globs import Glob, action_match, compiled_glob, domain_match, domain_of
from argy.policy.hierarchy import expand
from argy.policy.interpreted import InterpretedView
from argy.policy.model import Effect, Model
from argy.policy.rules import ApprovalRule, Link, PolicySource, Rule
from argy.policy.view import Candidate, View

_MAX_VIEWS = 16_384
_MAX_INTERPRETED_VIEWS = 64
"""Each holds a pycasbin enforcer with every rule."""
_WILD = "*"


class CompiledPolicy:
    """An immutable policy revision, ready to decide."""

    def __init__(self, source: PolicySource) -> None:
        self.revision = source.revision
        self.rules: tuple[Rule, ...] = source.rules
        self.links: tuple[Link, ...] = source.links
        self.approvals: tuple[ApprovalRule, ...] = source.approvals
        self.model: Model = source.model
        self.warnings = source.warnings
        self.compiled = source.model.compiled
        # Casbin allows everything on no rules under `!some(deny)`; empty means refuse.
        self.effect = source.model.effect if source.rules else Effect.DENY_OVERRIDES
        names = {rule.role for rule in self.rules} | {link.child for link in self.links}
        self.roles = frozenset(name for name in names if name.startswith("role:"))
        self.subjects = frozenset(names - self.roles)
        """Subjects that the policy itself names: services."""
        self._domains = frozenset(
            item.dom
            for group in (self.rules, self.links, self.approvals)
            for item in group
            if item.dom != _WILD
        )
        self._parents: dict[str, tuple[Link, ...]] = {}
        for link in self.links:
            self._parents[link.child] = (*self._parents.get(link.child, ()), link)
        self._conditions = _conditions((*self.rules, *self.approvals))
        self._index = _index(self.rules)
        self._gates = _gates(self.approvals)
        self._views: dict[tuple[str, frozenset[str]], View] = {}

    def scope(self, tenant: str, org: str) -> str:
        """The domain that decides for an org: the most special one that the policy names.

        Domains that no rule or link names decide alike, so they share one view.
        """
        for domain in (domain_of(tenant, org), tenant):
            if domain in self._domains:
                return domain
        return ""

    def orgs(self, tenant: str) -> set[str]:
        """The orgs of a tenant that the policy names."""
        start = f"{tenant}/"
        return {name[len(start) :] for name in self._domains if name.startswith(start)}

    def view(self, domain: str, held: frozenset[str]) -> View:
        """The view of the names that a subject holds in a scope."""
        key = (domain, held)
        view = self._views.get(key)
        if view is None:
            limit = _MAX_VIEWS if self.compiled else _MAX_INTERPRETED_VIEWS
            if len(self._views) >= limit:
                self._views.clear()
            kind = View if self.compiled else InterpretedView
            view = kind(self, domain, expand(held, self._parents, domain))
            view = self._views.setdefault(key, view)
        return view

    def inherited(self, role: str, domain: str) -> frozenset[str]:
        """``role`` and every role that it inherits in ``domain``."""
        return frozenset(expand((role,), self._parents, domain))

    def judge(self, rule: Rule | ApprovalRule, facts: Facts) -> tuple[bool | None, str]:
        """The truth of a rule's condition, ``None`` without an answer, and the same in words."""
        condition = self._conditions.get(rule.condition)
        return (True, "true") if condition is None else condition.judge(facts)

    def judged(self, names: Iterable[str], facts: Facts) -> Iterator[tuple[Rule, bool | None, str]]:
        """The rules of ``names`` that match but for their condition, each as ``judge`` has it."""
        domain = self.scope(facts.tenant, facts.org)
        for rule in self.matching(names, domain, facts.obj, facts.act):
            yield rule, *self.judge(rule, facts)

    def matching(self, names: Iterable[str], domain: str, obj: str, act: str) -> list[Rule]:
        """The rules of ``names`` that match but for their condition, in the policy's order."""
        found = self.candidates(names, domain, obj.partition(":")[0], act)
        return [rule for _, rule, glob, _ in found if glob is None or glob.matches(obj)]

    def candidates(self, names: Iterable[str], domain: str, kind: str, act: str) -> list[Candidate]:
        """Rules of ``names`` that match domain, type and action, in the policy's order."""
        found: list[Candidate] = []
        for name in names:
            for order in self._orders(name, kind, act):
                rule = self.rules[order]
                if not domain_match(domain, rule.dom):
                    continue
                if not action_match(act, rule.act):
                    continue
                condition = self._conditions.get(rule.condition)
                found.append(Candidate(order, rule, _rest(rule.obj, kind), condition))
        found.sort(key=attrgetter("order"))
        return found

    def gates(self, domain: str, kind: str, act: str) -> tuple[Gate, ...]:
        """Approvals in force that match domain, type and action, in the policy's order."""
        if not self._gates:
            return ()
        keys = _keys(kind, act)
        found = (self.approvals[o] for o in sorted(o for k in keys for o in self._gates.get(k, ())))
        return tuple(
            Gate(rule, _rest(rule.obj, kind), self._conditions.get(rule.condition))
            for rule in found
            if domain_match(domain, rule.dom) and action_match(act, rule.act)
        )

    def applicable(self, names: Iterable[str], domain: str) -> list[Rule]:
        """Every rule of ``names`` in a domain, in the policy's order."""
        held = frozenset(names)
        return [r for r in self.rules if r.role in held and domain_match(domain, r.dom)]

    def _orders(self, name: str, kind: str, act: str) -> Iterator[int]:
        index = self._index.get(name)
        if index is not None:
            for key in _keys(kind, act):
                yield from index.get(key, ())


def compile_policy(source: PolicySource) -> CompiledPolicy:
    """Compile a loaded policy: milliseconds for thousands of rules, once a revision."""
    return CompiledPolicy(source)


def _index(rules: Iterable[Rule]) -> dict[str, dict[tuple[str, str], tuple[int, ...]]]:
    building: dict[str, dict[tuple[str, str], list[int]]] = {}
    for order, rule in enumerate(rules):
        key = _filed_under(rule.obj, rule.act)
        building.setdefault(rule.role, {}).setdefault(key, []).append(order)
    return {
        name: {key: tuple(orders) for key, orders in keys.items()}
        for name, keys in building.items()
    }


def _gates(approvals: Iterable[ApprovalRule]) -> dict[tuple[str, str], tuple[int, ...]]:
    """The lines that are in force, as ``_index`` files rules."""
    found: dict[tuple[str, str], tuple[int, ...]] = {}
    for order, rule in enumerate(approvals):
        if rule.mode != "off":
            key = _filed_under(rule.obj, rule.act)
            found[key] = (*found.get(key, ()), order)
    return found


def _filed_under(obj: str, act: str) -> tuple[str, str]:
    """The index key of a rule for ``obj`` and ``act``."""
    kind = obj.partition(":")[0]
    return _WILD if _WILD in kind else kind, _WILD if _WILD in act else act


def _keys(kind: str, act: str) -> set[tuple[str, str]]:
    """The index keys of a question's rules: each once, also where the action asked is ``*``."""
    return {(kind, act), (kind, _WILD), (_WILD, act), (_WILD, _WILD)}


def _conditions(rules: Iterable[Rule | ApprovalRule]) -> dict[str, Condition]:
    compiled: dict[str, Condition] = {}
    for text in {rule.condition for rule in rules}:
        condition = compile_condition(text)
        if condition is not None:
            compiled[text] = condition
    return compiled


def _rest(pattern: str, kind: str) -> Glob | None:
    """What of an object's glob is left to match once its type is known; ``None`` is nothing."""
    if pattern == _WILD:
        return None
    wanted, _, name = pattern.partition(":")
    if name == _WILD and compiled_glob(wanted).matches(kind):
        return None
    return compiled_glob(pattern)
