"""Private files: written whole or not at all, readable by their owner only."""

import os
import secrets
import tempfile
from pathlib import Path

from argy.local.errors import LocalError


def private_folder(folder: Path) -> Path:
    """Create the folder (0700) if it is missing, no parent's mode changes; return its real path."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder.resolve()


def write_private(path: Path, content: bytes) -> None:
    """Replace ``path`` atomically by a file of mode 0600."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def create_private(path: Path, content: bytes) -> bytes:
    """Write ``content`` (mode 0600) unless the file exists; return what the file holds.

    Of several processes at once one wins, and all of them return the winner's content.
    """
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(name, path)
        except FileExistsError:
            return read_private(path)
        return content
    finally:
        Path(name).unlink(missing_ok=True)


def read_private(path: Path) -> bytes:
    """Read a secret; raises LocalError if others than its owner may read or write it."""
    if path.stat().st_mode & 0o077:
        raise LocalError(f"{path} is open to other users: run `chmod 600 {path}`.")
    return path.read_bytes()


def secret_text(path: Path, size: int = 32) -> str:
    """Return the random URL-safe secret kept in ``path``, of ``size`` bytes, made on first use."""
    if path.exists():
        return read_private(path).decode("ascii").strip()
    return create_private(path, secrets.token_urlsafe(size).encode("ascii")).decode("ascii")
