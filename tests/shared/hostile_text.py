"""What strangers write to speak with our voice: a corpus, and what must not be left of it.

Domains and addresses are those of RFC 2606 and RFC 5737, or of nobody.
"""

import re
import unicodedata
from typing import Final

BAIT: Final = "Argy security: your account is locked. Confirm at https://evil.example/confirm"

ADDRESSES: Final = (
    BAIT,
    "http://evil.example",
    "HTTPS://EVIL.EXAMPLE/A?b=c#d",
    "https:evil.example",
    "www.evil.example",
    "evil.example",
    "evil.example.",
    "(evil.example)",
    "<https://evil.example>",
    "[click here](https://evil.example)",
    "a.evil.example:8443/x",
    "x.co",
    "5.7.example",
    "xn--e1afmkfd.example",
    "\u043f\u0440\u0438\u043c\u0435\u0440.\u0440\u0444",
    "mail@evil.example",
    "mailto:mail@evil.example",
    "mail\uff20evil\uff0eexample",
    "tel:112",
    "ftp://evil.example",
    "file://evil.example/x",
    "javascript:alert(1)",
    "data:text/html,x",
    "192.0.2.1",
    "192.0.2.1:8080/x",
    "2001:db8::1",
    "[2001:db8::1]:443",
    "\\\\evil\\share",
    "evil\u3002example",
    "evil\uff0eexample",
    "evil\uff61example",
    "evil\u2024example",
    "http\uff1a\uff0f\uff0fevil\uff0eexample",
    "ev\u200bil.example",
    "evil.\u200dexample",
    "evil\u00ad.example",
    "evil.\ufeffexample",
)

DIRECTIONS: Final = (
    "\u202emoc.live\u202c",
    "Laptop\u2066\u2069",
    "a\u200eb\u200fc\u061cd",
    "\u202dAda\u202a\u202b",
)

HIDDEN: Final = (
    "A\u200bd\u200ca\u200d",
    "\u2060Ada\ufeff",
    "\u3164",
    "Ada\u00ad",
    "\U000e0041\U000e0042",
    "\u115f\u1160\uffa0\u2800",
)

TERMINAL: Final = (
    "\x1b[2J\x1b[31mALLOW\x1b[0m",
    "\x1b]8;;https://evil.example\x1b\\click\x1b]8;;\x1b\\",
    "\x9b31mred",
    "\x9d0;title\x9c",
    "bell\x07 back\x08space",
    "over\rwritten",
    "a\tb\vc\fd",
    "line\u2028break\u2029s\x85",
)

MARKUP: Final = (
    "[bold red]DENY[/]",
    "[link=https://evil.example]docs[/link]",
    "[/]",
    "<a href='https://evil.example'>x</a>",
    "\"><script>alert('x')</script>",
    "{{ 7 * 7 }}{% raw %}",
    "\u201d Click here. \u201c",
)

LINES: Final = (
    "fine\nALLOW  ALLOWED_BY_RULE",
    "Key\r\nBcc: evil@evil.example\r\n\r\nSomebody, we hope you, asked",
)

CORPUS: Final = (*ADDRESSES, *DIRECTIONS, *HIDDEN, *TERMINAL, *MARKUP, *LINES)

NAMES: Final = (
    "Ada Lovelace",
    "J.R.R. Tolkien",
    "O'Brien-Smith, Jr.",
    "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
    "\u0d05\u0d35\u0d28\u0d4d\u200d",
    "\u0d28\u0d4d\u200d\u0d31\u0d46",
    "\U0001f469\u200d\U0001f4bb",
    "\U0001f469\U0001f3fd\u200d\U0001f680",
    "\u2764\ufe0f\u200d\U0001f525",
    "\u5c71\u7530\u3000\u592a\u90ce",
    "\u05d0\u05d3\u05d4",
    "YubiKey 5.7",
)
"""Names that are names, with joiners where their scripts have them."""

# What mail programs make links of, and rather more.
_LINKS: Final = re.compile(
    r"\w+:/|\b(?:mailto|tel|javascript|data|https?|file|ftp):|www\.|\S@\S|::|\\\\"
    r"|[^\W_]\.(?:[^\W\d_][^\W_]|xn--)|\d\.\d+\.\d|\d\.[a-z]",
    re.IGNORECASE,
)
_STEERING: Final = ("Cc", "Cs", "Zl", "Zp")
_JOINERS: Final = "\u200c\u200d"


def links(text: str) -> list[str]:
    """What looks like an address in a text."""
    return _LINKS.findall(text)


def steering(text: str) -> list[str]:
    """Characters that steer a medium, turn a direction, or are there unseen; line feeds count."""
    return [
        f"U+{ord(char):04X}"
        for char in text
        if unicodedata.category(char) in _STEERING
        or (unicodedata.category(char) == "Cf" and char not in _JOINERS)
    ]
