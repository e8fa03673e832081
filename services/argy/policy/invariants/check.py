"""Checks what a policy's authors declared must always hold, over every question there is.

Exhaustive means: every role and service (with ``combined`` every pair of which one role is meant),
every class of domains, objects and actions (``argy.policy.space``). Conditions are opaque. A
statement is violated when there is *a way* to be allowed: some combination of true and false
conditions under which the rules allow. That an allow needs approval is a way too. More than
``violations.MAX_CELLS`` questions for one invariant are refused; nothing is sampled.
"""

import itertools
from collections.abc import Iterable, Iterator

from argy.policy.cases.facts import WrittenCase, differ, find_facts, granted
from argy.policy.compiled import compile_policy
from argy.policy.errors import PolicyError, Problem
from argy.policy.globs import compiled_glob, domain_match, domain_of, overlaps
from argy.policy.invariants.format import Duty, Invariant, Placed, duties, targets
from argy.policy.invariants.isolation import check_isolation, tenant_of, without_tenant
from argy.policy.invariants.violations import Checked, Found, Violation, bounded
from argy.policy.rules import PolicySource
from argy.policy.space import (
    Cell,
    Domain,
    Names,
    Space,
    Way,
    conditions,
    matching,
    snapshot_of,
    ways,
    with_one_more,
)

Spot = tuple[str, str]
"""An action and an object."""


class Matter:
    """What of a policy can matter to the duties that a statement is about. Exact."""

    def __init__(self, source: PolicySource, wanted: Iterable[Duty]) -> None:
        each = tuple(wanted)
        rules = [
            rule
            for rule in source.rules
            if any(overlaps(rule.act, duty.act) and overlaps(rule.obj, duty.obj) for duty in each)
        ]
        self.domains = {rule.dom for rule in rules} | {link.dom for link in source.links}
        """Domains as rows write them."""
        self.names = {rule.role for rule in rules}
        """Roles and services that have a rule which matters, or inherit one somewhere."""
        before = -1
        while before != len(self.names):
            before = len(self.names)
            self.names.update(link.child for link in source.links if link.parent in self.names)


class Checker:
    """Checks the invariants of one policy."""

    def __init__(self, source: PolicySource, invariants: Iterable[Placed]) -> None:
        self.invariants = tuple(invariants)
        wanted = [duty for placed in self.invariants for duty in targets(placed.invariant)]
        self._space = Space(
            source,
            actions_too=(duty.act for duty in wanted),
            objects_too=(duty.obj for duty in wanted),
            domains_too=(placed.invariant.domain for placed in self.invariants),
        )
        self._policy = self._space.policy
        self._check_names()

    def check(self) -> Iterator[Checked]:
        """Check each invariant, in order.

        Raises:
            TooLarge: when an invariant has more questions than the bound.
        """
        for placed in self.invariants:
            if placed.invariant.tenant_isolation:
                yield check_isolation(self._space, placed)
            elif placed.invariant.separation:
                yield self._separation(placed)
            else:
                yield self._never(placed)

    def written(self, violation: Violation) -> WrittenCase | None:
        """A case that fails against this policy; ``None`` when no facts were found for it."""
        cell = violation.cell
        policies = [self._policy]
        if violation.placed.invariant.tenant_isolation and violation.row is not None:
            policies.append(
                compile_policy(without_tenant(self._space.source, tenant_of(violation.row)))
            )
        rules = [rule for policy in policies for rule in matching(policy, cell)]
        snapshots = [snapshot_of(policy, cell.tenant, cell.names) for policy in policies]
        wanted = differ if len(policies) > 1 else granted
        found = find_facts(cell, conditions(rules), (), snapshots, wanted)
        if found is None:
            return None
        (context, at_ms), answers = found
        expect = answers[1].effect if len(answers) > 1 else violation.expect
        why = f"{violation.placed.invariant.name} ({violation.place})"
        return WrittenCase(cell, expect, context, at_ms, why)

    def _check_names(self) -> None:
        problems = []
        for placed in self.invariants:
            for glob in _role_globs(placed.invariant):
                if not any(compiled_glob(glob).matches(name) for name in self._space.names):
                    told = f"{placed.invariant.name}: {glob!r} is no role or service of the policy"
                    fix = "a statement about nobody always holds: name one that exists"
                    problems.append(Problem(placed.file, placed.line, told, fix))
        if problems:
            raise PolicyError(problems)

    def _never(self, placed: Placed) -> Checked:
        """``never``, and ``only``, which is never for everybody else."""
        invariant, never, only = placed.invariant, placed.invariant.never, placed.invariant.only
        roles = never.roles if never else []
        excepted = only.roles if only else never.not_roles if never else []
        unless = never.unless if never else ""
        wanted = list(targets(invariant))
        spots, matter = self._spots(wanted), Matter(self._space.source, wanted)
        asking = [
            (tenant, org, names)
            for tenant, org in self._places(invariant, matter)
            for names in self._subjects(roles, matter, combined=invariant.combined)
            if not self._holds_any(names, tenant, org, excepted)
        ]
        cells = bounded(placed, len(asking) * len(spots))
        found = Found()
        for tenant, org, names in asking:
            for act, obj in spots:
                cell = Cell(names, tenant, org, obj, act)
                way = self._way(cell, always=bool(unless))
                if way is not None:
                    found.add(Violation(placed, cell, way.rule, way.truths))
        return Checked(placed, cells, found.all())

    def _separation(self, placed: Placed) -> Checked:
        invariant = placed.invariant
        pairs = [
            (self._spots((one,)), self._spots((other,)))
            for group in invariant.separation
            for one, other in itertools.combinations(duties(group), 2)
        ]
        matter = Matter(self._space.source, list(targets(invariant)))
        asking = [
            (tenant, org, names)
            for tenant, org in self._places(invariant, matter)
            for names in self._subjects([], matter, combined=invariant.combined)
        ]
        cells = bounded(placed, len(asking) * sum(len(one) + len(other) for one, other in pairs))
        found = Found()
        for tenant, org, names in asking:
            for one, other in pairs:
                first = [cell for cell, _ in self._allowed(names, tenant, org, one)]
                for cell, way in self._allowed(names, tenant, org, other) if first else ():
                    for also in first:
                        if also.obj == cell.obj or not invariant.same_object:
                            found.add(Violation(placed, cell, way.rule, way.truths, also))
                            break
        return Checked(placed, cells, found.all())

    def _spots(self, wanted: Iterable[Duty]) -> list[Spot]:
        """A witness of each class of actions and objects that some duty is about."""
        each = tuple(wanted)
        return [
            (act, obj)
            for act in self._space.acts
            for obj in self._space.objs
            if any(_meets(duty, act, obj) for duty in each)
        ]

    def _subjects(self, roles: list[str], matter: Matter, *, combined: bool) -> Iterator[Names]:
        """The subjects that a statement is about, each once.

        A second role of which no rule matters makes no other subject.
        """
        meant = [name for name in self._space.names if not roles or _any_matches(roles, name)]
        others = [name for name in self._space.names if name in matter.names] if combined else []
        if not roles:
            yield frozenset()
        seen: set[Names] = set()
        for name in meant:
            more = others if roles or name in matter.names else ()
            for names in with_one_more(name, more):
                if names not in seen:
                    seen.add(names)
                    yield names

    def _places(self, invariant: Invariant, matter: Matter) -> list[Domain]:
        """The domains that a statement is about; one of those where the same rules matter."""
        found: dict[frozenset[str], Domain] = {}
        for tenant, org in self._space.domains:
            domain = domain_of(tenant, org)
            if domain_match(domain, invariant.domain):
                holding = frozenset(one for one in matter.domains if domain_match(domain, one))
                found.setdefault(holding, (tenant, org))
        return list(found.values())

    def _holds_any(self, names: Names, tenant: str, org: str, globs: list[str]) -> bool:
        """Whether a subject holds one of the excepted roles here, itself or by a link."""
        if not globs:
            return False
        paths = self._policy.view(self._policy.scope(tenant, org), names).paths
        return any(_any_matches(globs, name) for name in paths)

    def _allowed(
        self, names: Names, tenant: str, org: str, spots: Iterable[Spot]
    ) -> Iterator[tuple[Cell, Way]]:
        for act, obj in spots:
            cell = Cell(names, tenant, org, obj, act)
            if (way := self._way(cell, always=False)) is not None:
                yield cell, way

    def _way(self, cell: Cell, *, always: bool) -> Way | None:
        """A way to be allowed; with ``always`` only if each way is one."""
        rules = matching(self._policy, cell)
        every = list(ways(self._policy.effect, rules, conditions(rules)))
        allowed = [way for way in every if way.allowed]
        if not allowed or (always and len(allowed) < len(every)):
            return None
        return allowed[0]


def _meets(duty: Duty, act: str, obj: str) -> bool:
    return compiled_glob(duty.act).matches(act) and compiled_glob(duty.obj).matches(obj)


def _any_matches(globs: Iterable[str], text: str) -> bool:
    return any(compiled_glob(glob).matches(text) for glob in globs)


def _role_globs(invariant: Invariant) -> Iterator[str]:
    if invariant.never is not None:
        yield from invariant.never.roles
        yield from invariant.never.not_roles
    if invariant.only is not None:
        yield from invariant.only.roles
