"""How much memory and disk a job uses, measured from outside of it while it may do anything."""

import contextlib
import os
import resource
import stat

_MAX_DEPTH = 64


def resident_bytes(pid: int) -> int:
    """Memory of a process, what it shares included; 0 if it is gone."""
    try:
        with open(f"/proc/{pid}/statm", "rb") as file:
            return int(file.read().split()[1]) * resource.getpagesize()
    except (OSError, IndexError):
        return 0


def proportional_bytes(pid: int) -> int:
    """Memory of a process, what it shares divided by those who share it."""
    try:
        with open(f"/proc/{pid}/smaps_rollup", "rb") as file:
            return sum(int(line.split()[1]) * 1024 for line in file if line.startswith(b"Pss:"))
    except OSError:
        return resident_bytes(pid)


def tmpfs_bytes(path: str) -> int:
    """Memory that a tmpfs holds."""
    found = os.statvfs(path)
    return (found.f_blocks - found.f_bfree) * found.f_frsize


def disk_usage(workspace: str, processes: list[int], most: int) -> tuple[int, int]:
    """Bytes and entries of the workspace, and of what is deleted there and still open."""
    used = files = 0
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
    stack = [os.open(workspace, flags)]
    device = os.fstat(stack[0]).st_dev
    names: list[list[str]] = [[]]
    seen: set[int] = set()

    def read(folder: int) -> list[str]:
        nonlocal used, files
        folders = []
        with os.scandir(folder) as entries:
            for entry in entries:
                files += 1
                if files > most:
                    return []
                with contextlib.suppress(FileNotFoundError):
                    found = entry.stat(follow_symlinks=False)
                    if found.st_nlink == 1 or found.st_ino not in seen:
                        used += found.st_blocks * 512
                        seen.add(found.st_ino)
                    if stat.S_ISDIR(found.st_mode):
                        folders.append(entry.name)
        return folders

    try:
        names[0] = read(stack[0])
        while stack:
            if not names[-1] or files > most:
                os.close(stack.pop())
                names.pop()
                continue
            if len(stack) > _MAX_DEPTH:
                raise OSError(0, f"folders are nested deeper than {_MAX_DEPTH}")
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                stack.append(_open_folder(names[-1].pop(), stack[-1]))
                names.append(read(stack[-1]))
    finally:
        for folder in stack:
            os.close(folder)
    for pid in processes:
        with contextlib.suppress(OSError):
            for fd in os.listdir(f"/proc/{pid}/fd"):
                found = os.stat(f"/proc/{pid}/fd/{fd}")
                regular = stat.S_ISREG(found.st_mode) and found.st_dev == device
                if regular and not found.st_nlink and found.st_ino not in seen:
                    seen.add(found.st_ino)
                    used += found.st_blocks * 512
    return used, files


def _open_folder(name: str, parent: int) -> int:
    """Open a folder of the job; one that it closed to itself is opened for the moment."""
    handle = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
    path = f"/proc/self/fd/{handle}"
    try:
        mode = stat.S_IMODE(os.fstat(handle).st_mode)
        if mode & 0o500 == 0o500:
            return os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        os.chmod(path, 0o700)
        try:
            return os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        finally:
            os.chmod(path, mode)
    finally:
        os.close(handle)
