"""``agentd doctor``: a table of what holds here, and an exit status that says whether runs may."""

import subprocess
import sys
from pathlib import Path

import pytest


def doctor(*arguments: str, root: Path, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(Path(sys.executable).with_name("agentd")), *arguments],
        env={"ARGY_AGENT_WORKSPACES": str(root), "PATH": "/usr/bin:/bin", **env},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Workspaces where the user that runs jobs gets to them by a bind, wherever pytest put it."""
    return tmp_path / "work"


def test_an_unsafe_backend_is_refused(root: Path) -> None:
    told = doctor("doctor", "--backend", "unsafe_host", root=root)
    assert told.returncode == 1
    assert "can't isolate runs here: any wall" in told.stdout


def test_what_is_said_wrong(root: Path, tmp_path: Path) -> None:
    assert doctor(root=root).returncode == 2
    file = tmp_path / "agentd.toml"
    file.write_text("colour = 'red'\n")
    told = doctor("--config", str(file), "doctor", root=root)
    assert (told.returncode, "ARGY_AGENT_COLOUR" in told.stderr) == (2, True)


@pytest.mark.parametrize("backend", ["bwrap", "landlock"])
def test_every_wall_holds_here(backend: str) -> None:
    import tempfile

    with tempfile.TemporaryDirectory(prefix="argy-agentd-") as folder:
        Path(folder).chmod(0o755)
        told = doctor("doctor", "--backend", backend, root=Path(folder, "work"))
    assert told.returncode == 0, told.stdout + told.stderr
    assert f"backend {backend} works here" in told.stdout
    assert "nothing outlives its run" in told.stdout


def test_it_starts_small() -> None:
    """Nothing heavy is imported before a command asks for it."""
    code = (
        "import sys, argy.agentd.main, argy.agentd.config, argy.agentd.sandbox.execute;"
        "print(*sys.modules, sep='\\n')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"grpc", "google.protobuf", "asyncpg", "casbin", "typer", "rich", "sandlock"}
    assert heavy & set(done.stdout.split()) == set()
