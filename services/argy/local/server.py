"""What the embedded servers have in common: folder, lock, identity, port, start and stop."""

import abc
import contextlib
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from argy.local.errors import LocalError
from argy.local.files import private_folder
from argy.local.identity import Identity, Mode, candidates, prepare
from argy.local.ports import free_port
from argy.local.process import FolderLock, GuardedProcess, last_lines, rotate

# The guard's status when the server could not be started under the wanted identity.
_NOT_EXECUTED = 127
_PORT_ATTEMPTS = 5
_STEP_S = 0.005


class EmbeddedServer(abc.ABC):
    """One server process and the folder that it owns; a context manager around start and stop.

    The folder holds ``data``, ``log``, ``password``, ``port`` and ``lock``, and is kept for the
    next start. It must be ours alone.
    """

    title = "The server"
    start_limit_s = 60.0

    def __init__(self, folder: Path, *, port: int | None, mode: Mode | None) -> None:
        self.folder = folder.absolute()
        self.port = 0
        self._wanted_port = port
        self._mode = mode
        self._process: GuardedProcess | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> str:
        """Start the server and return its URL, credentials included.

        Raises AlreadyRunning while a live process owns the folder, LocalError when the server does
        not come up (with its last log lines).
        """
        if self._process is not None:
            raise LocalError(f"{self.title} in {self.folder} was started already.")
        self.folder = private_folder(self.folder)
        lock = FolderLock(self.folder, self.title)
        lock.acquire()
        try:
            self._discard_remains()
            rotate(self.log)
            self._start_as_anyone(lock.fd)
        finally:
            lock.release()
        return self.url

    def stop(self) -> None:
        """Stop the server if it runs; the folder stays."""
        if self._process is not None:
            self._process.stop()
            self._process = None

    def exit_code(self) -> int | None:
        """Return the server's exit status if it ended by itself, None while it runs."""
        return None if self._process is None else self._process.exit_code()

    @property
    def guard_pid(self) -> int:
        """The process id of the guard, whose only child is the server."""
        if self._process is None:
            raise LocalError(f"{self.title} in {self.folder} is not running.")
        return self._process.pid

    @property
    def log(self) -> Path:
        """The server's log of this run."""
        return self.folder / "log" / "server.log"

    @property
    @abc.abstractmethod
    def url(self) -> str:
        """The address of the running server, credentials included."""

    # What a server adds.

    @abc.abstractmethod
    def _program(self) -> Path:
        """Return the executable."""

    def _discard_remains(self) -> None:  # noqa: B027 - not every server leaves something
        """Remove what a killed server left behind; the folder's lock is held."""

    def _first_run(self, identity: Identity, lock_fd: int) -> int:
        """Make the data folder if there is none; returns the exit status of what it ran."""
        return 0

    @abc.abstractmethod
    def _launch(self, identity: Identity, port: int, lock_fd: int) -> GuardedProcess:
        """Start the server on ``port``."""

    @abc.abstractmethod
    def _ready(self) -> bool:
        """Tell whether the server takes connections."""

    # The steps of a start.

    def _start_as_anyone(self, lock_fd: int) -> None:
        tried: list[str] = []
        for identity in self._identities():
            prepare(self.folder, identity)
            status = self._first_run(identity, lock_fd)
            if status == 0:
                status = self._start_on_a_port(identity, lock_fd)
            if status == 0:
                return
            tried.append(identity.mode)
            if status != _NOT_EXECUTED:
                break
        lines = "\n".join(f"  | {line}" for line in last_lines(self.log))
        raise LocalError(
            f"{self.title} did not start (tried as: {', '.join(tried)}). Its last words:\n"
            f"{lines}\nAll of them: {self.log}"
        )

    def _identities(self) -> Iterable[Identity]:
        found = list(candidates(self.folder, self._program().parent))
        chosen = [one for one in found if self._mode in (None, one.mode)]
        if not chosen:
            raise LocalError(f"{self.title} cannot run in mode {self._mode!r} here.")
        return chosen

    def _start_on_a_port(self, identity: Identity, lock_fd: int) -> int:
        remembered = self.folder / "port"
        wanted = self._wanted_port
        if wanted is None and remembered.exists():
            wanted = int(remembered.read_text(encoding="ascii"))
        status = 0
        for attempt in range(_PORT_ATTEMPTS):
            self.port = free_port(wanted if wanted is None else wanted + attempt)
            process = self._launch(identity, self.port, lock_fd)
            status = self._wait_until_ready(process)
            if status == 0:
                self._process = process
                remembered.write_text(str(self.port), encoding="ascii")
                return 0
            if not any("ddress already in use" in line for line in last_lines(self.log)):
                break
        return status

    def _wait_until_ready(self, process: GuardedProcess) -> int:
        try:
            poll_until(lambda: process.exit_code() is not None or self._ready(), self.start_limit_s)
        except TimeoutError:
            process.stop()
            raise process.failure(f"was not ready within {self.start_limit_s:g} s") from None
        except BaseException:
            process.stop()
            raise
        code = process.exit_code()
        if code is None:
            return 0
        process.stop()
        return code or 1


def poll_until(done: Callable[[], bool], limit_s: float) -> None:
    """Ask ``done`` every few milliseconds; raises TimeoutError after ``limit_s`` seconds."""
    limit = time.monotonic() + limit_s
    while not done():
        if time.monotonic() > limit:
            raise TimeoutError
        time.sleep(_STEP_S)


def stop_all(servers: Sequence[EmbeddedServer]) -> None:
    """Stop every server, the last started first, whatever the others raise."""
    with contextlib.ExitStack() as stack:
        for server in servers:
            stack.callback(server.stop)
