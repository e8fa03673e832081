"""Browsers in words: a closed set, whatever a header says."""

import pytest
from hostile_text import BAIT, CORPUS

from argy.base.user_agents import browser_of

MOZILLA = "Mozilla/5.0"


@pytest.mark.parametrize(
    ("agent", "words"),
    [
        (f"{MOZILLA} (Windows NT 10.0; Win64; x64; rv:150.0) Firefox/150.0", "Firefox on Windows"),
        (f"{MOZILLA} (X11; Linux x86_64) Chrome/150.0.0.0 Safari/537.36", "Chrome on Linux"),
        (f"{MOZILLA} (Windows NT 10.0) Chrome/150.0 Safari/537.36 Edg/150.0", "Edge on Windows"),
        (f"{MOZILLA} (Linux; Android 16) Chrome/150.0 Mobile Safari/537.36", "Chrome on Android"),
        (f"{MOZILLA} (iPhone; CPU iPhone OS 19_0 like Mac OS X) Safari/604.1", "Safari on iPhone"),
        (f"{MOZILLA} (Macintosh; Intel Mac OS X 10_15_7) Safari/605.1.15", "Safari on macOS"),
        ("argy-cli/0.1 (Linux)", "argy on Linux"),
        ("argy-cli/0.1 (Darwin)", "argy on macOS"),
        ("argy-cli/0.1", "argy"),
        ("curl/8.0", "curl"),
        ("(Windows NT 10.0)", "an unknown browser on Windows"),
        ("nobody/1", "an unknown browser"),
        ("", ""),
    ],
)
def test_a_header_is_told_in_words_which_stay_as_they_are(agent: str, words: str) -> None:
    assert browser_of(agent) == words
    assert browser_of(words) == words


@pytest.mark.parametrize("text", CORPUS)
def test_nothing_of_a_hostile_header_is_left(text: str) -> None:
    assert browser_of(text) == "an unknown browser"
    assert browser_of(f"Firefox/1 (Windows) {text}") == "Firefox on Windows"
    assert browser_of(f"Firefox on Windows. {BAIT}") == "an unknown browser on Windows"
