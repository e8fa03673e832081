"""Who holds what where under two policies, whose lines make a difference, and escalations."""

from collections.abc import Collection, Iterable, Mapping, Set
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

from argy.policy.access import Access, implies
from argy.policy.compare.changes import Kind
from argy.policy.compare.differences import Difference
from argy.policy.compare.regions import overlap
from argy.policy.compare.sides import Pair, RuleLine, Side
from argy.policy.globs import domain_match
from argy.policy.rules import Link, Rule

ADMIN: Final = "role:PLATFORM_ADMIN"
_POWERS: Final = (
    "grant", "grant_any", "act_for", "break_glass", "elevate", "approve", "review", "rollback",
    "add_member",
)  # fmt: skip
_POWER_OBJECTS: Final = ("authz.*:*", "policy:*", "directory.group:*")
"""Groups hold roles: who adds members to them gives roles away."""


def kind_of(before: Access, after: Access) -> Kind:
    """What became of an access that changed."""
    if before.denied:
        return "gained"
    return "lost" if after.denied else "changed"


@dataclass(frozen=True, slots=True)
class Blame:
    """The lines that make a difference; ``through_admin`` when they come by a new link to it."""

    base: tuple[str, ...]
    head: tuple[str, ...]
    base_is_clear: bool
    head_is_clear: bool
    through_admin: bool
    holder: tuple[str, ...] = ()
    """From what is held to the role of a rule to blame."""

    def told(self, kind: Kind) -> tuple[str, ...]:
        """``file:line`` each: plain for a gain by head's and a loss by base's rules alone."""
        one = "" if kind == "lost" and self.base_is_clear else "base:"
        other = "" if kind == "gained" and self.head_is_clear else "head:"
        return tuple(f"{other}{line}" for line in self.head) + tuple(
            f"{one}{line}" for line in self.base
        )


@dataclass(frozen=True, slots=True)
class Place:
    """Names in a domain: the rules that their holder has there under both policies."""

    domain: str
    """Empty for a domain that no policy names."""
    base_paths: Mapping[str, tuple[str, ...]]
    head_paths: Mapping[str, tuple[str, ...]]
    base: dict[RuleLine, list[Rule]]
    head: dict[RuleLine, list[Rule]]

    @classmethod
    def of(cls, pair: Pair, names: Collection[str], domain: str) -> "Place":
        """Look both policies up; ``*`` is a domain that none names."""
        scope = "" if domain == "*" else domain
        one, other = pair.base.paths(names, scope), pair.head.paths(names, scope)
        rules = pair.base.applicable(one, scope), pair.head.applicable(other, scope)
        return cls(scope, one, other, *rules)

    def differing(self, pair: Pair) -> Set[RuleLine]:
        """The rules that can make a difference here."""
        base, head = self.base.keys(), self.head.keys()
        return base | head if pair.everything else base ^ head

    def blame(self, pair: Pair, item: Difference[Any, Any]) -> Blame:
        """Rules that only one side has here; where links brought or took them, the links too."""
        only_head = _rules(item.lines, self.head, self.base)
        only_base = _rules(item.lines, self.base, self.head)
        new = self._new_links(pair, (rule.role for rule in only_head))
        old = self._old_links(pair, (rule.role for rule in only_base))
        admin = ADMIN in self.head_paths and ADMIN not in self.base_paths
        return Blame(
            base=_lines((*only_base, *old)),
            head=_lines((*only_head, *new)),
            base_is_clear=all(rule.effect == "allow" for rule in only_base) and not only_head,
            head_is_clear=all(rule.effect == "allow" for rule in only_head) and not only_base,
            through_admin=admin and any(ADMIN in self.head_paths[r.role] for r in only_head),
            holder=next(
                (
                    paths[rule.role]
                    for paths, rules in ((self.head_paths, only_head), (self.base_paths, only_base))
                    for rule in rules
                ),
                (),
            ),
        )

    def blame_links(self, pair: Pair, role: str) -> Blame:
        """The links that brought or took a role."""
        return Blame(
            base=_lines(self._old_links(pair, (role,) if role in self.base_paths else ())),
            head=_lines(self._new_links(pair, (role,) if role in self.head_paths else ())),
            base_is_clear=True,
            head_is_clear=True,
            through_admin=False,
        )

    def _new_links(self, pair: Pair, roles: Iterable[str]) -> set[Link]:
        return _links(pair.head, self.head_paths, roles, pair.new_links, self.domain)

    def _old_links(self, pair: Pair, roles: Iterable[str]) -> set[Link]:
        return _links(pair.base, self.base_paths, roles, pair.old_links, self.domain)


def _rules(
    lines: Iterable[RuleLine], here: Mapping[RuleLine, list[Rule]], there: Collection[RuleLine]
) -> list[Rule]:
    return [rule for line in lines if line not in there for rule in here.get(line, ())]


def _lines(items: Iterable[Rule | Link]) -> tuple[str, ...]:
    places = sorted({(item.file, item.line) for item in items})
    return tuple(f"{file}:{line}" for file, line in places)


def _links(
    side: Side,
    paths: Mapping[str, tuple[str, ...]],
    roles: Iterable[str],
    changed: Collection[Link],
    domain: str,
) -> set[Link]:
    """The changed links on the ways to ``roles``."""
    steps = {step for role in roles for step in pairwise(paths[role])}
    return {
        link
        for child, parent in steps
        for link in side.links(child)
        if link.parent == parent and link in changed and domain_match(domain, link.dom)
    }


def escalates(
    item: Difference[Any, Any], before: Access, after: Access, *, through_admin: bool
) -> bool:
    """Whether power is gained that two people must agree to."""
    if implies(after, before):
        return False
    region = item.region
    wild = _wild(region.resource, region.action) or any(
        line.what[0] == "allow" and _wild(line.resource, line.action) for line in item.lines
    )
    power = any(overlap(region.action, act) for act in _POWERS) and any(
        overlap(region.resource, obj) for obj in _POWER_OBJECTS
    )
    return wild or power or through_admin


def _wild(resource: str, action: str) -> bool:
    """Whether globs reach over areas (``*``, ``*:*``, ``*e*:*``; not ``audit.*:*``) or actions."""
    area = resource.partition(":")[0].partition(".")[0]
    return "*" in area or "*" in action
