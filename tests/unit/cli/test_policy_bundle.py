"""``argy policy bundle`` and ``verify``, and the keys that they need."""

import json
import shutil
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from argy.cli.main import app

POLICY = Path(__file__).parents[3] / "policy"


def argy(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(one) for one in arguments])


def told(*arguments: object) -> Any:
    done = argy(*arguments, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def git(repository: Path, *arguments: str) -> str:
    who = ("-c", "user.name=Ada", "-c", "user.email=ada@example.com")
    command = ["git", "-C", str(repository), *who, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The product's policy in a repository of its own."""
    repository = tmp_path / "repository"
    shutil.copytree(POLICY, repository / "policy")
    git(repository, "init", "-q", "-b", "main")
    git(repository, "add", ".")
    git(repository, "commit", "-q", "-m", "policy")
    return repository / "policy"


@pytest.fixture
def key(tmp_path: Path) -> Path:
    told("keys", "policy-new", tmp_path / "author.json")
    return tmp_path / "author.json"


def test_a_key_is_secret_and_its_public_part_is_not(key: Path, tmp_path: Path) -> None:
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    trusted = tmp_path / "trusted.json"
    first = told("keys", "policy-public", key, "--into", trusted)
    told("keys", "policy-new", tmp_path / "other.json")
    both = told("keys", "policy-public", tmp_path / "other.json", "--into", trusted)
    assert len(both) == 2  # each key has an id of its own
    assert first.items() <= both.items() == json.loads(trusted.read_text()).items()
    owned = told("keys", "policy-public", key, "--owner", "ada@example.com", "--into", trusted)
    assert {one["owner"] for one in owned.values() if not isinstance(one, str)} == {
        "ada@example.com"
    }
    done = argy("keys", "policy-new", key)
    assert done.exit_code != 0  # never written over


def test_a_bundle_is_deterministic_and_names_its_commit(
    folder: Path, key: Path, tmp_path: Path
) -> None:
    bundle = ("policy", "bundle", "--policy", folder, "--revision", "HEAD", "--key", key, "--out")
    one = told(*bundle, tmp_path / "one")
    other = told(*bundle, tmp_path / "other")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes()
    assert one["bundle_digest"] == other["bundle_digest"]
    assert one["commit"] == git(folder.parent, "rev-parse", "HEAD")
    assert one["authors"] == ["ada@example.com"]
    # The working tree as it is, once it was changed, is of no commit.
    (folder / "services.csv").write_text((folder / "services.csv").read_text() + "# changed\n")
    changed = told("policy", "bundle", "--policy", folder, "--key", key, "--out", tmp_path / "new")
    assert (changed["commit"], changed["authors"]) == ("", [])
    assert changed["bundle_digest"] != one["bundle_digest"]


def test_verify_believes_trusted_keys_and_unaltered_bundles_only(
    folder: Path, key: Path, tmp_path: Path
) -> None:
    trusted, file = tmp_path / "trusted.json", tmp_path / "bundle"
    told("keys", "policy-public", key, "--into", trusted)
    made = told("policy", "bundle", "--policy", folder, "--key", key, "--out", file)
    seen = told("policy", "verify", file, "--trusted", trusted)
    assert seen["verified"]
    assert seen["bundle_digest"] == made["bundle_digest"]
    altered = bytearray(file.read_bytes())
    altered[200] ^= 1
    (tmp_path / "altered").write_bytes(altered)
    told("keys", "policy-new", tmp_path / "stranger.json")
    strangers = tmp_path / "strangers.json"
    told("keys", "policy-public", tmp_path / "stranger.json", "--into", strangers)
    for arguments in (
        (tmp_path / "altered", "--trusted", trusted),
        (file, "--trusted", strangers),
        (tmp_path / "missing", "--trusted", trusted),
    ):
        assert argy("policy", "verify", *arguments).exception is not None


def test_a_policy_that_does_not_load_makes_no_bundle(
    folder: Path, key: Path, tmp_path: Path
) -> None:
    (folder / "services.csv").write_text("p, service:x, *, project:*, read, Allow, true\n")
    out = tmp_path / "bundle"
    done = argy("policy", "bundle", "--policy", folder, "--key", key, "--out", out)
    assert done.exit_code != 0
    assert not out.exists()


def test_approving_as_json_asks_nobody_and_says_so() -> None:
    done = argy("policy", "approve", "01a2104b-3609-771a-81c5-514101b7452c", "--json")
    assert done.exit_code == 2
    assert "--yes" in done.stderr


def test_what_others_did_on_the_base_meanwhile_is_not_told_as_lost(folder: Path) -> None:
    roles = folder / "roles" / "pm.csv"
    git(folder.parent, "checkout", "-q", "-b", "change")
    git(folder.parent, "checkout", "-q", "main")
    roles.write_text(roles.read_text() + "p, role:PLATFORM_PM, *, quota:*, lower, allow, true\n")
    git(folder.parent, "commit", "-q", "-am", "meanwhile")
    both = argy("policy", "diff", "main", "change", "--policy", folder)
    assert "- lost" in both.stdout
    git(folder.parent, "checkout", "-q", "change")
    mine = argy("policy", "diff", "main", "--policy", folder)
    common = git(folder.parent, "rev-parse", "change")[:12]
    assert mine.stdout == (f"{common}, merge base of main → working tree: no change of meaning\n")
    tested = told_tests(folder)
    assert not [row for row in tested["coverage"]["rows"] if row["changed"]]


def told_tests(folder: Path) -> Any:
    done = argy("policy", "test", "--base", "main", "--policy", folder, "-f", "json", "--jobs", 1)
    return json.loads(done.stdout)


def test_a_key_that_is_not_there_is_told_with_where_one_is(folder: Path, tmp_path: Path) -> None:
    asked = ("policy", "bundle", "--policy", folder, "--key", tmp_path / "no.json", "--out")
    done = argy(*asked, tmp_path / "bundle")
    assert done.exit_code == 2
    assert "argy keys policy-new" in done.stderr
    assert ".argy/keys/policy-author.json" in done.stderr
