"""The wheel, and what a service that only asks has to install with it."""

import os
import re
import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import Distribution, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

MAX_PACKAGES = 20
IMPORTS = "import argy.client; from argy.client import Authorizer, Connection, LocalAuthorizer"


def closure(requirements: list[str]) -> dict[str, Distribution]:
    """The installed distributions that requirements without an extra bring along."""
    found: dict[str, Distribution] = {}
    waiting = [Requirement(line) for line in requirements]
    while waiting:
        wanted = waiting.pop()
        name = str(canonicalize_name(wanted.name))
        if name in found or (wanted.marker and not wanted.marker.evaluate({"extra": ""})):
            continue
        found[name] = distribution(name)
        waiting += [Requirement(line) for line in found[name].requires or ()]
    return found


@pytest.fixture(scope="module")
def wheel(
    repo_root: Path, repo_files: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The wheel of this checkout, unpacked; built beside it, for building writes code anew."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    for name in repo_files:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(repo_root / name, source / name)
    build = f"import hatchling.build as b; print(b.build_wheel({str(folder)!r}))"
    subprocess.run([sys.executable, "-c", build], cwd=source, check=True, capture_output=True)
    (packed,) = folder.glob("*.whl")
    with zipfile.ZipFile(packed) as archive:
        archive.extractall(folder / "unpacked")
    return folder / "unpacked"


@pytest.fixture(scope="module")
def base(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with what the wheel requires and nothing else."""
    (metadata,) = wheel.glob("*.dist-info/METADATA")
    lines = re.findall(r"^Requires-Dist: (.*)$", metadata.read_text(), re.MULTILINE)
    folder = tmp_path_factory.mktemp("base")
    brought = closure([line for line in lines if "extra ==" not in line])
    assert len(brought) <= MAX_PACKAGES, sorted(brought)
    for package in brought.values():
        for file in package.files or ():
            there = Path(str(file.locate()))
            if ".." in file.parts or not there.exists():
                continue
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            if not (folder / file).exists():
                (folder / file).symlink_to(there)
    return folder


def run(code: str, *folders: Path) -> "subprocess.CompletedProcess[str]":
    """Run code with the standard library and these folders alone."""
    path = os.pathsep.join(map(str, folders))
    command = [sys.executable, "-S", "-P", "-c", code]
    return subprocess.run(
        command, env={"PYTHONPATH": path}, cwd=folders[0], capture_output=True, text=True
    )


def test_the_client_needs_the_base_alone(wheel: Path, base: Path) -> None:
    done = run(IMPORTS, wheel, base)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_policy_decides_with_the_base_alone(wheel: Path, base: Path, repo_root: Path) -> None:
    code = (
        "from pathlib import Path; from argy.policy import compile_policy, load_policy;"
        f"print(len(compile_policy(load_policy(Path({str(repo_root / 'policy')!r}))).roles))"
    )
    done = run(code, wheel, base)
    assert int(done.stdout) >= 5, done.stderr


def test_a_command_line_without_its_extra_says_what_to_install(wheel: Path, base: Path) -> None:
    done = run("from argy.cli import main; main()", wheel, base)
    assert done.returncode != 0
    assert "pip install 'argy[cli]'" in done.stderr
    assert "Traceback" not in done.stderr
