"""What a change of policy changes: exactly, per role, and told in few words.

For each role (and each service that the policy names), in each domain that either policy names and
in all others, each class of objects × actions is decided under both policies, with inheritance,
with denials that override, and with conditions as symbols. Only roles are looked at whose own or
inherited rules differ, and only questions that a differing rule matches.

Approvals don't depend on roles; their changes are told for ``*``, whoever is allowed. Models that
run on pycasbin have no known meaning: their rows are compared instead, and each that differs
counts as an escalation.
"""

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import Final

from argy.policy.access import ALLOWED, Access, Matching, access, implies
from argy.policy.changes import EVERYBODY, AccessChange, Kind, PolicyDiff
from argy.policy.compiled import CompiledPolicy
from argy.policy.differences import Difference, differences, relevant
from argy.policy.globs import domain_match
from argy.policy.regions import overlap
from argy.policy.row_changes import approval_changes, row_changes
from argy.policy.rules import Link, Rule
from argy.policy.sides import Pair, RuleLine, Side, merge_domains

__all__ = ["AccessChange", "PolicyDiff", "diff_policies"]

ADMIN: Final = "role:PLATFORM_ADMIN"
_POWERS: Final = ("grant", "grant_any", "act_for", "break_glass", "elevate", "approve")
_POWER_OBJECTS: Final = ("authz.*:*", "policy:*")
_MODEL: Final = "model.conf"

_RoleDifference = Difference[Matching, Access]
_Known = dict[tuple[tuple[RuleLine, ...], tuple[RuleLine, ...]], list[_RoleDifference]]


def diff_policies(base: CompiledPolicy, head: CompiledPolicy) -> PolicyDiff:
    """Compare two policies by meaning; an empty diff means that every decision is the same.

    Raises:
        TooManyAtoms: when the globs overlap in too many ways to compare them all.
    """
    if not (base.compiled and head.compiled):
        return PolicyDiff(tuple(sorted(row_changes(base, head))), tuple(_models(base, head)))
    pair = Pair.of(base, head)
    known: _Known = {}
    parts: list[str] = []
    by_role = {name: _role_changes(pair, name, known, parts) for name in pair.concerned()}
    changes = [change for name in by_role for change in _own(pair, name, by_role)]
    changes += _strangers(base, head)
    changes += approval_changes(base, head, parts)
    other = list(_models(base, head))
    if parts:
        digest = hashlib.sha256("\n".join(sorted(parts)).encode()).hexdigest()
        other.append(f"parts: {digest}")
    return PolicyDiff(tuple(sorted(changes)), tuple(other))


def _models(base: CompiledPolicy, head: CompiledPolicy) -> Iterator[str]:
    """What differs beside the rules; the text of a model counts only where it isn't understood."""
    if base.effect is not head.effect:
        yield f"effect: {base.effect.name} to {head.effect.name}"
    texts = ["" if side.compiled else side.model.text for side in (base, head)]
    if texts[0] != texts[1]:
        digests = [hashlib.sha256(text.encode()).hexdigest() for text in texts]
        yield f"model: {digests[0]} to {digests[1]}"


def _strangers(base: CompiledPolicy, head: CompiledPolicy) -> Iterator[AccessChange]:
    """What subjects without any rule may do: everything, when only denials count."""
    before, after = access((), base.effect), access((), head.effect)
    if before != after:
        gained = after == ALLOWED
        yield AccessChange(_kind(before, after), EVERYBODY, "*", "*", "*", str(before),
                           str(after), (_MODEL,), gained)  # fmt: skip


def _role_changes(pair: Pair, name: str, known: _Known, parts: list[str]) -> list[AccessChange]:
    """The changes of one role or service, the domains put together.

    Where a change is told "in parts", the exact ones go to ``parts``.
    """
    above = pair.above(name)
    domains = sorted({"*"} | pair.base.domains(above) | pair.head.domains(above))
    found: dict[AccessChange, dict[str, _Blame]] = {}
    for domain in domains:
        place = _Place.of(pair, name, domain)
        for item in _differences(pair, place, known):
            blame = place.blame(pair, item)
            escalation = _escalates(item, blame.through_admin)
            told = _change(name, item, escalation=escalation)
            found.setdefault(told, {})[domain] = blame
            if item.parts:
                parts.append(f"{name} {domain} {item.before} {item.after} {item.parts}")
    changes = []
    for told, blames in found.items():
        for domain, limits in merge_domains(blames, domains):
            rules = blames[domain].told(told.kind) or (_MODEL,)
            changes.append(replace(told, domain=domain, rules=rules, after=told.after + limits))
    return changes


def _change(name: str, item: _RoleDifference, *, escalation: bool) -> AccessChange:
    region = item.region
    return AccessChange(
        kind=_kind(item.before, item.after),
        role=name,
        domain="",
        resource=region.resource,
        action=region.action,
        before=str(item.before),
        after=item.told_after(),
        rules=(),
        escalation=escalation,
    )


def _kind(before: Access, after: Access) -> Kind:
    if before.denied:
        return "gained"
    return "lost" if after.denied else "changed"


@dataclass(frozen=True, slots=True)
class _Blame:
    """The lines that make a difference; ``through_admin`` when they come by a new link to it."""

    base: tuple[str, ...]
    head: tuple[str, ...]
    base_is_clear: bool
    head_is_clear: bool
    through_admin: bool

    def told(self, kind: Kind) -> tuple[str, ...]:
        """``file:line`` each: plain for a gain by head's and a loss by base's rules alone."""
        one = "" if kind == "lost" and self.base_is_clear else "base:"
        other = "" if kind == "gained" and self.head_is_clear else "head:"
        return tuple(f"{other}{line}" for line in self.head) + tuple(
            f"{one}{line}" for line in self.base
        )


@dataclass(frozen=True, slots=True)
class _Place:
    """A name in a domain: the rules it has there under both policies."""

    name: str
    domain: str
    base_paths: Mapping[str, tuple[str, ...]]
    head_paths: Mapping[str, tuple[str, ...]]
    base: dict[RuleLine, list[Rule]]
    head: dict[RuleLine, list[Rule]]

    @classmethod
    def of(cls, pair: Pair, name: str, domain: str) -> "_Place":
        scope = "" if domain == "*" else domain
        one, other = pair.base.paths(name, scope), pair.head.paths(name, scope)
        rules = pair.base.applicable(one, scope), pair.head.applicable(other, scope)
        return cls(name, scope, one, other, *rules)

    def blame(self, pair: Pair, item: _RoleDifference) -> _Blame:
        """Rules that only one side has here; where links brought or took them, the links too."""
        only_head = [rule for line in item.lines - self.base.keys() for rule in self.head[line]]
        only_base = [rule for line in item.lines - self.head.keys() for rule in self.base[line]]
        new = _links(pair.head, self.head_paths, only_head, pair.new_links, self.domain)
        old = _links(pair.base, self.base_paths, only_base, pair.old_links, self.domain)
        admin = ADMIN in self.head_paths and ADMIN not in self.base_paths
        return _Blame(
            base=_lines((*only_base, *old)),
            head=_lines((*only_head, *new)),
            base_is_clear=all(rule.effect == "allow" for rule in only_base) and not only_head,
            head_is_clear=all(rule.effect == "allow" for rule in only_head) and not only_base,
            through_admin=admin and any(ADMIN in self.head_paths[r.role] for r in only_head),
        )


def _lines(items: Iterable[Rule | Link]) -> tuple[str, ...]:
    places = sorted({(item.file, item.line) for item in items})
    return tuple(f"{file}:{line}" for file, line in places)


def _links(
    side: Side,
    paths: Mapping[str, tuple[str, ...]],
    rules: Iterable[Rule],
    changed: Collection[Link],
    domain: str,
) -> set[Link]:
    """The changed links on the ways to the roles of ``rules``."""
    steps = {step for rule in rules for step in pairwise(paths[rule.role])}
    return {
        link
        for child, parent in steps
        for link in side.links(child)
        if link.parent == parent and link in changed and domain_match(domain, link.dom)
    }


def _differences(pair: Pair, place: _Place, known: _Known) -> list[_RoleDifference]:
    base, head = place.base, place.head
    differing = base.keys() | head.keys() if pair.everything else base.keys() ^ head.keys()
    if not differing:
        return []
    key = (relevant(base, differing), relevant(head, differing))
    if key not in known:
        policies = (pair.base.policy, pair.head.policy)
        one, other = (partial(access, effect=policy.effect) for policy in policies)
        known[key] = list(differences((key[0], one), (key[1], other), differing))
    return known[key]


def _escalates(item: _RoleDifference, through_admin: bool) -> bool:
    """Whether power is gained that two people must agree to."""
    if implies(item.after, item.before):
        return False
    region = item.region
    wild = "*" in (region.resource, region.action) or any(
        line.what[0] == "allow" and "*" in (line.resource, line.action) for line in item.lines
    )
    power = any(overlap(region.action, act) for act in _POWERS) and any(
        overlap(region.resource, obj) for obj in _POWER_OBJECTS
    )
    return wild or power or through_admin


def _own(
    pair: Pair, name: str, by_role: Mapping[str, list[AccessChange]]
) -> Iterator[AccessChange]:
    """The changes of ``name`` that don't come from a role which it inherits before and after."""
    for change in by_role[name]:
        scope = "" if change.domain == "*" else change.domain
        inherited = pair.base.paths(name, scope).keys() & pair.head.paths(name, scope).keys()
        if not any(
            domain_match(scope, other.domain) and _same(change, other)
            for role in inherited - {name}
            for other in by_role.get(role, ())
        ):
            yield change


def _same(one: AccessChange, other: AccessChange) -> bool:
    """Whether two changes say the same but for whom, where and by which rules."""
    return replace(one, role="", domain="", rules=()) == replace(
        other, role="", domain="", rules=()
    )
