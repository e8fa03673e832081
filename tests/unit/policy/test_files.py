"""A policy's files from a folder and from git revisions."""

import os
import shutil
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from argy.base.errors import FailedPrecondition, InvalidArgument, NotFound
from argy.policy.errors import PolicyError
from argy.policy.files import (
    merge_base,
    read_authors,
    read_committed,
    read_folder,
    read_policy_files,
    read_revision,
)
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
    assert read_committed(policy).commit == git(repository, "rev-parse", "HEAD")
    (policy / "roles" / "new.csv").write_text("p, third\n")
    changed = read_committed(policy)
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


@pytest.mark.parametrize("read", [read_committed, lambda policy: read_revision(policy, "HEAD")])
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
    assert read_committed(policy).commit == ""
    (policy / "roles" / "evil.csv").unlink()
    assert read_committed(policy).commit
    git(policy, "update-index", "--assume-unchanged", "model.conf")
    (policy / "model.conf").write_text("evil\n")
    assert read_committed(policy).commit == ""


@pytest.fixture
def shallow(repository: Path, tmp_path: Path) -> Path:
    """The newest commit alone, as CI clones by default."""
    clone = tmp_path / "shallow"
    git(tmp_path, "clone", "-q", "--depth", "1", repository.as_uri(), str(clone))
    return clone / "rules" / "policy"


def test_a_shallow_clone_says_what_to_fetch(shallow: Path) -> None:
    head = git(shallow, "rev-parse", "HEAD")
    assert read_committed(shallow).commit == head
    for ask in (
        lambda: read_revision(shallow, "HEAD~1"),
        lambda: merge_base(shallow, "HEAD~1"),
        lambda: read_authors(shallow, head),
        lambda: read_authors(shallow, head, "5" * 40),
    ):
        with pytest.raises(NotFound, match="git fetch --unshallow") as refused:
            ask()
        assert refused.value.reason == "SHALLOW_CLONE"
    git(shallow, "fetch", "-q", "--unshallow")
    assert read_revision(shallow, "HEAD~1").files["roles/ä b.csv"] == "p, first\n"


def test_the_merge_base_leaves_out_what_happened_elsewhere(repository: Path) -> None:
    policy = repository / "rules" / "policy"
    before = git(repository, "rev-parse", "HEAD")
    git(repository, "checkout", "-q", "-b", "change")
    assert merge_base(policy, "main") == "main"
    git(repository, "checkout", "-q", "main")
    git(repository, "commit", "-q", "--allow-empty", "-m", "meanwhile")
    git(repository, "checkout", "-q", "change")
    assert merge_base(policy, "main") == before
    git(repository, "checkout", "-q", "--orphan", "unrelated")
    git(repository, "commit", "-q", "--allow-empty", "-m", "first")
    assert merge_base(policy, "main") == "main"


def test_merge_bases_that_a_shallow_clone_lacks_are_not_guessed(
    repository: Path, tmp_path: Path
) -> None:
    git(repository, "checkout", "-q", "-b", "change")
    git(repository, "commit", "-q", "--allow-empty", "-m", "mine")
    git(repository, "checkout", "-q", "main")
    git(repository, "commit", "-q", "--allow-empty", "-m", "theirs")
    clone = tmp_path / "clone"
    options = ("--depth", "1", "--no-single-branch", "--branch", "change")
    git(tmp_path, "clone", "-q", *options, repository.as_uri(), str(clone))
    with pytest.raises(NotFound, match="'origin/main' and HEAD have in common"):
        merge_base(clone / "rules" / "policy", "origin/main")


def test_a_repository_of_somebody_else_is_told_in_gits_own_words(
    repository: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    policy = repository / "rules" / "policy"
    head = git(repository, "rev-parse", "HEAD")
    # What git itself is tested with; the variable must reach it, which ours leave out.
    wrapper = tmp_path / "bin" / "git"
    wrapper.parent.mkdir()
    real = shutil.which("git")
    wrapper.write_text(f'#!/bin/sh\nGIT_TEST_ASSUME_DIFFERENT_OWNER=1 exec {real} "$@"\n')
    wrapper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{wrapper.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("HOME", str(tmp_path))
    for ask in (
        lambda: read_committed(policy),
        lambda: read_revision(policy, "HEAD"),
        lambda: read_authors(policy, head),
        lambda: merge_base(policy, "main"),
    ):
        with pytest.raises(FailedPrecondition, match=r"git config --global --add safe\.directory"):
            ask()
    assert read_folder(policy).files


def test_line_breaks_that_git_made_on_checkout_are_no_change(repository: Path) -> None:
    policy = repository / "rules" / "policy"
    git(repository, "config", "core.autocrlf", "true")
    for path in policy.rglob("*.*"):
        path.unlink()
    git(repository, "checkout", "-q", "--", ".")
    assert (policy / "model.conf").read_bytes() == b"model\r\n"
    assert read_committed(policy).commit == git(repository, "rev-parse", "HEAD")
