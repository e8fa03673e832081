"""``argy up``: Postgres, Valkey and every service on this machine, from one command.

What it starts dies with it, however it ends; what it writes lies in one folder.
"""

import asyncio
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from argy.base.errors import ArgyError, FailedPrecondition, Unavailable
from argy.client import Connection
from argy.client.connection import Endpoint
from argy.client.keys import DESTINATIONS, issue_keys
from argy.local import database
from argy.local.areas import AREAS, REDIS_USES, ROLES
from argy.local.demo import Shown, show
from argy.local.dev_ca import DevCertificates, ensure_dev_certificates
from argy.local.dev_keys import DevKeys, ensure_dev_keys
from argy.local.edge import MAILBOX, Edge, start_edge
from argy.local.files import private_folder, write_private
from argy.local.identity import Identity
from argy.local.ports import free_port
from argy.local.postgres import EmbeddedPostgres, resolve_postgres
from argy.local.process import GuardedProcess
from argy.local.progress import Progress
from argy.local.valkey import EmbeddedValkey, ExternalRedis, resolve_redis
from argy.serving.process import SERVER_ROLE
from argy.store import redis_acl

STATE_FILE: Final = "up.json"
_SERVE_START_S: Final = 30.0
_DRAIN_S: Final = 15.0


@dataclass(frozen=True, slots=True)
class Options:
    """What ``argy up`` was asked for."""

    folder: Path
    port: int
    edge_port: int
    policy: Path
    processes: int = 1
    reflection: bool = False
    once: bool = False
    as_json: bool = False


def run(options: Options) -> int:
    """Start everything, show it at work, stay until told to stop; returns the exit code."""
    progress = Progress(quiet=options.as_json)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: stop.set())
    with _running(options, progress) as (server, edge, endpoint):
        try:
            shown = asyncio.run(_demonstrate(endpoint))
        except ArgyError as error:
            raise FailedPrecondition(
                f"{error.message} [{error.reason}]; the services' log: {server.log}",
                reason="DEMONSTRATION_FAILED",
            ) from error
        progress.ready(endpoint, edge, shown, stays_up=not options.once)
        while not options.once and not stop.wait(0.2):
            for process in (server, edge.process):
                if process.exit_code() is not None:
                    raise process.failure("stopped by itself")
        progress.step("stopping")
    progress.step("stopped")
    return 0


@contextmanager
def _running(
    options: Options, progress: Progress
) -> Iterator[tuple[GuardedProcess, Edge, Endpoint]]:
    policy = options.policy.resolve()
    if not (policy / "model.conf").is_file():
        raise FailedPrecondition(
            f"{policy} is no policy folder: run this where policy/ is, or give --policy"
        )
    folder = private_folder(options.folder.absolute())
    with _servers(folder, progress) as (postgres_dsn, redis_urls):
        certificates = ensure_dev_certificates(folder / "tls", now=datetime.now(UTC))
        keys = ensure_dev_keys(folder / "keys", roles=ROLES)
        client_keys = folder / "keys" / "cli.json"
        issue_keys(keys.signing_keys_file, source="cli", destinations=DESTINATIONS, out=client_keys)
        progress.step("migrating")
        dsns = asyncio.run(_prepare(postgres_dsn, keys.database_passwords))
        port, edge_port = free_port(options.port), free_port(options.edge_port)
        progress.step(f"starting the services on port {port}")
        env = {
            **_environment(options, folder, policy, port, dsns, redis_urls, certificates, keys),
            "ARGY_PUBLIC_URL": f"https://localhost:{edge_port}",
        }
        server = _serve(folder, env)
        endpoint = Endpoint(
            target=f"localhost:{port}",
            source="cli",
            keys_file=str(client_keys),
            ca_file=str(certificates.ca_file),
        )
        state = folder / STATE_FILE
        edge: Edge | None = None
        try:
            edge = start_edge(
                folder,
                port=edge_port,
                target=endpoint.target,
                signing_keys=keys.signing_keys_file,
                certificates=certificates,
            )
            asyncio.run(_until_serving(endpoint, server))
            asyncio.run(edge.until_serving())
            described = {
                "pid": os.getpid(),
                "endpoint": asdict(endpoint),
                "edge": {"url": edge.url, "ca_file": str(edge.ca_file)},
            }
            write_private(state, (json.dumps(described, indent=1) + "\n").encode())
            yield server, edge, endpoint
        finally:
            state.unlink(missing_ok=True)
            if edge is not None:
                edge.process.stop()
            server.stop()


@contextmanager
def _servers(folder: Path, progress: Progress) -> Iterator[tuple[str, dict[str, str]]]:
    """Postgres and Valkey, side by side; stopped in the end if they are ours."""
    progress.step("starting Postgres and Valkey")
    with ThreadPoolExecutor(2) as pool:
        postgres = pool.submit(resolve_postgres, folder / "postgres", os.environ)
        redis = pool.submit(
            resolve_redis, folder / "valkey", os.environ,
            users={redis_acl.user(one): redis_acl.rules(uses) for one, uses in REDIS_USES.items()},
        )  # fmt: skip
    try:
        yield postgres.result().dsn, _redis_urls(redis.result())
    finally:
        for future in (redis, postgres):
            server = None if future.exception() else future.result()
            if isinstance(server, EmbeddedPostgres | EmbeddedValkey):
                server.stop()


def _redis_urls(server: EmbeddedValkey | ExternalRedis) -> dict[str, str]:
    """The settings of who connects where: each service as its own user, on a server of ours."""
    if isinstance(server, ExternalRedis):
        return {"ARGY_REDIS_URL": server.url}
    urls = server.urls()
    return {f"ARGY_{name.upper()}_REDIS_URL": urls[redis_acl.user(name)] for name in REDIS_USES}


async def _prepare(dsn: str, passwords: Mapping[str, str]) -> dict[str, str]:
    return await database.prepare(await database.make(dsn), passwords)


def _environment(
    options: Options,
    folder: Path,
    policy: Path,
    port: int,
    dsns: Mapping[str, str],
    redis_urls: Mapping[str, str],
    certificates: DevCertificates,
    keys: DevKeys,
) -> dict[str, str]:
    """The settings of ``argy serve`` for this machine; secrets go by file."""
    secrets = {
        "ARGY_SERVER_DSN": dsns[SERVER_ROLE],
        **{f"{area.variable}_DSN": dsns[area.role] for area in AREAS},
        "ARGY_KEEPER_DSN": dsns["argy_audit_keeper"],
        **redis_urls,
    }
    run_folder = private_folder(folder / "run")
    for name, value in secrets.items():
        write_private(run_folder / name.lower(), value.encode())
    return {
        **{f"{name}_FILE": str(run_folder / name.lower()) for name in secrets},
        "ARGY_KEY_RING": str(keys.signing_keys_file),
        "ARGY_PAGE_KEY_RING": str(keys.page_token_key_file),
        "ARGY_KEK_RING": str(keys.kek_file),
        "ARGY_UNSAFE_MAIL_DIR": str(private_folder(folder / MAILBOX)),
        "ARGY_TLS_CERT": str(certificates.server_cert_file),
        "ARGY_TLS_KEY": str(certificates.server_key_file),
        "ARGY_LISTEN": f"127.0.0.1:{port}",
        "ARGY_POLICY_DIR": str(policy),
        "ARGY_POLICY_KEY_RING": str(keys.policy_keys_file),
        "ARGY_POLICY_TRUSTED_KEYS": str(keys.policy_trusted_file),
        "ARGY_UNSAFE_FOLLOW_POLICY_DIR": "true",
        "ARGY_SPOOL_DIR": str(private_folder(folder / "spool")),
        "ARGY_REFLECTION": str(options.reflection).lower(),
        "ARGY_PROCESSES": str(options.processes),
        "HOME": str(folder),
    }


def _serve(folder: Path, env: Mapping[str, str]) -> GuardedProcess:
    return GuardedProcess(
        [sys.executable, "-m", "argy.local.serve", *(area.name for area in AREAS)],
        folder=folder,
        log=private_folder(folder / "log") / "services.log",
        identity=Identity("same", os.geteuid(), os.getegid()),
        env=env,
        stop=((signal.SIGTERM, _DRAIN_S), (signal.SIGKILL, 5)),
    )


async def _until_serving(endpoint: Endpoint, server: GuardedProcess) -> None:
    async with Connection(endpoint) as connection:
        limit = time.monotonic() + _SERVE_START_S
        while not await connection.serving(timeout_s=1):
            if server.exit_code() is not None:
                raise server.failure("did not start")
            if time.monotonic() > limit:
                raise Unavailable(f"the services did not start in {_SERVE_START_S:.0f} s")
            await asyncio.sleep(0.02)


async def _demonstrate(endpoint: Endpoint) -> list[Shown]:
    async with Connection(endpoint, timeout_s=15) as connection:
        return await show(connection)
