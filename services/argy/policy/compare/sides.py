"""The two policies of a comparison, indexed by who is concerned, and where each role differs."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from argy.policy.access import Matching, normal_text
from argy.policy.compare.differences import Line
from argy.policy.compiled import CompiledPolicy
from argy.policy.globs import domain_match
from argy.policy.hierarchy import expand
from argy.policy.model import Effect
from argy.policy.rules import Link, Rule

RuleLine = Line[Matching]


def rule_line(rule: Rule) -> RuleLine:
    """What a rule says, without to whom and where."""
    return Line(rule.obj, rule.act, (rule.effect, normal_text(rule.condition)))


class Side:
    """One policy, by subject and domain."""

    def __init__(self, policy: CompiledPolicy) -> None:
        self.policy = policy
        self._rules: dict[str, dict[str, list[tuple[int, RuleLine, Rule]]]] = {}
        for order, rule in enumerate(policy.rules):
            here = self._rules.setdefault(rule.role, {}).setdefault(rule.dom, [])
            here.append((order, rule_line(rule), rule))
        links: dict[str, list[Link]] = {}
        for link in policy.links:
            links.setdefault(link.child, []).append(link)
        self._links = {child: tuple(found) for child, found in links.items()}

    def links(self, child: str) -> Sequence[Link]:
        """The links of a role or service, in any domain."""
        return self._links.get(child, ())

    def domains(self, names: Iterable[str]) -> set[str]:
        """The domains that rules and links of ``names`` speak about, but ``*``."""
        found = {dom for name in names for dom in self._rules.get(name, ())}
        found |= {link.dom for name in names for link in self.links(name)}
        return found - {"*"}

    def applicable(self, names: Iterable[str], domain: str) -> dict[RuleLine, list[Rule]]:
        """The rules of ``names`` in a domain, in order; an empty one is one that is not named."""
        wanted = {"*", domain, domain.partition("/")[0]}
        found = [
            item
            for name in names
            for dom, rules in self._rules.get(name, {}).items()
            if dom in wanted and domain_match(domain, dom)
            for item in rules
        ]
        lines: dict[RuleLine, list[Rule]] = {}
        for _, line, rule in sorted(found, key=lambda item: item[0]):
            lines.setdefault(line, []).append(rule)
        return lines

    def paths(self, names: Iterable[str], domain: str) -> Mapping[str, tuple[str, ...]]:
        """Each role that a holder of ``names`` has in a domain, with the way to it."""
        return expand(names, self._links, domain)


@dataclass(frozen=True, slots=True)
class Pair:
    """Both policies, and what is known to differ."""

    base: Side
    head: Side
    everything: bool
    """Whether equal rules may mean something else: the effect or an order that counts changed."""
    new_links: frozenset[Link]
    """Links whose meaning only head has."""
    old_links: frozenset[Link]
    """Links whose meaning only base has."""

    @classmethod
    def of(cls, base: CompiledPolicy, head: CompiledPolicy) -> "Pair":
        """Index two policies that compile."""
        one, other = Side(base), Side(head)
        ordered = Effect.PRIORITY in (base.effect, head.effect)
        reordered = ordered and _meaning(base) != _meaning(head)
        said = [{(link.child, link.parent, link.dom) for link in p.links} for p in (base, head)]
        new, old = (
            frozenset(k for k in p.links if (k.child, k.parent, k.dom) not in there)
            for p, there in ((head, said[0]), (base, said[1]))
        )
        return cls(one, other, base.effect is not head.effect or reordered, new, old)

    def above(self, name: str) -> set[str]:
        """``name`` and what it inherits in either policy, in any domain."""
        found = {name}
        todo = [name]
        while todo:
            child = todo.pop()
            for link in (*self.base.links(child), *self.head.links(child)):
                if link.parent not in found:
                    found.add(link.parent)
                    todo.append(link.parent)
        return found

    def concerned(self) -> list[str]:
        """The names for which anything can differ, sorted."""
        policies = (self.base.policy, self.head.policy)
        names = {name for policy in policies for name in policy.roles | policy.subjects}
        if self.everything:
            return sorted(names)
        one, other = ({(r.role, r.dom, *rule_line(r)) for r in p.rules} for p in policies)
        touched = {role for role, *_ in one ^ other}
        touched |= {link.child for link in self.new_links | self.old_links}
        below: dict[str, set[str]] = {}
        for policy in policies:
            for link in policy.links:
                below.setdefault(link.parent, set()).add(link.child)
        todo = list(touched)
        while todo:
            for child in below.get(todo.pop(), ()):
                if child not in touched:
                    touched.add(child)
                    todo.append(child)
        return sorted(touched & names)


def _meaning(policy: CompiledPolicy) -> list[tuple[object, ...]]:
    return [(rule.role, rule.dom, *rule_line(rule)) for rule in policy.rules]


def merge_domains(
    chosen: Mapping[str, object], domains: Sequence[str]
) -> Iterator[tuple[str, str]]:
    """The domains to name, each with the exceptions inside of it.

    ``domains`` are classes: ``*`` is every domain that isn't named, a tenant all of its orgs that
    aren't.
    """
    wide = {
        domain: domain.partition("/")[0] if domain.partition("/")[0] in domains else "*"
        for domain in domains
    }
    wide |= {domain: "*" for domain in domains if "/" not in domain}
    for domain in sorted(chosen):
        if domain != "*" and wide[domain] in chosen:
            continue
        inside = [d for d in domains if d not in ("*", domain) and _within(d, domain, wide, chosen)]
        without = [d for d in inside if d not in chosen]
        yield domain, f"; except in {', '.join(without)}" if without else ""


def _within(inner: str, outer: str, wide: Mapping[str, str], chosen: Mapping[str, object]) -> bool:
    """Whether ``outer`` speaks about ``inner``: everything between is told with ``outer``."""
    at = wide[inner]
    while at != outer:
        if at == "*" or at not in chosen:
            return False
        at = wide[at]
    return True
