"""The import contracts, tried: each package imports every other; the linter tells which may."""

import os
import re
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

import pytest

SERVICES = {"directory", "authz", "audit", "authn"}
GROUND = {"api", "base", "rpc", "store", "trail", "serving", "policy"}
EVERYONE = {*GROUND, *SERVICES, "client", "cli", "edge", "local", "agentd"}
# The table of the design. base is open to all; api is what is generated from the contracts.
MAY_IMPORT = {
    "base": set(),
    "rpc": {"base", "api"},
    "store": {"base"},
    "trail": {"base", "rpc", "store"},
    "serving": {"base", "rpc", "store", "trail"},
    "policy": {"base"},
    **{area: GROUND - {"policy"} for area in SERVICES},
    "authz": GROUND,
    "client": {"base", "api", "rpc", "policy"},
    "cli": {"base", "api", "client", "policy"},
    "edge": {"base", "api", "rpc", "client"},
    "local": EVERYONE - {"local", "agentd"},
    "agentd": {"base", "api", "rpc"},
}
IMPURE = {"asyncpg", "google", "grpc", "redis"}
ILLEGAL = re.compile(r"(?:- *)?(argy\.[\w.]+) -> (argy\.[\w.]+|\w+)")


def broken_imports(config: Path, tree: Path) -> set[tuple[str, str]]:
    """What the linter refuses in another source tree (-S: without the links to this checkout)."""
    script = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    done = subprocess.run(
        [sys.executable, "-S", "-c", script, "--config", str(config), "--no-cache", "--no-logo"],
        cwd=tree,
        env={
            **os.environ,
            "PYTHONPATH": f"{tree}:{sysconfig.get_path('purelib')}",
            "COLUMNS": "300",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Contracts: " in done.stdout, done.stdout + done.stderr
    return set(ILLEGAL.findall(done.stdout))


@pytest.fixture
def empty_tree(tmp_path: Path) -> Path:
    """A namespace with every package and nothing in them."""
    for package in EVERYONE:
        folder = tmp_path / "argy" / package
        folder.mkdir(parents=True)
        (folder / "__init__.py").touch()
    (tmp_path / "argy/cli/platform.py").touch()
    return tmp_path


@pytest.fixture(scope="module")
def contracts(repo_root: Path) -> list[dict[str, object]]:
    data = tomllib.loads((repo_root / "pyproject.toml").read_text())
    found: list[dict[str, object]] = data["tool"]["importlinter"]["contracts"]
    return found


def test_every_arrow_of_the_design_and_no_other(repo_root: Path, empty_tree: Path) -> None:
    for source in MAY_IMPORT:
        for target in EVERYONE - {source}:
            module = empty_tree / "argy" / source / f"to_{target}.py"
            module.write_text(f"import argy.{target}\n")
    forbidden = {
        (f"argy.{source}.to_{target}", f"argy.{target}")
        for source, allowed in MAY_IMPORT.items()
        for target in EVERYONE - {source} - allowed
    }
    assert broken_imports(repo_root / "pyproject.toml", empty_tree) == forbidden


def test_one_module_of_the_command_line_starts_the_platform(
    repo_root: Path, empty_tree: Path
) -> None:
    (empty_tree / "argy/cli/platform.py").write_text("import argy.local\n")
    assert broken_imports(repo_root / "pyproject.toml", empty_tree) == set()


def test_domains_and_the_engine_know_no_wire_and_no_database(
    repo_root: Path, empty_tree: Path
) -> None:
    for service in SERVICES:
        lines = "".join(f"import {name}\n" for name in sorted(IMPURE))
        (empty_tree / f"argy/{service}/domain.py").write_text(lines)
    engine = IMPURE | {"asyncio"}
    lines = "".join(f"import {name}\n" for name in sorted(engine))
    (empty_tree / "argy/policy/index.py").write_text(lines)
    assert broken_imports(repo_root / "pyproject.toml", empty_tree) == {
        *((f"argy.{service}.domain", name) for service in SERVICES for name in IMPURE),
        *(("argy.policy.index", name) for name in engine),
    }


def test_every_package_is_under_a_contract(
    repo_files: tuple[str, ...], contracts: list[dict[str, object]]
) -> None:
    parts = (name.split("/") for name in repo_files if name.endswith(".py"))
    packages = {p[2] for p in parts if p[:2] in (["services", "argy"], ["agentd", "argy"])}
    covered = {"argy.base"}
    for contract in contracts:
        for key in ("protected_modules", "source_modules", "layers"):
            covered |= set(map(str, contract.get(key, ())))  # type: ignore[call-overload]
    assert packages
    assert {f"argy.{package}" for package in packages} - covered == set()
