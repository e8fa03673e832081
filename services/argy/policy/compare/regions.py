"""Puts classes of questions back into few globs that people read.

Classes (``argy.policy.atoms``) are exact and many; authors think in the globs of their rules. A
set of (object class, action class) cells is covered by rectangles "glob of objects × glob of
actions", each with the exceptions that make it exact, so that nothing is claimed of a question
that is not in the set.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence, Set
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from argy.policy.atoms import Atom
from argy.policy.budget import spender
from argy.policy.globs import action_match, glob_match

_MAX_CANDIDATES: Final = 4_000
"""Pairs of globs that are tried as exceptions of one rectangle."""

Cell = tuple[int, int]
"""Numbers of an object class and an action class."""


@dataclass(frozen=True, slots=True, order=True)
class Region:
    """Questions about ``resource`` × ``action`` that match ``also``, without the exceptions."""

    resource: str
    action: str
    also: tuple[tuple[str, str], ...] = ()
    exceptions: tuple[tuple[str, str], ...] = ()

    def covers(self, obj: str, act: str) -> bool:
        """Whether a concrete question is in it."""
        return all(
            glob_match(obj, resource) and action_match(act, action)
            for resource, action in ((self.resource, self.action), *self.also)
        ) and not any(
            glob_match(obj, resource) and action_match(act, action)
            for resource, action in self.exceptions
        )

    def limits(self) -> str:
        """What the two globs don't say, for people: ``; except delete``."""
        text = ""
        if self.also:
            text += f"; only {', '.join(self._told(pair) for pair in self.also)}"
        if self.exceptions:
            text += f"; except {', '.join(self._told(pair) for pair in self.exceptions)}"
        return text

    def _told(self, pair: tuple[str, str]) -> str:
        resource, action = pair
        if resource == self.resource:
            return action
        return f"on {resource}" if action == self.action else f"{action} on {resource}"


class Grid:
    """The classes that a comparison looks at, and which of them each glob covers."""

    def __init__(self, objects: Sequence[Atom], actions: Sequence[Atom]) -> None:
        self.objects, self.actions = objects, actions
        self._of_object = _covers(objects)
        self._of_action = _covers(actions)

    def cells(self, resource: str, action: str) -> Iterator[Cell]:
        """The cells of a rectangle."""
        acts = self._of_action.get(action, frozenset())
        for obj in self._of_object.get(resource, ()):
            for act in acts:
                yield obj, act

    def regions(
        self, wanted: Set[Cell], seeds: Iterable[tuple[str, str]]
    ) -> list[tuple[Region, frozenset[Cell]]]:
        """Cover ``wanted`` exactly. ``seeds`` are the rectangles that people would name.

        Greedy: the rectangle with the most wanted cells first; ties fall to the text.
        """
        found: list[tuple[Region, frozenset[Cell]]] = []
        left = set(wanted)
        for seed, inside in self._sized(wanted, seeds):
            if inside & left and (region := self._region(seed, wanted)) is not None:
                found.append((region, frozenset(inside)))
                left -= inside
        while left:
            region, inside = self._around(min(left), wanted)
            found.append((region, frozenset(inside)))
            left -= inside
        return found

    def around(
        self, wanted: Set[Cell], seeds: Iterable[tuple[str, str]]
    ) -> list[tuple[Region, frozenset[Cell]]]:
        """Seeds that together hold ``wanted``, and of it what each holds; they hold more, too."""
        found = []
        left = set(wanted)
        for seed, inside in self._sized(wanted, seeds):
            if inside & left:
                found.append((Region(*seed), frozenset(inside)))
                left -= inside
        return found

    def _sized(
        self, wanted: Set[Cell], pairs: Iterable[tuple[str, str]]
    ) -> list[tuple[tuple[str, str], set[Cell]]]:
        """Rectangles with what of ``wanted`` is in them, the largest first."""
        spend = spender()
        sized: list[tuple[tuple[str, str], set[Cell]]] = []
        for pair in sorted(set(pairs)):
            spend()
            sized.append((pair, {cell for cell in self.cells(*pair) if cell in wanted}))
        return sorted((item for item in sized if item[1]), key=lambda item: -len(item[1]))

    def _around(self, cell: Cell, wanted: Set[Cell]) -> tuple[Region, set[Cell]]:
        """The largest region around a cell; where globs can't tell it, the cell's own class."""
        resources = self.objects[cell[0]].patterns
        actions = self.actions[cell[1]].patterns
        pairs = [(resource, action) for resource in resources for action in actions]
        for pair, inside in self._sized(wanted, pairs):
            if (region := self._region(pair, wanted)) is not None:
                return region, inside
        resource = min(resources, key=lambda name: (len(self._of_object[name]), name))
        action = min(actions, key=lambda name: (len(self._of_action[name]), name))
        also = [(name, action) for name in sorted(resources) if name != resource]
        also += [(resource, name) for name in sorted(actions) if name != action]
        outside = [(name, action) for name in self._beside(self._of_object, resource, resources)]
        outside += [(resource, name) for name in self._beside(self._of_action, action, actions)]
        return Region(resource, action, tuple(also), tuple(outside)), {cell}

    @staticmethod
    def _beside(
        cover: dict[str, frozenset[int]], chosen: str, matching: Collection[str]
    ) -> list[str]:
        return sorted(
            name for name in cover if name not in matching and cover[name] & cover[chosen]
        )

    def _region(self, rectangle: tuple[str, str], wanted: Set[Cell]) -> Region | None:
        """The rectangle with its exceptions; ``None`` when globs can't tell these."""
        outside = {cell for cell in self.cells(*rectangle) if cell not in wanted}
        if not outside:
            return Region(*rectangle)
        exceptions = self._exceptions(rectangle, outside)
        return None if exceptions is None else Region(*rectangle, (), exceptions)

    def _exceptions(
        self, rectangle: tuple[str, str], outside: set[Cell]
    ) -> tuple[tuple[str, str], ...] | None:
        """Rectangles that together are ``outside``, the largest first."""
        resource, action = rectangle
        objects, actions = self._of_object[resource], self._of_action[action]
        resources = {name for obj in {c[0] for c in outside} for name in self.objects[obj].patterns}
        verbs = {name for act in {c[1] for c in outside} for name in self.actions[act].patterns}
        resources = {name for name in resources if not objects <= self._of_object[name]}
        verbs = {name for name in verbs if not actions <= self._of_action[name]}
        pairs = [(name, action) for name in resources] + [(resource, name) for name in verbs]
        if len(resources) * len(verbs) <= _MAX_CANDIDATES:
            pairs += [(name, verb) for name in resources for verb in verbs]
        sized = []
        spend = spender()
        for pair in pairs:
            spend()
            inside = {
                (obj, act)
                for obj in self._of_object[pair[0]] & objects
                for act in self._of_action[pair[1]] & actions
            }
            if inside and inside <= outside:
                sized.append((-len(inside), len(pair[0]) + len(pair[1]), pair, inside))
        chosen = []
        left = set(outside)
        for *_, pair, inside in sorted(sized, key=lambda item: item[:3]):
            if inside & left:
                chosen.append(pair)
                left -= inside
            if not left:
                return tuple(sorted(chosen))
        return None


def _covers(atoms: Sequence[Atom]) -> dict[str, frozenset[int]]:
    found: dict[str, set[int]] = {}
    for number, atom in enumerate(atoms):
        for pattern in atom.patterns:
            found.setdefault(pattern, set()).add(number)
    return {pattern: frozenset(numbers) for pattern, numbers in found.items()}


@lru_cache(maxsize=65_536)
def overlap(one: str, other: str) -> bool:
    """Whether some string fits both globs."""
    if "*" not in one or "*" not in other:
        return glob_match(one, other) or glob_match(other, one)
    seen: set[tuple[int, int]] = set()
    todo = [(0, 0)]
    while todo:
        at, there = todo.pop()
        if (at, there) in seen:
            continue
        seen.add((at, there))
        if at == len(one) and there == len(other):
            return True
        if at < len(one) and one[at] == "*":
            todo.append((at + 1, there))
            if there < len(other):
                todo.append((at, there + 1))
        elif there < len(other) and other[there] == "*":
            todo.append((at, there + 1))
            if at < len(one):
                todo.append((at + 1, there))
        elif at < len(one) and there < len(other) and one[at] == other[there]:
            todo.append((at + 1, there + 1))
    return False
