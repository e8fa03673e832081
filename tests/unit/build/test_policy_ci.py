"""What authors' CI runs: the script on real branches, and the comment on a host of its own."""

import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml

BIN = Path(sys.executable).parent
ENGINEER = "roles/engineer.csv"
DRAIN = "p, role:PLATFORM_ENGINEER, *, agent:*, drain, allow, true\n"
PUBLISH = "p, role:PLATFORM_ENGINEER, *, quota:*, raise, allow, true\n"


@pytest.fixture
def change(repo_root: Path, tmp_path: Path) -> Path:
    """A branch beside main, in a repository that holds the product's policy."""
    repository = tmp_path / "repository"
    shutil.copytree(repo_root / "policy", repository / "policy")
    git(repository, "init", "-q", "-b", "main")
    commit(repository)
    git(repository, "checkout", "-q", "-b", "change")
    return repository


def git(repository: Path, *arguments: str) -> None:
    who = ("-c", "user.name=Ada", "-c", "user.email=ada@example.com")
    subprocess.run(["git", "-C", str(repository), *who, *arguments], check=True)


def commit(repository: Path) -> None:
    git(repository, "add", "-A")
    git(repository, "commit", "-q", "--allow-empty", "-m", "change")


def edit(repository: Path, name: str, old: str, new: str) -> int:
    """Replace a text in a file of the policy; the number of the line where it stood."""
    path = repository / "policy" / name
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))
    return text[: text.index(old)].count("\n") + 1


def check(
    repo_root: Path, repository: Path, *arguments: str
) -> tuple[subprocess.CompletedProcess[str], str]:
    """Run the script; its process and the comment that it wrote."""
    out = repository / "out"
    done = subprocess.run(
        [repo_root / "deploy/ci/policy-check", "--out", str(out), *arguments],
        cwd=repository,
        env={**os.environ, "ARGY": str(BIN / "argy")},
        capture_output=True,
        text=True,
        check=False,
    )
    comment = out / "comment.md"
    return done, comment.read_text() if comment.exists() else ""


def results(comment: str) -> dict[str, str]:
    """The table at the top: each check with its result."""
    found = dict(re.findall(r"^\| (\w+) \| ([\w* ]+) \| ", comment, re.MULTILINE))
    assert found.pop("check") == "result"
    return found


def test_a_clone_that_lacks_the_merge_base_is_refused(
    repo_root: Path, change: Path, tmp_path: Path
) -> None:
    git(change, "commit", "-q", "--allow-empty", "-m", "mine")
    git(change, "checkout", "-q", "main")
    git(change, "commit", "-q", "--allow-empty", "-m", "theirs")
    clone = tmp_path / "clone"
    options = ("--depth", "1", "--no-single-branch", "--branch", "change")
    git(tmp_path, "clone", "-q", *options, change.as_uri(), str(clone))
    done, comment = check(repo_root, clone, "--base", "origin/main")
    assert (done.returncode, comment) == (2, "")
    assert "git fetch --unshallow" in done.stderr
    done, _ = check(repo_root, clone, "--base", "HEAD~1")
    assert done.returncode == 2
    assert "git fetch --unshallow" in done.stderr


def test_two_changed_lines_are_told_with_who_gains_who_loses_and_what_is_not_tested(
    repo_root: Path, change: Path
) -> None:
    line = edit(change, ENGINEER, DRAIN, PUBLISH)
    commit(change)
    done, comment = check(repo_root, change, "--base", "main")
    assert done.returncode == 1, done.stdout + done.stderr
    assert comment.startswith("<!-- argy policy-check: policy -->\n## Policy: checks failed\n")
    found = results(comment)
    assert {name: found[name] for name in ("fmt", "invariants", "diff")} == {
        "fmt": "passed",
        "invariants": "passed",
        "diff": "passed",
    }
    # A case still expects the line that went, and none asks for the line that came.
    assert found["test"] == "**failed**"
    assert "| diff | passed | 1 gained, 1 lost |" in comment
    assert re.search(r"^\| test \| \*\*failed\*\* \| .*1 changed row is not covered", comment, re.M)
    # What has nothing more to tell than its line in the table has no section.
    assert "### policy fmt" not in comment
    assert "role:PLATFORM" in comment
    assert "`raise quota:*`" in comment
    assert "`drain agent:*`" in comment
    assert f"policy/{ENGINEER}:{line}" in comment
    (run,) = json.loads((change / "out" / "lint.sarif").read_text())["runs"]
    assert run["results"] == [
        result
        for result in run["results"]
        if result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
        == f"policy/{ENGINEER}"
    ]
    assert (change / "out" / "cases.xml").read_text().startswith("<?xml")


def test_people_who_gain_or_lose_are_named_when_it_is_known_who_holds_what(
    repo_root: Path, change: Path
) -> None:
    edit(change, ENGINEER, DRAIN, PUBLISH)
    for tenant, user in (("acme", "user:eva"), ("globex", "user:gil")):
        grant = {"subject": user, "role": "role:PLATFORM_ENGINEER"}
        facts = {"tenant": tenant, "assignments": [grant]}
        (change / f"{tenant}.json").write_text(json.dumps(facts))
    known = ("--assignments", "acme.json", "--assignments", "globex.json")
    done, comment = check(repo_root, change, "--base", "main", *known)
    assert results(comment)["impact"] == "passed", done.stdout + done.stderr
    impact = (change / "out" / "impact.md").read_text()
    assert impact in comment
    assert "user:eva" in impact
    assert "user:gil" in impact
    assert "drain agent" in impact


def test_a_change_without_meaning_passes_and_main_s_own_changes_are_not_the_branch_s(
    repo_root: Path, change: Path
) -> None:
    edit(change, ENGINEER, "# PLATFORM_ENGINEER builds", "# PLATFORM_ENGINEER makes")
    commit(change)
    git(change, "checkout", "-q", "main")
    edit(change, "roles/user.csv", "# PLATFORM_USER is", "p, role:NEW, *, run:*, x, allow, true\n#")
    commit(change)
    git(change, "checkout", "-q", "change")
    done, comment = check(repo_root, change, "--base", "main")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "## Policy: all checks passed" in comment
    assert "no change of meaning" in comment
    assert set(results(comment).values()) == {"passed"}


def test_a_policy_that_does_not_load_fails_with_file_and_line(
    repo_root: Path, change: Path
) -> None:
    line = edit(change, ENGINEER, DRAIN, DRAIN.replace("allow", "Allow"))
    done, comment = check(repo_root, change, "--base", "main")
    assert done.returncode == 1
    assert f"`policy/{ENGINEER}:{line}`" in comment
    assert f"    error {ENGINEER}:{line}: unknown effect 'Allow'" in comment
    found = results(comment)
    assert {found[name] for name in ("lint", "test", "diff", "mutate")} == {"**failed**"}


def test_a_file_that_is_not_canonical_is_shown_as_a_diff(repo_root: Path, change: Path) -> None:
    edit(change, ENGINEER, DRAIN, DRAIN.replace(", ", ","))
    done, comment = check(repo_root, change, "--base", "main")
    assert done.returncode == 1
    assert results(comment)["fmt"] == "**failed**"
    assert f"```diff\n--- policy/{ENGINEER}\n" in comment


def test_the_first_policy_has_nothing_to_be_compared_with(repo_root: Path, change: Path) -> None:
    git(change, "checkout", "-q", "--orphan", "empty")
    git(change, "rm", "-rqf", ".")
    commit(change)
    git(change, "checkout", "-q", "-b", "first")
    git(change, "checkout", "-q", "main", "--", "policy")
    small = change / "policy"
    for path in [*small.rglob("*.yaml"), *small.rglob("*/*.csv"), small / "services.csv"]:
        path.unlink()
    (small / "roles").mkdir(exist_ok=True)
    (small / "roles" / "a.csv").write_text("p, role:A, *, doc:*, read, allow, true\n")
    commit(change)
    _, comment = check(repo_root, change, "--base", "empty")
    assert "diff" not in results(comment)
    assert results(comment)["fmt"] == "passed"


@pytest.mark.parametrize(
    "arguments", [[], ["--base"], ["--base", "nowhere"], ["--base", "--help"], ["--what"]]
)
def test_bad_usage_is_2(repo_root: Path, change: Path, arguments: list[str]) -> None:
    done, comment = check(repo_root, change, *arguments)
    assert (done.returncode, comment) == (2, "")
    assert done.stderr


class CommentHost(ThreadingHTTPServer):
    """Keeps comments as GitHub and GitLab do, as far as a client can see."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.comments: list[dict[str, object]] = []
        self.calls: list[str] = []
        self.artifacts: dict[int, bytes | str] = {}
        """By job: the file that it left, or where the host says that it lies."""
        self.credentials: list[str | None] = []


class _Handler(BaseHTTPRequestHandler):
    server: CommentHost

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def _do(self) -> None:
        size = int(self.headers.get("Content-Length", 0))
        value = json.loads(self.rfile.read(size)) if size else {}
        path = self.path.partition("?")[0]
        self.server.calls.append(f"{self.command} {path}")
        self.server.credentials.append(self.headers.get("PRIVATE-TOKEN"))
        answer: object
        if path.endswith("/user"):
            answer = {"id": 7}
        elif path.endswith("/merge_requests"):
            answer = [{"iid": number, "project_id": 3} for number in self.server.artifacts]
        elif path.endswith("/pipelines"):
            number = int(path.split("/")[-2])
            own = {"id": number, "project_id": 3}
            # A newer one of the fork's own, which may say what it likes.
            answer = [{"id": number + 1_000, "project_id": 4}, own]
        elif path.endswith("/jobs"):
            number = int(path.split("/")[-2])
            answer = [{"id": number, "name": "policy", "finished_at": "2026-01-01T00:00:00Z"}]
        elif "/artifacts/" in path:
            assert path.endswith("/artifacts/policy-check/comment.md")
            self._file(self.server.artifacts[int(path.split("/")[-4])])
            return
        elif self.command == "GET":
            page = int(self.path.rpartition("page=")[2])
            answer = self.server.comments[(page - 1) * 100 : page * 100]
        elif self.command == "POST":
            assert self.headers.get("Authorization") or self.headers.get("PRIVATE-TOKEN")
            self.server.comments.append(made(len(self.server.comments), str(value["body"])))
            answer = self.server.comments[-1]
        else:
            answer = self.server.comments[int(path.rpartition("/")[2])]
            answer["body"] = value["body"]
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _file(self, held: bytes | str) -> None:
        moved = isinstance(held, str)
        self.send_response(302 if moved else 200)
        if moved:
            self.send_header("Location", str(held))
        body = b"" if isinstance(held, str) else held
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PATCH = do_PUT = _do  # noqa: N815 - the names that it looks for


def made(
    number: int, body: str, login: str = "github-actions[bot]", author: int = 7
) -> dict[str, object]:
    return {"id": number, "body": body, "user": {"login": login}, "author": {"id": author}}


@pytest.fixture
def host() -> Iterator[CommentHost]:
    with CommentHost() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(("kind", "update"), [("github", "PATCH"), ("gitlab", "PUT")])
def test_one_comment_is_posted_and_then_brought_up_to_date(
    repo_root: Path, host: CommentHost, tmp_path: Path, kind: str, update: str
) -> None:
    mark = "<!-- argy policy-check: policy -->"
    # Somebody else began a comment like ours; a hundred more fill the first page.
    host.comments.append(made(0, f"{mark}\nall is well", "mallory", 8))
    host.comments += [made(number, "hello", "ada", 9) for number in range(1, 130)]
    file = tmp_path / "comment.md"

    def post(text: str) -> str:
        file.write_text(f"{mark}\n{text}\n")
        url = f"http://127.0.0.1:{host.server_port}"
        env = {
            "GITHUB_API_URL": url,
            "GITHUB_REPOSITORY": "acme/policy",
            "GITHUB_TOKEN": "t",
            "CI_API_V4_URL": url,
            "CI_PROJECT_ID": "3",
            "POLICY_COMMENT_TOKEN": "t",
        }
        script = repo_root / "deploy/ci/post_comment.py"
        done = subprocess.run(
            [sys.executable, script, kind, str(file), "17"],
            env=env,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()

    assert (post("first"), post("second")) == ("posted", "updated")
    assert len(host.comments) == 131
    assert host.comments[0]["body"] == f"{mark}\nall is well"
    assert host.comments[130]["body"] == f"{mark}\nsecond\n"
    assert host.calls[-1].startswith(update)


MARK = "<!-- argy policy-check: policy -->"


def post_open(repo_root: Path, host: CommentHost) -> str:
    """Run the job of the protected branch; what it printed."""
    url = f"http://127.0.0.1:{host.server_port}"
    done = subprocess.run(
        [
            sys.executable,
            repo_root / "deploy/ci/post_comment.py",
            "gitlab-open",
            "policy",
            "policy-check/comment.md",
        ],
        env={"CI_API_V4_URL": url, "CI_PROJECT_ID": "3", "POLICY_COMMENT_TOKEN": "t"},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def test_what_the_jobs_of_open_merge_requests_left_is_posted_and_not_twice(
    repo_root: Path, host: CommentHost
) -> None:
    host.artifacts[17] = f"{MARK}\nfirst\n".encode()
    assert post_open(repo_root, host) == "!17: posted\n"
    assert post_open(repo_root, host) == "!17: unchanged\n"
    host.artifacts[17] = f"{MARK}\nsecond\n".encode()
    assert post_open(repo_root, host) == "!17: updated\n"
    assert [one["body"] for one in host.comments] == [f"{MARK}\nsecond\n"]


def test_an_artifact_commands_nothing_and_can_be_no_other_text_than_a_bounded_comment(
    repo_root: Path, host: CommentHost
) -> None:
    with CommentHost() as elsewhere:
        thread = threading.Thread(target=elsewhere.serve_forever)
        thread.start()
        host.artifacts = {
            1: b"no mark\n/approve\n",
            2: f"{MARK}\n".encode() + b"x" * 300_000,
            # Whose host answers would be given the token.
            3: f"http://127.0.0.1:{elsewhere.server_port}/artifacts/3",
            4: f"{MARK}\n/merge\n  /approve\n> /assign @mallory\n/".encode(),
        }
        told = post_open(repo_root, host)
        elsewhere.shutdown()
        thread.join()
        assert elsewhere.calls == []
    assert "!1: post_comment: the first line is no mark" in told
    assert "!2: nothing to tell" in told
    assert "!3: nothing to tell" in told
    (comment,) = host.comments
    assert comment["body"] == f"{MARK}\n\\/merge\n  \\/approve\n> \\/assign @mallory\n\\/"
    assert not re.search(r"^[\s>]*/", str(comment["body"]), re.MULTILINE)


def test_gitlab_hands_no_token_to_the_job_that_runs_a_merge_request_s_code(
    repo_root: Path,
) -> None:
    text = (repo_root / "deploy/ci/gitlab-policy.yml").read_text()
    jobs = yaml.safe_load(text)
    # Nothing is given to every job, and no job inherits from another one.
    assert set(jobs) == {"policy", "policy-comment"}
    runs, posts = jobs["policy"], jobs["policy-comment"]
    # GitLab gives a variable of an environment to the jobs of that environment alone.
    assert "environment" not in runs
    assert "secrets" not in runs
    assert "id_tokens" not in runs
    told = json.dumps(runs)
    assert "TOKEN" not in told
    assert "post_comment" not in told
    assert [rule["if"] for rule in runs["rules"]] == [
        '$CI_PIPELINE_SOURCE == "merge_request_event"'
    ]
    # The other one never is in the pipeline of a merge request, whose files are the request's own.
    assert posts["environment"]["name"] == "policy-comment"
    (rule,) = posts["rules"]
    assert '$CI_PIPELINE_SOURCE == "schedule" && $CI_COMMIT_REF_PROTECTED == "true"' in rule["if"]
    assert posts["script"] == [
        "python3 deploy/ci/post_comment.py gitlab-open policy policy-check/comment.md"
    ]
    assert not {"needs", "dependencies", "before_script", "after_script"} & set(posts)
    assert "masked, protected and of the environment" in text


def test_the_workflows_run_what_is_there_and_nothing_of_the_request_in_a_shell(
    repo_root: Path,
) -> None:
    for name in ("github-policy.yml", "gitlab-policy.yml"):
        text = (repo_root / "deploy/ci" / name).read_text()
        assert yaml.safe_load(text)
        scripts = set(re.findall(r"deploy/ci/[\w.-]+", text)) - {f"deploy/ci/{name}"}
        assert {"deploy/ci/policy-check", "deploy/ci/post_comment.py"} <= scripts
        assert all((repo_root / script).exists() for script in scripts)
    github = yaml.safe_load((repo_root / "deploy/ci/github-policy.yml").read_text())
    assert github["permissions"] == {}
    steps = [step for job in github["jobs"].values() for step in job["steps"]]
    # What a request says, such as the name of a branch, reaches a shell as a variable only.
    assert all("${{" not in step.get("run", "") for step in steps)
    assert github["jobs"]["check"]["permissions"] == {"contents": "read"}


def test_the_hooks_are_commands_that_exist(repo_root: Path) -> None:
    hooks = yaml.safe_load((repo_root / ".pre-commit-hooks.yaml").read_text())
    assert {hook["id"] for hook in hooks} == {
        "argy-policy-fmt",
        "argy-policy-lint",
        "argy-policy-test",
    }
    for hook in hooks:
        program, *arguments = hook["entry"].split()
        assert program == "argy"
        subprocess.run([BIN / program, *arguments, "--help"], check=True, capture_output=True)
