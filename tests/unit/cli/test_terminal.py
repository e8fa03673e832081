"""The options that a command gets with ``asking``, and what becomes of them."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer
from typer.testing import CliRunner

from argy.base.crypto import KeyRing
from argy.cli.output import Exit
from argy.cli.terminal import REQUIRED, Terminal, asking
from argy.client.keys import DESTINATIONS, issue_keys
from argy.local.dev_ca import ensure_dev_certificates

SEEN: list[tuple[Any, ...]] = []


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> typer.Typer:
    """Commands on a connection that asks nobody."""
    SEEN.clear()
    app = typer.Typer()

    KeyRing.generate().save(tmp_path / "ring.json")
    keys = tmp_path / "cli.json"
    issue_keys(tmp_path / "ring.json", source="cli", destinations=DESTINATIONS, out=keys)
    certificates = ensure_dev_certificates(tmp_path / "tls", now=datetime.now(UTC))
    monkeypatch.setenv("ARGY_TARGET", "localhost:1")
    monkeypatch.setenv("ARGY_CLIENT_KEYS_FILE", str(keys))
    monkeypatch.setenv("ARGY_CA_FILE", str(certificates.ca_file))
    monkeypatch.setenv("ARGY_AS_SERVICE", "1")
    monkeypatch.setenv("ARGY_HOME", str(tmp_path / "home"))

    def refuse(*, word: str, json_output: bool, **_: object) -> None:
        SEEN.append((word, json_output))
        if word == "never":
            raise typer.Exit(Exit.NOT_CONFIRMED)

    @app.command("all")
    @asking(org=True, as_=True, first=refuse)
    async def everything(
        terminal: Terminal, word: str, many: Annotated[int, typer.Option(help="How many.")] = 1
    ) -> bool:
        """Tell everything."""
        asked = (terminal.tenant, terminal.org, terminal.as_, terminal.output.as_json)
        SEEN.append((word, many, *asked))
        return word != "no"

    @app.command("few")
    @asking(tenant="platform")
    async def few(terminal: Terminal) -> None:
        """Tell little."""
        SEEN.append((terminal.tenant, terminal.required))

    @app.command("strict")
    @asking(tenant=REQUIRED)
    async def strict(terminal: Terminal) -> None:
        """Need a tenant."""
        await terminal.tenant_id()

    return app


def invoke(app: typer.Typer, *arguments: str) -> Any:
    return CliRunner().invoke(app, list(arguments))


def test_shared_options_come_with_the_command(app: typer.Typer) -> None:
    given = ("all", "yes", "--many", "3", "-t", "acme", "--org", "lab", "--as", "bob", "--json")
    assert invoke(app, *given).exit_code == 0
    assert SEEN == [("yes", True), ("yes", 3, "acme", "lab", "bob", True)]
    assert invoke(app, "few").exit_code == 0
    assert SEEN[-1] == ("platform", False)
    for option in ("--tenant", "--org", "--as"):
        assert invoke(app, "few", option, "x").exit_code == 2
    assert "Tell everything." in invoke(app, "all", "--help").stdout


def test_false_is_a_denial_and_first_comes_before_anything_is_connected(app: typer.Typer) -> None:
    assert invoke(app, "all", "no").exit_code == Exit.DENIED
    assert invoke(app, "all", "never").exit_code == Exit.NOT_CONFIRMED
    assert SEEN[-1] == ("never", False)


def test_a_tenant_that_must_be_told_is_not_taken_for_the_platforms(app: typer.Typer) -> None:
    told = invoke(app, "strict")
    assert told.exit_code == 2
    assert "say which tenant: --tenant, or sign in there with `argy login`" in told.stderr
    assert invoke(app, "strict", "-t", "platform").exit_code == 0
