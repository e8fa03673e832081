"""What a User-Agent header tells, in words of ours: a closed set, whatever stands in the header.

Anybody may send any header, and it reaches pages and mails that speak with our voice. So nothing of
it is kept but which of these words it means; it may still lie about that.
"""

from typing import Final

# In this order: Edge and Opera call themselves Chrome too, and Chrome calls itself Safari.
_BROWSERS: Final = (
    ("argy-cli/", "argy"),
    ("Edg/", "Edge"),
    ("EdgA/", "Edge"),
    ("EdgiOS/", "Edge"),
    ("OPR/", "Opera"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("Firefox/", "Firefox"),
    ("FxiOS/", "Firefox"),
    ("CriOS/", "Chrome"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
    ("curl/", "curl"),
)
_SYSTEMS: Final = (
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("Windows", "Windows"),
    ("Mac OS X", "macOS"),
    ("Darwin", "macOS"),
    ("CrOS", "ChromeOS"),
    ("Linux", "Linux"),
)
UNKNOWN: Final = "an unknown browser"
_NAMES: Final = frozenset(name for _, name in _BROWSERS) | {UNKNOWN}
_WORDS: Final = _NAMES | {f"{name} on {system}" for name in _NAMES for _, system in _SYSTEMS}


def browser_of(user_agent: str) -> str:
    """Browser and system, such as "Firefox on Windows" or "argy on Linux"; empty for no header.

    Words of this function stay as they are.
    """
    if not user_agent or user_agent in _WORDS:
        return user_agent
    browser = next((name for mark, name in _BROWSERS if mark in user_agent), UNKNOWN)
    system = next((name for mark, name in _SYSTEMS if mark in user_agent), "")
    return f"{browser} on {system}" if system else browser
