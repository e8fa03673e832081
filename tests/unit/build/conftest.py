"""The checkout, seen as git sees it."""

import subprocess
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def repo_root() -> Path:
    return Path(__file__).resolve().parents[3]


@pytest.fixture(scope="session")
def repo_files(repo_root: Path) -> tuple[str, ...]:
    """Every file that git tracks or would track, as a path from the root."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=repo_root, check=True, capture_output=True, text=True)
    names = sorted(set(listed.stdout.split("\0")) - {""})
    return tuple(name for name in names if (repo_root / name).is_file())


@pytest.fixture(scope="session")
def repo_texts(repo_root: Path, repo_files: tuple[str, ...]) -> dict[str, str]:
    """The text of each of those files, less the binary ones."""
    texts = {}
    for name in repo_files:
        content = (repo_root / name).read_bytes()
        if b"\0" not in content:
            texts[name] = content.decode()
    return texts
