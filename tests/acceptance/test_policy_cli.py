"""``argy policy diff, impact, export, explain, why-not, replay``: from a change to real people."""

import asyncio
import json
import shutil
import subprocess
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from argy.api.directory.v1.user_pb2 import USER_STATE_DISABLED, SetUserStateRequest
from argy.api.directory.v1.user_pb2_grpc import UserServiceStub
from argy.client.connection import Connection

POLICY = Path(__file__).parents[2] / "policy"
Rows = Callable[..., list[dict[str, Any]]]
READ = "p, role:PLATFORM_USER, *, project:*, read, allow, true\n"
WRITE = "p, role:PLATFORM_ENGINEER, *, secret:*, write, allow, true\n"


def git(folder: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", "-c", "user.name=Ada", "-c", "user.email=ada@example.com", *arguments],
        cwd=folder, check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip


@pytest.fixture
def changed(tmp_path: Path) -> Path:
    """A repository whose policy differs from its last commit in two lines."""
    policy = tmp_path / "repository" / "policy"
    shutil.copytree(POLICY, policy)
    git(policy.parent, "init", "-q", "-b", "main")
    git(policy.parent, "add", ".")
    git(policy.parent, "commit", "-qm", "The policy")
    for name, old, new in (
        ("user", READ, "# readers read by another rule\n"),
        ("engineer", WRITE, WRITE.replace(", true", ", ctx.mfa")),
    ):
        file = policy / "roles" / f"{name}.csv"
        text = file.read_text()
        assert old in text
        file.write_text(text.replace(old, new))
    return policy


@pytest.fixture
def line(changed: Path) -> Callable[[str, str], int]:
    """The line of a text in a file of the last commit."""

    def find(name: str, text: str) -> int:
        lines = git(changed.parent, "show", f"HEAD:policy/{name}").split("\n")
        return lines.index(text.rstrip("\n")) + 1

    return find


@pytest.fixture
def tenant(rows: Rows) -> str:
    """A tenant with a person who is a user, and one who is an engineer by a group."""
    slug = f"t-{uuid.uuid4().hex[:12]}"
    rows("tenant", "create", slug, "--name", "A tenant")
    rows("org", "create", "lab", "--name", "Lab", "--tenant", slug)
    return slug


def person(rows: Rows, tenant: str, name: str) -> str:
    (user,) = rows("user", "create", f"{name.lower()}@example.com", "--name", name, "--tenant",
                   tenant)  # fmt: skip
    return str(user["user_id"])


def test_two_changed_lines_are_told_with_their_lines(
    argy: Any, changed: Path, line: Callable[[str, str], int]
) -> None:
    done = argy("policy", "diff", "HEAD", "--policy", str(changed), "--format", "json")
    assert (done.returncode, done.stderr) == (0, "")
    lost, other = json.loads(done.stdout)["changes"][::-1]
    assert (lost["kind"], lost["role"]) == ("lost", "role:PLATFORM_USER")
    assert lost["rules"] == [f"roles/user.csv:{line('roles/user.csv', READ)}"]
    assert (other["kind"], other["after"]) == ("changed", "allowed if ctx.mfa")
    text = argy("policy", "diff", "HEAD", "--policy", str(changed), "--exit-code")
    assert text.returncode == 1
    assert f"policy/roles/user.csv:{line('roles/user.csv', READ)}" in text.stdout
    assert "lost" in text.stdout
    same = argy("policy", "diff", "HEAD", "HEAD", "--policy", str(changed), "--exit-code")
    assert (same.returncode, same.stdout) == (0, "HEAD → HEAD: no change of meaning\n")


def test_the_comment_and_code_scanning_get_paths_from_the_root(
    argy: Any, changed: Path, line: Callable[[str, str], int]
) -> None:
    asked = ("policy", "diff", "HEAD", "--policy", str(changed), "--format")
    comment = argy(*asked, "markdown").stdout
    assert comment.startswith("### Policy diff: 1 lost, 1 changed\n")
    assert f"`policy/roles/user.csv:{line('roles/user.csv', READ)}`" in comment
    assert "| lost | `read project:*` | everywhere | denied" not in comment
    assert "| lost | `read project:*` | everywhere | allowed | denied |" in comment
    results = json.loads(argy(*asked, "sarif").stdout)["runs"][0]["results"]
    places = {
        (
            result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"],
            result["locations"][0]["physicalLocation"]["region"]["startLine"],
        )
        for result in results
    }
    assert places == {
        ("policy/roles/user.csv", line("roles/user.csv", READ)),
        ("policy/roles/engineer.csv", line("roles/engineer.csv", WRITE)),
    }


def test_power_is_warned_of_first(argy: Any, changed: Path) -> None:
    file = changed / "roles" / "user.csv"
    file.write_text(file.read_text() + "g, role:PLATFORM_USER, role:PLATFORM_ADMIN, *\n")
    comment = argy("policy", "diff", "HEAD", "--policy", str(changed), "-f", "markdown").stdout
    assert "> **Power is gained.**" in comment
    assert comment.index("[!WARNING]") < comment.index("| ---")


def test_a_revision_that_is_not_there_and_a_policy_that_is_broken(argy: Any, changed: Path) -> None:
    missing = argy("policy", "diff", "no-such", "--policy", str(changed))
    assert (missing.returncode, missing.stdout) == (4, "")
    assert "no-such" in missing.stderr
    (changed / "roles" / "user.csv").write_text("p, nonsense\n")
    broken = argy("policy", "diff", "HEAD", "--policy", str(changed))
    assert broken.returncode == 2
    assert "roles/user.csv:1" in broken.stderr


async def disable(platform: Any, tenant_id: str, user_id: str) -> None:
    async with Connection(platform.endpoint, timeout_s=30) as connection:
        stub = UserServiceStub(connection.channel(uuid.UUID(tenant_id)))
        await stub.SetUserState(
            SetUserStateRequest(user_id=user_id, state=USER_STATE_DISABLED, reason="left")
        )


def test_the_impact_names_people_and_their_way(
    argy: Any, platform: Any, rows: Rows, tenant: str, changed: Path, tmp_path: Path
) -> None:
    una, eve, off = (person(rows, tenant, name) for name in ("Una", "Eve", "Off"))
    (group,) = rows("group", "create", "crew", "--name", "Crew", "--tenant", tenant)
    rows("group", "add", group["group_id"], eve, "--tenant", tenant)
    rows("grant", f"user:{una}", "PLATFORM_USER", "-m", "reads", "--tenant", tenant, "--org", "lab")
    rows("grant", f"user:{off}", "PLATFORM_USER", "-m", "left", "--tenant", tenant)
    rows("grant", f"group:{group['group_id']}", "PLATFORM_ENGINEER", "-m", "x", "--tenant", tenant)
    ids = {row["slug"]: row["tenant_id"] for row in rows("tenant", "list")}
    asyncio.run(disable(platform, ids[tenant], off))
    export = tmp_path / "facts.json"
    assert argy("policy", "export", "--tenant", tenant, "-o", str(export)).returncode == 0
    facts = json.loads(export.read_text())
    assert (facts["tenant"], facts["disabled"]) == (tenant, [f"user:{off}"])
    asked = ("policy", "impact", "HEAD", "--policy", str(changed))
    found = {}
    for source in (("--assignments", str(export)), ("--live", "--tenant", tenant)):
        done = argy(*asked, *source, "--format", "json")
        assert done.returncode == 0, done.stderr
        (report,) = json.loads(done.stdout)["tenants"]
        found = {item["subject"]: item for item in report["subjects"]}
        assert set(found) == {f"user:{una}", f"user:{eve}"}
    assert found[f"user:{una}"]["name"] == "Una <una@example.com>"
    (change,) = found[f"user:{una}"]["changes"]
    assert (change["kind"], change["domain"]) == ("lost", f"{tenant}/lab")
    assert change["role_path"] == [f"user:{una}", "role:PLATFORM_USER"]
    paths = [change["role_path"][:3] for change in found[f"user:{eve}"]["changes"]]
    assert [f"user:{eve}", f"group:{group['group_id']}", "role:PLATFORM_ENGINEER"] in paths
    text = argy(*asked, "--assignments", str(export)).stdout
    assert "Una <una@example.com>" in text
    assert "roles/user.csv:" in text
    comment = argy(*asked, "--assignments", str(export), "-f", "markdown").stdout
    assert "role:PLATFORM\\_USER" in comment


def test_why_not_finds_the_smallest_grant_and_it_helps(argy: Any, rows: Rows, tenant: str) -> None:
    user = f"user:{person(rows, tenant, 'Nia')}"
    asked = (user, "deploy", "project:x")
    done = argy("policy", "why-not", *asked, "--live", "--tenant", tenant, "--org", "lab", "--json")
    assert done.returncode == 1
    answer = json.loads(done.stdout)
    assert answer["verdict"] == "grant"
    best = answer["grants"][0]
    assert (best["roles"], best["org"]) == (["role:PLATFORM_ENGINEER"], "lab")
    assert best["adds"] < answer["grants"][-1]["adds"]
    rows("grant", user, "PLATFORM_ENGINEER", "-m", "as told", "--tenant", tenant, "--org", "lab")
    assert argy("check", *asked, "--tenant", tenant, "--org", "lab").returncode == 0
    live = ("--live", "--tenant", tenant, "--org", "lab")
    assert argy("policy", "why-not", *asked, *live).returncode == 0
    done = argy("policy", "explain", *asked, *live)
    assert done.returncode == 0
    assert "roles/engineer.csv:" in done.stdout
    assert "Nia <nia@example.com>" in done.stdout


def test_facts_are_asked_for_once(argy: Any) -> None:
    for more in ((), ("--live",), ("--live", "--assignments", "x.json", "--tenant", "acme")):
        done = argy("policy", "why-not", "user:a", "read", "project:x", *more)
        assert (done.returncode, done.stdout) == (2, "")
    assert argy("policy", "replay", "policy").returncode == 2


def test_recorded_decisions_are_replayed_from_the_platform(
    argy: Any, rows: Rows, tenant: str, changed: Path
) -> None:
    user = f"user:{person(rows, tenant, 'Rex')}"
    (granted,) = rows("grant", user, "PLATFORM_ENGINEER", "-m", "builds", "--tenant", tenant,
                      "--org", "lab")  # fmt: skip
    here = ("--tenant", tenant, "--org", "lab", "--at-least", granted["revision"])
    assert argy("check", user, "read", "project:x", *here).returncode == 0
    assert argy("check", user, "write", "secret:x", *here, "--context", '{"mfa": true}'
                ).returncode == 0  # fmt: skip
    assert argy("check", user, "deploy", "project:x", *here).returncode == 0

    def replay(*more: str) -> dict[str, Any]:
        done = argy("policy", "replay", str(changed), "--live", "--tenant", tenant, "--policy",
                    str(changed), "--format", "json", *more)  # fmt: skip
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    report = replay()
    for _ in range(50):
        if report["decisions"] >= 3:
            break
        report = replay()
    assert (report["decisions"], report["same"], report["flips"]) == (3, 2, 1)
    (group,) = report["groups"]
    assert (group["before"], group["after"], group["subject"]) == ("ALLOW", "DENY", user)
    assert group["examples"][0]["org"] == "lab"
    assert group["examples"][0]["resource"] == "project:x"
    assert replay("--base", "HEAD")["flips"] == 1


def test_recorded_decisions_are_replayed_from_a_file(
    argy: Any, changed: Path, tmp_path: Path
) -> None:
    facts = {"tenant": "acme", "assignments": [{"subject": "user:u", "role": "role:PLATFORM_USER"}]}
    decision = {"subject": "user:u", "action": "read", "resource": "project:x", "effect": "ALLOW",
                "reason": "ALLOWED_BY_RULE", "rule": "roles/user.csv:4"}  # fmt: skip
    event = {
        "actor": "service:s",
        "action": "authz.decision.check",
        "occur_time": datetime.now(UTC).isoformat(),
        "detail": {"decisions": [decision] * 40},
    }
    (tmp_path / "facts.json").write_text(json.dumps(facts))
    (tmp_path / "events.jsonl").write_text((json.dumps(event) + "\n") * 25)
    sources = ("--events", str(tmp_path / "events.jsonl"), "--assignments",
               str(tmp_path / "facts.json"))  # fmt: skip
    asked = ("policy", "replay", str(changed), "--policy", str(changed), *sources)
    done = argy(*asked, "--exit-code")
    assert done.returncode == 1
    assert done.stdout.startswith("1,000 decisions, 1,000 flips, 1,000 ALLOW → DENY\n")
    assert "read project:x" in done.stdout
    assert "1,000 ALLOW → DENY" in argy(*asked, "-f", "markdown").stdout
    (tmp_path / "events.jsonl").write_text('{"actor": 1}\n')
    broken = argy(*asked)
    assert broken.returncode == 2
    assert "line 1" in broken.stderr
