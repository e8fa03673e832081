"""One client process: makes calls as fast as its concurrency allows, and tells how it went.

Run with the file of a ``Load`` in JSON: prints ``ready``, waits for a line, prints a ``Done``.
"""

import asyncio
import json
import random
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from uuid import UUID

import grpc
import uvloop

from argy.api.authz.v1.authz_pb2 import BatchCheckRequest, CheckRequest, Question
from argy.api.authz.v1.authz_pb2_grpc import AuthzServiceStub
from argy.client.connection import Connection, Endpoint

Once = Callable[[], Awaitable[object]]
BATCH = 50
_ECHO_BYTES = 90
"""About as long as the CheckRequest below."""


@dataclass(frozen=True)
class Load:
    """What to do."""

    kind: str
    """``echo``, ``check`` or ``batch``."""
    target: str
    ca_file: str
    calls: int
    concurrency: int
    subject: str = ""
    tenants: list[str] = field(default_factory=list)
    """Tenant ids; each call takes one at random."""
    keys_file: str = ""


@dataclass(frozen=True)
class Done:
    """How it went: ``cpu_s`` is the processor time of this process."""

    calls: int
    wall_s: float
    cpu_s: float


def _echo(load: Load) -> Once:
    credentials = grpc.ssl_channel_credentials(Path(load.ca_file).read_bytes())
    call = grpc.aio.secure_channel(load.target, credentials).unary_unary(
        "/bench.Echo/Echo", None, None
    )
    body = b"x" * _ECHO_BYTES
    return lambda: call(body, timeout=10)


def _platform(load: Load) -> Once:
    connection = Connection(
        Endpoint(load.target, "cli", load.keys_file, ca_file=load.ca_file), timeout_s=10
    )
    stubs = [AuthzServiceStub(connection.channel(UUID(tenant))) for tenant in load.tenants]

    def question(number: int) -> Question:
        return Question(subject=load.subject, action="deploy", resource=f"project:p{number}")

    if load.kind == "check":
        single = CheckRequest(question=question(0))
        return lambda: random.choice(stubs).Check(single)  # noqa: S311 - a workload
    batch = BatchCheckRequest(questions=[question(number) for number in range(BATCH)])
    return lambda: random.choice(stubs).BatchCheck(batch)  # noqa: S311 - a workload


def once_of(load: Load) -> Once:
    """What makes one call."""
    return _echo(load) if load.kind == "echo" else _platform(load)


async def run(load: Load) -> Done:
    """Warm up, wait for the word, make the calls."""
    once = once_of(load)
    await asyncio.gather(*(once() for _ in range(load.concurrency)))
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    share = load.calls // load.concurrency

    async def worker() -> None:
        for _ in range(share):
            await once()

    wall_s, cpu_s = time.perf_counter(), time.process_time()
    await asyncio.gather(*(worker() for _ in range(load.concurrency)))
    return Done(share * load.concurrency, time.perf_counter() - wall_s, time.process_time() - cpu_s)


if __name__ == "__main__":
    told = Load(**json.loads(Path(sys.argv[1]).read_text()))
    sys.stdout.write(json.dumps(asdict(uvloop.run(run(told)))) + "\n")
