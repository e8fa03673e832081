"""Follows a policy folder in development: a change is activated; a broken one is not."""

import asyncio
import logging
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from argy.authz.publishing.folder import Folder, open_folder, publish_folder
from argy.authz.publishing.follower import PolicyFollower
from argy.authz.publishing.holder import PolicyHolder
from argy.authz.publishing.keys import PolicyKeys
from argy.base.clock import Clock
from argy.base.errors import Aborted, ArgyError
from argy.store.database import Database

POLL_S: Final = 0.5
_LOG: Final = logging.getLogger(__name__)

Signature = tuple[tuple[str, int, int, int], ...]


def signature_of(root: Path) -> Signature:
    """What changes when any file of the folder does: path, inode, size and time of each."""
    found: list[tuple[str, int, int, int]] = []
    for folder, folders, files in os.walk(root):
        folders.sort()
        for name in files:
            path = Path(folder, name)
            try:
                stat = path.stat()
            except FileNotFoundError:
                continue
            found.append((str(path), stat.st_ino, stat.st_size, stat.st_mtime_ns))
    return tuple(sorted(found))


class PolicyWatcher:
    """Compares the folder's signature twice a second, and at once when poked (SIGHUP).

    Several processes may watch one folder: the first to see a change activates it.
    """

    def __init__(
        self,
        root: Path,
        *,
        db: Database,
        keys: PolicyKeys,
        holder: PolicyHolder,
        follower: PolicyFollower,
        clock: Clock,
        poll_s: float = POLL_S,
    ) -> None:
        self._root = root
        self._db = db
        self._keys = keys
        self._holder = holder
        self._follower = follower
        self._clock = clock
        self._poll_s = poll_s
        self._poked = asyncio.Event()
        self._seen: tuple[Signature, int] | None = None
        self._task: asyncio.Task[None] | None = None
        self.problem: str = ""
        """Why the folder as it is now is not in force; empty when it is."""

    async def start(self) -> None:
        """Begin to follow the folder."""
        self._task = asyncio.create_task(self._run(), name="policy-watcher")

    async def close(self) -> None:
        """Stop following."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    def poke(self) -> None:
        """Look now, even if nothing seems to have changed; for SIGHUP."""
        self._seen = None
        self._poked.set()

    async def look(self) -> bool:
        """Activate the folder if it changed; whether it did."""
        signature = await asyncio.to_thread(signature_of, self._root)
        # A folder that was fine under one activation may be ignored under the next.
        seen = (signature, self._holder.in_force.sequence)
        if seen == self._seen:
            return False
        folder: Folder | None = None
        problem = ""
        try:
            folder = await asyncio.to_thread(open_folder, self._root)
        except (ArgyError, OSError, UnicodeDecodeError) as error:
            problem = str(error)
        if signature != await asyncio.to_thread(signature_of, self._root):
            return False  # half of a change; look again
        if folder is None:
            self._seen = seen
            self._refuse(problem)
            return False
        try:
            activated = await self._activate(folder)
        except Aborted:
            await self._follower.refresh()
            return False  # another process was faster: look again at what is in force then
        self._seen = (signature, self._holder.in_force.sequence)
        return activated

    async def _activate(self, folder: Folder) -> bool:
        before = self._holder.in_force
        if folder.bundle.source.revision == before.policy.revision:
            self.problem = ""
            return False
        if before.activation is None or before.activation.kind not in ("BOOTSTRAP", "FOLDER"):
            self._refuse("a reviewed policy is in force, so the folder is ignored: propose it")
            return False
        await publish_folder(self._db, self._keys, folder, "FOLDER", before, self._clock)
        self.problem = ""
        await self._follower.refresh()
        return True

    def _refuse(self, problem: str) -> None:
        if problem != self.problem:
            _LOG.error("the policy folder is refused; the policy in force stays: %s", problem)
        self.problem = problem

    async def _run(self) -> None:
        while True:
            try:
                await self.look()
            except OSError as error:
                self._refuse(f"{self._root} can't be read: {error.strerror}")
            except ArgyError as error:
                self._refuse(error.message)  # the database is away: look again
            with suppress(TimeoutError):
                async with asyncio.timeout(self._poll_s):
                    await self._poked.wait()
            self._poked.clear()
