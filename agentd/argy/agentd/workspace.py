"""The folders that runs work in: one a run, made empty, wiped afterwards and seen to be empty.

What a run leaves is hostile: links to elsewhere, folders without permissions, trees deeper than any
path may be long. So wiping follows no link, holds two descriptors at a time whatever the depth, and
moves deep folders up instead of descending. It expects that no process of the run is alive.
"""

import os
import secrets
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from argy.agentd.identity import RunUser
from argy.agentd.run_spec import RUN_ID
from argy.base.errors import FailedPrecondition, InvalidArgument

DEFAULT_ROOT: Final = Path("/work")
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class WorkspaceDirty(FailedPrecondition):
    """A workspace could not be wiped; the agent must take no further run until someone looked."""

    default_reason = "WORKSPACE_DIRTY"


@dataclass(frozen=True, slots=True)
class Workspaces:
    """The folders ``<root>/<run id>``, mode 0700, of the user that runs jobs."""

    root: Path
    user: RunUser

    def path(self, run_id: str) -> Path:
        """Where a run works.

        Raises:
            InvalidArgument: if the id is none.
        """
        if not RUN_ID.fullmatch(run_id):
            raise InvalidArgument("a run id must match " + RUN_ID.pattern, field="run_id")
        return self.root / run_id

    def create(self, run_id: str) -> Path:
        """Make the run's workspace, empty; what an earlier agent left there is wiped first.

        Raises:
            InvalidArgument: if the id is none.
            WorkspaceDirty: if what stood there can't be removed.
            FailedPrecondition: if the root can't be used.
        """
        path = self.path(run_id)
        root = self._open_root()
        try:
            with suppress(FileNotFoundError):
                _remove(root, run_id)
            os.mkdir(run_id, 0o700, dir_fd=root)
            os.chmod(run_id, 0o700, dir_fd=root)  # whatever the umask
            if self.user.drop:
                os.chown(run_id, self.user.uid, self.user.gid, dir_fd=root, follow_symlinks=False)
        except OSError as error:
            raise WorkspaceDirty(f"{path} can't be made anew: {error.strerror}") from error
        finally:
            os.close(root)
        return path

    def wipe(self, run_id: str) -> None:
        """Remove the run's workspace with all that is in it; nothing is done where none is.

        Raises:
            InvalidArgument: if the id is none.
            WorkspaceDirty: if anything is left.
            FailedPrecondition: if the root can't be used.
        """
        path = self.path(run_id)
        root = self._open_root()
        try:
            with suppress(FileNotFoundError):
                _remove(root, run_id)
            if _exists(root, run_id):
                raise WorkspaceDirty(f"{path} came back while it was wiped")
        except OSError as error:
            raise WorkspaceDirty(f"{path} can't be wiped: {error.strerror}") from error
        finally:
            os.close(root)

    def _open_root(self) -> int:
        """Open the root, which is made if need be; nobody else may be able to put things there."""
        try:
            self.root.mkdir(mode=0o711, parents=True, exist_ok=True)
            root = os.open(self.root, _FOLDER)
        except OSError as error:
            raise FailedPrecondition(f"{self.root} can't be used: {error.strerror}") from error
        found = os.fstat(root)
        writable = (
            found.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not found.st_mode & stat.S_ISVTX
        )
        if writable or found.st_uid not in (0, os.geteuid()):
            os.close(root)
            raise FailedPrecondition(
                f"{self.root} is another user's or others may write to it: chmod 711 it"
            )
        return root


def _exists(folder: int, name: str) -> bool:
    try:
        os.lstat(name, dir_fd=folder)
    except FileNotFoundError:
        return False
    return True


def _remove(parent: int, name: str) -> None:
    if not stat.S_ISDIR(os.lstat(name, dir_fd=parent).st_mode):
        os.unlink(name, dir_fd=parent)
        return
    top = _open_folder(parent, name)
    try:
        while entries := os.listdir(top):
            for entry in entries:
                _remove_or_flatten(top, entry)
    finally:
        os.close(top)
    os.rmdir(name, dir_fd=parent)


def _remove_or_flatten(top: int, entry: str) -> None:
    """Remove an entry of ``top``; the folders in it become entries of ``top`` themselves."""
    try:
        os.unlink(entry, dir_fd=top)
        return
    except (IsADirectoryError, PermissionError):
        pass
    folder = _open_folder(top, entry)
    try:
        for name in os.listdir(folder):
            try:
                os.unlink(name, dir_fd=folder)
            except (IsADirectoryError, PermissionError):
                os.close(_open_folder(folder, name))  # moving a folder takes the right to write it
                moved = f".wipe-{secrets.token_hex(12)}"
                os.rename(name, moved, src_dir_fd=folder, dst_dir_fd=top)
    finally:
        os.close(folder)
    os.rmdir(entry, dir_fd=top)


def _open_folder(parent: int, name: str) -> int:
    """Open a folder, no link, and give its owner every right to it."""
    handle = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    try:
        os.chmod(f"/proc/self/fd/{handle}", 0o700)
        return os.open(f"/proc/self/fd/{handle}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    finally:
        os.close(handle)
