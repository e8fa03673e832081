"""What ``argy token`` and ``argy api-key`` say before and after they ask the edge."""

import pytest
from typer.testing import CliRunner

from argy.cli.main import app


@pytest.mark.parametrize(
    "command", [("token", "revoke"), ("token", "rotate"), ("api-key", "revoke")]
)
@pytest.mark.parametrize("name", ["", " "])
def test_an_empty_id_is_bad_usage(command: tuple[str, ...], name: str) -> None:
    told = CliRunner().invoke(app, [*command, name])
    assert told.exit_code == 2
    assert "the id is empty: take one from the list" in told.stderr
