import json
import shutil
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from argy.cli.main import app

DANGER = "p, role:PLATFORM_USER, *, audit.event:*, *, allow, true\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The product's policy in a repository of its own, one folder down."""
    policy = tmp_path / "rules" / "policy"
    shutil.copytree(Path(__file__).parents[3] / "policy", policy)
    git(tmp_path, "init", "-q", "-b", "main")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "policy")
    return policy


def git(repository: Path, *arguments: str) -> None:
    who = ("-c", "user.name=Ada", "-c", "user.email=ada@example.com")
    subprocess.run(["git", "-C", str(repository), *who, *arguments], check=True)


def lint(folder: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["policy", "lint", "--policy", str(folder), *arguments])


def add(folder: Path, text: str, name: str = "roles/user.csv") -> int:
    """Add rows to a file; the number of its first new line."""
    path = folder / name
    before = path.read_text() if path.exists() else ""
    path.write_text(before + text)
    return before.count("\n") + 1


def test_a_clean_policy(folder: Path) -> None:
    done = lint(folder, "--strict")
    assert (done.exit_code, done.stdout) == (0, "nothing to report\n")


def test_an_error_fails_and_shows_its_line(folder: Path) -> None:
    line = add(folder, DANGER)
    done = lint(folder)
    assert done.exit_code == 1
    assert f"rules/policy/roles/user.csv:{line}: error P301-wildcard-action" in done.stdout
    assert lint(folder, "--revision", "HEAD").exit_code == 0


def test_a_warning_fails_only_when_strict(folder: Path) -> None:
    add(folder, "p, role:PLATFORM_USER, *, run:gpu-*, start, allow, true\n")
    assert "warning P202-unreachable-rule" in lint(folder).stdout
    assert (lint(folder).exit_code, lint(folder, "--strict").exit_code) == (0, 1)


def test_what_the_loader_refuses_is_found_with_file_and_line(folder: Path) -> None:
    line = add(folder, "p, role:PLATFORM_USER, *, run:*, start, Allow, true\n")
    add(folder, "x", "notes.txt")
    done = lint(folder, "--format", "json")
    assert done.exit_code == 1
    found = json.loads(done.stdout)["findings"]
    assert {
        (item["file"], item["line"]) for item in found if item["rule_id"] == "P001-refused"
    } == {
        ("rules/policy/roles/user.csv", line),
        ("rules/policy/notes.txt", 0),
    }
    (folder / "roles" / "user.csv").write_bytes(b"# a\n\xff\n")
    assert "user.csv:2: error P001-refused: not UTF-8" in lint(folder).stdout


def test_sarif_leads_from_the_root_of_the_repository_to_the_line(folder: Path) -> None:
    line = add(folder, DANGER)
    (run,) = json.loads(lint(folder, "--format", "sarif").stdout)["runs"]
    (result,) = run["results"]
    place = result["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == "rules/policy/roles/user.csv"
    assert place["region"]["startLine"] == line
    rule = run["tool"]["driver"]["rules"][result["ruleIndex"]]
    assert rule["id"] == result["ruleId"] == "P301-wildcard-action"
    assert rule["help"]["text"]
    assert run["automationDetails"]["id"] == "policy-lint/"
    again = json.loads(lint(folder, "--format", "sarif").stdout)["runs"][0]["results"][0]
    assert again["partialFingerprints"] == result["partialFingerprints"]


def test_markdown(folder: Path) -> None:
    add(folder, DANGER)
    shown = lint(folder, "--format", "markdown").stdout
    assert shown.startswith("### policy lint: 1 error\n\n| level | where |")


def test_explain() -> None:
    shown = CliRunner().invoke(app, ["policy", "lint", "--explain", "p301"])
    assert shown.exit_code == 0
    assert shown.stdout.startswith("P301-wildcard-action (error): ")
    assert "Reported:\n    p, role:A, *, secret:*, *, allow, true" in shown.stdout
    unknown = CliRunner().invoke(app, ["policy", "lint", "--explain", "P999"])
    assert (unknown.exit_code, "P301-wildcard-action" in unknown.stderr) == (2, True)


def test_what_cannot_be_read_is_2(folder: Path) -> None:
    assert lint(folder / "missing").exit_code == 2
    assert lint(folder, "--revision", "nowhere").exit_code == 2
    assert lint(folder, "--format", "xml").exit_code == 2
    shown = lint(folder, "--revision", "nowhere", "--format", "json")
    assert json.loads(shown.stderr)["error"]
