"""What a run leaves to keep: regular files of its workspace, named by globs, opened one by one.

The workspace is hostile, and the run's processes are gone. Names come from reading its folders, and
each file is opened beneath the workspace by openat2(2), which refuses links, ``..`` and other file
systems on the whole way. A file with a second name is refused: nothing tells where that one is.
"""

import ctypes
import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

_OPENAT2: Final = 437  # the same number on every architecture
_BENEATH: Final = 0x01 | 0x02 | 0x04 | 0x08  # NO_XDEV, NO_MAGICLINKS, NO_SYMLINKS, BENEATH
_MAX_DEPTH: Final = 64
_CHUNK: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Artifact:
    """A file to keep. ``fd`` is at its beginning, and closed when the next one is asked for."""

    path: str
    """Relative to the workspace."""
    size: int
    """Bytes."""
    sha256: str
    fd: int


@dataclass(frozen=True, slots=True)
class RefusedArtifact:
    """A path that a glob matched and that is not kept, and why."""

    path: str
    reason: str


class _HowToOpen(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


def collect(
    workspace: Path,
    globs: Sequence[str],
    *,
    max_file_bytes: int,
    max_total_bytes: int,
    max_entries: int = 200_000,
) -> Iterator[Artifact | RefusedArtifact]:
    """Yield what ``globs`` match, in the order of their names, and what of it is refused.

    No more than ``max_entries`` entries of the workspace are looked at, and no more than
    ``max_total_bytes`` are yielded.

    Raises:
        OSError: if the workspace itself can't be read.
    """
    root = os.open(workspace, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    left = max_total_bytes
    try:
        patterns = [glob.split("/") for glob in globs]
        for path in _names(root, max_entries):
            if not any(_matches(path.split("/"), pattern) for pattern in patterns):
                continue
            opened = _open(root, path, most=min(max_file_bytes, left))
            if isinstance(opened, int):
                try:
                    artifact = _measured(path, opened, most=min(max_file_bytes, left))
                    if isinstance(artifact, Artifact):
                        left -= artifact.size
                    yield artifact
                finally:
                    os.close(opened)
            elif opened:
                yield RefusedArtifact(path, opened)
    finally:
        os.close(root)


def _names(root: int, most: int) -> Iterator[str]:
    """Every entry that is no folder, sorted; folders that are too deep or closed are left out."""
    pending = [""]
    while pending:
        folder = pending.pop()
        try:
            handle = _openat2(root, folder or ".", os.O_RDONLY | os.O_DIRECTORY)
        except OSError:
            continue
        try:
            with os.scandir(handle) as found:
                entries = sorted(found, key=lambda entry: entry.name)
        finally:
            os.close(handle)
        most -= len(entries)
        if most < 0:
            return
        folders = []
        for entry in entries:
            path = f"{folder}/{entry.name}" if folder else entry.name
            if not entry.is_dir(follow_symlinks=False):
                yield path
            elif path.count("/") < _MAX_DEPTH:
                folders.append(path)
        pending += reversed(folders)


def _matches(parts: list[str], pattern: list[str]) -> bool:
    """Whether a path matches; ``**`` is any number of folders, also none. Linear, not recursive."""
    reached = {0}
    for part in parts:
        for at in sorted(reached):
            if at < len(pattern) and pattern[at] == "**":
                reached.add(at + 1)
        reached = {
            at if pattern[at] == "**" else at + 1
            for at in reached
            if at < len(pattern) and (pattern[at] == "**" or fnmatchcase(part, pattern[at]))
        }
    return len(pattern) in reached or (pattern[-1] == "**" and len(pattern) - 1 in reached)


def _open(root: int, path: str, *, most: int) -> int | str:
    """A descriptor of the file, or why it is refused; empty for what is simply no file."""
    try:
        # A fifo does not block, and a terminal becomes nobody's.
        fd = _openat2(root, path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_NOFOLLOW)
    except OSError as error:
        return f"can't be opened beneath the workspace: {error.strerror}"
    found = os.fstat(fd)
    reason = ""
    if not stat.S_ISREG(found.st_mode):
        reason = "is no regular file"
    elif found.st_nlink > 1:
        reason = "has a second name (hard link)"
    elif found.st_size > most:
        reason = f"is over the {most} bytes that are left"
    if reason:
        os.close(fd)
        return reason
    return fd


def _measured(path: str, fd: int, *, most: int) -> Artifact | RefusedArtifact:
    digest, size = hashlib.sha256(), 0
    while chunk := os.read(fd, _CHUNK):
        size += len(chunk)
        if size > most:
            return RefusedArtifact(path, f"is over the {most} bytes that are left")
        digest.update(chunk)
    os.lseek(fd, 0, os.SEEK_SET)
    return Artifact(path, size, digest.hexdigest(), fd)


def _openat2(root: int, path: str, flags: int) -> int:
    how = _HowToOpen(flags | os.O_CLOEXEC, 0, _BENEATH)
    libc = ctypes.CDLL(None, use_errno=True)
    while True:
        fd: int = libc.syscall(
            ctypes.c_long(_OPENAT2), root, os.fsencode(path), ctypes.byref(how), ctypes.sizeof(how)
        )
        if fd >= 0:
            return fd
        number = ctypes.get_errno()
        with suppress(InterruptedError):
            raise OSError(number, os.strerror(number), path)
