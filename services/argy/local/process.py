"""Child processes that never outlive the launcher, with log files and clear failures."""

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from argy.local.errors import AlreadyRunning, LocalError
from argy.local.identity import Identity

_LOG_LINES = 12
_LOG_GENERATIONS = 3
# A folder whose owner died is freed as soon as its guard has stopped the server.
_LOCK_WAIT_S = 20.0
_STEP_S = 0.01


class FolderLock:
    """One live server a folder: a flock that the guard and the server inherit and hold."""

    def __init__(self, folder: Path, what: str) -> None:
        self._path = folder / "lock"
        self._what = what
        self.fd = -1

    def acquire(self) -> None:
        """Take the lock; raises AlreadyRunning while a live process owns the folder."""
        self.fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        limit = time.monotonic() + _LOCK_WAIT_S
        while True:
            try:
                fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                pid, born = self._owner()
                if (pid and _born(pid) == born) or time.monotonic() > limit:
                    self.release()
                    raise AlreadyRunning(
                        f"{self._what} in {self._path.parent} is already run by process {pid}: "
                        f"use that one, or stop it with `kill {pid}` and start again.",
                        pid=pid,
                    ) from None
                time.sleep(_STEP_S)
        os.ftruncate(self.fd, 0)
        os.pwrite(self.fd, f"{os.getpid()} {_born(os.getpid())}".encode("ascii"), 0)

    def release(self) -> None:
        """Close our copy; the lock lives on while the guard or the server holds theirs."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def _owner(self) -> tuple[int, str]:
        words = os.pread(self.fd, 100, 0).decode("ascii", "replace").split()
        return (int(words[0]), words[1]) if len(words) == 2 else (0, "")


class GuardedProcess:
    """A server behind ``argy.local.guard``; it stops when this process stops, however that ends.

    ``stop`` lists (signal, seconds to wait) in order; ``death_signal`` reaches the server should
    the guard itself be killed.
    """

    def __init__(
        self,
        argv: Sequence[str | Path],
        *,
        folder: Path,
        log: Path,
        identity: Identity,
        env: Mapping[str, str] | None = None,
        stop: Sequence[tuple[signal.Signals, float]] = ((signal.SIGTERM, 10), (signal.SIGKILL, 5)),
        death_signal: signal.Signals = signal.SIGTERM,
        keep_fd: int = -1,
    ) -> None:
        self.log = log
        self._name = Path(argv[0]).name
        self._limit_s = sum(seconds for _, seconds in stop) + 5
        spec = {
            "argv": [str(word) for word in argv],
            "env": {"PATH": os.defpath, "LC_ALL": "C.UTF-8", "TZ": "UTC", **(env or {})},
            "mode": identity.mode,
            "uid": identity.uid,
            "gid": identity.gid,
            "stop": stop,
            "death_signal": death_signal,
            "parent": os.getpid(),
        }
        guard = Path(__file__).with_name("guard.py")
        with _open_log(log) as output:
            self._guard = subprocess.Popen(  # noqa: S603 - our own interpreter and script
                [sys.executable, "-I", "-S", str(guard), json.dumps(spec)],
                cwd=folder,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                pass_fds=(keep_fd,) if keep_fd >= 0 else (),
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """The guard's process id; the server is its only child."""
        return self._guard.pid

    def exit_code(self) -> int | None:
        """Return the server's exit status, or None while it runs."""
        return self._guard.poll()

    def wait(self, seconds: float) -> int:
        """Wait for the server to end by itself and return its exit status."""
        try:
            return self._guard.wait(seconds)
        except subprocess.TimeoutExpired:
            self.stop()
            raise self.failure(f"did not finish within {seconds:g} s") from None

    def stop(self) -> None:
        """Stop the server: politely, then by force when its limit has passed."""
        if self._guard.poll() is None:
            self._guard.terminate()
            try:
                self._guard.wait(self._limit_s)
            except subprocess.TimeoutExpired:
                self._guard.kill()
                self._guard.wait()
        if self._guard.stdin is not None:
            with contextlib.suppress(OSError):
                self._guard.stdin.close()

    def failure(self, what: str) -> LocalError:
        """Return an error that shows the server's last words and where the rest is."""
        lines = last_lines(self.log)
        told = "\n".join(f"  | {line}" for line in lines) or "  | (the log is empty)"
        return LocalError(f"{self._name} {what}. Its last words:\n{told}\nAll of them: {self.log}")


def last_lines(log: Path, count: int = _LOG_LINES) -> list[str]:
    """Return the last lines of a log file, at most 16 KiB of it."""
    if not log.exists():
        return []
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 16_384))
        return file.read().decode("utf-8", "replace").splitlines()[-count:]


def rotate(log: Path) -> None:
    """Put the log of the last run aside as ``.1`` and so on; the oldest is dropped."""
    log.parent.mkdir(mode=0o700, exist_ok=True)
    for number in range(_LOG_GENERATIONS - 1, 0, -1):
        older = log if number == 1 else log.with_name(f"{log.name}.{number - 1}")
        if older.exists():
            older.replace(log.with_name(f"{log.name}.{number}"))


@contextlib.contextmanager
def _open_log(log: Path) -> Iterator[int]:
    log.parent.mkdir(mode=0o700, exist_ok=True)
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        yield handle
    finally:
        os.close(handle)


def _born(pid: int) -> str:
    """Return when a process started (clock ticks since boot); "" if there is no such process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
    fields = stat.rpartition(")")[2].split()
    return "" if fields[0] == "Z" else fields[19]
