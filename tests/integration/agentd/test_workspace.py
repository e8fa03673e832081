"""A workspace that can't be wiped: what is mounted in it stays, and the agent is told."""

import subprocess
import sys
from pathlib import Path

from argy.agentd.sandbox.backend import bubblewrap

SCRIPT = """
import sys
from pathlib import Path
from argy.agentd.identity import RunUser
from argy.agentd.workspace import WorkspaceDirty, Workspaces
workspaces = Workspaces(Path(sys.argv[1]), RunUser(0, 0, drop=False))
for act in (workspaces.wipe, workspaces.create):
    try:
        act("r")
        print("done")
    except WorkspaceDirty as error:
        print(error.reason, error.message)
"""


def test_a_mount_in_a_workspace_makes_it_dirty(tmp_path: Path) -> None:
    mounted = tmp_path / "r" / "mounted"
    mounted.mkdir(parents=True)
    (tmp_path / "kept").touch()
    bwrap, libraries = bubblewrap()
    outside = ["--dev-bind", "/", "/", "--bind", str(tmp_path / "kept"), str(mounted / "file")]
    done = subprocess.run(
        [bwrap, *outside, "--", sys.executable, "-c", SCRIPT, str(tmp_path)],
        env={"LD_LIBRARY_PATH": str(libraries)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    told = done.stdout.splitlines()
    assert len(told) == 2
    assert all(line.startswith("WORKSPACE_DIRTY") and "busy" in line for line in told)
