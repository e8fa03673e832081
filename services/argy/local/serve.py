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
from dataclasses import dataclass
from typing import Any, Final

import uvloop

from argy.base import log
from argy.base.clock import SystemClock
from argy.base.errors import ArgyError, InvalidArgument
from argy.local.areas import AREAS, load
from argy.local.tuning import let_threads_finish, spare_the_collector
from argy.rpc.server import MAX_REQUEST_BYTES, Server
from argy.rpc.stages import Dependencies
from argy.rpc.telemetry import Telemetry
from argy.serving.area import Area, Services
from argy.serving.process import Process
from argy.serving.settings import ProcessSettings
from argy.store.nonce import NonceCache
from argy.store.tenants import TenantCache
from argy.trail.partitions import ensure_partitions
from argy.trail.refusals import RefusalLog

_DAY_S: Final = 86_400.0
_LOG: Final = logging.getLogger("argy.serve")


@dataclass(frozen=True, slots=True)
class _Settings:
    process: ProcessSettings
    areas: dict[Area[Any], Any]


def main(services: Sequence[str], env: Mapping[str, str], *, processes: int = 0) -> int:
    """Serve until SIGTERM or SIGINT; returns the exit code.

    Raises:
        InvalidArgument: naming each setting that is missing, unknown or malformed.
    """
    names = services or tuple(area.name for area in AREAS if area.by_default)
    common, *each = load(env, ProcessSettings, *(area.settings for area in AREAS))
    settings = _Settings(common, dict(zip(AREAS, each, strict=True)))
    unknown = set(names) - {area.name for area in AREAS}
    if unknown:
        raise InvalidArgument(f"no such service: {', '.join(sorted(unknown))}", field="services")
    if not (common.server_redis_url or common.redis_url):
        raise InvalidArgument(
            "set ARGY_REDIS_URL, or ARGY_SERVER_REDIS_URL", field="ARGY_REDIS_URL"
        )
    for area, its_settings in settings.areas.items():
        if area.name in names:
            area.must_have(its_settings, common)
    log.configure()
    count = processes or common.processes
    if count > 1:
        return _share(names, env, common.listen, count)
    try:
        uvloop.run(_serve(names, settings, shared=env.get("ARGY_SHARED_PORT") == "1"))
    except ArgyError as error:
        _LOG.critical("can't serve: %s [%s]", error.message, error.reason)
        cause = error.__cause__
        if cause is not None:
            _LOG.critical("because: %s", cause)
        return 1
    return 0


def _share(names: Sequence[str], env: Mapping[str, str], listen: str, count: int) -> int:
    """Run ``count`` processes on one port; the first one to end ends them all."""
    host, _, port = listen.rpartition(":")
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
        command = [sys.executable, "-m", "argy.local.serve", *names]
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


async def _serve(names: Sequence[str], settings: _Settings, *, shared: bool) -> None:
    let_threads_finish()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with AsyncExitStack() as stack:
        server = await _assemble(stack, settings, names, shared=shared)
        port = await server.start()
        # Stopped before anything that its handlers use is closed.
        stack.push_async_callback(server.stop)
        spare_the_collector()
        await server.ready()
        _LOG.info("serving %s on port %d", ", ".join(names), port)
        await stop.wait()
        _LOG.info("stopping: no new calls, those that run finish first")


async def _assemble(
    stack: AsyncExitStack, settings: _Settings, names: Sequence[str], *, shared: bool
) -> Server:
    process = Process(stack, settings.process, names, SystemClock())
    if settings.process.keeper_dsn:
        await ensure_partitions(settings.process.keeper_dsn)
        process.run(_keep_partitions(settings.process.keeper_dsn))
    await process.open()
    nonces, tenants = NonceCache(process.redis), TenantCache(process.db)
    process.closes(nonces)
    await tenants.start()
    process.closes(tenants)
    refusals = RefusalLog(process.lane, process.clock)
    await refusals.start()
    process.closes(refusals)
    services: Services = ()
    for area, its_settings in settings.areas.items():
        if area.name in names:
            services += await area.join(process, its_settings)
        else:
            area.elsewhere(process, its_settings)
    for begin in process.at_start:
        begin()
    callers = process.callers
    server = Server(
        settings.process.listening(shared=shared),
        Dependencies(
            keys=process.roots,
            nonces=nonces,
            tenants=tenants,
            access=process.access,
            audit=refusals,
            clock=process.clock,
            telemetry=Telemetry(),
            max_request_bytes=MAX_REQUEST_BYTES,
            tokens=callers.tokens,
            credentials=callers.credentials,
            service_keys=callers.service_keys,
        ),
    )
    for servicer, descriptor in services:
        server.add(servicer, descriptor)
    return server


async def _keep_partitions(dsn: str) -> None:
    while True:
        await asyncio.sleep(_DAY_S)
        try:
            await ensure_partitions(dsn)
        except ArgyError as error:
            # Two months are made ahead, so there are many tries before it would matter.
            _LOG.error("partitions: %s", error.message)


if __name__ == "__main__":
    sys.exit(main(tuple(sys.argv[1:]), os.environ))
