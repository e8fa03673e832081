"""Exact classes of concrete strings under a set of globs: one witness for each that exists.

Two strings are of one class when exactly the same globs match them; a policy can't tell them
apart. So a statement about all actions or all objects is checked on one witness of each class.

The classes are the reachable acceptance sets of the product of all globs' automata, which is
built on the fly, breadth first, so that each witness is a shortest one. From a state only the
characters that some glob waits for lead to states of their own; every other allowed character
leads to the same one, so one of them stands for all (none, when each of them is waited for). What
a glob has before its first ``*`` lives in a trie; that keeps thousands of names linear.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from string import ascii_lowercase, ascii_uppercase, digits
from typing import Final, NamedTuple

from argy.base.errors import InvalidArgument
from argy.policy.budget import spender
from argy.policy.globs import NAMED_ONLY_ACTIONS

STATES_PER_ATOM: Final = 64
"""States that are visited for each atom of the limit: names are about as long."""
_FIRST: Final = "xyz" + ascii_lowercase[:23]
_TYPE: Final = _FIRST + digits + "_."
_ID: Final = _TYPE + "-" + ascii_uppercase + "@+/=:"
"""Characters that a question may have (argy.api.authz.v1.Question), the preferred first."""
_OTHERS: Final = range(0x4E00, 0xA000)
"""Letters that stand for all other ones in an id or an action, which may have any."""


class TooManyAtoms(InvalidArgument):
    """The globs overlap in more ways than the limit allows."""

    default_reason = "POLICY_TOO_COMPLEX"


@dataclass(frozen=True, slots=True)
class Atom:
    """One class: a shortest string of it, and the globs that match each string of it."""

    witness: str
    patterns: frozenset[str]

    @property
    def kind(self) -> str:
        """The type of an object's witness; an action's is empty."""
        kind, colon, _ = self.witness.partition(":")
        return kind if colon else ""


class _Phase(NamedTuple):
    """What may follow at one place of a string."""

    allowed: str
    after: int
    """The phase that follows an allowed character."""
    colon: int = -1
    """The phase that follows a colon; -1 where none may stand."""
    accepts: bool = False
    any_char: bool = False
    """Whether characters beyond ``allowed`` may stand here too."""


_OBJECT: Final = (
    _Phase(_FIRST, 1),
    _Phase(_TYPE, 1, 2),
    _Phase(_ID, 3, any_char=True),
    _Phase(_ID, 3, accepts=True, any_char=True),
)
_ACTION: Final = (_Phase(_ID, 1, any_char=True), _Phase(_ID, 1, accepts=True, any_char=True))
_DEAD: Final = -1
_State = tuple[int, int, tuple[int, ...]]
"""Phase, node of the trie or ``_DEAD``, and the positions behind first stars, ascending."""


def atoms(patterns: Collection[str], *, limit: int) -> list[Atom]:
    """``object_atoms`` where a glob names a type (has a colon), otherwise ``action_atoms``."""
    known_as_objects = any(":" in pattern for pattern in patterns)
    return (object_atoms if known_as_objects else action_atoms)(patterns, limit=limit)


def object_atoms(patterns: Collection[str], *, limit: int) -> list[Atom]:
    """The classes of objects (``type:id``), by type and then by witness.

    Raises:
        TooManyAtoms: past ``limit`` classes, or ``limit`` × ``STATES_PER_ATOM`` states.
    """
    found = _explore(patterns, _OBJECT, limit)
    return sorted(found, key=lambda atom: (atom.kind, atom.witness))


def action_atoms(patterns: Collection[str], *, limit: int) -> list[Atom]:
    """The classes of actions, by witness.

    Raises:
        TooManyAtoms: past ``limit`` classes, or ``limit`` × ``STATES_PER_ATOM`` states.
    """
    # Named to the automata, so that no other class has such an action for its witness.
    named = {*patterns, *NAMED_ONLY_ACTIONS}
    found: dict[frozenset[str], Atom] = {}
    for atom in _explore(named, _ACTION, limit):
        if atom.witness not in NAMED_ONLY_ACTIONS:
            found[atom.patterns] = atom
    for action in sorted(NAMED_ONLY_ACTIONS):
        matching = frozenset((action,)).intersection(patterns)
        found.setdefault(matching, Atom(action, matching))
    return sorted(found.values(), key=lambda atom: atom.witness)


class _Product:
    """The automata of all globs. Positions of one glob are consecutive and ascend."""

    def __init__(self, patterns: Collection[str]) -> None:
        self.patterns = sorted(set(patterns))
        self.children: list[dict[str, int]] = [{}]
        self._ends: dict[int, int] = {}
        """Node: the glob without a star that ends there."""
        self._starts: dict[int, list[int]] = {}
        """Node: the positions right behind first stars that begin there."""
        self.wanted: list[str] = []
        """The character that leads from a position to the next one; empty at a glob's end."""
        self._loops: list[bool] = []
        self._owner: list[int] = []
        for number, pattern in enumerate(self.patterns):
            self._add(number, pattern)

    def _add(self, number: int, pattern: str) -> None:
        prefix, *pieces = pattern.split("*")
        node = 0
        for char in prefix:
            following = self.children[node].get(char)
            if following is None:
                following = self.children[node][char] = len(self.children)
                self.children.append({})
            node = following
        if not pieces:
            self._ends[node] = number
            return
        self._starts.setdefault(node, []).append(len(self.wanted))
        inner = [piece for piece in pieces[:-1] if piece]
        # Each piece follows a star; the last one is empty when the glob ends with a star.
        for piece in (*inner, pieces[-1]):
            for place, char in enumerate(piece):
                self._position(number, char, loops=place == 0)
        self._position(number, "", loops=not pieces[-1])

    def _position(self, number: int, char: str, *, loops: bool) -> None:
        self.wanted.append(char)
        self._loops.append(loops)
        self._owner.append(number)

    def start(self) -> _State:
        return 0, 0, tuple(self._starts.get(0, ()))

    def step(self, state: _State, char: str, phase: int) -> _State:
        _, node, active = state
        reached = {at for at in active if self._loops[at]}
        reached |= {at + 1 for at in active if self.wanted[at] == char}
        if node != _DEAD:
            node = self.children[node].get(char, _DEAD)
            reached.update(self._starts.get(node, ()))
        return phase, node, self._without_past(reached)

    def _without_past(self, reached: set[int]) -> tuple[int, ...]:
        """Behind a later star of the same glob, whatever came before it no longer matters."""
        kept: list[int] = []
        settled: set[int] = set()
        for at in sorted(reached, reverse=True):
            if self._owner[at] not in settled:
                kept.append(at)
                if self._loops[at]:
                    settled.add(self._owner[at])
        return tuple(reversed(kept))

    def accepted(self, state: _State) -> tuple[int, ...]:
        _, node, active = state
        found = {self._owner[at] for at in active if not self.wanted[at]}
        if node in self._ends:
            found.add(self._ends[node])
        return tuple(sorted(found))


def _explore(patterns: Collection[str], phases: tuple[_Phase, ...], limit: int) -> Iterator[Atom]:
    product = _Product(patterns)
    start = product.start()
    seen = {start}
    classes: set[tuple[int, ...]] = set()
    edge: list[tuple[_State, str]] = [(start, "")]
    spend = spender()
    while edge:
        following: list[tuple[_State, str]] = []
        for state, text in edge:
            spend()
            if phases[state[0]].accepts and (found := product.accepted(state)) not in classes:
                classes.add(found)
                yield Atom(text, frozenset(product.patterns[number] for number in found))
            for char, phase in _moves(product, state, phases):
                after = product.step(state, char, phase)
                if after not in seen:
                    seen.add(after)
                    following.append((after, text + char))
            if len(classes) > limit or len(seen) > limit * STATES_PER_ATOM:
                raise TooManyAtoms(
                    f"{len(product.patterns)} globs overlap in more than {limit} ways; use fewer "
                    "stars in one glob"
                )
        edge = following


def _moves(
    product: _Product, state: _State, phases: tuple[_Phase, ...]
) -> Iterator[tuple[str, int]]:
    """The characters that lead to different states, each with the phase that it leads to."""
    number, node, active = state
    phase = phases[number]
    wanted = {product.wanted[at] for at in active}
    if node != _DEAD:
        wanted.update(product.children[node])
    fresh = next((char for char in phase.allowed if char not in wanted), "")
    if phase.any_char:
        fresh = fresh or next(chr(code) for code in _OTHERS if chr(code) not in wanted)
    if fresh:
        yield fresh, phase.after
    for char in phase.allowed:
        if char in wanted:
            yield char, phase.after
    if phase.any_char:
        for char in sorted(wanted.difference(phase.allowed, ("",))):
            yield char, phase.after
    if phase.colon >= 0:
        yield ":", phase.colon
