"""Under which user a local server runs.

PostgreSQL refuses uid 0. An ordinary user runs it as itself. Root, in this order:

1. *drop*: an unprivileged system user owns the server's folder, if it can reach the folder and the
   binaries;
2. *namespace*: a user namespace shows root as that user. Files keep their owner and closed parents
   such as /root stay passable; no capability outlives the exec;
3. *drop-traverse*: as 1, keeping one capability to pass closed parents (containers that forbid
   namespaces).

A folder that already belongs to somebody else runs under its owner. No parent's mode is changed
and nothing is copied.
"""

import os
import pwd
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from argy.local.errors import LocalError

Mode = Literal["same", "drop", "namespace", "drop-traverse"]
_USERS = ("postgres", "nobody")


@dataclass(frozen=True, slots=True)
class Identity:
    """How the guard changes user before it starts the server."""

    mode: Mode
    uid: int
    gid: int


def candidates(folder: Path, binaries: Path) -> Iterator[Identity]:
    """Yield the identities to try for a server whose files lie in ``folder``, best first."""
    me, owner = os.geteuid(), folder.stat().st_uid
    if me != 0:
        if owner != me:
            raise LocalError(
                f"{folder} belongs to uid {owner} and you are uid {me}: "
                "start as that user, or remove the folder (its data is lost)."
            )
        # PostgreSQL's initdb wants a name for its user; containers give uids without one.
        if not _has_name(me):
            stranger = _unprivileged()
            yield Identity("namespace", stranger.pw_uid, stranger.pw_gid)
        yield Identity("same", me, os.getegid())
        return
    user = _unprivileged() if owner == 0 or not _has_name(owner) else pwd.getpwuid(owner)
    uid, gid = user.pw_uid, user.pw_gid
    if reachable(folder.parent, uid) and reachable(binaries, uid):
        yield Identity("drop", uid, gid)
    if owner == 0:
        yield Identity("namespace", uid, gid)
    yield Identity("drop-traverse", uid, gid)


def prepare(folder: Path, identity: Identity) -> None:
    """Give everything in ``folder`` to the user that the server will really be."""
    if os.geteuid() != 0 or identity.mode in ("same", "namespace"):
        return
    for root, folders, files in os.walk(folder):
        for name in ("", *folders, *files):
            path = os.path.join(root, name) if name else root
            found = os.lstat(path)
            if found.st_uid == identity.uid:
                continue
            # A second hard link may be a system file that someone put here.
            if stat.S_ISREG(found.st_mode) and found.st_nlink > 1:
                raise LocalError(f"{path} has a second hard link: remove the folder {folder}.")
            os.lchown(path, identity.uid, identity.gid)


def reachable(path: Path, uid: int) -> bool:
    """Tell whether ``uid`` may pass every folder on the way to, and into, ``path``."""
    for step in (path, *path.parents):
        found = step.stat()
        bit = stat.S_IXUSR if found.st_uid == uid else stat.S_IXOTH
        if not found.st_mode & bit:
            return False
    return True


def _has_name(uid: int) -> bool:
    return any(entry.pw_uid == uid for entry in pwd.getpwall())


def _unprivileged() -> pwd.struct_passwd:
    entries = {entry.pw_name: entry for entry in pwd.getpwall() if entry.pw_uid != 0}
    for name in _USERS:
        if name in entries:
            return entries[name]
    if entries:
        return next(iter(entries.values()))
    raise LocalError(
        "PostgreSQL cannot run as root and this system has no other user: "
        "set ARGY_POSTGRES_DSN to a server of yours, or start as an ordinary user."
    )
