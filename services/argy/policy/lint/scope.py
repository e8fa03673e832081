"""What the linter knows of a policy: its rows, who inherits whom, and what matches what. Exact.

An object always has a colon (``type:id``), so ``*`` and ``*:*`` match the same objects.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Protocol

from argy.policy.findings import Finding
from argy.policy.globs import (
    action_covers,
    action_overlaps,
    covers,
    domain_covers,
    domain_overlaps,
    overlaps,
)
from argy.policy.lint.catalogue import explained
from argy.policy.lint.words import Words
from argy.policy.rules import Link, PolicySource, Rule

_WILD = "*"


class Row(Protocol):
    """What a finding needs of a rule, a link or a line of the approvals."""

    @property
    def file(self) -> str:
        """Relative to the policy's folder."""
        ...

    @property
    def line(self) -> int:
        """Counts from 1."""
        ...


class Target(Protocol):
    """What a rule, or a line of the approvals, is about."""

    @property
    def dom(self) -> str:
        """Where."""
        ...

    @property
    def obj(self) -> str:
        """What."""
        ...

    @property
    def act(self) -> str:
        """The verb."""
        ...


@dataclass(frozen=True, slots=True)
class Reached:
    """A role that a name has somewhere, the links that lead to it, and where they all hold."""

    name: str
    links: tuple[Link, ...]
    dom: str


class Scope:
    """A policy with the indexes that the checks share."""

    def __init__(self, source: PolicySource, words: Words) -> None:
        self.source = source
        self.words = words
        """What cases and invariants mention."""
        self._links: dict[str, list[Link]] = {}
        for link in source.links:
            self._links.setdefault(link.child, []).append(link)
        self._rules: dict[str, dict[tuple[str, str], list[Rule]]] = {}
        for rule in source.rules:
            self._rules.setdefault(rule.role, {}).setdefault(_key(rule), []).append(rule)
        self._inherited: dict[tuple[str, str], frozenset[str]] = {}

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Every role and service that has a rule or a link of its own."""
        return tuple(sorted({*self._rules, *self._links}))

    def rules_of(self, name: str) -> Iterator[Rule]:
        """The rules of one role or service itself."""
        for rules in self._rules.get(name, {}).values():
            yield from rules

    def inherited(self, name: str, dom: str, without: Link | None = None) -> frozenset[str]:
        """``name`` and what it inherits in every domain that ``dom`` matches."""
        key = (name, dom)
        if without is None and key in self._inherited:
            return self._inherited[key]
        found, edge = {name}, [name]
        while edge:
            for link in self._links.get(edge.pop(), ()):
                if link != without and link.parent not in found and domain_covers(link.dom, dom):
                    found.add(link.parent)
                    edge.append(link.parent)
        if without is None:
            self._inherited[key] = frozenset(found)
        return frozenset(found)

    def reached(self, name: str) -> Iterator[Reached]:
        """``name`` and what it inherits in some domain, each by a shortest path."""
        start = Reached(name, (), _WILD)
        seen, edge = {(name, _WILD)}, [start]
        while edge:
            following: list[Reached] = []
            for at in edge:
                yield at
                for link in self._links.get(at.name, ()):
                    if not domain_overlaps(at.dom, link.dom):
                        continue
                    # Patterns of domains are nested or apart: the meeting is the narrower one.
                    dom = link.dom if domain_covers(at.dom, link.dom) else at.dom
                    if (link.parent, dom) not in seen:
                        seen.add((link.parent, dom))
                        following.append(Reached(link.parent, (*at.links, link), dom))
            edge = following

    def covering(self, names: Iterable[str], target: Target) -> Iterator[Rule]:
        """Rules of ``names`` that match all that ``target`` matches, conditions aside."""
        kind, act = _key(target)
        keys = tuple(product(dict.fromkeys((kind, _WILD)), dict.fromkeys((act, _WILD))))
        for name, key in product(sorted(names), keys):
            for rule in self._rules.get(name, {}).get(key, ()):
                if covers_target(rule, target):
                    yield rule

    def allowed_somewhere(self, target: Target) -> bool:
        """Whether some rule allows something that ``target`` matches, to anybody."""
        kind, act = _key(target)
        kinds = {kind, _WILD} if kind != _WILD else {key[0] for key in self._allows}
        acts = {act, _WILD} if act != _WILD else {key[1] for key in self._allows}
        return any(
            meets(rule, target)
            for key in product(kinds, acts)
            for rule in self._allows.get(key, ())
        )

    @cached_property
    def _allows(self) -> dict[tuple[str, str], list[Rule]]:
        """What is allowed to anybody, by object type and action."""
        found: dict[tuple[str, str], list[Rule]] = {}
        for rule in self.source.rules:
            if rule.effect == "allow":
                found.setdefault(_key(rule), []).append(rule)
        return found


def covers_target(wide: Target, narrow: Target) -> bool:
    """Whether ``wide`` matches every request that ``narrow`` matches."""
    return (
        domain_covers(wide.dom, narrow.dom)
        and action_covers(wide.act, narrow.act)
        and covers(objects(wide.obj), objects(narrow.obj))
    )


def meets(one: Target, other: Target) -> bool:
    """Whether some request is matched by both."""
    return (
        domain_overlaps(one.dom, other.dom)
        and action_overlaps(one.act, other.act)
        and overlaps(objects(one.obj), objects(other.obj))
    )


def objects(pattern: str) -> str:
    """The glob of an object, with its type and its id."""
    return "*:*" if pattern == _WILD else pattern


def kind_of(pattern: str) -> str:
    """The type in the glob of an object; it may be a glob itself."""
    return pattern.partition(":")[0]


def found(name: str, row: Row, message: str, fix: str = "") -> Finding:
    """A finding about a row; the remedy is that of the catalogue unless given."""
    rule = explained(name)
    text = getattr(row, "text", "")
    return Finding(rule.id, rule.level, message, row.file, row.line, fix or rule.fix, text)


def at(row: Row) -> str:
    """``roles/admin.csv:3``."""
    return f"{row.file}:{row.line}"


def _key(target: Target) -> tuple[str, str]:
    kind = kind_of(target.obj)
    return (_WILD if _WILD in kind else kind), (_WILD if _WILD in target.act else target.act)
