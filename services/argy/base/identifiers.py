"""Identifiers of other people's systems, such as actions and ids of resources: text of theirs.

They are compared exactly, character by character, so each has one form (NFC) and hides nothing.
"""

import unicodedata
from typing import Final

from argy.base.foreign_text import BLANK

SIMPLE_TYPE: Final = r"[a-z][a-z0-9_.]*"
"""Pattern of a type of subjects or resources: a name of ours, not of theirs."""
MAX_ACTION_BYTES: Final = 64
MAX_RESOURCE_BYTES: Final = 512
"""Of ``type:id`` as a whole."""
MAX_SUBJECT_BYTES: Final = 320
"""Of ``type:id`` as a whole."""


def identifier_problem(text: str, most: int) -> str | None:
    """What is wrong with an identifier of at most ``most`` bytes of UTF-8; None for a good one."""
    if len(text) > most or len(text.encode(errors="replace")) > most:
        return f"must have at most {most} bytes of UTF-8"
    # Neither controls, nor what turns the direction of text, nor what nobody sees, nor line breaks.
    if not text.isprintable() or not BLANK.isdisjoint(text):
        return "must be printable: no control, bidirectional or invisible characters"
    if text != text.strip():
        return "must not begin or end with a space"
    if not unicodedata.is_normalized("NFC", text):
        return "must be in Unicode's normalization form C (NFC)"
    return None
