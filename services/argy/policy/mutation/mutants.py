"""The mutants of a policy: each is the policy with one small mistake in one row."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

from argy.policy.coverage import key_of_link
from argy.policy.globs import domain_match
from argy.policy.rules import ApprovalRule, Link, PolicySource, Rule

Row = Rule | Link | ApprovalRule
OneRow = TypeVar("OneRow")


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change of one row. ``index`` is the row's place among the rows of its kind."""

    kind: Literal["rule", "link", "approval"]
    index: int
    row: Row
    changed: Row | None
    """The row with the mistake; ``None`` when it is dropped."""
    what: str
    """The mistake in words."""

    @property
    def place(self) -> str:
        """``file:line`` of the row."""
        return f"{self.row.file}:{self.row.line}"

    @property
    def text(self) -> str:
        """The row as written."""
        row = self.row
        return f"g, {row.child}, {row.parent}, {row.dom}" if isinstance(row, Link) else row.text

    def applied(self, source: PolicySource) -> PolicySource:
        """``source`` with the mistake: the row is replaced, nothing is read again."""
        changed = self.changed
        if self.kind == "rule":
            rule = changed if isinstance(changed, Rule) else None
            return replace(source, rules=_swapped(source.rules, self.index, rule))
        if self.kind == "link":
            link = changed if isinstance(changed, Link) else None
            return replace(source, links=_swapped(source.links, self.index, link))
        line = changed if isinstance(changed, ApprovalRule) else None
        return replace(source, approvals=_swapped(source.approvals, self.index, line))

    def rows(self) -> Iterator[Row]:
        """The row, and what it became."""
        yield self.row
        if self.changed is not None:
            yield self.changed

    def holds_in(self, domain: str) -> bool:
        """Whether the row, before or after, speaks about a domain."""
        return any(domain_match(domain, row.dom) for row in self.rows())


def mutants(source: PolicySource, among: frozenset[str] | None = None) -> Iterator[Mutant]:
    """Every mutant of a policy, in the order of its rows.

    ``among`` are the keys of the rows to change (``argy.policy.coverage.changed_keys``); ``None``
    means all.
    """
    for index, rule in enumerate(source.rules):
        if among is None or rule.id in among:
            for changed, what in _of_rule(rule):
                yield Mutant("rule", index, rule, changed, what)
    for index, link in enumerate(source.links):
        if among is None or key_of_link(link) in among:
            yield Mutant("link", index, link, None, "the link is dropped")
            if wider := _wider_domain(link.dom):
                told = f"domain {link.dom} becomes {wider}"
                yield Mutant("link", index, link, replace(link, dom=wider), told)
    for index, line in enumerate(source.approvals):
        if line.mode == "off" or (among is not None and line.id not in among):
            continue
        yield Mutant("approval", index, line, None, "the approval is dropped")
        if line.condition:
            always = replace(line, condition="")
            yield Mutant("approval", index, line, always, "the condition is dropped")


def _of_rule(rule: Rule) -> Iterator[tuple[Rule | None, str]]:
    other: Literal["allow", "deny"] = "deny" if rule.effect == "allow" else "allow"
    yield None, "the rule is dropped"
    yield replace(rule, effect=other), f"effect {rule.effect} becomes {other}"
    kind = rule.obj.partition(":")[0]
    for wider in dict.fromkeys((f"{kind}:*", "*")):
        if rule.obj not in (wider, "*"):
            yield replace(rule, obj=wider), f"object {rule.obj} becomes {wider}"
    if rule.act != "*":
        yield replace(rule, act="*"), f"action {rule.act} becomes *"
    if where := _wider_domain(rule.dom):
        yield replace(rule, dom=where), f"domain {rule.dom} becomes {where}"
    if rule.condition:
        yield replace(rule, condition=""), "the condition is dropped"
        yield replace(rule, condition=f"!({rule.condition})"), "the condition is negated"


def _wider_domain(domain: str) -> str:
    """The next wider domain; empty when there is none."""
    if domain == "*":
        return ""
    return domain.partition("/")[0] if "/" in domain else "*"


def _swapped(rows: tuple[OneRow, ...], index: int, changed: OneRow | None) -> tuple[OneRow, ...]:
    middle: tuple[OneRow, ...] = () if changed is None else (changed,)
    return (*rows[:index], *middle, *rows[index + 1 :])
