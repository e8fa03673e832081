"""Where a call's processor time goes: servers that differ by one thing, under the same calls.

Every row is the difference of two neighbours, so the rows add up to what the platform's server
spends. All of it is measured over the wire: a stage in a loop by itself finds its code and data in
the caches, which between two calls it does not. A difference below zero is no mistake: waiting for
the replay cache together lets calls go on in bursts, for which gRPC wakes its threads less often.
"""

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict

import psutil
import uvloop
from ladder_server import RUNGS, Settings
from load import BATCH, Load, Once, once_of
from stand import HERE, Stand, standing
from table import Row

Tell = Callable[[str], None]

SAID = {
    "echo": "gRPC itself: the bare echo",
    "receive": "a signed call's metadata, request and answer, in gRPC",
    "chain": "the chain: signature, tenant, access, validation",
    "decide": "deciding and encoding",
    "replay": "replay cache, in Redis",
    "log": "decision log: spool and Postgres",
    "platform": "the platform around it",
}


@contextmanager
def _rung(stand: Stand, rung: str) -> Iterator[tuple[psutil.Process, str]]:
    """A server of one rung: its process and its address."""
    tls = stand.folder / "tls"
    settings = Settings(
        rung=rung,
        certificate=str(tls / "server.pem"),
        key=str(tls / "server.key"),
        key_ring=str(stand.key_ring),
        redis_url=stand.secret("argy_authz_redis_url"),
        dsn=stand.secret("argy_authz_dsn"),
        spool=str(stand.folder / f"ladder-{rung}"),
        tenant_id=stand.tenant_id,
        subject=stand.subject,
        batch=BATCH,
    )
    told = stand.folder / f"ladder-{rung}.json"
    told.write_text(json.dumps(asdict(settings)))
    server = subprocess.Popen(
        [sys.executable, HERE / "ladder_server.py", told], stdout=subprocess.PIPE, text=True
    )
    try:
        assert server.stdout is not None
        yield psutil.Process(server.pid), f"localhost:{int(server.stdout.readline())}"
    finally:
        server.kill()
        server.wait()


async def _climb(
    loads: dict[str, Load], servers: dict[str, list[psutil.Process]], turns: int, tell: Tell
) -> dict[str, float]:
    """Microseconds of processor a call, by place, over many short turns of each.

    Short and in turn, so that whatever else the machine does falls on all of them; from the first
    turn to the end, so that what a server does after its answers counts as well.
    """
    calls = {place: once_of(load) for place, load in loads.items()}
    for place, load in loads.items():
        await _make(calls[place], load)
    before = {place: _processor_s(servers[place]) for place in loads}
    for turn in range(turns):
        if turn % 10 == 0:
            tell(f"turn {turn + 1} of {turns}")
        for place, load in loads.items():
            await _make(calls[place], load)
    await asyncio.sleep(1)
    return {
        place: (_processor_s(servers[place]) - before[place]) / (turns * load.calls) * 1e6
        for place, load in loads.items()
    }


async def _make(once: Once, load: Load) -> None:
    async def worker() -> None:
        for _ in range(load.calls // load.concurrency):
            await once()

    await asyncio.gather(*(worker() for _ in range(load.concurrency)))


def _processor_s(watched: list[psutil.Process]) -> float:
    return sum(sum(process.cpu_times()[:2]) for process in watched)


def profile(turns: int, tell: Tell) -> Iterator[Row]:
    """A Check's and a BatchCheck's processor time, by what spends it."""
    with standing() as stand, ExitStack() as stack:
        servers = {"echo": [stand.tuned_echo.process]}
        targets = {"echo": stand.tuned_echo.target}
        for rung in RUNGS:
            server, targets[rung] = stack.enter_context(_rung(stand, rung))
            servers[rung] = [server]
        servers["platform"], targets["platform"] = stand.servers, stand.endpoint.target
        for kind, name, count, concurrency in (
            ("check", "Check", 512, 64),
            ("batch", "BatchCheck", 96, 16),
        ):
            tell(f"{name}, up the ladder")
            loads = {
                place: Load(
                    "echo" if place == "echo" else kind,
                    target,
                    stand.endpoint.ca_file,
                    count,
                    concurrency,
                    stand.subject,
                    [stand.tenant_id],
                    stand.endpoint.keys_file,
                )
                for place, target in targets.items()
            }
            yield from _rows(name, uvloop.run(_climb(loads, servers, turns, tell)))


def _rows(name: str, spent: dict[str, float]) -> Iterator[Row]:
    below, whole = 0.0, spent["platform"]
    for place, reached in spent.items():
        share = reached - below
        yield Row(f"{name}: {SAID[place]}", f"{share:+.0f} µs", f"{share / whole:.0%}")
        below = reached
    yield Row(f"{name}: server processor, all of it", f"{whole:.0f} µs", "100%")
