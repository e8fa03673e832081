"""What the cases of a policy cover: its rows, and the cells of role × action.

A *rule* is covered when it decided at least one case. When it has a condition, it must also have
matched a case in everything but the condition, which was false there: a condition that was never
seen to hold back is not tested. A rule that matched and never decided (a denial or an earlier rule
spoke first) is not covered.

A *link* is covered when some deciding rule was reached through it. A *line of the approvals* that
requires approvers is covered when some decision asked for it; lines that are ``auto`` or ``off``
aren't counted.

A *cell* is a role (or service) with an action that some rule names without a wildcard. It is
covered when a case asked that action of a subject that holds the role there, itself or by a link.
Cells are told, and never fail a run: that a role can't do what it never could needs no case.
"""

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final, Literal

from argy.policy.cases.answers import Asker, CaseResult
from argy.policy.cases.questions import Question
from argy.policy.compiled import CompiledPolicy
from argy.policy.globs import domain_match
from argy.policy.rules import CONDITION_ERROR, Link, PolicySource

Kind = Literal["rule", "link", "approval"]
_COUNTED_MODE: Final = "require"


@dataclass(slots=True)
class Observed:
    """What was seen while cases ran; the keys are those of ``key_of_link`` and of rules' ids."""

    decided: set[str] = field(default_factory=set)
    matched: set[str] = field(default_factory=set)
    held_back: set[str] = field(default_factory=set)
    """Rules that matched but for their condition, which was false."""
    links: set[str] = field(default_factory=set)
    approvals: set[str] = field(default_factory=set)
    cells: set[tuple[str, str]] = field(default_factory=set)

    def add(self, other: "Observed") -> None:
        """Take over what ``other`` saw."""
        self.decided |= other.decided
        self.matched |= other.matched
        self.held_back |= other.held_back
        self.links |= other.links
        self.approvals |= other.approvals
        self.cells |= other.cells


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the policy, whether cases cover it, and what is missing if not."""

    kind: Kind
    file: str
    line: int
    text: str
    missing: str
    """Empty when it is covered."""
    changed: bool

    @property
    def place(self) -> str:
        """``file:line``."""
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True)
class Coverage:
    """The rows in the policy's order, and the cells."""

    rows: tuple[Row, ...]
    cells: tuple[tuple[str, str], ...]
    uncovered_cells: tuple[tuple[str, str], ...]
    based: bool
    """Whether changed rows are told apart: a base was given."""

    @property
    def uncovered(self) -> list[Row]:
        """Rows that no case covers."""
        return [row for row in self.rows if row.missing]

    @property
    def uncovered_changes(self) -> list[Row]:
        """Changed rows that no case covers; these fail a run."""
        return [row for row in self.rows if row.missing and row.changed]

    @property
    def percent(self) -> float:
        """Covered rows in a hundred; 100 for a policy without rows."""
        return _percent(len(self.rows) - len(self.uncovered), len(self.rows))

    @property
    def cell_percent(self) -> float:
        """Covered cells in a hundred."""
        return _percent(len(self.cells) - len(self.uncovered_cells), len(self.cells))


class Observer:
    """Notes what cases show about one policy.

    On pycasbin (a model that doesn't compile) it notes only what decided.
    """

    def __init__(self, policy: CompiledPolicy, seen: Observed) -> None:
        self._policy = policy
        self._seen = seen
        self._links: dict[tuple[str, str], list[Link]] = {}
        for link in policy.links:
            self._links.setdefault((link.child, link.parent), []).append(link)

    def note(self, asker: Asker, result: CaseResult) -> None:
        """Note one case with its answer."""
        question, decision, seen = result.question, result.decision, self._seen
        if decision.rule is not None and decision.reason != CONDITION_ERROR:
            seen.decided.add(decision.rule.id)
        for step in itertools.pairwise(decision.role_path):
            seen.links.update(
                key_of_link(link)
                for link in self._links.get(step, ())
                if domain_match(question.domain, link.dom)
            )
        seen.approvals.update(line.id for line in decision.approvals)
        snapshot = asker.snapshot(question.tenant)
        held = snapshot.holding(question.subject, question.org, question.at_ms)
        if held.fixed is not None or ":" not in question.obj:
            return
        seen.cells.update((name, question.act) for name in held.view.paths)
        if self._policy.compiled:
            self._match(question, held.view.paths)

    def _match(self, question: Question, names: Iterable[str]) -> None:
        for rule, holds, _ in self._policy.judged(names, question.facts):
            if holds is not None:
                (self._seen.matched if holds else self._seen.held_back).add(rule.id)


def coverage(
    source: PolicySource, seen: Observed, changed: frozenset[str] | None = None
) -> Coverage:
    """Judge every row of a policy. ``changed`` are the keys of altered rows; ``None``: no base."""
    among = changed or frozenset()
    rows = [
        Row("rule", rule.file, rule.line, rule.text, _missing(rule.id, rule.condition, seen),
            rule.id in among)
        for rule in source.rules
    ]  # fmt: skip
    for link in source.links:
        key = key_of_link(link)
        missing = "" if key in seen.links else "no case is decided by what it passes on"
        text = f"g, {link.child}, {link.parent}, {link.dom}"
        rows.append(Row("link", link.file, link.line, text, missing, key in among))
    for line in source.approvals:
        if line.mode == _COUNTED_MODE:
            missing = "" if line.id in seen.approvals else "no case is asked for it"
            rows.append(Row("approval", line.file, line.line, line.text, missing, line.id in among))
    cells = tuple(_cells(source))
    return Coverage(
        tuple(sorted(rows, key=lambda row: (row.file, row.line))),
        cells,
        tuple(cell for cell in cells if cell not in seen.cells),
        changed is not None,
    )


def changed_keys(base: PolicySource, head: PolicySource) -> frozenset[str]:
    """The rows of ``head`` that ``base`` doesn't have: added, or altered in any column."""
    return frozenset(_keys(head)) - frozenset(_keys(base))


def key_of_link(link: Link) -> str:
    """What tells a link from every other one, wherever it stands."""
    return f"{link.child}>{link.parent}@{link.dom}"


def _keys(source: PolicySource) -> Iterator[str]:
    yield from (rule.id for rule in source.rules)
    yield from (key_of_link(link) for link in source.links)
    yield from (line.id for line in source.approvals)


def _missing(rule_id: str, condition: str, seen: Observed) -> str:
    if rule_id not in seen.decided:
        if rule_id in seen.matched:
            return "matches cases, and decides none"
        return "no case matches it" + (" with its condition true" if condition else "")
    if condition and rule_id not in seen.held_back:
        return "no case has its condition false"
    return ""


def _cells(source: PolicySource) -> Iterator[tuple[str, str]]:
    names = {rule.role for rule in source.rules} | {link.child for link in source.links}
    actions = {rule.act for rule in source.rules if "*" not in rule.act}
    for name in sorted(names):
        for action in sorted(actions):
            yield name, action


def _percent(part: int, whole: int) -> float:
    return 100.0 if not whole else 100.0 * part / whole
