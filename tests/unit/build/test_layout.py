"""What lies where, and that the tools look there."""

import subprocess
import tomllib
from pathlib import Path

MAX_MODULE_LINES = 350

TOP = {
    ".ci",
    ".editorconfig",
    ".gitattributes",
    ".gitignore",
    ".pre-commit-config.yaml",
    ".pre-commit-hooks.yaml",
    "Makefile",
    "README.md",
    "buf.yaml",
    "policy",
    "protos",
    "pyproject.toml",
    "requirements-build.txt",
    "requirements-dev.txt",
    "requirements.txt",
    "services",
    "tests",
}
# Folders of parts that arrive with their first file.
TOP_LATER = {"agentd", "deploy", "k8s"}
SOURCE_ROOTS = ("services", "agentd")


def test_the_top_level_holds_exactly_what_it_should(repo_files: tuple[str, ...]) -> None:
    found = {name.split("/")[0] for name in repo_files}
    assert found - TOP - TOP_LATER == set()
    assert TOP - found == set()


def test_the_namespace_folders_hold_packages_only(repo_files: tuple[str, ...]) -> None:
    folders = {f"{root}/argy" for root in (*SOURCE_ROOTS, "protos")}
    assert [name for name in repo_files if str(Path(name).parent) in folders] == []


def test_every_package_says_what_it_is(repo_root: Path, repo_files: tuple[str, ...]) -> None:
    packages = {
        parent
        for name in repo_files
        if name.startswith(SOURCE_ROOTS) and name.endswith(".py")
        for parent in list(Path(name).parents)[:-3]
    }
    assert packages
    assert [str(p) for p in packages if not (repo_root / p / "__init__.py").is_file()] == []


def test_modules_stay_short(repo_texts: dict[str, str]) -> None:
    modules = {
        n: t for n, t in repo_texts.items() if n.startswith(SOURCE_ROOTS) and n[-3:] == ".py"
    }
    assert modules
    assert [n for n, text in modules.items() if text.count("\n") > MAX_MODULE_LINES] == []


def test_every_source_root_is_built_linked_and_checked(
    repo_root: Path, repo_files: tuple[str, ...]
) -> None:
    tools = tomllib.loads((repo_root / "pyproject.toml").read_text())["tool"]
    roots = {root for root in SOURCE_ROOTS if any(n.startswith(f"{root}/") for n in repo_files)}
    assert roots <= set(tools["mypy"]["files"])
    roots.add("protos/gen")
    assert roots <= set(tools["mypy"]["mypy_path"])
    assert roots <= set(tools["ruff"]["src"])
    assert roots <= set(tools["hatch"]["build"]["dev-mode-dirs"])
    assert {f"{r}/argy" for r in roots} <= set(
        tools["hatch"]["build"]["targets"]["wheel"]["packages"]
    )


def test_what_is_generated_is_not_committed(repo_root: Path, repo_files: tuple[str, ...]) -> None:
    assert [n for n in repo_files if n.startswith("protos/gen/") or n.endswith(".pyc")] == []
    for path in ("protos/gen/argy/api/x_pb2.py", ".argy/state", ".venv/bin/python"):
        subprocess.run(["git", "check-ignore", "--quiet", path], cwd=repo_root, check=True)
