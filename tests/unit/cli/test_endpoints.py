"""Where the command line finds its platform, and whom it does not believe."""

import os
from pathlib import Path

import pytest

from argy.base.errors import FailedPrecondition
from argy.cli.endpoints import nearest_state


def running(folder: Path) -> Path:
    """The state folder of a platform that runs in ``folder``."""
    (folder / ".argy").mkdir(parents=True)
    (folder / ".argy" / "up.json").write_text("{}")
    return folder / ".argy"


def test_the_nearest_platform_upwards_is_found(tmp_path: Path) -> None:
    here = tmp_path / "project" / "src"
    here.mkdir(parents=True)
    assert nearest_state(here, uid=os.geteuid()) == here / ".argy"
    state = running(tmp_path / "project")
    assert nearest_state(here, uid=os.geteuid()) == state


def test_a_state_that_another_user_planted_is_not_believed(tmp_path: Path) -> None:
    here = tmp_path / "project"
    here.mkdir()
    running(tmp_path)
    with pytest.raises(FailedPrecondition, match="belongs to another user") as refused:
        nearest_state(here, uid=os.geteuid() + 1)
    assert refused.value.reason == "STATE_OF_ANOTHER"
