"""The text of a policy's file, whoever saved it, and the words that somebody may have meant."""

from collections.abc import Collection
from typing import Final

from argy.policy.errors import PolicyError, Problem

_MAX_COMPARED: Final = 1_000
"""Known names that another is compared with; more names mean that no list was kept anyway."""


def text_of(name: str, data: bytes) -> str:
    """The UTF-8 text of a file without byte-order mark (Excel's) and with LF for CR LF.

    So it is the same in every clone, whatever git's core.autocrlf made of it.

    Raises:
        PolicyError: naming the line that is no UTF-8.
    """
    try:
        return data.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        problem = Problem(name, line, "not UTF-8", "save the file as UTF-8")
        raise PolicyError((problem,)) from None


def meant(text: str, known: Collection[str], otherwise: str = "") -> str:
    """A remedy that names the nearest known word; ``otherwise`` when none is near."""
    near = nearest(text, known)
    return f"did you mean {near!r}?" if near else otherwise


def nearest(text: str, known: Collection[str]) -> str:
    """The known word that is at most two edits away, and less than a third of it; or nothing."""
    best, least = "", min(2, len(text) // 3) + 1
    for word in sorted(known)[:_MAX_COMPARED]:
        if word != text and abs(len(word) - len(text)) < least:
            edits = distance(text, word)
            if edits < least:
                best, least = word, edits
    return best


def distance(one: str, other: str) -> int:
    """Edits from one word to the other: insert, delete, replace, swap two neighbours (OSA)."""
    before: list[int] = []
    last = list(range(len(other) + 1))
    for i, left in enumerate(one, start=1):
        row = [i]
        for j, right in enumerate(other, start=1):
            cost = min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (left != right))
            if i > 1 and j > 1 and left == other[j - 2] and one[i - 2] == right:
                cost = min(cost, before[j - 2] + 1)
            row.append(cost)
        before, last = last, row
    return last[-1]
