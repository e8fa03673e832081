"""What the rules that match one question amount to, with their conditions left as symbols.

A normal form for each of Casbin's effects: two lists of rules have the same one exactly when they
decide alike whatever their conditions say, each condition being true, false or without an answer
(which denies). Conditions are compared by their text; nothing is known about what they mean.
"""

import itertools
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from argy.policy.combining import by_precedence
from argy.policy.model import Effect
from argy.policy.rules import ApprovalMode, ApprovalRule, RuleEffect

MAX_COMPARED: Final = 6
"""Conditions over which ``implies`` tries every valuation: 3^6 of them."""
_TOKEN: Final = re.compile(
    r"""[bB]?(?:\"{3}.*?\"{3}|'{3}.*?'{3}|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')"""
    r"""|\s+|\bin\b|&&|\|\||[=!<>]=|\w+|.""",
    re.DOTALL,
)
_OPAQUE: Final = re.compile(r"""[rR][bB]?["']|\"{3}|'{3}""")
"""Raw and triple-quoted strings, which end where the pieces above don't always say."""
_SPACED: Final = frozenset(("&&", "||", "==", "!=", "<=", ">=", "<", ">", "?", ":", "in"))
_TIGHT: Final = frozenset("!()[]{},") | _SPACED
"""Tokens around which white space has no meaning in CEL."""

Matching = tuple[RuleEffect, str]
"""A rule that matches: its effect and the normal form of its condition, empty for none."""
Clause = tuple[RuleEffect, tuple[str, ...]]
"""An effect, and the conditions of which one must hold for it; an empty one always holds."""


@dataclass(frozen=True, slots=True, order=True)
class Access:
    """The first clause that holds decides; without one the answer is no."""

    clauses: tuple[Clause, ...] = ()
    """Effects alternate and the last one is allow."""
    needs: tuple[str, ...] = ()
    """Conditions that must have an answer, whatever it is."""

    @property
    def denied(self) -> bool:
        """Whether the answer is no in every case."""
        return not self.clauses

    def __str__(self) -> str:
        """For people: ``allowed if …``."""
        if not self.clauses:
            return "denied"
        *before, (_, last) = self.clauses
        text = "allowed" if last == ("",) else f"allowed if {_either(last)}"
        if len(before) == 1:
            text += f" unless {_either(before[0][1])}"
        elif before:
            steps = [f"{effect} if {_either(conditions)}" for effect, conditions in before]
            text = f"first of: {', then '.join((*steps, text))}"
        if self.needs:
            text += f", where {_either(self.needs, 'and')} must have an answer"
        return text


DENIED: Final = Access()
ALLOWED: Final = Access((("allow", ("",)),))


def access(matching: Iterable[Matching], effect: Effect) -> Access:
    """The normal form of the rules that match, in the policy's order, under ``effect``."""
    rules = (item for item in matching if item[1] != "false")
    return _normal(by_precedence(effect, rules, ""))


def _normal(rules: Iterable[Matching]) -> Access:
    """The rules as a list of which the first that holds decides, without what can't matter."""
    runs: list[tuple[RuleEffect, set[str]]] = []
    needs: set[str] = set()
    seen: set[str] = set()
    settled = False
    for effect, condition in rules:
        if condition in seen:
            continue
        seen.add(condition)
        if settled:
            needs.add(condition)
        elif runs and runs[-1][0] == effect:
            runs[-1][1].add(condition)
        else:
            runs.append((effect, {condition}))
        settled = settled or not condition
    # A denial at the end changes nothing but that its condition must have an answer.
    while runs and runs[-1][0] == "deny":
        needs |= runs.pop()[1]
    if not runs:
        return DENIED
    if "" in runs[-1][1]:
        needs |= runs[-1][1]
        runs[-1] = ("allow", {""})
    clauses = tuple((effect, tuple(sorted(conditions))) for effect, conditions in runs)
    return Access(clauses, tuple(sorted(needs - {""})))


def implies(narrow: Access, wide: Access) -> bool:
    """Whether ``wide`` allows whenever ``narrow`` does; no when there is too much to try."""
    names = sorted({*conditions(narrow), *conditions(wide)})
    if len(names) > MAX_COMPARED:
        return narrow == wide
    return all(
        allows(wide, valuation)
        for values in itertools.product((True, False, None), repeat=len(names))
        for valuation in [dict(zip(names, values, strict=True))]
        if allows(narrow, valuation)
    )


def allows(entry: Access, valuation: Mapping[str, bool | None]) -> bool:
    """The decision when each condition is true, false, or without an answer (``None``)."""
    if any(valuation[name] is None for name in conditions(entry)):
        return False
    for effect, names in entry.clauses:
        if any(not name or valuation[name] for name in names):
            return effect == "allow"
    return False


def conditions(entry: Access) -> set[str]:
    """The conditions that take part."""
    named = {name for _, names in entry.clauses for name in names}
    return (named | set(entry.needs)) - {""}


Requirement = tuple[int, tuple[str, ...], int, str]
"""Approvals, roles, seconds until it expires, condition."""


@dataclass(frozen=True, slots=True, order=True)
class Gating:
    """What the approvals ask for when the rules allow."""

    requires: tuple[Requirement, ...] = ()
    automatic: tuple[str, ...] = ()
    """Conditions under which the answer says that approval was automatic."""

    def __str__(self) -> str:
        """For people: ``needs 2 approvals by …``."""
        parts = []
        for count, roles, seconds, condition in self.requires:
            noun = "approval" if count == 1 else "approvals"
            given = f" if {condition}" if condition else ""
            within = f" within {_lasting(seconds)}"
            parts.append(f"needs {count} {noun} by {' or '.join(roles)}{within}{given}")
        if self.automatic:
            given = "" if "" in self.automatic else f" if {_either(self.automatic)}"
            parts.append(f"approved by itself{given}")
        return " and ".join(parts) or "needs no approval"


UNGATED: Final = Gating()


def gating(matching: Iterable[tuple[ApprovalMode, Requirement]]) -> Gating:
    """The normal form of the approvals' lines in force that match."""
    lines = set(matching)
    requires = {requirement for mode, requirement in lines if mode == "require"}
    always = {(*asked, "") for *asked, condition in requires if not condition}
    if always:
        kept = {item for item in requires if not item[3] or (*item[:3], "") not in always}
        return Gating(tuple(sorted(kept)))
    automatic = {condition for mode, (*_, condition) in lines if mode == "auto"}
    automatic -= {condition for *_, condition in requires}
    return Gating(tuple(sorted(requires)), ("",) if "" in automatic else tuple(sorted(automatic)))


def requirement(rule: ApprovalRule) -> tuple[ApprovalMode, Requirement]:
    """What a line of the approvals says, without where."""
    roles = tuple(sorted(rule.roles))
    return rule.mode, (rule.approvals, roles, rule.expires_s, normal_text(rule.condition))


@lru_cache(maxsize=16_384)
def normal_text(condition: str) -> str:
    """A condition without the white space that has no meaning; ``true`` is empty."""
    text = condition.strip()
    if text == "true":
        return ""
    if _OPAQUE.search(text):
        return text  # rare enough to leave alone
    pieces = _TOKEN.findall(text)
    if "//" in "".join(piece for piece in pieces if piece[-1] not in "\"'"):
        return text  # a comment ends at the end of its line
    kept: list[str] = []
    for at, piece in enumerate(pieces):
        if piece in _SPACED:
            kept.append(f" {piece} ")
        elif piece == ",":
            kept.append(", ")
        elif not piece.isspace():
            kept.append(piece)
        elif pieces[at - 1] not in _TIGHT and pieces[at + 1] not in _TIGHT:
            kept.append(" ")
    return "".join(kept).strip()


def _either(names: Collection[str], word: str = "or") -> str:
    if len(names) == 1:
        return next(iter(names))
    return f" {word} ".join(f"({name})" for name in names)


def _lasting(seconds: int) -> str:
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds % size == 0:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"
