"""The checks behind `make check`, each shown something that it must refuse."""

import re
import shutil
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest
import yaml

BIN = Path(sys.executable).parent
PROTO = 'syntax = "proto3";\npackage argy.v1;\nmessage A {\n  string b = 1;\n}\n'
BROKEN_PROTO = PROTO.replace("string", "int64")
TIMEOUTS = "set local lock_timeout = '1s';\nset local statement_timeout = '5s';\n"
BUF_YAML = "version: v2\nmodules:\n  - path: protos\nbreaking:\n  use: [FILE]\n"


def run(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


def commit(repo: Path, **files: str) -> None:
    for name, content in files.items():
        path = repo / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    author = ("-c", "user.name=a", "-c", "user.email=a@example.com")
    assert run("git", "add", "-A", cwd=repo).returncode == 0
    assert run("git", *author, "commit", "-qm", "x", cwd=repo).returncode == 0


@pytest.fixture
def scratch_repo(repo_root: Path, tmp_path: Path) -> Path:
    """A repository of its own with our scripts; they find their checkout by their own place."""
    repo = tmp_path / "repo"
    shutil.copytree(repo_root / ".ci", repo / ".ci")
    assert run("git", "init", "-q", "-b", "main", cwd=repo).returncode == 0
    return repo


def breaking(repo: Path) -> subprocess.CompletedProcess[str]:
    return run(repo / ".ci/check-breaking", BIN / "buf", cwd=repo.parent)


def test_a_first_version_of_the_protos_breaks_nothing(scratch_repo: Path) -> None:
    commit(scratch_repo, buf_dot_yaml=BUF_YAML, protos__a_dot_proto=PROTO)
    done = breaking(scratch_repo)
    assert (done.returncode, "no earlier version" in done.stdout) == (0, True)


def test_a_breaking_change_is_refused_before_and_after_its_commit(scratch_repo: Path) -> None:
    commit(scratch_repo, buf_dot_yaml=BUF_YAML, protos__a_dot_proto=PROTO)
    (scratch_repo / "protos/a.proto").write_text(BROKEN_PROTO)
    assert "changed type" in breaking(scratch_repo).stdout
    commit(scratch_repo)
    commit(scratch_repo, other="nothing to do with protos")
    done = breaking(scratch_repo)
    assert (done.returncode == 0, "changed type" in done.stdout) == (False, True)


def test_a_new_field_is_no_breaking_change(scratch_repo: Path) -> None:
    commit(scratch_repo, buf_dot_yaml=BUF_YAML, protos__a_dot_proto=PROTO)
    commit(scratch_repo, protos__a_dot_proto=PROTO.replace("}", "  string c = 2;\n}"))
    done = breaking(scratch_repo)
    assert (done.returncode, "nothing broken since" in done.stdout) == (0, True)


def test_a_branch_is_held_to_where_it_left_main(scratch_repo: Path) -> None:
    commit(scratch_repo, buf_dot_yaml=BUF_YAML, protos__a_dot_proto=PROTO)
    run("git", "update-ref", "refs/remotes/origin/main", "HEAD", cwd=scratch_repo)
    commit(scratch_repo, protos__a_dot_proto=BROKEN_PROTO)
    commit(scratch_repo, protos__a_dot_proto=BROKEN_PROTO.replace("}", "  string c = 2;\n}"))
    assert "changed type" in breaking(scratch_repo).stdout


def test_a_shallow_clone_has_nothing_to_compare_with(scratch_repo: Path, tmp_path: Path) -> None:
    commit(scratch_repo, buf_dot_yaml=BUF_YAML, protos__a_dot_proto=PROTO)
    commit(scratch_repo, protos__a_dot_proto=BROKEN_PROTO)
    clone = tmp_path / "shallow"
    run("git", "clone", "-q", "--depth=1", f"file://{scratch_repo}", str(clone), cwd=tmp_path)
    done = breaking(clone)
    assert (done.returncode, "no earlier version" in done.stdout) == (0, True)


@pytest.mark.parametrize(
    ("up", "down", "refused"),
    [
        ("alter table a add column b bigint not null;", "", True),
        ("alter table a add column b bigint;", "alter table a drop column b;", False),
    ],
)
def test_migrations_are_read_on_the_way_up(
    scratch_repo: Path, up: str, down: str, refused: bool
) -> None:
    text = f"-- migrate:up\n{TIMEOUTS}{up}\n\n-- migrate:down\n{down}\n"
    commit(scratch_repo, services__argy__store__migrations__1_dot_sql=text)
    done = run(scratch_repo / ".ci/check-migrations", BIN / "squawk", cwd=scratch_repo)
    assert (done.returncode != 0, "squawk: 1 migrations" in done.stdout) == (refused, True)


def test_a_credential_is_found_committed_or_not(scratch_repo: Path) -> None:
    check = (scratch_repo / ".ci/check-secrets", BIN)
    commit(scratch_repo, a="nothing here\n")
    assert run(*check, cwd=scratch_repo).returncode == 0
    (scratch_repo / "key.pem").write_text("-----BEGIN RSA " + "PRIVATE KEY-----\n")
    assert "key.pem:1" in run(*check, cwd=scratch_repo).stdout
    commit(scratch_repo)
    assert run(*check, cwd=scratch_repo).returncode != 0


def test_generated_code_that_is_stale_is_refused(repo_root: Path, tmp_path: Path) -> None:
    protos = tmp_path / "protos"
    shutil.copytree(repo_root / "protos", protos)
    script: list[str | Path] = [sys.executable, protos / "hatch_build.py"]
    assert run(*script, cwd=tmp_path).returncode == 0
    assert run(*script, "--check", cwd=tmp_path).returncode == 0
    access = protos / "argy/api/common/v1/access.proto"
    access.write_text(access.read_text() + "\n// Says more.\nmessage More {}\n")
    done = run(*script, "--check", cwd=tmp_path)
    assert (done.returncode, "access_pb2" in done.stderr) == (1, True)


def test_pytest_reads_every_folder_of_tests(repo_root: Path, repo_files: tuple[str, ...]) -> None:
    options = tomllib.loads((repo_root / "pyproject.toml").read_text())["tool"]["pytest"]
    left_out = options["ini_options"]["norecursedirs"]
    roots = options["ini_options"]["testpaths"]
    files = [Path(name) for name in repo_files if re.search(r"^tests/.*/test_[^/]+\.py$", name)]
    assert files
    for file in files:
        assert any(file.is_relative_to(root) for root in roots), file
        assert not [p for p in file.parts if any(fnmatch(p, each) for each in left_out)], file


def test_ci_runs_what_a_developer_runs(repo_root: Path) -> None:
    script = (repo_root / ".ci/run").read_text()
    assert re.findall(r"^make .*?([a-z-]+)$", script, re.MULTILINE) == [
        "system-deps",
        "check",
        "test",
    ]


def test_every_check_is_part_of_make_check(repo_root: Path) -> None:
    text = (repo_root / "Makefile").read_text()
    targets = set(re.findall(r"^(check-[a-z]+):", text, re.MULTILINE))
    line = re.search(r"^check: ([a-z -]+?) +##", text, re.MULTILINE)
    assert line is not None
    assert targets == set(line[1].split())


def test_every_target_is_explained(repo_root: Path) -> None:
    text = (repo_root / "Makefile").read_text()
    targets = set(re.findall(r"^\.PHONY: ([a-z-]+)$", text, re.MULTILINE))
    assert targets == set(re.findall(r"^([a-z-]+):.*## \S", text, re.MULTILINE))
    shown = run("make", "help", cwd=repo_root).stdout
    assert set(re.findall(r"^  make ([a-z-]+) ", shown, re.MULTILINE)) == targets


def test_git_hooks_fetch_nothing_and_run_the_same_targets(repo_root: Path) -> None:
    config = yaml.safe_load((repo_root / ".pre-commit-config.yaml").read_text())
    targets = set(
        re.findall(r"^(check-[a-z]+):", (repo_root / "Makefile").read_text(), re.MULTILINE)
    )
    assert {repo["repo"] for repo in config["repos"]} == {"local"}
    hooks = [hook for repo in config["repos"] for hook in repo["hooks"]]
    assert {hook["language"] for hook in hooks} == {"system"}
    assert {hook["entry"].removeprefix("make --no-print-directory ") for hook in hooks} == targets
