"""What ``argy whoami`` prints of what happened to a person's ways in."""

from typing import Any

import pytest

from argy.cli.login import _described
from argy.cli.output import Output

TOLD: dict[str, Any] = {"email": "ada@acme.example", "tenant": "acme", "subject": "user:1"}
NOTICE = {
    "text": "A personal access token was made: nightly\x1b[2J",
    "from": "from Chrome on Linux, 192.0.2.7",
    "at": "2026-11-25T05:00:00Z",
}


def test_what_happened_elsewhere_is_printed_and_steers_no_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    told = {**TOLD, "notices": [NOTICE]}
    Output(as_json=False).result(told, lambda: _described(told))
    first, _, asked, line = capsys.readouterr().out.splitlines()
    assert first == "ada@acme.example in acme (user:1)"
    assert asked.startswith("Was this you?")
    assert "2026-11-25T05:00:00Z  A personal access token was made: nightly" in line
    assert line.endswith("from Chrome on Linux, 192.0.2.7")
    assert "\x1b" not in line


@pytest.mark.parametrize("told", [TOLD, {**TOLD, "notices": []}], ids=["an older edge", "no news"])
def test_without_news_nothing_is_asked(told: dict[str, Any]) -> None:
    assert _described(told) == "ada@acme.example in acme (user:1)"
