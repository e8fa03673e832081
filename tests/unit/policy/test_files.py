"""A policy's files from a folder and from git revisions."""

import os
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from argy.base.errors import FailedPrecondition, InvalidArgument, NotFound
from argy.policy.errors import PolicyError
from argy.policy.files import read_authors, read_folder, read_policy_files, read_revision
from argy.policy.loader import MAX_FILE_BYTES


def git(where: Path, *arguments: str) -> str:
    names = ("GIT_AUTHOR_NAME", "GIT_COMMITTER_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_EMAIL")
    env = {"PATH": os.environ["PATH"], "HOME": str(where)} | dict.fromkeys(
        names, "eva@example.test"
    )
    done = subprocess.run(
        ["git", "-C", where, *arguments], env=env, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository whose policy changed once; ``first`` is a tag."""
    root = tmp_path / "checkout"
    policy = root / "rules" / "policy"
    (policy / "roles").mkdir(parents=True)
    git(root, "init", "-q", "-b", "main")
    (policy / "model.conf").write_text("model\n")
    (policy / "roles" / "ä b.csv").write_text("p, first\n")
    (policy / "README.md").write_text("no rules\n")
    git(root, "add", ".")
    git(root, "commit", "-q", "-m", "one")
    git(root, "tag", "first")
    (policy / "roles" / "ä b.csv").write_text("p, second\n")
    git(root, "commit", "-q", "-am", "two")
    return root


def test_who_wrote_a_policy_are_authors_and_co_authors_since_then(repository: Path) -> None:
    policy = repository / "rules" / "policy"

    def commit(author: str, *message: str, file: str = "rules/policy/roles/ä b.csv") -> str:
        path = repository / file
        path.write_text((path.read_text() if path.exists() else "") + "p, more\n")
        git(repository, "add", ".")
        told = [word for text in message for word in ("-m", text)]
        git(repository, "commit", "-q", f"--author=A <{author}>", *told)
        return git(repository, "rev-parse", "HEAD")

    commit("Ada@example.test", "three", "Co-authored-by: Bob <bob@example.test>")
    commit("other@example.test", "elsewhere", file="README.md")
    git(repository, "checkout", "-q", "-b", "side")
    commit("side@example.test", "on a branch")
    git(repository, "checkout", "-q", "main")
    # Whoever merges a branch wrote nothing in it.
    git(repository, "merge", "-q", "--no-ff", "side", "-m", "merge")
    head = git(repository, "rev-parse", "HEAD")
    assert read_authors(policy, head, "HEAD~2") == ("side@example.test",)
    assert read_authors(policy, head, "first") == (
        "ada@example.test",
        "bob@example.test",
        "eva@example.test",
        "side@example.test",
    )
    # Of the last commit alone where nothing, or nothing known, was in force.
    for since in ("", "5" * 40):
        assert read_authors(policy, head, since) == ("side@example.test",)
    assert read_authors(repository.parent, head) == ()


def test_a_revision_is_read_without_a_checkout(repository: Path) -> None:
    policy = repository / "rules" / "policy"
    first = read_revision(policy, "first")
    assert first.files == {"model.conf": "model\n", "roles/ä b.csv": "p, first\n"}
    assert first.commit == git(repository, "rev-parse", "first")
    assert first.commit_time_s == int(git(repository, "show", "-s", "--format=%ct", "first"))
    assert read_policy_files(policy, "main").files["roles/ä b.csv"] == "p, second\n"
    assert (policy / "roles" / "ä b.csv").read_text() == "p, second\n"


def test_a_folder_knows_its_commit_until_it_is_changed(repository: Path) -> None:
    policy = repository / "rules" / "policy"
    assert read_folder(policy).commit == git(repository, "rev-parse", "HEAD")
    (policy / "roles" / "new.csv").write_text("p, third\n")
    changed = read_policy_files(policy)
    assert (changed.commit, changed.commit_time_s) == ("", 0)
    assert "roles/new.csv" in changed.files


@pytest.mark.parametrize("revision", ["--output=x", "-1"])
def test_an_option_is_no_revision(repository: Path, revision: str) -> None:
    with pytest.raises(InvalidArgument):
        read_revision(repository / "rules" / "policy", revision)


def test_what_is_not_there_is_named(repository: Path, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="nowhere"):
        read_revision(repository / "rules" / "policy", "nowhere")
    with pytest.raises(NotFound, match="no policy"):
        read_revision(repository / "other", "main")
    (tmp_path / "plain").mkdir()
    with pytest.raises(FailedPrecondition, match="git"):
        read_revision(tmp_path / "plain", "main")
    with pytest.raises(PolicyError, match="not a folder"):
        read_folder(tmp_path / "missing")


def test_links_and_large_and_foreign_files_are_refused(repository: Path, tmp_path: Path) -> None:
    policy = repository / "rules" / "policy"
    (tmp_path / "secret.csv").write_text("p, secret\n")
    link = policy / "roles" / "link.csv"
    link.symlink_to(tmp_path / "secret.csv")
    with pytest.raises(PolicyError, match="link out"):
        read_folder(policy)
    git(repository, "add", ".")
    git(repository, "commit", "-q", "-m", "link")
    with pytest.raises(PolicyError, match="a link"):
        read_revision(policy, "main")
    link.unlink()
    (policy / "roles" / "large.csv").write_bytes(b"#" * (MAX_FILE_BYTES + 1))
    with pytest.raises(PolicyError, match="bytes"):
        read_folder(policy)
    (policy / "roles" / "large.csv").write_bytes(b"p, a\n\xff")
    with pytest.raises(PolicyError, match=r"large\.csv:2: not UTF-8"):
        read_folder(policy)


@pytest.mark.parametrize("read", [read_folder, lambda policy: read_revision(policy, "HEAD")])
def test_a_planted_bare_repository_runs_nothing(
    repository: Path, tmp_path: Path, read: Callable[[Path], object]
) -> None:
    policy, mark = repository / "rules" / "policy", tmp_path / "ran"
    (policy / "HEAD").write_text("ref: refs/heads/main\n")
    (policy / "objects").mkdir()
    (policy / "refs").mkdir()
    (policy / "config").write_text(
        f"[core]\nrepositoryformatversion = 0\nbare = false\nworktree = {policy}\n"
        f'fsmonitor = "touch {mark}; false"\n'
        f'[log]\nshowSignature = true\n[gpg]\nprogram = "touch {mark}; false"\n'
    )
    with suppress(FailedPrecondition):
        read(policy)
    assert not mark.exists()


def test_a_file_that_git_ignores_is_not_hidden_behind_a_commit(repository: Path) -> None:
    policy = repository / "rules" / "policy"
    (repository / ".git" / "info" / "exclude").write_text("*.csv\n")
    (policy / "roles" / "evil.csv").write_text("p, evil\n")
    assert read_folder(policy).commit == ""
    (policy / "roles" / "evil.csv").unlink()
    assert read_folder(policy).commit
    git(policy, "update-index", "--assume-unchanged", "model.conf")
    (policy / "model.conf").write_text("evil\n")
    assert read_folder(policy).commit == ""
