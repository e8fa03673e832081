"""What the check of an invariant finds: counterexamples, one for each subject and row."""

from dataclasses import dataclass
from typing import Final

from argy.policy.invariants.format import Placed
from argy.policy.mutation.mutants import Row
from argy.policy.space import Cell, Names, TooLarge

MAX_CELLS: Final = 2_000_000
"""Questions that are checked for one invariant."""
MAX_VIOLATIONS: Final = 200
"""Counterexamples that are told for one invariant."""


@dataclass(frozen=True, slots=True)
class Violation:
    """A counterexample: who can do what, where, by which row, and how conditions fall then."""

    placed: Placed
    cell: Cell
    row: Row | None
    """``None`` when the model allows by default."""
    truths: tuple[tuple[str, bool], ...]
    also: Cell | None = None
    """The other duty, for a separation."""
    expect: str = "DENY"

    @property
    def place(self) -> str:
        """``file:line`` of the row."""
        return f"{self.row.file}:{self.row.line}" if self.row else "no rule"

    @property
    def told(self) -> str:
        """The counterexample in words."""
        who = " with ".join(sorted(self.cell.names)) or "a subject without roles"
        also = f"{self.also.act} {self.also.obj} and " if self.also else ""
        text = f"{who} in {self.cell.domain}: {also}{self.cell.act} {self.cell.obj}"
        facts = [f"{'' if truth else 'not '}({condition})" for condition, truth in self.truths]
        return f"{text}, when {' and '.join(facts)}" if facts else text


@dataclass(frozen=True, slots=True)
class Checked:
    """One invariant with what was found; it holds when there is no violation."""

    placed: Placed
    cells: int
    """Questions that were checked."""
    violations: tuple[Violation, ...]


class Found:
    """Collects the violations of one invariant, the first of each subject and row."""

    __slots__ = ("_by_key",)

    def __init__(self) -> None:
        self._by_key: dict[tuple[Names, str], Violation] = {}

    def add(self, violation: Violation) -> None:
        """Keep the violation unless one like it is known, or there are too many."""
        if len(self._by_key) < MAX_VIOLATIONS:
            self._by_key.setdefault((violation.cell.names, violation.place), violation)

    def all(self) -> tuple[Violation, ...]:
        """The violations in the order in which they were found."""
        return tuple(self._by_key.values())


def bounded(placed: Placed, cells: int) -> int:
    """``cells``, if no more than are checked for one invariant.

    Raises:
        TooLarge: naming the invariant.
    """
    if cells > MAX_CELLS:
        raise TooLarge(
            f"{placed.file}:{placed.line} {placed.invariant.name}: {cells} questions, more than "
            f"{MAX_CELLS}; narrow its roles, domain, actions or resources",
            field="invariants",
        )
    return cells
