"""Where a service key may be written is settled before there is one."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from argy.base.errors import InvalidArgument
from argy.base.ids import uuid7
from argy.cli.service_keys import app

NAMED = ("--service", "billing", "--tenant", "acme")
COMMANDS = {
    "create": ("create", *NAMED, "--scope", "authz.decision:check"),
    "rotate": ("rotate", str(uuid7()), *NAMED, "--overlap-hours", "0"),
}


@pytest.mark.parametrize("command", ["create", "rotate"])
@pytest.mark.parametrize(
    ("name", "problem"), [("", "is a folder: name a file in it"), ("none/key.json", "is no folder")]
)
def test_a_secret_that_has_no_place_is_never_made(
    tmp_path: Path, command: str, name: str, problem: str
) -> None:
    """The old one would be over, and the new one told to nobody."""
    told = CliRunner().invoke(app, [*COMMANDS[command], "--out", str(tmp_path / name)])
    assert isinstance(told.exception, InvalidArgument)
    assert told.exception.message.endswith(problem)
    assert told.exception.field == "out"


def test_a_place_that_can_not_be_opened_is_told_before_there_is_a_secret(tmp_path: Path) -> None:
    into = tmp_path / "gone" / "key.json"
    link = tmp_path / "link"
    link.symlink_to(into)
    told = CliRunner().invoke(app, [*COMMANDS["create"], "--out", str(link)])
    assert isinstance(told.exception, InvalidArgument)
    assert told.exception.message.startswith(f"{link} can't be written")
