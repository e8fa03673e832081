"""What commands print of what others wrote."""

import json

import pytest
from hostile_text import CORPUS, LINES, steering

from argy.cli.output import Output, one_line

pytestmark = pytest.mark.usefixtures("in_color")


@pytest.fixture
def in_color(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a terminal, where Rich would act on markup."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")


def bare(printed: str) -> str:
    """Without the styles that we set ourselves: bold, dim, red."""
    for style in ("1", "2", "0", "1;31"):
        printed = printed.replace(f"\x1b[{style}m", "")
    return printed


@pytest.mark.parametrize("text", CORPUS)
def test_a_terminal_is_steered_by_nothing_that_others_wrote(
    capsys: pytest.CaptureFixture[str], text: str
) -> None:
    output = Output(as_json=False)
    output.rows([{"id": "1", "name": text}, {"id": "2", "name": "Ada"}], ("id", "name"))
    output.result({"name": text}, lambda: f"made {one_line(text)}")
    output.note({"name": one_line(text)})
    printed = capsys.readouterr()
    for lines, count in ((bare(printed.out), 4), (bare(printed.err), 1)):
        assert steering(lines.replace("\n", "")) == []
        assert lines.count("\n") == count
    # Markup is text.
    if text.startswith("["):
        assert printed.out.count(text) == 2


@pytest.mark.parametrize("text", LINES)
def test_a_reason_makes_no_line_of_ours(text: str) -> None:
    assert "\n" not in one_line(text)


def test_json_escapes_everything(capsys: pytest.CaptureFixture[str]) -> None:
    output = Output(as_json=True)
    for text in CORPUS:
        output.result({"name": text}, str)
    printed = capsys.readouterr().out
    assert printed.isascii()
    assert [json.loads(line)["name"] for line in printed.splitlines()] == list(CORPUS)
