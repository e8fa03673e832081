"""Artifacts: regular files of the workspace, and nothing that a run made look like one."""

import hashlib
import os
import socket
from pathlib import Path

import pytest

from argy.agentd.artifacts import Artifact, RefusedArtifact, collect

LIMIT = 1000


def kept(workspace: Path, *globs: str, total: int = 10 * LIMIT) -> dict[str, bytes]:
    found = {}
    for artifact in collect(workspace, globs, max_file_bytes=LIMIT, max_total_bytes=total):
        if isinstance(artifact, Artifact):
            content = os.read(artifact.fd, 2 * LIMIT)
            assert (artifact.size, artifact.sha256) == (
                len(content),
                hashlib.sha256(content).hexdigest(),
            )
            found[artifact.path] = content
    return found


def refused(workspace: Path, *globs: str, total: int = 10 * LIMIT) -> dict[str, str]:
    found = collect(workspace, globs, max_file_bytes=LIMIT, max_total_bytes=total)
    return {item.path: item.reason for item in found if isinstance(item, RefusedArtifact)}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "workspace"
    for name in ("a.txt", "b/c.txt", "b/d/e.txt", "b/d/f.log"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    return root


@pytest.mark.parametrize(
    ("glob", "names"),
    [
        ("*.txt", ["a.txt"]),
        ("**", ["a.txt", "b/c.txt", "b/d/e.txt", "b/d/f.log"]),
        ("**/*.txt", ["a.txt", "b/c.txt", "b/d/e.txt"]),
        ("b/**", ["b/c.txt", "b/d/e.txt", "b/d/f.log"]),
        ("b/**/f.log", ["b/d/f.log"]),
        ("b/*/[ef].*", ["b/d/e.txt", "b/d/f.log"]),
        ("*", ["a.txt"]),
        ("b", []),
        ("../**", []),
    ],
)
def test_globs(tree: Path, glob: str, names: list[str]) -> None:
    assert list(kept(tree, glob)) == names


def test_many_stars_are_linear(tree: Path) -> None:
    assert kept(tree, "/".join(["**"] * 60) + "/nothing") == {}


def test_nothing_that_only_looks_like_a_file(tree: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("outside")
    (tree / "link").symlink_to(outside)
    (tree / "up").symlink_to("..")
    os.link(outside, tree / "hard")
    os.mkfifo(tree / "fifo")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tree / "sock"))
    assert sorted(kept(tree, "**")) == ["a.txt", "b/c.txt", "b/d/e.txt", "b/d/f.log"]
    assert sorted(refused(tree, "**")) == ["fifo", "hard", "link", "sock", "up"]


def test_a_device() -> None:
    assert "no regular file" in refused(Path("/dev"), "zero")["zero"]


def test_a_folder_that_became_a_link_is_not_entered(tree: Path, tmp_path: Path) -> None:
    found = collect(tree, ["**"], max_file_bytes=LIMIT, max_total_bytes=LIMIT)
    assert isinstance(next(found), Artifact)
    (tmp_path / "c.txt").write_text("outside")
    (tree / "b").rename(tree / "moved")
    (tree / "b").symlink_to(tmp_path)
    assert [item.path for item in found if isinstance(item, Artifact)] == []


def test_sizes_are_bounded(tree: Path) -> None:
    (tree / "large").write_bytes(b"x" * (LIMIT + 1))
    assert "1000 bytes" in refused(tree, "large")["large"]
    assert list(kept(tree, "**/*.txt", total=13)) == ["a.txt", "b/c.txt"]


def test_a_descriptor_is_closed_when_the_next_is_asked_for(tree: Path) -> None:
    found = collect(tree, ["**"], max_file_bytes=LIMIT, max_total_bytes=LIMIT)
    first = next(found)
    assert isinstance(first, Artifact)
    found.close()  # type: ignore[attr-defined]
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(first.fd)
