"""The command line against a running platform, from another terminal."""

import json
import os
import signal
import subprocess
import sys
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pytest

Rows = Callable[..., list[dict[str, Any]]]
NOBODY = f"user:{uuid.UUID(int=7 << 76 | 2 << 62)}"
ALICE = "alice@acme.example"


@pytest.fixture
def tenant(rows: Rows) -> str:
    """A tenant of the test's own."""
    slug = f"t-{uuid.uuid4().hex[:12]}"
    rows("tenant", "create", slug, "--name", "A tenant")
    return slug


def test_check_says_allow_with_exit_code_0_and_deny_with_1(
    argy: Any, people: dict[str, str]
) -> None:
    question = ("deploy", "project:alpha", "--tenant", "acme")
    allow = argy("check", people["Alice"], *question)
    assert (allow.returncode, allow.stderr) == (0, "")
    assert allow.stdout.startswith("ALLOW  ALLOWED_BY_RULE\n  rule  roles/")
    deny = argy("check", people["Bob"], *question)
    assert (deny.returncode, deny.stderr) == (1, "")
    assert deny.stdout.startswith("DENY  NO_MATCHING_RULE\n")
    as_json = json.loads(argy("check", people["Bob"], *question, "--json").stdout)
    assert as_json["effect"] == "DENY"
    assert set(as_json) == {
        "subject", "effect", "reason", "rule", "role_path", "policy_revision", "revision",
    }  # fmt: skip


def test_explain_shows_the_rules_and_the_way_to_them(argy: Any, people: dict[str, str]) -> None:
    done = argy("explain", people["Alice"], "deploy", "project:alpha", "--tenant", "acme")
    assert done.returncode == 0
    assert "roles/engineer.csv:" in done.stdout
    assert "PLATFORM_ENGINEER" in done.stdout


def test_a_grant_counts_at_once_and_a_revocation_too(argy: Any, rows: Rows, tenant: str) -> None:
    (user,) = rows("user", "create", "ada@example.com", "--name", "Ada", "--tenant", tenant)
    subject = f"user:{user['user_id']}"
    check = ("check", subject, "deploy", "project:x", "--tenant", tenant)
    assert argy(*check).returncode == 1
    (granted,) = rows(
        "grant", subject, "PLATFORM_ENGINEER", "-m", "on call", "--expires", "8h",
        "--tenant", tenant,
    )  # fmt: skip
    assert granted["expires"]
    assert argy(*check, "--at-least", granted["revision"]).returncode == 0
    (held,) = rows("roles", subject, "--tenant", tenant)
    assert held["assignment_id"] == granted["assignment_id"]
    (revoked,) = rows("revoke", held["assignment_id"], "-m", "done", "--tenant", tenant)
    assert argy(*check, "--at-least", revoked["revision"]).returncode == 1
    events = rows("audit", "tail", "--tenant", tenant, "-n", "100")
    actions = [event["action"] for event in events]
    assert actions.index("authz.role_assignment.grant") < actions.index(
        "authz.role_assignment.revoke"
    )


def test_an_org_wide_role_ends_at_its_org(argy: Any, rows: Rows, tenant: str) -> None:
    for slug in ("sales", "ops"):
        rows("org", "create", slug, "--name", slug.title(), "--tenant", tenant)
    (user,) = rows("user", "create", "eve@example.com", "--name", "Eve", "--tenant", tenant)
    subject = f"user:{user['user_id']}"
    rows("grant", subject, "PLATFORM_ENGINEER", "-m", "hers", "--tenant", tenant, "--org", "sales")
    check = ("check", subject, "deploy", "project:x", "--tenant", tenant)
    assert argy(*check, "--org", "sales").returncode == 0
    assert argy(*check, "--org", "ops").returncode == 1
    assert argy(*check).returncode == 1


def test_a_groups_role_is_its_members(argy: Any, rows: Rows, tenant: str) -> None:
    (user,) = rows("user", "create", "kim@example.com", "--name", "Kim", "--tenant", tenant)
    (group,) = rows("group", "create", "crew", "--name", "Crew", "--tenant", tenant)
    (added,) = rows("group", "add", group["group_id"], user["user_id"], "--tenant", tenant)
    (granted,) = rows(
        "grant", f"group:{group['group_id']}", "PLATFORM_ENGINEER", "-m", "crew",
        "--tenant", tenant,
    )  # fmt: skip
    assert added["revision"]
    done = argy(
        "check", f"user:{user['user_id']}", "deploy", "project:x", "--tenant", tenant,
        "--at-least", granted["revision"],
    )  # fmt: skip
    assert done.returncode == 0
    assert "kim@example.com → group:crew → role:PLATFORM_ENGINEER" in done.stdout


def test_a_suspended_tenant_is_refused_and_a_deleted_one_gone(
    argy: Any, rows: Rows, tenant: str
) -> None:
    check = ("check", "service:none", "read", "project:x", "--tenant", tenant)
    assert argy(*check).returncode == 1
    rows("tenant", "suspend", tenant, "-m", "unpaid")
    refused = argy(*check)
    assert refused.returncode == 3
    assert "TENANT_SUSPENDED" in refused.stderr
    rows("tenant", "delete", tenant, "--confirm", tenant, "-m", "left")
    assert argy(*check).returncode == 4
    assert argy("tenant", "create", tenant, "--name", "Again").returncode == 5


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("check", NOBODY, "read", "project:x", "--tenant", "nowhere"), 4, "no tenant 'nowhere'"),
        (("check", ALICE, "read", "alpha", "--tenant", "acme"), 2, "resource"),
        (("check", NOBODY, "read", "project:x", "--tenant", "acme"), 2, "in the tenant acme"),
        (("check", "role:PLATFORM_ADMIN", "read", "project:x", "--tenant", "acme"), 2, "subject"),
        (("check", NOBODY, "read", "project:x", "--context", "{"), 2, "context"),
        (("check", NOBODY, "read", "project:x", "--tenant", "acme", "--org", "no"), 4, "no org"),
        (("grant", NOBODY, "PLATFORM_USER", "-m", "x", "--tenant", "acme"), 2, "subject"),
        (("grant", ALICE, "NO_ROLE", "-m", "x", "--tenant", "acme"), 2, "role"),
        (("grant", NOBODY, "PLATFORM_USER", "-m", "x", "--expires", "soon"), 2, "30m, 8h, 7d"),
        (("user", "create", "nonsense", "--name", "N", "--tenant", "acme"), 2, "email"),
        (("revoke", str(uuid.UUID(int=0)), "-m", "x", "--tenant", "acme"), 4, "assignment"),
    ],
)  # fmt: skip
def test_errors_name_the_field_and_have_their_exit_code(
    argy: Any, arguments: tuple[str, ...], code: int, told: str
) -> None:
    done = argy(*arguments)
    assert "Traceback" not in done.stderr
    assert told in done.stderr
    assert done.returncode == code, done.stderr
    as_json = argy(*arguments, "--json")
    assert as_json.returncode == code
    assert json.loads(as_json.stderr)["error"]


def test_without_a_platform_it_says_how_to_get_one(argy: Any, tmp_path: Path) -> None:
    done = argy("tenant", "list", home=tmp_path)
    assert done.returncode == 2
    assert "run `argy up`" in done.stderr


def test_a_platform_that_is_away_is_told_apart(argy: Any, platform: Any, tmp_path: Path) -> None:
    state = json.loads((platform.home / "up.json").read_text())
    state["endpoint"]["target"] = "localhost:9"
    (tmp_path / "up.json").write_text(json.dumps(state))
    done = argy("tenant", "list", home=tmp_path)
    assert done.returncode == 6
    assert "Traceback" not in done.stderr


@contextmanager
def following(platform: Any, *options: str) -> Iterator[IO[str]]:
    """What ``argy audit tail --follow --json`` prints, until Ctrl-C."""
    argy_path = str(Path(sys.executable).with_name("argy"))
    # As a terminal starts it: what runs the tests may have been started with SIGINT ignored.
    heed = (
        "import os, signal, sys;"
        "signal.signal(signal.SIGINT, signal.SIG_DFL); os.execv(sys.argv[1], sys.argv[1:])"
    )
    follower = subprocess.Popen(
        [
            sys.executable, "-c", heed, argy_path, "audit", "tail", "--follow", "--json", *options,
        ],
        env={**os.environ, "ARGY_HOME": str(platform.home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    assert follower.stdout is not None
    try:
        yield follower.stdout
    finally:
        follower.send_signal(signal.SIGINT)
        _, told = follower.communicate(timeout=60)
    assert (follower.returncode, told) == (130, "")


def test_audit_tail_follows(platform: Any, rows: Rows, tenant: str) -> None:
    options = ("--tenant", tenant, "--action", "directory.user.create")
    with following(platform, *options) as told:
        (user,) = rows("user", "create", "zoe@example.com", "--name", "Zoe", "--tenant", tenant)
        event = json.loads(told.readline())
    assert event["resource"] == f"user:{user['user_id']}"
    assert event["outcome"] == "SUCCESS"


def test_a_tail_that_follows_does_not_go_back_before_its_first_line(
    platform: Any, rows: Rows, tenant: str
) -> None:
    made = ("user", "create", "--tenant", tenant)
    rows(*made, "left-out@example.com")
    (newest,) = rows(*made, "newest@example.com")
    options = ("--tenant", tenant, "--action", "directory.user.create", "-n", "1")
    with following(platform, *options) as told:
        shown = [json.loads(told.readline())["resource"]]
        (later,) = rows(*made, "later@example.com")
        shown.append(json.loads(told.readline())["resource"])
    assert shown == [f"user:{user['user_id']}" for user in (newest, later)]


def test_a_tail_that_follows_does_not_feed_itself(platform: Any, rows: Rows, tenant: str) -> None:
    look = ("audit", "tail", "--action", "audit.event.query", "-n", "100", "--tenant", tenant)
    with following(platform, "--tenant", tenant) as told:
        own, polls = "", 0
        while polls < 3:
            # Each look is recorded as well, under an id of its own.
            ids = Counter(event["request_id"] for event in rows(*look))
            ((own, polls),) = ids.most_common(1) or [("", 0)]
        rows("user", "create", "late@example.com", "--tenant", tenant)
        events = []
        for line in told:
            events.append(json.loads(line))
            if events[-1]["action"] == "directory.user.create":
                break
    assert own not in {event["request_id"] for event in events}


def test_a_tail_tells_what_is_about_somebody_and_what_it_leaves_out(
    argy: Any, rows: Rows, tenant: str
) -> None:
    made = ("user", "create", "--tenant", tenant)
    (about,) = rows(*made, "about@example.com")
    rows(*made, "other@example.com")
    ends = ("--expires", "2999-01-31T19:00+01:00")
    for email in ("about@example.com", "other@example.com"):
        rows("grant", email, "PLATFORM_USER", "-m", "x", "--tenant", tenant, *ends)
    (held,) = rows("roles", "about@example.com", "--tenant", tenant)
    assert held["expires"] == "2999-01-31T18:00:00Z"
    look = ("audit", "tail", "--tenant", tenant, "--action", "authz.role_assignment.grant")
    found = rows(*look, "--subject", "about@example.com")
    assert len(found) == 1, found
    (event,) = found
    assert event["subject"] == f"user:{about['user_id']}"
    newest = argy(*look, "-n", "1", "--json")
    assert len(newest.stdout.splitlines()) == 1
    assert "-n 0" in newest.stderr
    whole = argy(*look, "-n", "0")
    assert (len(whole.stdout.splitlines()), whole.stderr) == (3, "")
    assert whole.stdout.split()[:4] == ["time", "actor", "on", "behalf"]
    assert "via" in whole.stdout.splitlines()[0]


def test_what_others_wrote_can_not_steer_the_terminal(argy: Any, rows: Rows, tenant: str) -> None:
    (user,) = rows("user", "create", "mel@example.com", "--name", "Mel", "--tenant", tenant)
    reason = "\x1b]0;owned\x07\x1b[2J fine\nALLOW"
    rows("grant", f"user:{user['user_id']}", "PLATFORM_USER", "-m", reason, "--tenant", tenant)
    shown = argy("roles", "--tenant", tenant).stdout
    assert "\x1b" not in shown
    assert "fine ALLOW" in shown


def test_tables_are_not_cut_where_there_is_no_terminal(argy: Any, people: dict[str, str]) -> None:
    shown = argy("user", "list", "--tenant", "acme", COLUMNS="20").stdout
    for subject in people.values():
        assert subject.removeprefix("user:") in shown


def test_keys_are_made_rotated_retired_and_issued(argy: Any, tmp_path: Path) -> None:
    ring, out = tmp_path / "ring.json", tmp_path / "billing.json"
    for arguments in (
        ("new", str(ring)),
        ("rotate", str(ring)),
        ("issue", str(ring), "--source", "billing", "--out", str(out), "--to", "authz"),
        ("retire", str(ring), "k1"),
        ("show", str(ring)),
    ):
        done = argy("keys", *arguments, "--json")
        assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "file": str(ring), "signing": "k2", "verifying": ["k2"],
    }  # fmt: skip
    assert {ring.stat().st_mode & 0o777, out.stat().st_mode & 0o777} == {0o600}
    secret = json.loads(ring.read_text())["keys"]["k2"]
    assert secret not in done.stdout
    assert secret not in out.read_text()
    assert argy("keys", "new", str(ring)).returncode == 5
    assert argy("keys", "retire", str(ring), "k2").returncode != 0


def test_completion_is_offered(argy: Any) -> None:
    done = argy("--show-completion", "bash", _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1")
    assert done.returncode == 0
    assert "_ARGY_COMPLETE" in done.stdout


def test_help_names_every_exit_code(argy: Any) -> None:
    told = " ".join(argy("--help").stdout.split())
    for code in ("0 done or ALLOW", "1 DENY", "2 bad usage", "3 refused", "6 unavailable"):
        assert code in told
