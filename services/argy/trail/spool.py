"""A folder of segments: batches of lines that must survive a restart.

A segment appears whole (written aside, synced, renamed) and goes whole. The folder belongs to one
process at a time; segments of a process that is gone are adopted by the next.
"""

import fcntl
import os
import stat
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from argy.base.errors import FailedPrecondition

_MAX_OWNERS = 1024


@dataclass(frozen=True, slots=True)
class Segment:
    """A file of lines, and its size in bytes."""

    path: Path
    size: int


class Spool:
    """One process's share of a spool folder. Every method blocks on the disk.

    Raises:
        FailedPrecondition: ``SPOOL_UNUSABLE`` or ``SPOOL_BUSY``.
    """

    def __init__(self, root: Path) -> None:
        try:
            self._folder, self._lock = _claim(root)
        except OSError as error:
            raise FailedPrecondition(
                f"ARGY_SPOOL_DIR {root} can't be used: {error.strerror}; name a folder that this"
                " user may write to",
                reason="SPOOL_UNUSABLE",
            ) from error
        names = [path.stem for path in self._folder.glob("*.jsonl")]
        self._next = max((int(name) for name in names if name.isdecimal()), default=0)
        # A write that was begun before its task was cancelled still runs in its thread.
        self._writing = threading.Lock()
        self.interrupted = 0
        """Segments that were being written when a process died; their records are lost."""
        self._root = root

    def adopt(self) -> list[Segment]:
        """Take over what earlier processes left; oldest first within each of them."""
        segments = self._take(self._folder)
        for folder in sorted(self._root.glob("lane-*")):
            if folder == self._folder or not _is_ours(folder):
                continue
            if (lock := lock_folder(folder)) is None:
                continue
            segments += self._take(folder)
            lock.close()
        return segments

    def write(self, lines: list[bytes]) -> Segment:
        """Store lines, each without its newline, durably."""
        data = b"\n".join(lines) + b"\n"
        # Bare system calls: each that a thread makes costs the event loop its turn once more.
        with self._writing:
            path = self._new_path()
            part = f"{path}.part"
            file = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            try:
                view = memoryview(data)
                while view:
                    view = view[os.write(file, view) :]
                os.fsync(file)
            finally:
                os.close(file)
            os.rename(part, path)
            self._sync_folder()
        return Segment(path, len(data))

    def read(self, segment: Segment) -> list[bytes]:
        """Return a segment's lines."""
        return segment.path.read_bytes().split(b"\n")[:-1]

    def remove(self, segments: Sequence[Segment]) -> None:
        """Forget segments."""
        for segment in segments:
            segment.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Let another process have the folder."""
        self._lock.close()

    def _take(self, folder: Path) -> list[Segment]:
        for part in folder.glob("*.part"):
            self.interrupted += 1
            part.unlink()
        taken: list[Segment] = []
        for path in sorted(folder.glob("*.jsonl")):
            own = self._new_path()
            path.rename(own)
            taken.append(Segment(own, own.stat().st_size))
        self._sync_folder()
        return taken

    def _new_path(self) -> Path:
        self._next += 1
        return self._folder / f"{self._next:012d}.jsonl"

    def _sync_folder(self) -> None:
        descriptor = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _claim(root: Path) -> tuple[Path, IO[str]]:
    root.mkdir(parents=True, exist_ok=True, mode=0o700)
    for number in range(_MAX_OWNERS):
        folder = root / f"lane-{number:04d}"
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        lock = lock_folder(folder) if _is_ours(folder) else None
        if lock is not None:
            return folder, lock
    raise FailedPrecondition("Too many processes share the spool folder", reason="SPOOL_BUSY")


def _is_ours(folder: Path) -> bool:
    """Whether a folder is one that nobody else could have put there, or can put files into.

    The spool's root may be shared (a mounted volume); records are neither written to nor taken
    from a place that another user chose.
    """
    about = folder.lstat()
    return (
        stat.S_ISDIR(about.st_mode) and about.st_uid == os.geteuid() and not about.st_mode & 0o022
    )


def lock_folder(folder: Path) -> IO[str] | None:
    """Lock a folder until the file is closed or the process ends; None if another has it."""
    file = (folder / "lock").open("a", encoding="ascii")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file
