"""The platform and the echo as processes of their own, for the benches that call them."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from uuid import uuid4

import psutil
from load import Done, Load

from argy.api.directory.v1.tenant_pb2 import CreateTenantRequest, ListTenantsRequest
from argy.api.directory.v1.tenant_pb2_grpc import TenantServiceStub
from argy.base.ids import PLATFORM_TENANT_ID
from argy.client.connection import Connection, Endpoint

CHECKOUT = Path(__file__).parents[2]
HERE = Path(__file__).parent


@dataclass(frozen=True)
class Echo:
    """A server that answers what it is sent."""

    process: psutil.Process
    target: str


@dataclass(frozen=True)
class Stand:
    """What runs."""

    endpoint: Endpoint
    folder: Path
    tenant_id: str
    subject: str
    servers: list[psutil.Process]
    echo: Echo
    tuned_echo: Echo
    """The same, scheduled as the platform's servers are."""
    edge_url: str

    @property
    def key_ring(self) -> Path:
        """The file of the roots that requests are signed with."""
        return self.folder / "keys" / "signing-keys.json"

    def secret(self, name: str) -> str:
        """What the platform keeps under a name for its services."""
        return (self.folder / "run" / name).read_text().strip()


@dataclass(frozen=True)
class Rate:
    """One measurement: calls a second, and microseconds of processor a call."""

    per_s: float
    server_us: float
    client_us: float


@contextmanager
def standing(processes: int = 1) -> Iterator[Stand]:
    """Start the platform and the echo; both end with the block."""
    (CHECKOUT / ".argy").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CHECKOUT / ".argy", prefix="bench-") as name:
        folder = Path(name)
        argy = Path(sys.executable).with_name("argy")
        command: list[str | Path] = [argy, "up", "--json", "--processes", str(processes)]
        up = subprocess.Popen(
            command,
            cwd=CHECKOUT,
            env={**os.environ, "ARGY_HOME": name},
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert up.stdout is not None
            shown = json.loads(up.stdout.readline())
            state = json.loads((folder / "up.json").read_text())
            endpoint = Endpoint(**state["endpoint"])
            with _echoing(folder / "tls") as echo, _echoing(folder / "tls", "tuned") as tuned:
                yield Stand(
                    endpoint,
                    folder,
                    asyncio.run(_tenant(endpoint)),
                    shown["checks"][0]["subject"],
                    _servers(psutil.Process(up.pid)),
                    echo,
                    tuned,
                    shown["edge"]["url"],
                )
        finally:
            up.send_signal(signal.SIGINT)
            up.wait()


@contextmanager
def _echoing(tls: Path, *options: str) -> Iterator[Echo]:
    command: list[str | Path] = [
        HERE / "echo_server.py",
        tls / "server.pem",
        tls / "server.key",
        *options,
    ]
    with subprocess.Popen([sys.executable, *command], stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            yield Echo(psutil.Process(server.pid), f"localhost:{int(server.stdout.readline())}")
        finally:
            server.kill()


def _servers(up: psutil.Process) -> list[psutil.Process]:
    """The processes that serve: those of the module without children of their own."""
    serving = [
        process
        for process in up.children(recursive=True)
        if "argy.local.serve" in process.cmdline() and process.name().startswith("python")
    ]
    return [process for process in serving if not process.children()]


async def _tenant(endpoint: Endpoint) -> str:
    async with Connection(endpoint) as connection:
        stub = TenantServiceStub(connection.channel(PLATFORM_TENANT_ID))
        found = await stub.ListTenants(ListTenantsRequest(slug="acme"))
        return str(found.tenants[0].tenant_id)


async def make_tenants(endpoint: Endpoint, count: int) -> list[str]:
    """Make tenants through the API; returns their ids."""
    async with Connection(endpoint, timeout_s=30) as connection:
        stub = TenantServiceStub(connection.channel(PLATFORM_TENANT_ID))
        made: list[str] = []

        async def some(numbers: range) -> None:
            for _ in numbers:
                key = uuid4()
                request = CreateTenantRequest(
                    slug=f"b-{key.hex[:24]}", display_name="Bench", request_id=str(key)
                )
                made.append((await stub.CreateTenant(request)).tenant.tenant_id)

        await asyncio.gather(*(some(range(part, count, 16)) for part in range(16)))
        return made


def measure(stand: Stand, load: Load) -> Rate:
    """Run one client process and watch the server that it calls."""
    echoes = {echo.target: [echo.process] for echo in (stand.echo, stand.tuned_echo)}
    watched = echoes.get(load.target, stand.servers)
    told = stand.folder / "load.json"
    told.write_text(json.dumps(asdict(load)))
    with subprocess.Popen(
        [sys.executable, HERE / "load.py", told],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as client:
        assert client.stdin is not None
        assert client.stdout is not None
        client.stdout.readline()
        before = sum(sum(process.cpu_times()[:2]) for process in watched)
        client.stdin.write("\n")
        client.stdin.flush()
        done = Done(**json.loads(client.stdout.readline()))
        after = sum(sum(process.cpu_times()[:2]) for process in watched)
    return Rate(
        done.calls / done.wall_s,
        (after - before) / done.calls * 1e6,
        done.cpu_s / done.calls * 1e6,
    )
