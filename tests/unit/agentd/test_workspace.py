"""Workspaces: empty at first, gone afterwards, whatever a run left; nothing outside is touched."""

import os
from pathlib import Path

import pytest

from argy.agentd.identity import run_user
from argy.agentd.workspace import Workspaces
from argy.base.errors import FailedPrecondition, InvalidArgument


@pytest.fixture
def workspaces(tmp_path: Path) -> Workspaces:
    return Workspaces(tmp_path / "work", run_user())


@pytest.mark.parametrize("run_id", ["..", ".", "../out", "/etc", "a/b", "", "x" * 65])
def test_ids_that_lead_elsewhere(workspaces: Workspaces, run_id: str) -> None:
    for act in (workspaces.create, workspaces.wipe, workspaces.path):
        with pytest.raises(InvalidArgument):
            act(run_id)


def test_made_for_the_user_that_runs_jobs_alone(workspaces: Workspaces) -> None:
    found = workspaces.create("r").stat()
    assert (found.st_mode & 0o7777, found.st_uid) == (0o700, workspaces.user.uid)


def test_links_are_not_followed(workspaces: Workspaces, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_text("kept")
    path = workspaces.create("r")
    (path / "folder").symlink_to(outside)
    (path / "file").symlink_to(outside / "kept")
    os.link(outside / "kept", path / "hard")
    (path / "loop").symlink_to("loop")
    os.mkfifo(path / "fifo")
    workspaces.wipe("r")
    assert not path.exists()
    assert (outside / "kept").read_text() == "kept"
    workspaces.wipe("r")  # again: nothing is there


def test_a_workspace_that_became_a_link(workspaces: Workspaces, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").touch()
    workspaces.create("r").rmdir()
    (workspaces.root / "r").symlink_to(outside)
    assert not list(workspaces.create("r").iterdir())
    assert (outside / "kept").exists()


def test_deeper_than_a_path_may_be_long_and_closed(workspaces: Workspaces) -> None:
    top = os.open(workspaces.create("r"), os.O_RDONLY)
    at = os.dup(top)
    for _ in range(600):
        os.mkdir("d" * 100, dir_fd=at)
        deeper = os.open("d" * 100, os.O_RDONLY, dir_fd=at)
        os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=at))
        os.fchmod(at, 0)
        os.close(at)
        at = deeper
    os.close(at)
    os.fchmod(top, 0)
    os.close(top)
    workspaces.wipe("r")
    assert not (workspaces.root / "r").exists()


def test_what_an_earlier_agent_left_is_wiped_first(workspaces: Workspaces) -> None:
    (workspaces.create("r") / "old").touch()
    assert not list(workspaces.create("r").iterdir())


def test_a_root_that_others_may_write_to(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    with pytest.raises(FailedPrecondition, match="711"):
        Workspaces(tmp_path, run_user()).create("r")
