"""Pieces of Markdown for comments that a code host shows. What others wrote never becomes markup.

GitHub and GitLab both read GitHub Flavored Markdown (https://github.github.com/gfm/).
"""

import re
from collections.abc import Iterable, Sequence
from typing import Final

MAX_BLOCK: Final = 16_384
"""Characters of a block of code; a comment on GitHub may have 65,536 in all."""

_MARKUP = re.compile(r"[\\`*_\[\]<>#~&]")
_BACKTICKS = re.compile("`+")


def escape(text: str) -> str:
    """``text`` as it reads: no markup, no line break, and nobody is mentioned by an ``@``."""
    return _MARKUP.sub(r"\\\g<0>", _one_line(text)).replace("@", "&#64;")


def code(text: str) -> str:
    """``text`` as a code span (GFM 6.3): its fence is longer than any backticks inside."""
    line = _one_line(text) or " "
    fence = "`" * (1 + max(map(len, _BACKTICKS.findall(line)), default=0))
    pad = " " if line[:1] == "`" or line[-1:] == "`" else ""
    return f"{fence}{pad}{line}{pad}{fence}"


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table (GFM 4.10) of cells that are Markdown already; a ``|`` in a cell is escaped here."""
    lines = [_row(headings), _row(["---"] * len(headings))]
    lines += [_row(row) for row in rows]
    return "\n".join(lines)


def block(text: str, language: str = "") -> str:
    """``text`` as a fenced code block (GFM 4.5), its lines kept; bounded by ``MAX_BLOCK``."""
    lines = "\n".join(map(_one_line, text.split("\n")))
    if len(lines) > MAX_BLOCK:
        lines = f"{lines[:MAX_BLOCK].rpartition(chr(10))[0]}\n…"
    fence = "`" * max(3, 1 + max(map(len, _BACKTICKS.findall(lines)), default=0))
    return f"{fence}{language}\n{lines}\n{fence}"


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"


def _one_line(text: str) -> str:
    """Line breaks and what can't be printed would leave a cell, a span or the page's direction."""
    return "".join(char if char.isprintable() else " " for char in text)
