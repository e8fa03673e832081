"""Anchored globs: ``*`` stands for any run of characters, everything else for itself.

No other wildcard exists, so a ``.`` in a name is a dot and a pattern can neither match a part of
a name nor run away: matching walks the text once, by literal pieces.
"""

from functools import lru_cache
from typing import Final

MAX_STARS = 8
NAMED_ONLY_ACTIONS: Final = frozenset(("act_for",))
"""Actions that no wildcard of a row matches, whatever the row's effect.

Who acts for others is each of them, with more rights than any row shows: ``*`` for an
administrator must not make a service the voice of every person. A denial's wildcard doesn't match
either, for Casbin's matcher doesn't know the effect; the linter tells of one (P305).
"""


class Glob:
    """A compiled pattern."""

    __slots__ = ("_middle", "_minimum", "_prefix", "_suffix", "any", "literal", "pattern")

    def __init__(self, pattern: str) -> None:
        pieces = pattern.split("*")
        self.pattern = pattern
        self.literal = len(pieces) == 1
        self.any = pattern == "*"
        self._prefix = pieces[0]
        self._suffix = pieces[-1]
        self._middle = tuple(piece for piece in pieces[1:-1] if piece)
        self._minimum = len(self._prefix) + len(self._suffix)

    def matches(self, text: str) -> bool:
        """Whether the whole of ``text`` fits."""
        if self.literal:
            return text == self.pattern
        if len(text) < self._minimum or not text.startswith(self._prefix):
            return False
        if not text.endswith(self._suffix):
            return False
        at, end = len(self._prefix), len(text) - len(self._suffix)
        for piece in self._middle:
            found = text.find(piece, at, end)
            if found < 0:
                return False
            at = found + len(piece)
        return True


@lru_cache(maxsize=4096)
def compiled_glob(pattern: str) -> Glob:
    """The compiled form of ``pattern``, shared."""
    return Glob(pattern)


def glob_match(text: str, pattern: str) -> bool:
    """``objMatch`` of the model: does ``pattern`` fit the whole of ``text``."""
    return compiled_glob(pattern).matches(text)


def action_match(action: str, pattern: str) -> bool:
    """``actMatch`` of the model: as ``objMatch``, but for ``NAMED_ONLY_ACTIONS``."""
    if action in NAMED_ONLY_ACTIONS:
        return action == pattern
    return compiled_glob(pattern).matches(action)


def covers(wide: str, narrow: str) -> bool:
    """Whether every text that ``narrow`` matches is matched by ``wide`` too. Exact.

    ``narrow`` is read as a text in which ``*`` is a character of its own. No literal piece of
    ``wide`` has that character, so only a wildcard can take it, and a wildcard takes whatever may
    stand in its place. The other way round, a text with a character that ``wide`` doesn't name in
    each of those places is one that ``narrow`` matches.
    """
    return compiled_glob(wide).matches(narrow)


def overlaps(one: str, other: str) -> bool:
    """Whether some text is matched by both globs. Exact.

    Two globs with wildcards meet when their beginnings and their ends agree: the longer beginning,
    the pieces of the one, the pieces of the other and the longer end make such a text.
    """
    if "*" not in one:
        return compiled_glob(other).matches(one)
    if "*" not in other:
        return compiled_glob(one).matches(other)
    start, other_start = one.partition("*")[0], other.partition("*")[0]
    end, other_end = one.rpartition("*")[2], other.rpartition("*")[2]
    starts_agree = start.startswith(other_start) or other_start.startswith(start)
    return starts_agree and (end.endswith(other_end) or other_end.endswith(end))


def action_covers(wide: str, narrow: str) -> bool:
    """``covers`` for the actions of two rows. Exact."""
    return wide == narrow if narrow in NAMED_ONLY_ACTIONS else covers(wide, narrow)


def action_overlaps(one: str, other: str) -> bool:
    """``overlaps`` for the actions of two rows. Exact: two wildcards meet in more than one name."""
    if not NAMED_ONLY_ACTIONS.isdisjoint((one, other)):
        return one == other
    return overlaps(one, other)


def domain_match(domain: str, pattern: str) -> bool:
    """``domainMatch`` of the model.

    ``*`` is every tenant, ``acme`` the tenant and each org in it, ``acme/research`` that org only.
    """
    return (
        pattern == "*"
        or domain == pattern
        or ("/" not in pattern and domain.startswith(f"{pattern}/"))
    )


def domain_covers(wide: str, narrow: str) -> bool:
    """Whether every domain that ``narrow`` matches is matched by ``wide`` too. Exact."""
    return domain_match(narrow, wide)


def domain_overlaps(one: str, other: str) -> bool:
    """Whether some domain is matched by both: patterns of domains are nested or apart."""
    return domain_match(one, other) or domain_match(other, one)


def domain_of(tenant: str, org: str) -> str:
    """The Casbin domain of a tenant, or of an org in it."""
    return f"{tenant}/{org}" if org else tenant
