"""The edge as a real process with TLS. Nothing serves behind it: what is tried stops before."""

import asyncio
import json
import os
import queue
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from ports import reserved_port

from argy.base.crypto import KeyRing
from argy.client import Connection
from argy.client.connection import Endpoint
from argy.client.keys import DESTINATIONS, issue_keys
from argy.client.pep_tokens import add_token
from argy.edge.limits import Bounds
from argy.edge.main import assemble, server_config
from argy.edge.protocol import BoundedProtocol
from argy.edge.room import KnownNetworks
from argy.edge.server import EdgeServer
from argy.edge.settings import EdgeSettings
from argy.local.dev_ca import DevCertificates, ensure_dev_certificates

START_S = 60.0
SLOW_REQUESTS = 4
"""Of the slow edge, which takes twice as many connections from one address."""


@dataclass(frozen=True)
class Files:
    """What an edge needs to start."""

    folder: Path
    certificates: DevCertificates
    tokens: Path
    token: str
    token_id: str
    keys: Path


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    folder = tmp_path_factory.mktemp("edge")
    certificates = ensure_dev_certificates(folder / "tls", now=datetime.now(UTC))
    ring = folder / "ring.json"
    KeyRing.generate().save(ring)
    issue_keys(ring, source="edge", destinations=DESTINATIONS, out=folder / "edge.json")
    tokens = folder / "tokens.json"
    token, entry = add_token(tokens, service="demo", tenant_id=None, now=datetime.now(UTC))
    return Files(folder, certificates, tokens, token, entry.token_id, folder / "edge.json")


def edge_env(files: Files, port: int) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ARGY_")}
    return {
        **kept,
        "ARGY_EDGE_LISTEN": f"127.0.0.1:{port}",
        "ARGY_EDGE_TLS_CERT": str(files.certificates.server_cert_file),
        "ARGY_EDGE_TLS_KEY": str(files.certificates.server_key_file),
        "ARGY_EDGE_TOKENS": str(files.tokens),
        "ARGY_TARGET": f"localhost:{reserved_port()}",
        "ARGY_CLIENT_KEYS_FILE": str(files.keys),
        "ARGY_CA_FILE": str(files.certificates.ca_file),
    }


@dataclass(frozen=True)
class EdgeProcess:
    """A running edge."""

    files: Files
    port: int
    process: "subprocess.Popen[str] | None"
    log_file: Path

    @property
    def log(self) -> str:
        return self.log_file.read_text()

    @property
    def headers(self) -> dict[str, str]:
        return {
            "authorization": f"Bearer {self.files.token}",
            "content-type": "application/json",
            "x-tenant-id": "01a2104a-5732-76ca-9c73-4b16f9403c74",
        }

    def connect_plain(self) -> socket.socket:
        """A connection that does not even begin TLS."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=START_S)

    def connect(
        self, context: ssl.SSLContext | None = None, *, source: str = "127.0.0.1"
    ) -> ssl.SSLSocket:
        """A TLS connection for bytes that no HTTP client would send, from some address."""
        trusting = ssl.create_default_context(cafile=str(self.files.certificates.ca_file))
        raw = socket.create_connection(
            ("127.0.0.1", self.port), timeout=START_S, source_address=(source, 0)
        )
        return (context or trusting).wrap_socket(raw, server_hostname="localhost")

    def send_raw(self, sent: bytes) -> bytes:
        """Everything that comes back until the edge ends the connection."""
        with closing(self.connect()) as wire:
            wire.sendall(sent)
            return read_all(wire)

    def client(self) -> httpx.Client:
        context = ssl.create_default_context(cafile=str(self.files.certificates.ca_file))
        return httpx.Client(
            verify=context,
            base_url=f"https://localhost:{self.port}",
            headers=self.headers,
            timeout=START_S,
        )


def read_all(wire: ssl.SSLSocket) -> bytes:
    received = b""
    try:
        while part := wire.recv(65_536):
            received += part
    except (ConnectionError, ssl.SSLError):
        pass
    return received


def _start(files: Files, **env: str) -> EdgeProcess:
    port = reserved_port()
    log_file = files.folder / f"edge-{port}.log"
    with log_file.open("w") as log:
        process = subprocess.Popen(
            [Path(sys.executable).with_name("argy"), "serve", "edge"],
            env={**edge_env(files, port), **env},
            stderr=log,
            text=True,
        )
    if not _until_listening(port, process):
        process.kill()
        pytest.fail(log_file.read_text())
    return EdgeProcess(files, port, process, log_file)


@pytest.fixture(scope="session")
def edge(files: Files) -> Iterator[EdgeProcess]:
    started = _start(files)
    yield started
    assert started.process is not None
    started.process.terminate()
    assert started.process.wait(START_S) == 0
    assert "Traceback" not in started.log


@pytest.fixture
def http(edge: EdgeProcess) -> Iterator[httpx.Client]:
    """A client that has a token and names a tenant."""
    with edge.client() as client:
        yield client


@pytest.fixture
def asked() -> dict[str, Any]:
    """A well-formed question."""
    return {
        "subject": {"type": "user", "id": "alice"},
        "action": {"name": "read"},
        "resource": {"type": "todo", "id": "1"},
    }


@pytest.fixture
def problem_of() -> Callable[[httpx.Response], dict[str, Any]]:
    """The problem that an answer tells, which must look like every other and tell no internals."""

    def read(answer: httpx.Response) -> dict[str, Any]:
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
        assert "server" not in answer.headers
        told: dict[str, Any] = json.loads(answer.content)
        assert told["status"] == answer.status_code
        assert told["request_id"] == answer.headers["x-request-id"]
        for internal in ("Traceback", ".py", "grpc", "127.0.0.1", "argy.edge", "localhost"):
            assert internal not in answer.text
        return told

    return read


@pytest.fixture
def slow_edge(files: Files, request: pytest.FixtureRequest) -> Iterator[EdgeProcess]:
    """An edge in this process whose bounds a test can wait for, or sets by a parameter.

    Whoever is only slow to connect, on a machine that is, meets none of them.
    """
    bounds, head_s, handshake_s = (
        getattr(request, "param", {}).get(name, default)
        for name, default in (
            ("bounds", Bounds(requests=2, body_s=1.0)),
            ("head_s", 1.0),
            ("handshake_s", START_S),
        )
    )
    port = reserved_port()
    certificates = files.certificates
    settings = EdgeSettings(
        tokens=files.tokens,
        listen=f"127.0.0.1:{port}",
        tls_cert=certificates.server_cert_file,
        tls_key=certificates.server_key_file,
        max_requests=SLOW_REQUESTS,
    )
    endpoint = Endpoint(
        target=f"localhost:{reserved_port()}",
        source="edge",
        keys_file=str(files.keys),
        ca_file=str(certificates.ca_file),
    )
    # Signals reach the main thread alone, so that this one is stopped by its flag.
    servers: queue.Queue[uvicorn.Server] = queue.Queue()

    class HastyProtocol(BoundedProtocol):
        max_head_s = head_s

    async def run() -> None:
        async with Connection(endpoint) as connection:
            known = KnownNetworks()
            app = assemble(settings, endpoint, connection, bounds, known)
            config = server_config(settings, app, known, protocol=HastyProtocol)
            server = EdgeServer(config, handshake_s=handshake_s)
            servers.put(server)
            await server.serve()

    thread = threading.Thread(target=asyncio.run, args=(run(),))
    thread.start()
    server = servers.get(timeout=START_S)
    _until_listening(port)
    yield EdgeProcess(files, port, None, Path())
    server.should_exit = True
    thread.join(START_S)
    assert not thread.is_alive()


def _until_listening(port: int, process: "subprocess.Popen[str] | None" = None) -> bool:
    limit = time.monotonic() + START_S
    while time.monotonic() < limit and (process is None or process.poll() is None):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return True
    return False
