"""Where two lists of lines answer differently, exactly, told in the globs of the lines."""

from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from dataclasses import dataclass
from typing import Final, Generic, NamedTuple, TypeVar

from argy.policy.atoms import TooManyAtoms, action_atoms, object_atoms
from argy.policy.budget import spender
from argy.policy.compare.regions import Cell, Grid, Region, overlap

MAX_ATOMS: Final = 50_000
"""Classes of objects, and of actions, in one comparison."""
MAX_CELLS: Final = 1_000_000
"""Pairs of these that are compared."""
MAX_REGIONS: Final = 12
"""Regions that one kind of change is told in; more become their common globs, "in parts"."""
_FEW: Final = 64
"""Differing lines up to which it pays to look only at the lines that overlap with them."""

What = TypeVar("What")
Outcome = TypeVar("Outcome")
Said = TypeVar("Said", covariant=True)


class Line(NamedTuple, Generic[Said]):
    """A rule or a line of approvals without its subject and domain."""

    resource: str
    action: str
    what: Said


Conclude = Callable[[tuple[What, ...]], Outcome]
"""Puts the lines that match one question together."""


@dataclass(frozen=True, slots=True)
class Difference(Generic[What, Outcome]):
    """A region of questions that are answered differently, and the lines that make it so."""

    region: Region
    before: Outcome
    after: Outcome
    lines: frozenset[Line[What]]
    """Of the differing lines those that match there."""
    parts: tuple[Region, ...] = ()
    """Exactly where in the region, when there are too many to tell; empty for all of it."""

    def told_after(self) -> str:
        """What holds after, and where it doesn't."""
        return f"{self.after}{'; only in parts' if self.parts else self.region.limits()}"


def relevant(lines: Iterable[Line[What]], differing: Set[Line[What]]) -> tuple[Line[What], ...]:
    """The lines that can matter where ``differing`` match, once each, in order."""
    distinct = tuple(dict.fromkeys(lines))
    if len(differing) > _FEW:
        return distinct
    return tuple(line for line in distinct if _overlaps(line, differing))


def _overlaps(line: Line[What], differing: Set[Line[What]]) -> bool:
    spender()()
    return any(
        overlap(line.action, other.action) and overlap(line.resource, other.resource)
        for other in differing
    )


def differences(
    base: tuple[Sequence[Line[What]], Conclude[What, Outcome]],
    head: tuple[Sequence[Line[What]], Conclude[What, Outcome]],
    differing: Set[Line[What]],
) -> Iterator[Difference[What, Outcome]]:
    """Compare the answers of two lists of lines where ``differing`` match.

    Raises:
        TooManyAtoms: when the globs overlap in too many ways to compare them all.
    """
    lines = {*base[0], *head[0]}
    grid = Grid(
        object_atoms({line.resource for line in lines}, limit=MAX_ATOMS),
        action_atoms({line.action for line in lines}, limit=MAX_ATOMS),
    )
    touched = _touched(grid, differing)
    answers = (_Answers(grid, *base), _Answers(grid, *head))
    classes: dict[tuple[Outcome, Outcome], set[Cell]] = {}
    spend = spender()
    for cell in sorted(touched):
        spend()
        before, after = (answer.to(cell) for answer in answers)
        if before != after:
            classes.setdefault((before, after), set()).add(cell)
    for (before, after), cells in classes.items():
        seeds = {(line.resource, line.action) for cell in cells for line in touched[cell]}
        regions = grid.regions(cells, seeds)
        parts: tuple[Region, ...] = ()
        entangled = len(regions) > 2 and any(region.also for region, _ in regions)
        if (entangled or len(regions) > MAX_REGIONS) and len(seeds) < len(regions):
            parts = tuple(sorted(region for region, _ in regions))
            regions = grid.around(cells, seeds)
        for region, inside in regions:
            blamed = frozenset(line for cell in inside for line in touched[cell])
            yield Difference(region, before, after, blamed, parts)


def _touched(grid: Grid, differing: Set[Line[What]]) -> dict[Cell, list[Line[What]]]:
    touched: dict[Cell, list[Line[What]]] = {}
    count, spend = 0, spender()
    for line in differing:
        spend()
        for cell in grid.cells(line.resource, line.action):
            touched.setdefault(cell, []).append(line)
            count += 1
            if count > MAX_CELLS:
                raise TooManyAtoms(
                    f"the changed rules overlap in more than {MAX_CELLS} ways; change fewer at once"
                )
    return touched


class _Answers(Generic[What, Outcome]):
    """Decides cells under one policy's lines. Cells that the same lines match are decided once."""

    def __init__(
        self, grid: Grid, lines: Iterable[Line[What]], conclude: Conclude[What, Outcome]
    ) -> None:
        self._grid = grid
        self._conclude = conclude
        self._known: dict[tuple[What, ...], Outcome] = {}
        self._about: dict[int, list[Line[What]]] = {}
        self._by_resource: dict[str, list[tuple[int, Line[What]]]] = {}
        for order, line in enumerate(lines):
            self._by_resource.setdefault(line.resource, []).append((order, line))

    def to(self, cell: Cell) -> Outcome:
        obj, act = cell
        actions = self._grid.actions[act].patterns
        matching = tuple(line.what for line in self._lines(obj) if line.action in actions)
        if matching not in self._known:
            self._known[matching] = self._conclude(matching)
        return self._known[matching]

    def _lines(self, obj: int) -> list[Line[What]]:
        """The lines for a class of objects, in order."""
        if obj not in self._about:
            names = self._grid.objects[obj].patterns
            found = [item for name in names for item in self._by_resource.get(name, ())]
            found.sort(key=lambda item: item[0])
            self._about[obj] = [line for _, line in found]
        return self._about[obj]
