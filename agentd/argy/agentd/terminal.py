"""A run's output as a person's terminal may show it: text, and nothing that steers a terminal."""

import codecs
import re
from typing import Final

from argy.base.foreign_text import on_terminal

# ECMA-48: CSI sequences; the strings OSC, DCS, SOS, PM and APC up to their end; other escapes.
_SEQUENCE: Final = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)"
    r"|\x1b[ -/]*[0-OQ-WYZ\\`-~]"
)
_BEGUN: Final = re.compile(
    r"(?:(?:\x1b\[|\x9b)[0-?]*[ -/]*"
    r"|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c]*\x1b?"
    r"|\x1b[ -/]*|\r)\Z"
)
_MAX_HELD: Final = 4096


class TerminalText:
    """One stream of bytes as harmless text. Escape sequences go, also where chunks cut them."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""

    def feed(self, chunk: bytes, *, last: bool = False) -> str:
        """The text of ``chunk``; what may be the beginning of a sequence waits for its end."""
        text = self._held + self._decoder.decode(chunk, last)
        begun = None if last else _BEGUN.search(text)
        # Who opens a string and never ends it hides nothing.
        cut = begun.start() if begun and len(text) - begun.start() <= _MAX_HELD else len(text)
        self._held, text = text[cut:], text[:cut]
        # A tab stays; a lone carriage return would write over what stands in the line.
        cells = _SEQUENCE.sub("", text).replace("\r\n", "\n").replace("\r", "\n").split("\t")
        return "\t".join(map(on_terminal, cells))
