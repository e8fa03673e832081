"""A restricted pod: uid 1001, no capability, a read-only root, and no user namespaces to be had."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from agent_stand import REPO

from argy.agentd.sandbox.backend import bubblewrap

# --disable-userns: a namespace in which no other can be made, as a pod's seccomp profile does.
POD = (
    *("--unshare-user", "--unshare-pid", "--unshare-ipc", "--disable-userns"),
    *("--uid", "1001", "--gid", "1001", "--ro-bind", "/", "/", "--proc", "/proc"),
    *("--dev", "/dev", "--tmpfs", "/tmp", "--clearenv"),  # noqa: S108
)


@pytest.fixture
def pod() -> Iterator[list[str]]:
    """The command that enters the pod; ``/work`` is its one volume."""
    bwrap, libraries = bubblewrap()
    with tempfile.TemporaryDirectory(prefix="argy-pod-") as volume:
        Path(volume, "root").mkdir()
        start = ["env", f"LD_LIBRARY_PATH={libraries}", str(bwrap), *POD]
        start += ["--bind", f"{volume}/root", "/tmp/work"]  # noqa: S108 - in the pod
        for path in {Path(sys.prefix), REPO}:
            if path.is_relative_to("/tmp"):  # noqa: S108 - hidden by the pod's own
                start += ["--ro-bind", str(path), str(path)]
        start += ["--setenv", "ARGY_AGENT_WORKSPACES", "/tmp/work/runs"]  # noqa: S108
        yield [*start, "--remount-ro", "/", "--"]


def doctor(pod: list[str], backend: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "argy.agentd.main", "doctor", "--backend", backend]
    code = f"import sys; sys.argv = {command[2:]!r}; from argy.agentd.main import main; main()"
    return subprocess.run(
        [*pod, sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )


def test_the_pod_is_one(pod: list[str]) -> None:
    script = "id -u; grep CapEff /proc/self/status; touch /x /etc/x; unshare -U true; true"
    done = subprocess.run(
        [*pod, "sh", "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.split() == ["1001", "CapEff:", "0" * 16]
    assert done.stderr.count("Read-only file system") == 2
    assert "unshare" in done.stderr


def test_doctor_tells_that_bubblewrap_can_not_and_landlock_can(pod: list[str]) -> None:
    boxed = doctor(pod, "bwrap")
    assert (boxed.returncode, "can't isolate runs here" in boxed.stdout) == (1, True), boxed
    alone = doctor(pod, "landlock")
    assert alone.returncode == 0, alone.stdout + alone.stderr
    rows = {line.split("  ")[0]: line for line in alone.stdout.splitlines()}
    assert " yes" in rows["backend landlock"]
    assert " no " in rows["backend bwrap"]
    assert all(" NO" not in row for row in rows.values())


def test_a_run_in_the_pod(pod: list[str]) -> None:
    driver = REPO / "tests/integration/agentd/driver.py"
    asked = {
        "backend": "landlock",
        "root": "/tmp/work/runs",  # noqa: S108
        "run_id": "run",
        "argv": ["/bin/sh", "-c", "id -u; touch /etc/x || cat $ARGY_SECRETS_DIR/token"],
        "env": {},
        "secrets": {"token": "told"},
        "limits": {"wall_seconds": 20},
        "network": [],
        "files": {},
        "cancel_at": "",
        "announce": True,
        "list": False,
        "wipe": True,
    }
    shared = [*pod[:-3], "--tmpfs", "/dev/shm", *pod[-3:]]  # noqa: S108
    done = subprocess.run(
        [*shared, sys.executable, str(driver)],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    told = json.loads(done.stdout)
    assert told["outcome"]["kind"] == "exited"
    assert told["wiped"]
    assert done.stderr.startswith("1001\n")
    assert done.stderr.endswith("told")
