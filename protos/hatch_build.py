"""Generates Python code and stubs from ``protos/`` into ``protos/gen/``.

Hatchling runs it as a build hook, so an install always carries fresh code. As a script it does the
same for a checkout; ``--check`` regenerates into a temporary folder and fails when the result
differs from what is there.
"""

from __future__ import annotations

import filecmp
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ROOT = Path(__file__).resolve().parent


def generate(target: Path) -> None:
    """Write code for every ``.proto`` file under ``protos/argy`` to ``target``."""
    import google.rpc
    import grpc_tools

    google_protos = Path(next(iter(google.rpc.__path__))).parent.parent
    well_known = Path(str(grpc_tools.__file__)).parent / "_proto"
    sources = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "argy").rglob("*.proto"))
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    # In a process of its own: protoc resolves plug-ins by PATH and keeps global state.
    bin_dir = Path(sys.executable).parent
    command = [
        sys.executable,
        "-m",
        "grpc_tools.protoc",
        f"-I{ROOT}",
        f"-I{well_known}",
        f"-I{google_protos}",
        f"--python_out={target}",
        f"--grpc_python_out={target}",
        f"--mypy_out=quiet:{target}",
        f"--mypy_grpc_out=quiet,only_async:{target}",
    ]
    for plugin in ("protoc-gen-mypy", "protoc-gen-mypy_grpc"):
        found = shutil.which(plugin, path=str(bin_dir)) or shutil.which(plugin)
        if found is None:
            raise RuntimeError(f"{plugin} is not installed: it comes with mypy-protobuf")
        command.append(f"--plugin={plugin}={found}")
    subprocess.run([*command, *sources], check=True, cwd=ROOT)  # noqa: S603 - fixed arguments
    # Typed package; no __init__.py, because argy is a namespace over three source roots.
    (target / "argy" / "api" / "py.typed").touch()


def _differences(left: Path, right: Path) -> list[str]:
    names = {p.relative_to(r) for r in (left, right) for p in r.rglob("*.py*") if p.is_file()}
    names = {name for name in names if "__pycache__" not in name.parts}
    return sorted(
        str(name)
        for name in names
        if not (left / name).is_file()
        or not (right / name).is_file()
        or not filecmp.cmp(left / name, right / name, shallow=False)
    )


class GenerateProtos(BuildHookInterface[Any]):
    """The hook that hatchling calls before it builds or links the package."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Generate in place; ``protos/gen`` is a source root of the wheel."""
        generate(ROOT / "gen")


def main() -> int:
    """Generate, or with ``--check`` compare; returns the exit code."""
    if sys.argv[1:] == ["--check"]:
        with tempfile.TemporaryDirectory() as folder:
            fresh = Path(folder) / "gen"
            generate(fresh)
            stale = _differences(fresh, ROOT / "gen")
        if stale:
            print("generated code is stale, run make venv:", *stale, sep="\n  ", file=sys.stderr)
        return 1 if stale else 0
    generate(ROOT / "gen")
    return 0


if __name__ == "__main__":
    sys.exit(main())
