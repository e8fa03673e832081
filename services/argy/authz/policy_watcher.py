"""Follows a policy folder: a change is loaded, audited and put in force; a broken one is not."""

import asyncio
import logging
import os
from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol
from uuid import UUID

from argy.authz.policy_holder import PolicyHolder
from argy.base.errors import ArgyError
from argy.base.ids import PLATFORM_TENANT_ID
from argy.policy import CompiledPolicy, compile_policy, load_policy
from argy.store.audit import AuditRecord

POLL_S: Final = 1.0
ACTIVATE: Final = "authz.policy.activate"
_LOG: Final = logging.getLogger(__name__)

Signature = tuple[tuple[str, int, int, int], ...]


class Lane(Protocol):
    """Where activations are recorded: ``argy.store.lane.AuditLane``."""

    def put(self, tenant_id: UUID, rec: AuditRecord) -> None:
        """Take a record."""
        ...


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
    """Compares the folder's signature each second, and at once when poked (SIGHUP)."""

    def __init__(
        self, root: Path, holder: PolicyHolder, lane: Lane, *, poll_s: float = POLL_S
    ) -> None:
        self._root = root
        self._holder = holder
        self._lane = lane
        self._poll_s = poll_s
        self._poked = asyncio.Event()
        self._seen: Signature | None = None
        self._task: asyncio.Task[None] | None = None
        self.problem: str = ""
        """Why the folder as it is now is not in force; empty when it is."""

    async def start(self) -> None:
        """Record the policy that the service starts with, and begin to follow the folder."""
        self._record(self._holder.current, previous="")
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
        """Load the folder if it changed; whether a new policy is in force."""
        signature = await asyncio.to_thread(signature_of, self._root)
        if signature == self._seen:
            return False
        try:
            policy = await asyncio.to_thread(_load, self._root)
        except (ArgyError, OSError, UnicodeDecodeError) as error:
            self._refuse(str(error))
            policy = None
        if signature != await asyncio.to_thread(signature_of, self._root):
            return False  # half of a change; look again
        self._seen = signature
        if policy is None:
            return False
        return self._activate(policy)

    def _activate(self, policy: CompiledPolicy) -> bool:
        before = self._holder.current
        if policy.revision == before.revision:
            self.problem = ""
            return False
        try:
            # No activation without its record.
            self._record(policy, previous=before.revision)
        except ArgyError as error:
            self._seen = None
            self._refuse(error.message)
            return False
        self._holder.activate(policy)
        self.problem = ""
        _LOG.info("policy %s is in force, %d rules", policy.revision, len(policy.rules))
        return True

    def _record(self, policy: CompiledPolicy, *, previous: str) -> None:
        self._lane.put(
            PLATFORM_TENANT_ID,
            AuditRecord(
                actor="service:authz",
                action=ACTIVATE,
                resource=f"authz.policy:{policy.revision}",
                detail={"previous": previous, "rules": len(policy.rules)},
            ),
        )

    def _refuse(self, problem: str) -> None:
        if problem != self.problem:
            _LOG.error("the policy folder is refused; the policy in force stays: %s", problem)
        self.problem = problem

    async def _run(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._poll_s):
                    await self._poked.wait()
            self._poked.clear()
            try:
                await self.look()
            except OSError as error:
                self._refuse(f"{self._root} can't be read: {error.strerror}")


def _load(root: Path) -> CompiledPolicy:
    return compile_policy(load_policy(root))
