"""Limits by control group where the agent may make one: version 2, or the version 1 controllers."""

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from argy.agentd.run_spec import MIB, Limits

ROOT: Final = Path("/sys/fs/cgroup")
_NAME: Final = "argy-agentd"
_OVERHEAD_BYTES: Final = 96 * MIB
"""What the walls themselves take: the supervisor, the reaper, bubblewrap."""
_PERIOD_MICROSECONDS: Final = 100_000


@dataclass(frozen=True, slots=True)
class Cgroup:
    """The control group of one run: one folder, or with version 1 one a controller."""

    folders: tuple[Path, ...]

    def open_entrances(self) -> tuple[int, ...]:
        """Descriptors by which a process enters by writing ``0``; the caller closes them."""
        return tuple(os.open(folder / "cgroup.procs", os.O_WRONLY) for folder in self.folders)

    def peak_memory_bytes(self) -> int:
        """The most memory at once, page cache included; 0 if the kernel does not tell."""
        return int(self._read("memory.peak") or self._read("memory.max_usage_in_bytes") or 0)

    def out_of_memory(self) -> bool:
        """Whether the kernel killed a process at the memory limit."""
        told = self._read("memory.events") or self._read("memory.oom_control")
        return any(
            line.startswith("oom_kill ") and line != "oom_kill 0" for line in told.split("\n")
        )

    def remove(self) -> None:
        """Kill what is left and remove the folders."""
        for folder in self.folders:
            with contextlib.suppress(OSError):
                (folder / "cgroup.kill").write_text("1")
            with contextlib.suppress(OSError):
                folder.rmdir()

    def _read(self, name: str) -> str:
        for folder in self.folders:
            with contextlib.suppress(OSError):
                return (folder / name).read_text().strip()
        return ""


def create(run_id: str, limits: Limits, *, root: Path = ROOT) -> Cgroup | None:
    """Make the run's control group with its limits; None where this agent can't."""
    memory = str(limits.memory_bytes + _OVERHEAD_BYTES)
    tasks = str(limits.processes + 32)
    quota = None
    if limits.cpu_percent:
        quota = limits.cpu_percent * _PERIOD_MICROSECONDS // 100
    with contextlib.suppress(OSError):
        if (root / "cgroup.controllers").exists():
            return _create_v2(root, run_id, memory, tasks, quota)
        return _create_v1(root, run_id, memory, tasks, quota)
    return None


def _create_v2(root: Path, run_id: str, memory: str, tasks: str, quota: int | None) -> Cgroup:
    parent = root / _NAME
    parent.mkdir(exist_ok=True)
    for above in (root, parent):
        (above / "cgroup.subtree_control").write_text("+memory +pids +cpu")
    folder = parent / run_id
    folder.mkdir(exist_ok=True)
    (folder / "memory.max").write_text(memory)
    (folder / "memory.swap.max").write_text("0")
    (folder / "pids.max").write_text(tasks)
    if quota:
        (folder / "cpu.max").write_text(f"{quota} {_PERIOD_MICROSECONDS}")
    return Cgroup((folder,))


def _create_v1(root: Path, run_id: str, memory: str, tasks: str, quota: int | None) -> Cgroup:
    settings = {"memory": ("memory.limit_in_bytes", memory), "pids": ("pids.max", tasks)}
    if quota:
        settings["cpu"] = ("cpu.cfs_quota_us", str(quota))
    folders = []
    for controller, (name, value) in settings.items():
        folder = root / controller / _NAME / run_id
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(value)
        folders.append(folder)
    return Cgroup(tuple(folders))
