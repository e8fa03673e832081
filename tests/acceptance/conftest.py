"""The running platform, as people start it: ``argy up`` in a folder of its own."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from argy.client.connection import Endpoint
from argy.local.ports import free_port

ARGY = Path(sys.executable).with_name("argy")
CHECKOUT = Path(__file__).parents[2]
STOP_S = 60.0
Run = Callable[..., "subprocess.CompletedProcess[str]"]


@dataclass(frozen=True)
class Platform:
    """A platform that stands: ``home`` is all that another terminal needs to know."""

    home: Path
    process: "subprocess.Popen[str]"
    ready: dict[str, Any]
    """What ``argy up --json`` printed."""

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint(**json.loads((self.home / "up.json").read_text())["endpoint"])

    @property
    def log(self) -> str:
        return (self.home / "log" / "services.log").read_text()

    def family(self) -> list[psutil.Process]:
        """Every process that ``argy up`` started, itself included."""
        process = psutil.Process(self.process.pid)
        return [process, *process.children(recursive=True)]

    def server(self) -> psutil.Process:
        """The process that serves."""
        return next(
            process
            for process in self.family()
            if "argy.local.serve" in process.cmdline() and not process.children()
        )

    def stop(self, number: int = signal.SIGINT) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(STOP_S)


def environment(home: Path) -> dict[str, str]:
    """This process's environment without what would point at another platform."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ARGY_")}
    return {
        **kept,
        "ARGY_HOME": str(home),
        "ARGY_UP_PORT": str(free_port()),
        "ARGY_UP_EDGE_PORT": str(free_port()),
        "ARGY_POSTGRES": os.environ.get("ARGY_POSTGRES", "auto"),
        "NO_COLOR": "1",
        "COLUMNS": "100",
    }


def start_platform(home: Path, *options: str, **env: str) -> Platform:
    """Start ``argy up --json`` and wait until it says that it is ready."""
    process = subprocess.Popen(
        [ARGY, "up", "--json", *options],
        cwd=CHECKOUT,
        env={**environment(home), **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    line = process.stdout.readline()
    if not line:
        process.wait(STOP_S)
        pytest.fail(f"argy up ended: {process.stderr.read()}")
    return Platform(home, process, json.loads(line))


StartPlatform = Callable[..., Platform]


@pytest.fixture(scope="session", name="start_platform")
def start_platform_fixture() -> StartPlatform:
    """Start a platform that the caller stops."""
    return start_platform


@pytest.fixture
def platform_factory(tmp_path: Path) -> Iterator[StartPlatform]:
    """Start platforms of a test's own: ``platform_factory(home, "--reflection")``."""
    started: list[Platform] = []

    def start(home: Path | None = None, *options: str, **env: str) -> Platform:
        platform = start_platform(home or tmp_path / "home", *options, **env)
        started.append(platform)
        return platform

    yield start
    for platform in started:
        platform.stop()
        for stream in (platform.process.stdout, platform.process.stderr):
            if stream is not None:
                stream.close()


@pytest.fixture(scope="session")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """One platform for every test of this worker that does not stop it."""
    started = start_platform(tmp_path_factory.mktemp("platform") / "home")
    yield started
    assert started.stop() == 0
    for stream in (started.process.stdout, started.process.stderr):
        if stream is not None:
            stream.close()


@pytest.fixture
def replica_factory(platform: Any, tmp_path: Path) -> Iterator[Callable[..., Endpoint]]:
    """Start ``argy serve`` beside the platform, on its database and Redis."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str, **settings: str) -> Endpoint:
        home, port = platform.home, free_port()
        files = {f"{path.name.upper()}_FILE": str(path) for path in (home / "run").iterdir()}
        env = {name: value for name, value in os.environ.items() if not name.startswith("ARGY_")}
        env |= files | {
            "ARGY_KEY_RING": str(home / "keys" / "signing-keys.json"),
            "ARGY_PAGE_KEY_RING": str(home / "keys" / "page-token-keys.json"),
            "ARGY_TLS_CERT": str(home / "tls" / "server.pem"),
            "ARGY_TLS_KEY": str(home / "tls" / "server.key"),
            "ARGY_LISTEN": f"127.0.0.1:{port}",
            "ARGY_POLICY_DIR": str(CHECKOUT / "policy"),
            "ARGY_POLICY_KEY_RING": str(home / "keys" / "policy.json"),
            "ARGY_SPOOL_DIR": str(tmp_path / "spool"),
        }
        process = subprocess.Popen(
            [ARGY, "serve", *arguments],
            env=env | settings,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        endpoint = platform.endpoint
        return Endpoint(
            f"localhost:{port}", endpoint.source, endpoint.keys_file, ca_file=endpoint.ca_file
        )

    yield start
    for process in started:
        process.send_signal(signal.SIGTERM)
        _, told = process.communicate(timeout=STOP_S)
        assert process.returncode == 0, told


@pytest.fixture(scope="session")
def argy(platform: Platform) -> Run:
    """Run ``argy`` in another terminal: ``argy("tenant", "list")``."""

    def run(*arguments: str, home: Path | None = None, user: int | None = None, **env: str) -> Any:
        return subprocess.run(
            [ARGY, *arguments],
            cwd=CHECKOUT,
            env={**environment(home or platform.home), **env},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


@pytest.fixture(scope="session")
def rows(argy: Run) -> Callable[..., list[dict[str, Any]]]:
    """Run a command with ``--json`` that must succeed; the documents that it prints."""

    def run(*arguments: str) -> list[dict[str, Any]]:
        done = argy(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    return run


@pytest.fixture(scope="session")
def people(rows: Callable[..., list[dict[str, Any]]]) -> dict[str, str]:
    """Subjects of the demonstration by first name."""
    found = rows("user", "list", "--tenant", "acme")
    return {row["display_name"]: f"user:{row['user_id']}" for row in found}
