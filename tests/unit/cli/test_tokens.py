"""What ``argy token`` and ``argy api-key`` say before and after they ask the edge."""

from typing import Any

import pytest
from typer.testing import CliRunner

from argy.base.errors import PermissionDenied
from argy.cli import tokens
from argy.cli.main import app


@pytest.mark.parametrize(
    "command", [("token", "revoke"), ("token", "rotate"), ("api-key", "revoke")]
)
@pytest.mark.parametrize("name", ["", " "])
def test_an_empty_id_is_bad_usage(command: tuple[str, ...], name: str) -> None:
    told = CliRunner().invoke(app, [*command, name])
    assert told.exit_code == 2
    assert "the id is empty: take one from the list" in told.stderr


def test_who_may_not_make_a_key_is_told_who_may(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> Any:
        raise PermissionDenied("you lack authn.api_key:create", reason="PERMISSION_DENIED")

    monkeypatch.setattr(tokens, "_posted", refuse)
    told = CliRunner().invoke(app, ["api-key", "create", "ci", "--agent", "ci", "-s", "run:start"])
    assert told.exit_code == 3
    assert "an administrator of the tenant makes keys of agents" in told.stderr
