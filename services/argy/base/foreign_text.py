"""Text that others wrote, such as names and reasons: what is taken as a name, and how it is shown.

Each medium has one function: ``on_terminal``, ``in_mail`` and ``on_page``. None lets such text
steer what shows it, or hide a part of itself; ``in_mail`` also breaks whatever a mail program would
make a link of. Within a sentence of ours such text is ``quoted``, so that nobody takes it for one.
"""

import re
import unicodedata
from typing import Final

_JOINERS: Final = "\u200c\u200d"
# RFC 5892 appendix A.1 and A.2, without the tables of joining types: letters of scripts without
# case, marks such as a virama, and emoji.
_JOINED: Final = ("Lo", "Mn", "Mc", "So", "Sk")
BLANK: Final = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
"""Letters, marks and symbols that look like nothing."""
_HIDDEN: Final = ("Cc", "Cf", "Cs", "Zl", "Zp")
_REPLACEMENT: Final = "\ufffd"

# What UTS #46 or NFKC reads as a dot, an at sign, a colon or a slash.
_LOOK_ALIKES: Final = str.maketrans(
    {
        "\u3002": ".",
        "\uff0e": ".",
        "\uff61": ".",
        "\u2024": ".",
        "\ufe52": ".",
        "\uff20": "@",
        "\ufe6b": "@",
        "\uff1a": ":",
        "\ufe55": ":",
        "\ufe13": ":",
        "\uff0f": "/",
        "\uff3c": "\\",
        "\ufe68": "\\",
    }
)
_QUOTES: Final = str.maketrans(dict.fromkeys('"\u201c\u201d\u201e\u201f\u00ab\u00bb\uff02', "'"))
_LABEL: Final = r"[^\s!-/:-@\[-`{-~]"
_LINKABLE: Final = re.compile(
    # Neither our own names of people, roles and requests nor a number such as 5.7 is an address.
    r"(?P<ours>(?<![\w.@+-])"
    r"(?:user|agent|group|service|role|authz\.(?:approval|elevation|role)):(?=\w))"
    r"|(?P<number>(?<![^\s'(,;])[0-9]{1,9}\.[0-9]{1,9}(?![^\s'),;]))"
    # A dot that a label of two characters or more follows, or a digit.
    rf"|(?P<dot>(?<=\S)\.(?={_LABEL}[^\s.,;!?'\")\]]|[0-9]))"
    r"|(?P<at>@)"
    # https://, mailto:x and tel:1, also an IPv6 address.
    r"|(?P<colon>:(?=//|:)|(?<=:):"
    r"|(?<=\b[a-zA-Z]{2}):(?=\S)|(?<=[a-zA-Z]{3}):(?=\S)|(?<=[0-9a-fA-F]:[0-9a-fA-F]):)"
    # A path of a Windows network.
    r"|(?P<share>\\(?=\\))"
)
_BROKEN: Final = {"dot": "[.]", "at": "[at]", "colon": "[:]", "share": "[\\]"}


def name_of(text: str, *, most: int) -> str:
    """A name in NFC, without space around it; empty for what is none.

    None is what is empty, is longer than ``most`` characters, or has characters that nobody sees:
    controls, line breaks, and those that turn the direction of what stands beside it. Joiners are
    letters' business where they stand after a letter, a mark or an emoji that they may join.
    """
    name = unicodedata.normalize("NFC", text).strip()
    if len(name) > most or not any(_visible(char) for char in name):
        return ""
    if any(_hidden(name, at) for at in range(len(name))):
        return ""
    return name


def on_terminal(text: str) -> str:
    """The text without what would steer a terminal or hide in it; line breaks stay."""
    return _shown(text, _REPLACEMENT, lines=True)


def on_page(text: str) -> str:
    """The text as a page shows it, before it is escaped as HTML; line breaks stay."""
    return _shown(text, " ", lines=True)


def in_mail(text: str, *, most: int = 500) -> str:
    """The text on one line, with nothing that becomes a link, cut after ``most`` characters."""
    line = " ".join(_shown(text[:most], " ").split()).translate(_LOOK_ALIKES)
    return _LINKABLE.sub(_break, line) + ("…" if len(text) > most else "")


def quoted(text: str) -> str:
    """What somebody wrote, between quotation marks that it can't end itself."""
    return f"\u201c{text.translate(_QUOTES)}\u201d"


def _break(found: re.Match[str]) -> str:
    return _BROKEN.get(found.lastgroup or "", found[0])


def _shown(text: str, hole: str, *, lines: bool = False) -> str:
    if text.isascii() and text.isprintable():
        return text
    return "".join(_char(text, at, hole, lines) for at in range(len(text)))


def _char(text: str, at: int, hole: str, lines: bool) -> str:
    char = text[at]
    if char == "\n" and lines:
        return char
    if unicodedata.category(char) == "Zs":
        return " "
    return hole if _hidden(text, at) or unicodedata.category(char) in ("Co", "Cn") else char


def _hidden(text: str, at: int) -> bool:
    """Whether a character is one that nobody sees."""
    char = text[at]
    if char in _JOINERS:
        return at == 0 or unicodedata.category(text[at - 1]) not in _JOINED
    return char in BLANK or unicodedata.category(char) in _HIDDEN


def _visible(char: str) -> bool:
    return char not in BLANK and unicodedata.category(char)[0] in "LNPS"
