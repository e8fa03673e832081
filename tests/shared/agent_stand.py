"""Runs executed for real, by an agent that is a process of its own and one of several users."""

import base64
import contextlib
import ctypes
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

REPO = Path(__file__).parents[2]
HERE = REPO / "tests/integration/agentd"
ATTACKS = HERE / "attacks.py"
PYTHON = shutil.which("python3", path="/usr/local/bin:/usr/bin") or "/usr/bin/python3"
"""An interpreter that every user may run, for jobs."""
CANARY = "canary-of-the-agent"
MARKER = "marker-of-the-secret"
LIMITS: dict[str, Any] = {
    "wall_seconds": 60,
    "processes": 64,
    "file_bytes": 1 << 20,
    "tmp_bytes": 1 << 19,
    "open_files": 256,
    "memory_bytes": 1 << 30,
}
_NEWNS, _BIND, _REC, _PRIVATE = 0x20000, 4096, 16384, 1 << 18

ROOT = os.geteuid() == 0
# Root is what CI is: it can be everyone. Anyone else is the ordinary user alone.
WHO = {"root": 0, "1001": 1001, "ordinary": 1234} if ROOT else {"ordinary": os.geteuid()}
WALLS = [
    (backend, who)
    for who in WHO
    for backend in ("bwrap", "landlock")
    if not (backend == "landlock" and who == "ordinary" and ROOT)
]
IDS = [f"{backend}-as-{who}" for backend, who in WALLS]


def drop_to(uid: int) -> None:
    """In a child of root: become ``uid``, with a view in which closed folders above us are open.

    The interpreter or the checkout may be in root's home. There, each is bound into a file system
    that holds nothing else, and only this process sees it.
    """
    libc = ctypes.CDLL(None, use_errno=True)

    def mount(source: str, target: str, kind: str | None, flags: int) -> None:
        data = b"mode=755" if kind else None
        of = kind.encode() if kind else None
        if libc.mount(source.encode(), target.encode(), of, flags, data) != 0:
            raise OSError(ctypes.get_errno(), f"mount {target}")

    if libc.unshare(_NEWNS) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    mount("none", "/", None, _REC | _PRIVATE)
    needed = {Path(sys.base_prefix), Path(sys.prefix), REPO}
    closed = {
        parent
        for path in needed
        for parent in path.parents
        if parent.parent == Path("/") and not parent.stat().st_mode & 1
    }
    for folder in closed:
        inside = [path for path in needed if path.is_relative_to(folder)]
        handles = [os.open(path, os.O_PATH) for path in inside]
        mount("none", str(folder), "tmpfs", 0)
        for path, handle in zip(inside, handles, strict=True):
            path.mkdir(parents=True, exist_ok=True)
            mount(f"/proc/self/fd/{handle}", str(path), None, _BIND | _REC)
            os.close(handle)
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)


@dataclass
class Ran:
    """What the agent told of a run."""

    outcome: dict[str, Any]
    output: str
    received: int
    left: list[str]
    wiped: bool
    agent_peak_bytes: int

    @property
    def results(self) -> dict[str, Any]:
        """What the attacks printed."""
        found: dict[str, Any] = json.loads(self.output.splitlines()[-1])
        return found


@dataclass
class Agent:
    """An agent behind one backend, as one user."""

    backend: str
    who: str
    root: Path
    targets: dict[str, Any] = field(default_factory=dict)
    host: dict[str, Any] = field(default_factory=dict)

    def start(self, *argv: str, **asked: Any) -> subprocess.Popen[str]:
        uid = WHO[self.who]
        settings = {
            "backend": self.backend,
            "root": str(self.root),
            "run_id": "run",
            "argv": argv,
            "host": self.host,
            "secrets": {},
            "limits": {"wall_seconds": 60},
            "network": [],
            "files": {},
            "cancel_at": "",
            "announce": False,
            "list": False,
            "wipe": True,
        } | asked
        settings["env"] = {"TARGETS": json.dumps(self.targets)} | asked.get("env", {})
        process = subprocess.Popen(
            [sys.executable, str(HERE / "driver.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd="/",
            env={**os.environ, "ARGY_AGENT_CANARY": CANARY, "PYTHONDONTWRITEBYTECODE": "1"},
            preexec_fn=(lambda: drop_to(uid)) if ROOT and uid else None,
        )
        assert process.stdin is not None
        process.stdin.write(json.dumps(settings))
        process.stdin.close()
        process.stdin = None
        return process

    def run(self, *argv: str, **asked: Any) -> Ran:
        return ran(self.start(*argv, **asked))

    def attack(self, *names: str, **asked: Any) -> Ran:
        files = {"attacks.py": ATTACKS.read_text()}
        return self.run(PYTHON, "attacks.py", *names, files=files, **asked)


def ran(process: subprocess.Popen[str]) -> Ran:
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    told = json.loads(out)
    told["output"] = base64.b64decode(told["output"]).decode(errors="replace")
    return Ran(**told)


@contextlib.contextmanager
def listeners(folder: Path) -> Iterator[dict[str, Any]]:
    """What a job must not reach: ports of the host, and sockets with and without a path."""
    abstract = folder.parent.name
    with contextlib.ExitStack() as stack:
        tcp = stack.enter_context(socket.create_server(("0.0.0.0", 0), backlog=64))  # noqa: S104
        six = stack.enter_context(
            socket.create_server(("::1", 0), family=socket.AF_INET6, backlog=64)
        )
        ports = {"port": tcp.getsockname()[1], "port6": six.getsockname()[1]}
        for address in (f"\0{abstract}", str(folder / "socket")):
            listener = stack.enter_context(socket.socket(socket.AF_UNIX))
            listener.bind(address)
            listener.listen(64)
        (folder / "socket").chmod(0o777)
        yield ports | {"abstract": abstract, "socket": str(folder / "socket")}


@contextlib.contextmanager
def neighbour(uid: int) -> Iterator[int]:
    """A process of the user that runs jobs, outside of every sandbox."""
    as_user = {"user": uid, "group": uid, "extra_groups": []} if ROOT else {}
    env = {"ARGY_AGENT_CANARY": CANARY}
    with subprocess.Popen(["/bin/sleep", "600"], env=env, **as_user) as process:  # type: ignore[call-overload]
        try:
            yield process.pid
            assert process.poll() is None, "a job ended its neighbour"
        finally:
            process.kill()


@contextlib.contextmanager
def an_agent(backend: str, who: str, folder: Path) -> Iterator[Agent]:
    """An agent with everything around it that a job could want."""
    uid = WHO[who] or 1001
    owner = WHO[who]
    root, secret, open_folder = folder / "work", folder / "agent", folder / "open"
    for path, mode, of in ((root, 0o711, owner), (secret, 0o700, owner), (open_folder, 0o777, 0)):
        path.mkdir()
        path.chmod(mode)
        if ROOT:
            os.chown(path, of, of)
    other = root / "other"
    other.mkdir(mode=0o700)
    files = {secret / "key": "the-key", other / "result": "of another run"}
    files |= {open_folder / "host": "of the host", open_folder / "moved": "of the host"}
    for path, text in files.items():
        path.write_text(text)
        path.chmod(0o666 if path.parent == open_folder else 0o600)
    if ROOT:
        os.chown(secret / "key", owner, owner)
        for path in (other, other / "result"):
            os.chown(path, uid, uid)
    targets = {
        "agent_key": str(secret / "key"),
        "agent_program": str(REPO / "agentd/argy/agentd/main.py"),
        "other_workspace": str(other),
        "open_folder": str(open_folder),
        "hidden": "/etc/passwd",
        "devices": ["/dev/mem", "/dev/kmsg", "/dev/kvm", "/dev/vda", "/dev/sda", "/dev/fuse"],
        "agent_pid": "@PID@",
        "reversed_canary": CANARY[::-1],
        "reversed_secret": MARKER[::-1],
        "file_bytes": LIMITS["file_bytes"],
        "tmp_bytes": LIMITS["tmp_bytes"],
        "nonce": folder.name,
    }
    with listeners(open_folder) as listening, neighbour(uid) as victim:
        yield Agent(
            backend,
            who,
            root,
            targets | listening | {"victim_pid": victim},
            {"hidden": ["/etc/passwd", str(secret)]},
        )
