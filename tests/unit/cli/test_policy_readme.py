"""Follows policy/README.md: its first change, its commands, its options."""

import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from argy.cli.main import app

POLICY = Path(__file__).parents[3] / "policy"
README = (POLICY / "README.md").read_text()
ROW = re.search(r"^    (p, .*raise.*)$", README, re.MULTILINE)
CASES, SUITE, INVARIANT = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
SCRIPT, KNOWING, PUBLISHING = (
    [shlex.split(line, comments=True) for line in block.splitlines()]
    for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
)


def run(*arguments: str, env: dict[str, str | None] | None = None) -> Result:
    return CliRunner().invoke(app, list(arguments), env=env)


@pytest.fixture
def change(tmp_path: Path) -> Iterator[Path]:
    """The first change of the README, on a branch; the working directory is its repository."""
    folder = tmp_path / "policy"
    shutil.copytree(POLICY, folder)
    assert ROW is not None
    # Whoever follows the README here has made the change already.
    roles = folder / "roles" / "pm.csv"
    roles.write_text(roles.read_text().replace(f"{ROW[1]}\n", ""))
    (folder / "cases" / "quota.yaml").unlink(missing_ok=True)
    who = ("-c", "user.name=Ada", "-c", "user.email=ada@example.com")
    for command in (["init", "-q", "-b", "main"], ["add", "."], ["commit", "-q", "-m", "policy"]):
        subprocess.run(["git", "-C", str(tmp_path), *who, *command], check=True)
    with (folder / "roles" / "pm.csv").open("a") as file:
        file.write(f"{ROW[1]}\n")
    (folder / "cases" / "quota.yaml").write_text(CASES)
    with chdir(tmp_path):
        yield folder


def test_the_first_change_passes_every_command(change: Path) -> None:
    assert len(SCRIPT) == 6
    for program, *arguments in SCRIPT:
        done = run(*arguments)
        assert (program, done.exit_code) == ("argy", 0), f"{arguments}: {done.stdout}{done.stderr}"
    assert "raise quota:*" in done.stdout
    assert "role:PLATFORM_PM" in done.stdout
    assert "pm.csv:" in done.stdout


def test_without_its_cases_the_change_fails_and_the_row_is_named(change: Path) -> None:
    (change / "cases" / "quota.yaml").unlink()
    done = run("policy", "test", "--base", "main")
    assert done.exit_code == 1
    assert ROW is not None
    assert ROW[1] in done.stdout
    assert "P104-unknown-action" in run("policy", "lint").stdout


def test_the_examples_of_cases_and_invariants_load(change: Path) -> None:
    (change / "cases" / "suite.yaml").write_text(SUITE)
    (change / "invariants" / "more.yaml").write_text(INVARIANT.replace("planners", "our planners"))
    assert run("policy", "test", "-k", "eva deploy project:alpha").exit_code == 0
    assert run("policy", "invariants").exit_code == 0


def test_what_needs_assignments_runs_on_an_export(change: Path) -> None:
    grant = {"subject": "user:eva", "role": "role:PLATFORM_PM"}
    Path("acme.json").write_text(json.dumps({"tenant": "acme", "assignments": [grant]}))
    Path("events.jsonl").touch()
    codes = {}
    for _, *arguments in KNOWING:
        if arguments[1] in ("export", "tail"):
            assert "--help" in run(*arguments[:2], "--help").stdout
            continue
        done = run(*arguments)
        assert "Usage:" not in done.stderr, done.stderr
        codes[arguments[1]] = done.exit_code
    assert codes == {"impact": 0, "explain": 1, "why-not": 1, "replay": 0}


def test_what_needs_the_platform_asks_for_it(change: Path) -> None:
    nowhere = {"ARGY_HOME": str(change.parent), "ARGY_TARGET": None}
    key, *commands = PUBLISHING
    assert run(*key[1:]).exit_code == 0
    for _, *arguments in commands:
        named = ["0197a3c2-7e4d-7c55-9f8e-0123456789ab" if a == "ID" else a for a in arguments]
        done = run(*named, env=nowhere)
        missing = "NO_EDGE" if arguments[0] == "login" else "NO_ENDPOINT"
        assert missing in done.stderr, f"{arguments}: {done.stdout}{done.stderr}"


def test_the_tables_list_every_command_and_no_other() -> None:
    named = re.findall(r"^\| `argy policy (\S+?)[ `]", README, re.MULTILINE)
    there = set(re.findall(r"^│ (\S+) ", run("policy", "--help").stdout, re.MULTILINE))
    assert sorted(named) == sorted(there - {"--help"})


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("fmt", ["--check", "--policy", "--format"]),
        ("lint", ["--explain", "--revision", "--policy", "--format"]),
        ("test", ["--base", "--schema", "--revision", "--policy", "--format"]),
        ("mutate", ["--base", "--revision", "--policy", "--format"]),
        ("invariants", ["--write-cases", "--revision", "--policy", "--format"]),
        ("diff", ["--policy", "--format"]),
    ],
)
def test_the_options_that_are_named_exist(command: str, options: list[str]) -> None:
    shown = run("policy", command, "--help").stdout
    assert all(option in README and option in shown for option in options)
