"""NEEDS_APPROVAL and elevation on the running platform, from the terminal of each person."""

import hashlib
import json
import shutil
import uuid
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from link_sign_in import access_token

from argy.api.authz.v1.assignment_pb2 import GrantRoleRequest
from argy.api.authz.v1.assignment_pb2_grpc import AssignmentServiceStub
from argy.base.errors import FailedPrecondition, PermissionDenied
from argy.client import Authorizer, Connection, request_digest

Rows = Callable[..., list[dict[str, Any]]]
ACME = ("--tenant", "acme")
POLICY = Path(__file__).parents[2] / "policy"
REFUSED, CONFLICT = 3, 5


class Terminal:
    """The command line in the tenant acme: the service acts, or ``by`` somebody signed in."""

    def __init__(self, argy: Any, platform: Any, **options: Any) -> None:
        self._argy = argy
        self._platform = platform
        self._options = options
        self._mails: dict[str, str] = {}
        self._tokens: dict[str, str] = {}

    def run(self, *arguments: str, by: str = "") -> Any:
        env = {"ARGY_TOKEN": self._token(by)} if by else {}
        return self._argy(*arguments, *ACME, **self._options, **env)

    def rows(self, *arguments: str, by: str = "") -> list[dict[str, Any]]:
        done = self.run(*arguments, "--json", by=by)
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    def refused(self, *arguments: str, by: str = "") -> tuple[int, str]:
        """The exit code and the reason of a command that must not succeed."""
        done = self.run(*arguments, "--json", by=by)
        assert done.returncode != 0, done.stdout
        return done.returncode, json.loads(done.stderr.splitlines()[-1])["error"]

    def person(self, *roles: str) -> str:
        """Somebody new, with roles in acme."""
        mail = f"{uuid.uuid4().hex}@example.com"
        (user,) = self.rows("user", "create", mail, "--name", "P")
        subject = f"user:{user['user_id']}"
        self._mails[subject] = mail
        for role in roles:
            self.rows("grant", subject, role, "-m", "acceptance")
        return subject

    def granted(self, subject: str, resource: str, *more: str) -> str:
        """An approval that two people granted; its id."""
        (asked,) = self.rows(
            "approval", "request", subject, "promote", resource, "-m", "ship it", *more
        )
        for _ in range(2):
            voter = self.person("COMPLIANCE_APPROVER")
            (asked,) = self.rows("approval", "approve", asked["approval_id"], by=voter)
        assert asked["state"] == "GRANTED"
        return str(asked["approval_id"])

    def _token(self, subject: str) -> str:
        if subject not in self._tokens:
            tenant_id = uuid.UUID(self._platform.ready["edge"]["tenant_id"])
            mail = self._mails[subject]
            self._tokens[subject] = access_token(self._platform, tenant_id, mail)
        return self._tokens[subject]


@pytest.fixture
def acme(argy: Any, platform: Any) -> Terminal:
    return Terminal(argy, platform)


def test_requested_approved_by_two_used_once_second_use_refused(
    acme: Terminal, tmp_path: Path
) -> None:
    eva = acme.person("PLATFORM_ENGINEER")
    cora, pia = acme.person("COMPLIANCE_APPROVER"), acme.person("PLATFORM_PM")
    what = (eva, "promote", "deployment:prod-web")
    told = acme.run("check", *what)
    assert told.returncode == 1
    assert told.stdout.startswith("NEEDS_APPROVAL  NEEDS_APPROVAL\n")
    assert "needs 2 of role:COMPLIANCE_APPROVER or role:PLATFORM_PM  (approvals/acme.csv:" in (
        told.stdout
    )
    assert f"ask   argy approval request {eva} promote deployment:prod-web" in told.stdout

    body = tmp_path / "release.json"
    body.write_text('{"image": "web@sha256:1234"}')
    (asked,) = acme.rows("approval", "request", *what, "-m", "release 7", "--body", str(body))
    assert asked["request_digest"] == hashlib.sha256(body.read_bytes()).hexdigest()
    number = asked["approval_id"]
    redeem = ("approval", "redeem", number, *what)
    assert acme.refused(*redeem, "--body", str(body)) == (CONFLICT, "APPROVAL_PENDING")
    (asked,) = acme.rows("approval", "approve", number, "-m", "read it", by=cora)
    assert asked["state"] == "PENDING"
    assert acme.run("approval", "approve", number, by=pia).stdout.startswith("GRANTED")

    altered = tmp_path / "altered.json"
    altered.write_text('{"image": "web@sha256:9999"}')
    assert acme.refused(*redeem, "--body", str(altered)) == (CONFLICT, "APPROVAL_MISMATCH")
    assert acme.refused(*redeem) == (CONFLICT, "APPROVAL_MISMATCH")
    assert acme.refused(
        "approval", "redeem", number, eva, "promote", "deployment:prod-db", "--body", str(body)
    ) == (CONFLICT, "APPROVAL_MISMATCH")
    assert acme.run(*redeem, "--body", str(body)).stdout.startswith("ALLOW  APPROVED\n")
    assert acme.refused(*redeem, "--body", str(body)) == (CONFLICT, "APPROVAL_USED")
    assert acme.run("check", *what).returncode == 1, "the next time is asked for anew"

    events = [
        event["action"]
        for event in acme.rows("audit", "tail", "-n", "200")
        if event["resource"] == f"authz.approval:{number}"
    ]
    changes = [action for action in events if action.startswith("authz.approval.")]
    assert changes == [f"authz.approval.{v}" for v in ("request", "approve", "approve", "redeem")]


def test_requester_and_subject_never_approve(acme: Terminal) -> None:
    both = acme.person("PLATFORM_ENGINEER", "PLATFORM_PM")
    (own,) = acme.rows("approval", "request", both, "promote", "deployment:prod-a", "-m", "my own")
    assert own["requester"] == own["subject"] == both
    approve = ("approval", "approve", own["approval_id"])
    assert acme.refused(*approve, by=both) == (REFUSED, "OWN_APPROVAL")
    (by_service,) = acme.rows(
        "approval", "request", both, "promote", "deployment:prod-b", "-m", "for both",
        "--as", "service:cli",
    )  # fmt: skip
    assert (by_service["requester"], by_service["subject"]) == ("service:cli", both)
    approve = ("approval", "approve", by_service["approval_id"])
    assert acme.refused(*approve, by=both) == (REFUSED, "OWN_APPROVAL")


def test_who_is_no_approver_and_one_vote_each(acme: Terminal) -> None:
    eva = acme.person("PLATFORM_ENGINEER")
    (asked,) = acme.rows("approval", "request", eva, "promote", "deployment:prod-c", "-m", "x")
    number = asked["approval_id"]
    other = acme.person("PLATFORM_ENGINEER")
    assert acme.refused("approval", "approve", number, by=other) == (REFUSED, "ACCESS_DENIED")
    unproved = acme.run("approval", "approve", number)
    assert (unproved.returncode, "PROOF_REQUIRED" in unproved.stderr) == (REFUSED, True)
    assert "ARGY_TOKEN" in unproved.stderr
    cora = acme.person("COMPLIANCE_APPROVER")
    acme.rows("approval", "approve", number, by=cora)
    assert acme.refused("approval", "approve", number, by=cora) == (CONFLICT, "ALREADY_VOTED")
    rejected = acme.run(
        "approval", "reject", number, "-m", "not on a Friday", by=acme.person("PLATFORM_PM")
    )
    assert rejected.stdout.startswith("REJECTED")
    assert "not on a Friday" in acme.run("approval", "show", number, by=eva).stdout
    (listed,) = acme.rows("approval", "list", eva, "--state", "rejected", by=cora)
    assert listed["approval_id"] == number


def test_what_is_denied_or_free_is_not_asked_for(acme: Terminal) -> None:
    user, eva = acme.person("PLATFORM_USER"), acme.person("PLATFORM_ENGINEER")
    ask = ("approval", "request")
    assert acme.refused(*ask, user, "promote", "deployment:prod-web", "-m", "x") == (
        REFUSED,
        "ACCESS_DENIED",
    )
    assert acme.refused(*ask, eva, "promote", "deployment:stage-web", "-m", "x") == (
        CONFLICT,
        "APPROVAL_NOT_NEEDED",
    )
    done = acme.run("check", eva, "promote", "deployment:preview-7")
    assert (done.returncode, done.stdout.split("\n")[0]) == (0, "ALLOW  AUTO_APPROVED")


def test_an_approver_who_left_no_longer_counts(acme: Terminal) -> None:
    eva = acme.person("PLATFORM_ENGINEER")
    (asked,) = acme.rows("approval", "request", eva, "promote", "deployment:prod-d", "-m", "x")
    voters = [acme.person("COMPLIANCE_APPROVER") for _ in range(2)]
    for voter in voters:
        acme.rows("approval", "approve", asked["approval_id"], by=voter)
    (held,) = acme.rows("roles", voters[0])
    acme.rows("revoke", held["assignment_id"], "-m", "left")
    redeem = ("approval", "redeem", asked["approval_id"], eva, "promote", "deployment:prod-d")
    assert acme.refused(*redeem) == (CONFLICT, "APPROVAL_OUTDATED")


def test_the_policy_changed_meanwhile(platform_factory: Any, argy: Any, tmp_path: Path) -> None:
    policy = tmp_path / "policy"
    shutil.copytree(POLICY, policy)
    started = platform_factory(None, "--policy", str(policy))
    acme = Terminal(argy, started, home=started.home)
    eva = acme.person("PLATFORM_ENGINEER")
    number = acme.granted(eva, "deployment:prod-web")
    lines = policy / "approvals" / "acme.csv"
    before = acme.rows("check", eva, "read", "module:x")[0]["policy_revision"]
    part = lines.with_suffix(".part")
    part.write_text(lines.read_text().replace("prod-*, promote, 2", "prod-*, promote, 3"))
    part.replace(lines)
    for _ in range(100):
        if acme.rows("check", eva, "read", "module:x")[0]["policy_revision"] != before:
            break
    else:
        pytest.fail("the changed policy did not come in force")
    redeem = ("approval", "redeem", number, eva, "promote", "deployment:prod-web")
    assert acme.refused(*redeem) == (CONFLICT, "APPROVAL_OUTDATED")


def test_an_engineer_becomes_administrator_when_two_agree(acme: Terminal) -> None:
    eva = acme.person("PLATFORM_ENGINEER")
    elevate = ("elevate", "PLATFORM_ADMIN", "--for", "30m", "-m", "migration")
    told = acme.run(*elevate, by=eva)
    assert told.returncode == CONFLICT
    assert "2 of role:COMPLIANCE_APPROVER" in told.stderr
    refused = acme.run(*elevate, "--json", by=eva)
    wanted = json.loads(refused.stderr)["metadata"]
    (asked,) = acme.rows(
        "approval", "request", eva, wanted["action"], wanted["resource"], "-m", "migration",
        "--digest", wanted["request_digest"], "--context", wanted["context"],
    )  # fmt: skip
    for _ in range(2):
        voter = acme.person("COMPLIANCE_APPROVER")
        acme.rows("approval", "approve", asked["approval_id"], by=voter)
    check = ("check", eva, "create", "directory.user:-")
    assert acme.run(*check).returncode == 1
    (made,) = acme.rows(*elevate, "--approval", asked["approval_id"], by=eva)
    assert acme.run(*check, "--at-least", made["revision"]).returncode == 0
    assert acme.refused(*elevate, by=eva) == (CONFLICT, "ROLE_ALREADY_HELD")
    (ended,) = acme.rows("elevation", "end", made["elevation_id"], by=eva)
    assert acme.run(*check, "--at-least", ended["revision"]).returncode == 1
    assert acme.refused(*elevate, "--approval", asked["approval_id"], by=eva) == (
        CONFLICT,
        "APPROVAL_USED",
    )


def test_the_glass_is_broken_loudly_and_looked_at(acme: Terminal, argy: Any) -> None:
    eva, cora = acme.person("PLATFORM_ENGINEER"), acme.person("COMPLIANCE_APPROVER")
    glass = ("elevate", "PLATFORM_ADMIN", "--break-glass", "-m", "the site is down")
    (made,) = acme.rows(*glass, by=eva)
    assert made["review"] == "OPEN"
    number = made["elevation_id"]
    for tenant in ("acme", "platform"):
        told = argy("audit", "tail", "--tenant", tenant, "-n", "200", "--json").stdout
        (event,) = [
            e
            for e in map(json.loads, told.splitlines())
            if e["action"] == "authz.break_glass" and e["resource"].endswith(number)
        ]
        assert (event["actor"], event["reason"]) == (eva, "the site is down")
    close = ("elevation", "review", number, "--justified", "-m", "it was")
    assert acme.refused(*close, by=eva)[0] == REFUSED
    acme.rows("elevation", "end", number, by=eva)
    assert acme.refused(*glass, by=eva) == (CONFLICT, "REVIEW_OPEN")
    assert acme.refused(*close, by=acme.person("PLATFORM_ADMIN")) == (REFUSED, "ACCESS_DENIED"), (
        "an administrator does not review"
    )
    (closed,) = acme.rows(*close, by=cora)
    assert (closed["review"], closed["reviewed_by"]) == ("JUSTIFIED", cora)
    assert acme.rows("elevation", "list", "--review", "open", by=eva) == []


def test_an_approver_never_elevates(acme: Terminal) -> None:
    both = acme.person("PLATFORM_ENGINEER", "COMPLIANCE_APPROVER")
    for more in ((), ("--break-glass",)):
        elevate = ("elevate", "PLATFORM_ADMIN", "-m", "x", *more)
        assert acme.refused(*elevate, by=both) == (REFUSED, "ACCESS_DENIED")


async def test_a_service_asks_and_redeems_by_the_client(
    acme: Terminal, argy: Any, platform: Any, rows: Rows, tmp_path: Path
) -> None:
    (tenant,) = [row for row in rows("tenant", "list") if row["slug"] == "acme"]
    where: dict[str, Any] = {"tenant_id": uuid.UUID(tenant["tenant_id"])}
    eva = acme.person("PLATFORM_ENGINEER")
    what = (eva, "promote", "deployment:prod-api")
    digest = request_digest(b"release 8")
    # A service of its own: whom the one that asks appointed is no other to it.
    acme.rows("grant", "service:releaser", "PLATFORM_ADMIN", "-m", "acceptance")
    keys, ring = tmp_path / "releaser.json", platform.home / "keys" / "signing-keys.json"
    issued = argy("keys", "issue", str(ring), "--source", "releaser", "--out", str(keys))
    assert issued.returncode == 0, issued.stderr
    releaser = replace(platform.endpoint, source="releaser", keys_file=str(keys))
    async with Connection(releaser, timeout_s=30) as connection:
        authorizer = Authorizer(connection)
        answer = await authorizer.check(*what, **where)
        assert (answer.allowed, answer.effect) == (False, "NEEDS_APPROVAL")
        assert [(need.approvals, need.roles) for need in answer.approvals] == [
            (2, ("role:COMPLIANCE_APPROVER", "role:PLATFORM_PM"))
        ]
        with pytest.raises(PermissionDenied):
            await authorizer.require(*what, **where)
        asked = await authorizer.request_approval(*what, reason="release 8", digest=digest, **where)
        assert (asked.state, asked.needs) == ("PENDING", answer.approvals)
        approve = ("approval", "approve", asked.approval_id)
        puppet = acme.person()
        grant = GrantRoleRequest(subject=puppet, role="role:COMPLIANCE_APPROVER", reason="x")
        await AssignmentServiceStub(connection.channel(where["tenant_id"])).GrantRole(grant)
        assert acme.refused(*approve, by=puppet) == (REFUSED, "APPOINTED_BY_ASKER")
        for _ in range(2):
            acme.rows(*approve, by=acme.person("COMPLIANCE_APPROVER"))
        again = await authorizer.request_approval(*what, reason="release 8", digest=digest, **where)
        assert (again.approval_id, again.state) == (asked.approval_id, "GRANTED")
        redeem = partial(authorizer.redeem, asked.approval_id, *what, **where)
        with pytest.raises(FailedPrecondition, match="another request_digest"):
            await redeem(digest=request_digest(b"release 9"))
        used = await redeem(digest=digest)
        assert (used.allowed, used.reason) == (True, "APPROVED")
        with pytest.raises(FailedPrecondition) as refused:
            await redeem(digest=digest)
        assert refused.value.reason == "APPROVAL_USED"
