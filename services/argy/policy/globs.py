"""Anchored globs: ``*`` stands for any run of characters, everything else for itself.

No other wildcard exists, so a ``.`` in a name is a dot and a pattern can neither match a part of
a name nor run away: matching walks the text once, by literal pieces.
"""

from functools import lru_cache

MAX_STARS = 8


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
    """``objMatch`` and ``actMatch`` of the model: does ``pattern`` fit the whole of ``text``."""
    return compiled_glob(pattern).matches(text)


def domain_match(domain: str, pattern: str) -> bool:
    """``domainMatch`` of the model.

    ``*`` is every tenant, ``acme`` the tenant and each org in it, ``acme/research`` that org only.
    """
    return (
        pattern == "*"
        or domain == pattern
        or ("/" not in pattern and domain.startswith(f"{pattern}/"))
    )


def domain_of(tenant: str, org: str) -> str:
    """The Casbin domain of a tenant, or of an org in it."""
    return f"{tenant}/{org}" if org else tenant
