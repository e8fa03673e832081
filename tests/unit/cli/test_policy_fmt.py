import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from argy.cli.main import app

CANONICAL = "# A role.\np, role:A, *, doc:*, read, allow, true\n"
CARELESS = "# A role.\np,role:A,*, doc:*,read,  allow,true\n\n\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    policy = tmp_path / "policy"
    (policy / "roles").mkdir(parents=True)
    (policy / "roles" / "a.csv").write_text(CARELESS)
    (policy / "roles" / "b.csv").write_text(CANONICAL)
    return policy


def fmt(folder: Path, *arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["policy", "fmt", "--policy", str(folder), *map(str, arguments)])


def test_it_writes_what_is_not_canonical_and_keeps_the_mode(folder: Path) -> None:
    careless = folder / "roles" / "a.csv"
    careless.chmod(0o640)
    done = fmt(folder)
    assert (done.exit_code, done.stdout.splitlines()[-1]) == (0, "1 of 2 files written anew")
    assert careless.read_text() == CANONICAL
    assert careless.stat().st_mode & 0o777 == 0o640
    assert [path.name for path in folder.rglob("*") if path.is_file()] == ["a.csv", "b.csv"]
    assert fmt(folder, "--check").exit_code == 0


def test_check_shows_a_diff_changes_nothing_and_fails(folder: Path) -> None:
    done = fmt(folder, "--check")
    assert done.exit_code == 1
    assert "-p,role:A,*, doc:*,read,  allow,true" in done.stdout
    assert "+p, role:A, *, doc:*, read, allow, true" in done.stdout
    assert (folder / "roles" / "a.csv").read_text() == CARELESS


def test_check_speaks_markdown_and_json(folder: Path) -> None:
    shown = fmt(folder, "--check", "--format", "markdown").stdout
    assert "### policy fmt: 1 of 2 files would be written anew" in shown
    assert "```diff\n" in shown
    (changed,) = json.loads(fmt(folder, "--check", "--format", "json").stdout)["changed"]
    assert changed["file"].endswith("roles/a.csv")


def test_only_the_files_that_are_named(folder: Path) -> None:
    assert fmt(folder, "--check", folder / "roles" / "b.csv").exit_code == 0
    assert fmt(folder, "--check", folder / "roles" / "a.csv").exit_code == 1


def test_files_outside_of_the_policy_are_refused(folder: Path) -> None:
    other = folder.parent / "data.csv"
    other.write_text(CARELESS)
    for path in (other, folder / "missing.csv"):
        assert fmt(folder, path).exit_code == 2
    link = folder / "roles" / "link.csv"
    link.symlink_to(other)
    assert fmt(folder).exit_code == 2
    assert other.read_text() == CARELESS


def test_what_is_not_utf_8_is_told_with_its_line(folder: Path) -> None:
    (folder / "roles" / "a.csv").write_bytes(b"# a\n\xff\n")
    done = fmt(folder)
    assert done.exit_code == 2
    assert "a.csv:2: not UTF-8" in done.stderr


def test_line_breaks_of_windows_are_gits_matter(folder: Path) -> None:
    careless, canonical = folder / "roles" / "a.csv", folder / "roles" / "b.csv"
    canonical.write_bytes(CANONICAL.replace("\n", "\r\n").encode())
    assert fmt(folder, "--check", folder / "roles" / "b.csv").exit_code == 0
    careless.write_bytes(CARELESS.replace("\n", "\r\n").encode())
    assert fmt(folder).exit_code == 0
    assert careless.read_bytes() == canonical.read_bytes()
