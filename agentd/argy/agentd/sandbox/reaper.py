"""The process above a job: it watches it, obeys the agent, and ends when nothing of it is alive."""

import contextlib
import json
import os
import select
import signal
import socket
import time
from typing import Any

from argy.agentd.sandbox import measure

MAX_REPORT = 4096
_TICK_SECONDS = 0.2


class Reaper:
    """Watches the job until it ends, is ended or breaks a limit; then kills what is left of it."""

    def __init__(
        self, job: dict[str, Any], agent: socket.socket, supervisor: int, results: int
    ) -> None:
        self._job, self._limits = job, job["limits"]
        self._agent, self._supervisor, self._results = agent, supervisor, results
        self._peak = 0
        self._next_scan = 0.0

    def run(self) -> dict[str, Any]:
        """Return how the job ended, and its peak memory, when none of its processes is left."""
        try:
            report = self._watch()
        except Exception as error:  # noqa: BLE001 - whatever it is, nobody may be left
            report = {"kind": "limit_exceeded", "reason": f"reaper: {error!r}"}
        self._kill_all()
        return report | {"peak_memory_bytes": self._peak}

    def _watch(self) -> dict[str, Any]:
        poll = select.poll()
        poll.register(self._results, select.POLLIN)
        poll.register(self._agent, select.POLLIN)
        report: dict[str, Any] | None = None
        while report is None:
            ready = {fd for fd, _ in poll.poll(_TICK_SECONDS * 1000)}
            if self._agent.fileno() in ready:
                said = b""
                with contextlib.suppress(OSError):  # the agent died with something unread
                    said = self._agent.recv(1)
                if said == b"T":
                    self._signal(signal.SIGTERM)
                else:  # K, or the agent is gone
                    report = {"kind": "signalled", "status": signal.SIGKILL, "reason": "killed"}
            elif self._results in ready:
                report = self._ended()
            else:
                self._reap()
                broken = self._broken_limit()
                report = {"kind": "limit_exceeded", "reason": broken} if broken else None
        return report

    def _ended(self) -> dict[str, Any]:
        """What the supervisor wrote. A job over its memory was killed by sandlock or the kernel."""
        try:
            report: dict[str, Any] = json.loads(os.read(self._results, MAX_REPORT))
        except ValueError:
            return {"kind": "limit_exceeded", "reason": "sandlock: the supervisor was killed"}
        return report

    def _processes(self) -> list[int]:
        """The living descendants of the reaper, without the supervisor itself."""
        parents: dict[int, tuple[int, bytes]] = {}
        for name in os.listdir("/proc"):
            if name.isdigit():
                with contextlib.suppress(OSError), open(f"/proc/{name}/stat", "rb") as file:
                    # The name in parentheses may hold anything.
                    state, parent = file.read().rpartition(b") ")[2].split()[:2]
                    parents[int(name)] = (int(parent), state)
        me, found = os.getpid(), []
        for pid, (_, state) in parents.items():
            at = pid
            for _ in range(len(parents)):
                at = parents.get(at, (0, b""))[0]
                if at in (0, me):
                    break
            if at == me and pid not in (me, self._supervisor) and state != b"Z":
                found.append(pid)
        return found

    def _signal(self, number: int) -> None:
        for pid in self._processes():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, number)

    def _kill_all(self) -> None:
        """Kill until none is left. Without the supervisor a job can fork no more (seccomp)."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._supervisor, signal.SIGKILL)
        while True:
            self._signal(signal.SIGKILL)
            if not self._reap():
                return
            time.sleep(0.001)

    def _reap(self) -> bool:
        """Take leave of the orphans that have ended; whether a child is left."""
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return False
        return True

    def _broken_limit(self) -> str:
        processes = self._processes()
        memory = sum(map(measure.resident_bytes, processes))
        if memory > self._limits["memory_bytes"]:
            memory = sum(map(measure.proportional_bytes, processes))  # what is shared counts once
        memory += sum(map(measure.tmpfs_bytes, self._job["tmpfs"]))
        self._peak = max(self._peak, memory)
        if memory > self._limits["memory_bytes"]:
            return f"memory: over {self._limits['memory_bytes']} bytes (watch)"
        began = time.monotonic()
        if began < self._next_scan:
            return ""
        try:
            used, files = measure.disk_usage(self._job["cwd"], processes, self._limits["files"])
        except OSError as error:
            return f"disk: the workspace can't be measured: {error.strerror} (watch)"
        # A large tree is measured less often: at most a fifth of the time.
        self._next_scan = time.monotonic() + 4 * (time.monotonic() - began)
        if files > self._limits["files"]:
            return f"files: over {self._limits['files']} files and folders (watch)"
        if used > self._limits["disk_bytes"]:
            return f"disk: over {self._limits['disk_bytes']} bytes (watch)"
        return ""
