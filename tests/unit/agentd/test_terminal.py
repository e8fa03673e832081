"""What a run prints can't steer the terminal of who reads it."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argy.agentd.terminal import TerminalText

ESCAPES = [
    "\x1b[31m",
    "\x1b]0;title\x07",
    "\x1b]8;;http://x\x1b\\",
    "\x1bP$q\x1b\\",
    "\x9b2J",
    "\x1bc",
]


def shown(*chunks: bytes) -> str:
    text = TerminalText()
    return "".join(map(text.feed, chunks)) + text.feed(b"", last=True)


@given(
    parts=st.lists(st.one_of(st.sampled_from(ESCAPES), st.text(max_size=6)), max_size=10),
    places=st.lists(st.integers(0, 120), max_size=8),
)
def test_nothing_but_text_is_left_however_it_is_cut(parts: list[str], places: list[int]) -> None:
    raw = "".join(parts).encode(errors="replace")
    ends = [0, *sorted(place % (len(raw) + 1) for place in places), len(raw)]
    text = shown(*(raw[start:end] for start, end in itertools.pairwise(ends)))
    assert all(char in "\n\t" or (ord(char) >= 32 and not 127 <= ord(char) < 160) for char in text)


@pytest.mark.parametrize("escape", ESCAPES)
def test_an_escape_goes_whole_also_when_cut(escape: str) -> None:
    raw = f"a{escape}b".encode()
    assert shown(raw) == "ab"
    assert shown(*(raw[at : at + 1] for at in range(len(raw)))) == "ab"


def test_line_ends_and_tabs() -> None:
    assert shown(b"a\r", b"\nb\rc\td") == "a\nb\nc\td"


def test_a_sequence_without_end_hides_nothing_for_long() -> None:
    assert "visible" in shown(b"\x1b]0;", b"visible" * 1000)


def test_direction_marks_show() -> None:
    assert "\u202e" not in shown("a\u202eb".encode())
