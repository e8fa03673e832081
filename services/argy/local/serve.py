"""``argy serve``: services in one process, or in several that share a port.

Everything that a process holds is opened in one place and closed in reverse order; all state is in
Postgres, Redis and the spool folder.
"""

import asyncio
import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any, Final

import uvloop

from argy.audit import main as audit
from argy.authz import main as authz
from argy.authz.publishing.floor import PolicyFloor
from argy.authz.publishing.folder import begin
from argy.authz.replication.service import ReplicationService
from argy.base import config, log
from argy.base.clock import Clock, SystemClock
from argy.base.crypto import KeyRing
from argy.base.errors import ArgyError, InvalidArgument
from argy.directory import main as directory
from argy.local import serve_authn
from argy.local.serving import (
    channel_to,
    listening,
    notifier,
    policy_keys,
    redis_stores,
    redis_url,
)
from argy.local.settings import DEFAULT_SERVICES, ELSEWHERE, SERVICES, Settings
from argy.local.tuning import let_threads_finish, spare_the_collector
from argy.rpc.access import Decider, RemoteAccess
from argy.rpc.page_token import PageTokens
from argy.rpc.pair_keys import RootKeys
from argy.rpc.server import MAX_REQUEST_BYTES, Server
from argy.rpc.stages import Dependencies
from argy.rpc.telemetry import Telemetry
from argy.store.database import Database
from argy.store.nonce import NonceCache
from argy.store.tenants import TenantCache
from argy.trail.lane import AuditLane
from argy.trail.partitions import ensure_partitions
from argy.trail.refusals import RefusalLog

_DAY_S: Final = 86_400.0
_LOG: Final = logging.getLogger("argy.serve")


def main(services: Sequence[str], env: Mapping[str, str], *, processes: int = 0) -> int:
    """Serve until SIGTERM or SIGINT; returns the exit code.

    Raises:
        InvalidArgument: naming each setting that is missing, unknown or malformed.
    """
    settings = config.load(Settings, env, elsewhere=ELSEWHERE)
    unknown = set(services) - set(SERVICES)
    if unknown:
        raise InvalidArgument(f"no such service: {', '.join(sorted(unknown))}", field="services")
    for name in services:
        if not getattr(settings, f"{name}_dsn"):
            raise InvalidArgument(f"to serve {name} set ARGY_{name.upper()}_DSN", field="services")
        if not redis_url(settings, name):
            raise InvalidArgument(
                f"to serve {name} set ARGY_REDIS_URL, or ARGY_{name.upper()}_REDIS_URL",
                field="services",
            )
    if "authz" in services:
        policy_keys(settings)
    if "authn" in services:
        serve_authn.check(settings)
    if not ({"authz"} & set(services) or settings.authz_target):
        raise InvalidArgument("serve authz too, or set ARGY_AUTHZ_TARGET", field="services")
    log.configure()
    count = processes or settings.processes
    if count > 1:
        return _share(services, env, settings, count)
    try:
        uvloop.run(_serve(services, settings, shared=env.get("ARGY_SHARED_PORT") == "1"))
    except ArgyError as error:
        _LOG.critical("can't serve: %s [%s]", error.message, error.reason)
        cause = error.__cause__
        if cause is not None:
            _LOG.critical("because: %s", cause)
        return 1
    return 0


def _share(services: Sequence[str], env: Mapping[str, str], settings: Settings, count: int) -> int:
    """Run ``count`` processes on one port; the first one to end ends them all."""
    host, _, port = settings.listen.rpartition(":")
    # Bound but not listening: reserves the port for this user's processes.
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as reserved:
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        reserved.bind((host.strip("[]"), int(port)))
        listen = f"{host}:{reserved.getsockname()[1]}"
        shared = {
            **env,
            "ARGY_LISTEN": listen,
            "ARGY_PROCESSES": "1",
            "ARGY_SHARED_PORT": "1",
        }
        command = [sys.executable, "-m", "argy.local.serve", *services]
        children = [subprocess.Popen(command, env=shared) for _ in range(count)]  # noqa: S603 - us

        running = list(children)

        def stop(*_: object) -> None:
            # Once each: a process that is past its clean end would die of a second one.
            while running:
                running.pop().terminate()

        def reload(*_: object) -> None:
            for child in children:
                child.send_signal(signal.SIGHUP)

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, stop)
        signal.signal(signal.SIGHUP, reload)
        # Not reaped here, so that its exit code is still there below.
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)
        stop()
        codes = [child.wait() for child in children]
    return max(abs(code) for code in codes)


async def _serve(services: Sequence[str], settings: Settings, *, shared: bool) -> None:
    let_threads_finish()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with AsyncExitStack() as stack:
        server = await _assemble(stack, services, settings, shared=shared)
        port = await server.start()
        # Stopped before anything that its handlers use is closed.
        stack.push_async_callback(server.stop)
        spare_the_collector()
        await server.ready()
        _LOG.info("serving %s on port %d", ", ".join(services), port)
        await stop.wait()
        _LOG.info("stopping: no new calls, those that run finish first")


async def _assemble(
    stack: AsyncExitStack, services: Sequence[str], settings: Settings, *, shared: bool
) -> Server:
    clock: Clock = SystemClock()
    keys = RootKeys(KeyRing.load(settings.key_ring))
    ring = KeyRing.load(settings.page_key_ring)
    pages = PageTokens(ring.keys[ring.signing])
    databases: dict[str, Database] = {}
    for name in services:
        dsn = str(getattr(settings, f"{name}_dsn"))
        databases[name] = await Database.open(dsn, role=f"argy_{name}", max_size=settings.pool_size)
        stack.push_async_callback(databases[name].close)
    if settings.keeper_dsn:
        await ensure_partitions(settings.keeper_dsn)
        _own(stack, _keep_partitions(settings.keeper_dsn))
    stores = await redis_stores(stack, services, settings)
    redis = stores[services[0]]
    nonces = NonceCache(redis)
    stack.push_async_callback(nonces.close)
    any_database = next(iter(databases.values()))
    tenants = TenantCache(any_database)
    await tenants.start()
    stack.push_async_callback(tenants.close)
    lane = AuditLane(any_database, settings.spool_dir)
    await lane.start()
    stack.push_async_callback(lane.close)
    refusals = RefusalLog(lane, clock)
    await refusals.start()
    stack.push_async_callback(refusals.close)
    parts: list[tuple[object, Any]] = []
    access: Decider
    replication: ReplicationService | None = None
    if "authz" in services:
        keys_of_policy, floor = policy_keys(settings), PolicyFloor(stores["authz"])
        decider = authz.assemble(
            db=databases["authz"],
            lane=lane,
            pages=pages,
            clock=clock,
            policy=await begin(
                databases["authz"], keys_of_policy, settings.policy_dir, clock, floor
            ),
            policy_keys=keys_of_policy,
            policy_root=settings.policy_dir,
            policy_floor=floor,
            notify=(await notifier(stack, settings)).tell,
        )
        await decider.start()
        stack.push_async_callback(decider.close)
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, decider.poke)
        access, replication = decider.access, decider.replication
        parts += decider.services
    else:
        channel = channel_to(
            stack, settings.authz_target, settings.authz_ca, services, settings, keys
        )
        access = RemoteAccess(channel)
    if "authn" in services:
        sign_in = await serve_authn.host(
            stack,
            settings,
            db=databases["authn"],
            redis=stores["authn"],
            access=access,
            roots=keys,
            pages=pages,
            clock=clock,
        )
        parts += sign_in.parts
    else:
        target, ca = settings.authn_target, settings.authn_ca
        asked = channel_to(stack, target, ca, services, settings, keys) if target else None
        sign_in = serve_authn.elsewhere(stack, settings, asked, keys, redis, clock)
    if replication is not None and sign_in.replicated is not None:
        replication.use_tokens(sign_in.replicated)
    if "directory" in services:
        parts += directory.assemble(
            db=databases["directory"], access=access, pages=pages, clock=clock
        )
    if "audit" in services:
        parts += audit.assemble(db=databases["audit"], lane=lane, pages=pages, clock=clock)
    server = Server(
        listening(settings, shared=shared),
        Dependencies(
            keys=keys,
            nonces=nonces,
            tenants=tenants,
            access=access,
            audit=refusals,
            clock=clock,
            telemetry=Telemetry(),
            max_request_bytes=MAX_REQUEST_BYTES,
            tokens=sign_in.tokens,
            credentials=sign_in.credentials,
            service_keys=sign_in.service_keys,
        ),
    )
    for servicer, descriptor in parts:
        server.add(servicer, descriptor)
    return server


def _own(stack: AsyncExitStack, work: Any) -> None:
    """Run ``work`` until the stack closes."""
    task = asyncio.create_task(work)

    async def end() -> None:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    stack.push_async_callback(end)


async def _keep_partitions(dsn: str) -> None:
    while True:
        await asyncio.sleep(_DAY_S)
        try:
            await ensure_partitions(dsn)
        except ArgyError as error:
            # Two months are made ahead, so there are many tries before it would matter.
            _LOG.error("partitions: %s", error.message)


if __name__ == "__main__":
    sys.exit(main(tuple(sys.argv[1:]) or DEFAULT_SERVICES, os.environ))
