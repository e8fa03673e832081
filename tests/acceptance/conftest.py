"""The running platform, as people start it: ``argy up`` in a folder of its own."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import psutil
import pytest
from link_sign_in import access_token
from ports import reserved_port

from argy.base.ids import PLATFORM_TENANT_ID, uuid7
from argy.client.connection import Endpoint

ARGY = Path(sys.executable).with_name("argy")
CHECKOUT = Path(__file__).parents[2]
STOP_S = 60.0
TERMINAL_S = 120.0
TOLD_LINES = 60
Run = Callable[..., "subprocess.CompletedProcess[str]"]


@dataclass
class Watched:
    """What tells why a test failed: the logs of everything that was started for it."""

    logs: list[Path] = field(default_factory=list)
    """Files, or folders of them."""
    failed: bool = False

    def told(self) -> Iterator[tuple[str, str]]:
        """The last lines of each log."""
        for log in self.logs:
            for file in sorted(log.glob("*.log")) if log.is_dir() else [log]:
                if file.is_file():
                    lines = file.read_text(errors="replace").splitlines()[-TOLD_LINES:]
                    yield str(file), "\n".join(lines)


WATCHED = pytest.StashKey[Watched]()


def watched(node: pytest.Item | pytest.Session | pytest.Module) -> Watched:
    """What is told when a test of this node fails."""
    return node.stash.setdefault(WATCHED, Watched())


@pytest.fixture(scope="session")
def has_failed() -> Callable[[pytest.Item], bool]:
    """Whether a test failed, for what ends after it."""
    return lambda item: watched(item).failed


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the servers' last words to the report of what failed."""
    report = yield
    if report.failed:
        watched(item).failed = True
        for node in (item, item.session):
            report.sections.extend(watched(node).told())
    return report


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

    def running(self, module: str) -> psutil.Process:
        """The process that runs a module."""
        return next(
            process
            for process in self.family()
            if module in command(process) and not process.children()
        )

    def commands(self) -> list[str]:
        """What each process was started with, as anybody on the machine sees it."""
        return [" ".join(command(process)) for process in self.family()]

    def server(self) -> psutil.Process:
        """The process that serves."""
        return self.running("argy.local.serve")

    def stop(self, number: int = signal.SIGINT) -> int:
        """End it and all that it started; its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(STOP_S)
        finally:
            # Whatever it started goes with it.
            self.process.kill()
            for stream in (self.process.stdout, self.process.stderr):
                if stream is not None:
                    stream.close()


def command(process: psutil.Process) -> list[str]:
    """What a process runs; nothing when it ended, as those of a database come and go."""
    with suppress(psutil.NoSuchProcess):
        return process.cmdline()
    return []


def environment(home: Path) -> dict[str, str]:
    """This process's environment without what would point at another platform."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ARGY_")}
    return {
        **kept,
        "ARGY_HOME": str(home),
        "ARGY_POSTGRES": os.environ.get("ARGY_POSTGRES", "auto"),
        "NO_COLOR": "1",
        "COLUMNS": "100",
    }


def start_platform(home: Path, *options: str, **env: str) -> Platform:
    """Start ``argy up --json`` and wait until it says that it is ready."""
    process = subprocess.Popen(
        [ARGY, "up", "--json", *options],
        cwd=CHECKOUT,
        env={
            **environment(home),
            "ARGY_UP_PORT": str(reserved_port()),
            "ARGY_UP_EDGE_PORT": str(reserved_port()),
            **env,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stderr is not None
        line = process.stdout.readline()
        if not line:
            process.wait(STOP_S)
            pytest.fail(f"argy up ended: {process.stderr.read()}")
        return Platform(home, process, json.loads(line))
    except BaseException:
        process.kill()
        raise


StartPlatform = Callable[..., Platform]


@pytest.fixture(scope="session", name="start_platform")
def start_platform_fixture(request: pytest.FixtureRequest) -> StartPlatform:
    """Start a platform that the caller stops."""

    def start(home: Path, *options: str, **env: str) -> Platform:
        watched(request.session).logs.append(home / "log")
        return start_platform(home, *options, **env)

    return start


@pytest.fixture
def platform_factory(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[StartPlatform]:
    """Start platforms of a test's own: ``platform_factory(home, "--reflection")``."""
    with ExitStack() as stack:

        def start(home: Path | None = None, *options: str, **env: str) -> Platform:
            home = home or tmp_path / "home"
            watched(request.node).logs.append(home / "log")
            platform = start_platform(home, *options, **env)
            stack.callback(platform.stop)
            return platform

        yield start


@pytest.fixture(scope="session")
def platform(
    tmp_path_factory: pytest.TempPathFactory, start_platform: StartPlatform
) -> Iterator[Platform]:
    """One platform for every test of this worker that does not stop it."""
    started = start_platform(tmp_path_factory.mktemp("platform") / "home")
    yield started
    assert started.stop() == 0


@pytest.fixture
def run_server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[..., None]]:
    """Run a server beside the test, which must end well: ``run_server(command, env)``."""
    with ExitStack() as stack:

        def run(command: Sequence[str | Path], env: Mapping[str, str]) -> None:
            logs = watched(request.node).logs
            log = tmp_path / f"server-{len(logs)}.log"
            logs.append(log)
            stack.enter_context(_running(command, env, stack.enter_context(log.open("w"))))

        yield run


@contextmanager
def _running(command: Sequence[str | Path], env: Mapping[str, str], log: IO[str]) -> Iterator[None]:
    # To a file: a pipe that nobody reads would stop a server that has much to say.
    process = subprocess.Popen(command, env=env, stderr=log)
    try:
        yield
        process.send_signal(signal.SIGTERM)
        assert process.wait(STOP_S) == 0, Path(log.name).read_text()
    finally:
        process.kill()


@pytest.fixture
def replica_factory(
    platform: Any, tmp_path: Path, run_server: Callable[..., None]
) -> Callable[..., Endpoint]:
    """Start ``argy serve`` beside the platform, on its database and Redis."""

    def start(
        *arguments: str, command: Sequence[str] = (str(ARGY), "serve"), **settings: str
    ) -> Endpoint:
        home, port = platform.home, reserved_port()
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
        run_server([*command, *arguments], env | settings)
        endpoint = platform.endpoint
        return Endpoint(
            f"localhost:{port}", endpoint.source, endpoint.keys_file, ca_file=endpoint.ca_file
        )

    return start


@pytest.fixture(scope="session")
def argy(platform: Platform) -> Run:
    """Run ``argy`` in another terminal: ``argy("tenant", "list")``."""

    def run(*arguments: str, home: Path | None = None, **env: str) -> Any:
        return subprocess.run(
            [ARGY, *arguments],
            cwd=CHECKOUT,
            env={**environment(home or platform.home), **env},
            capture_output=True,
            text=True,
            timeout=TERMINAL_S,
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


@pytest.fixture
def keeper(platform: Any, rows: Any, argy: Any) -> dict[str, str]:
    """The environment of an administrator of the platform, who answers for its keys."""
    email = f"k{uuid7().hex}@example.com"
    (made,) = rows("user", "create", email, "--tenant", "platform", "--name", "Kim")
    granted = argy("grant", f"user:{made['user_id']}", "PLATFORM_ADMIN", "-m", "a test")
    assert granted.returncode == 0, granted.stderr
    return {"ARGY_TOKEN": access_token(platform, PLATFORM_TENANT_ID, email)}
