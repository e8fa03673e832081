"""A policy from its author to three servers and back, as people do it: with ``argy policy``."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from link_sign_in import access_token
from ports import reserved_port

from argy.api.authz.v1.authz_pb2 import EFFECT_ALLOW, CheckRequest, Question
from argy.api.authz.v1.authz_pb2_grpc import AuthzServiceStub
from argy.api.authz.v1.policy_pb2 import (
    ActivateProposalRequest,
    GetActivePolicyRequest,
    RollbackPolicyRequest,
)
from argy.api.authz.v1.policy_pb2_grpc import PolicyServiceStub
from argy.base.ids import PLATFORM_TENANT_ID
from argy.client import Connection, Endpoint

ARGY = str(Path(sys.executable).with_name("argy"))
CHECKOUT = Path(__file__).parents[2]
WAIT_S = 60.0
REFUSED, CONFLICT, NOT_CONFIRMED = 3, 5, 7
CASES = """\
tenant: acme
assignments:
  - {subject: "user:eva", role: "role:PLATFORM_ENGINEER"}
  - {subject: "user:uma", role: "role:PLATFORM_USER"}
cases:
  - {ask: "user:eva deploy project:alpha", expect: ALLOW}
  - {ask: "user:uma read project:alpha", expect: ALLOW}
"""
WILDCARD = "p, role:PLATFORM_USER, *, *, *, allow, true\n"
NARROW = "p, role:PLATFORM_USER, *, project:alpha, deploy, allow, true\n"


class Author:
    """A git repository with the policy, beside the folder that the servers were started with."""

    def __init__(self, folder: Path) -> None:
        self.policy = folder / "policy"
        ignored = shutil.ignore_patterns("cases", "invariants")
        shutil.copytree(CHECKOUT / "policy", self.policy, ignore=ignored)
        (self.policy / "cases").mkdir()
        (self.policy / "cases" / "few.yaml").write_text(CASES)
        self._folder = folder
        self._git("init", "--quiet", "--initial-branch=main")
        self.commit("The first policy", 1_790_000_000)

    def commit(self, message: str, time_s: int) -> str:
        self._git("add", "--all")
        self._git("commit", "--quiet", "--message", message, date=f"{time_s} +0000")
        return self._git("rev-parse", "HEAD").strip()

    def add_rule(self, rule: str, time_s: int) -> str:
        file = self.policy / "roles" / "user.csv"
        file.write_text(file.read_text() + rule)
        return self.commit("Let users do more", time_s)

    def _git(self, *arguments: str, date: str = "") -> str:
        env = {
            "PATH": os.environ["PATH"],
            "HOME": str(self._folder),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_AUTHOR_NAME": "A",
            "GIT_AUTHOR_EMAIL": "a@example.test",
            "GIT_COMMITTER_NAME": "A",
            "GIT_COMMITTER_EMAIL": "a@example.test",
        } | ({"GIT_AUTHOR_DATE": date, "GIT_COMMITTER_DATE": date} if date else {})
        done = subprocess.run(
            ["git", *arguments],
            cwd=self._folder,
            env=env,
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout


class Terminal:
    """``argy`` in another terminal; with ``endpoint`` at one server of several."""

    def __init__(self, platform: Any) -> None:
        self.home: Path = platform.home
        self._platform = platform
        self._mails: dict[str, str] = {}
        self._tokens: dict[str, str] = {}

    def run(
        self, *arguments: str, typed: str = "", endpoint: Endpoint | None = None, by: str = ""
    ) -> "subprocess.CompletedProcess[str]":
        env = {name: value for name, value in os.environ.items() if not name.startswith("ARGY_")}
        env |= {"ARGY_HOME": str(self.home), "NO_COLOR": "1", "COLUMNS": "200"}
        if by:
            env["ARGY_TOKEN"] = self.token(by)
        if endpoint is not None:
            env |= {
                "ARGY_TARGET": endpoint.target,
                "ARGY_CLIENT_KEYS_FILE": endpoint.keys_file,
                "ARGY_CA_FILE": endpoint.ca_file,
            }
        return subprocess.run(
            [ARGY, *arguments],
            env=env,
            input=typed,
            capture_output=True,
            text=True,
            timeout=WAIT_S,
            check=False,
        )

    def json(self, *arguments: str, **options: Any) -> Any:
        done = self.run(*arguments, "--json", **options)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def refused(self, *arguments: str, **options: Any) -> tuple[int, str]:
        """The exit code and the reason of a command that must fail."""
        done = self.run(*arguments, "--json", **options)
        assert done.returncode, done.stdout
        return done.returncode, json.loads(done.stderr.splitlines()[-1])["error"]

    def person(self, name: str, role: str) -> str:
        mail = f"{name}@example.test"
        made = self.json("user", "create", mail, "--name", name, "--tenant", "platform")
        subject = f"user:{made['user_id']}"
        self._mails[subject] = mail
        self.json("grant", subject, role, "--reason", "test", "--tenant", "platform")
        return subject

    def token(self, subject: str) -> str:
        """The access token of somebody who signed in."""
        if subject not in self._tokens:
            mail = self._mails[subject]
            self._tokens[subject] = access_token(self._platform, PLATFORM_TENANT_ID, mail)
        return self._tokens[subject]


@pytest.fixture
def serve(tmp_path: Path, run_server: Callable[..., None]) -> Callable[..., Endpoint]:
    """Start ``argy serve`` as in production, on a platform's database and Redis."""

    def start(platform: Any, policy: Path, **settings: str) -> Endpoint:
        home, port = platform.home, reserved_port()
        files = {f"{path.name.upper()}_FILE": str(path) for path in (home / "run").iterdir()}
        env = {name: value for name, value in os.environ.items() if not name.startswith("ARGY_")}
        env |= files | {
            "ARGY_KEY_RING": str(home / "keys" / "signing-keys.json"),
            "ARGY_PAGE_KEY_RING": str(home / "keys" / "page-token-keys.json"),
            "ARGY_POLICY_KEY_RING": str(home / "keys" / "policy.json"),
            "ARGY_POLICY_TRUSTED_KEYS": str(home / "keys" / "policy-trusted.json"),
            "ARGY_POLICY_DIR": str(policy),
            "ARGY_TLS_CERT": str(home / "tls" / "server.pem"),
            "ARGY_TLS_KEY": str(home / "tls" / "server.key"),
            "ARGY_LISTEN": f"127.0.0.1:{port}",
            "ARGY_SPOOL_DIR": str(tmp_path / "spool"),
            "ARGY_AUTHN_TARGET": platform.endpoint.target,
            "ARGY_AUTHN_CA": platform.endpoint.ca_file,
            "ARGY_PUBLIC_URL": platform.ready["edge"]["url"],
        }
        run_server([ARGY, "serve"], env | settings)
        endpoint = platform.endpoint
        return Endpoint(
            f"localhost:{port}", endpoint.source, endpoint.keys_file, ca_file=endpoint.ca_file
        )

    return start


async def serving(connection: Connection) -> None:
    async with asyncio.timeout(WAIT_S):
        while not await connection.serving(timeout_s=1):  # noqa: ASYNC110 - it asks each time
            await asyncio.sleep(0)


async def until(connection: Connection, tenant: UUID, bob: str, *, allowed: bool) -> float:
    """Ask until the answer is the wanted one; when it was, on the monotonic clock."""
    stub = AuthzServiceStub(connection.channel(tenant))
    question = Question(subject=bob, action="deploy", resource="project:alpha")
    async with asyncio.timeout(WAIT_S):
        while True:
            answer = await stub.Check(CheckRequest(question=question))
            if (answer.decision.effect == EFFECT_ALLOW) is allowed:
                return time.monotonic()
            await asyncio.sleep(0.002)


async def measured(
    connections: list[Connection],
    tenant: UUID,
    bob: str,
    change: Any,
    *,
    token: str,
    allowed: bool,
) -> str:
    """Change the policy through the first server; how long until each decides by it."""
    stub: Any = PolicyServiceStub(connections[0].channel(PLATFORM_TENANT_ID))
    seen = [asyncio.create_task(until(each, tenant, bob, allowed=allowed)) for each in connections]
    method = "ActivateProposal" if allowed else "RollbackPolicy"
    begun = time.monotonic()
    bearer = (("authorization", f"Bearer {token}"),)
    made = await getattr(stub, method)(change, metadata=bearer)
    answered = time.monotonic()
    times = [moment - begun for moment in await asyncio.gather(*seen)]
    told = ", ".join(f"{seconds * 1000:.0f} ms" for seconds in times)
    print(
        f"\n{method} {made.activation.sequence}: answered after {(answered - begun) * 1000:.0f} ms;"
        f" three processes decide by it after {told}"
    )
    # The token makes it certain, call by call, on every one of them.
    question = Question(subject=bob, action="deploy", resource="project:alpha")
    for each in connections:
        answer = await AuthzServiceStub(each.channel(tenant)).Check(
            CheckRequest(question=question, at_least=made.revision)
        )
        assert (answer.decision.effect == EFFECT_ALLOW) is allowed
    return str(made.revision)


def test_propose_approve_activate_on_three_processes_and_roll_back(
    platform_factory: Callable[..., Any], serve: Callable[..., Endpoint], tmp_path: Path
) -> None:
    author_folder = Author(tmp_path / "repository")
    deployed = tmp_path / "deployed"
    shutil.copytree(author_folder.policy, deployed)
    platform = platform_factory(tmp_path / "home", "--policy", str(deployed))
    terminal = Terminal(platform)
    key = str(platform.home / "keys" / "policy-author.json")
    endpoints = [serve(platform, deployed) for _ in range(3)]
    bob = next(one["subject"] for one in platform.ready["checks"] if one["who"] == "Bob")
    acme = UUID(platform.ready["edge"]["tenant_id"])
    author = terminal.person("author", "PLATFORM_ENGINEER")
    cora, carl = (terminal.person(name, "COMPLIANCE_APPROVER") for name in ("cora", "carl"))
    user = terminal.person("user", "PLATFORM_USER")
    ops = terminal.person("ops", "PLATFORM_ADMIN")
    token = terminal.token(ops)

    commit = author_folder.add_rule(WILDCARD, 1_790_000_100)
    published = ("policy", "publish", "--policy", str(author_folder.policy), "--revision", "HEAD")
    proposal = terminal.json(*published, "--key", key, "--title", "users", by=author)
    assert proposal["policy"]["commit"] == commit
    assert proposal["approvals_needed"] == 2
    escalations = [one for one in proposal["changes"] if one["escalation"]]
    assert {one["role"] for one in escalations} >= {"role:PLATFORM_USER"}
    number = proposal["proposal_id"]

    shown = terminal.json("policy", "show", number, "--impact")
    gaining = {one["tenant"]: {s["subject"] for s in one["subjects"]} for one in shown["impact"]}
    assert bob in gaining["acme"]
    assert user in gaining["platform"]

    # Nobody else's key, and nobody who may not.
    stranger = str(tmp_path / "stranger.json")
    terminal.json("keys", "policy-new", stranger)
    assert terminal.refused(*published, "--key", stranger, "--title", "x", by=author) == (
        CONFLICT,
        "SIGNATURE_UNTRUSTED",
    )
    approve = ("policy", "approve", number, "--yes")
    assert terminal.refused(*approve, by=author) == (REFUSED, "AUTHOR_APPROVES")
    assert terminal.refused(*approve, by=user)[0] == REFUSED
    # A person is shown the diff, and asked.
    asked = terminal.run("policy", "approve", number, by=cora, typed="n\n")
    assert asked.returncode == NOT_CONFIRMED
    assert "ESCALATION" in asked.stdout
    asked = terminal.run("policy", "approve", number, by=cora, typed="y\n")
    assert "approved: 1 of 2" in asked.stdout
    assert terminal.refused("policy", "activate", number, by=ops) == (CONFLICT, "APPROVALS_MISSING")
    assert terminal.json(*approve, by=carl)["state"] == "APPROVED"

    async def on_three() -> None:
        connections = [Connection(endpoint, timeout_s=30) for endpoint in endpoints]
        try:
            for connection in connections:
                await serving(connection)
            for connection in connections:
                await until(connection, acme, bob, allowed=False)
            activate = ActivateProposalRequest(proposal_id=number)
            await measured(connections, acme, bob, activate, token=token, allowed=True)
            for connection in connections:
                stub: Any = PolicyServiceStub(connection.channel(PLATFORM_TENANT_ID))
                active = await stub.GetActivePolicy(GetActivePolicyRequest())
                assert (active.activation.sequence, active.problem) == (2, "")
                assert active.activation.policy.commit == commit
            back = RollbackPolicyRequest(reason="too much")
            await measured(connections, acme, bob, back, token=token, allowed=False)
        finally:
            for connection in connections:
                await connection.close()

    asyncio.run(on_three())
    history = terminal.run("policy", "history", "--json").stdout.splitlines()
    assert [json.loads(line)["kind"] for line in history] == ["ROLLBACK", "PROPOSAL", "BOOTSTRAP"]
    # What is in force is known at each of them, and the folder counts for nothing any more.
    for endpoint in endpoints:
        assert terminal.json("policy", "active", endpoint=endpoint)["sequence"] == 3

    # Forward again; then what is older than the running one needs a rollback.
    author_folder.add_rule(NARROW, 1_790_000_200)
    later = terminal.json(*published, "--key", key, "--title", "again", by=author)
    for approver in (cora, carl):
        terminal.json("policy", "approve", later["proposal_id"], "--yes", by=approver)
    assert terminal.json("policy", "activate", later["proposal_id"], by=ops)["sequence"] == 4
    older = (*published[:-1], "HEAD~1", "--key", key, "--title", "old")
    assert terminal.refused(*older, by=author) == (CONFLICT, "POLICY_OLDER")
    back = ("policy", "rollback", "--reason", "older", "--to", "2")
    assert terminal.json(*back, by=ops)["sequence"] == 5


def test_a_changed_folder_is_in_force_on_every_process_and_refused_by_others(
    platform_factory: Callable[..., Any], serve: Callable[..., Endpoint], tmp_path: Path
) -> None:
    policy = Author(tmp_path / "repository").policy
    platform = platform_factory(tmp_path / "home", "--policy", str(policy), "--processes", "3")
    terminal = Terminal(platform)
    bob = next(one["subject"] for one in platform.ready["checks"] if one["who"] == "Bob")
    # A server as in production, that was there before.
    careful = serve(platform, policy)
    tenant = UUID(platform.ready["edge"]["tenant_id"])

    async def edit() -> None:
        file = policy / "roles" / "user.csv"
        # At once, as an editor saves: half of a file is a policy too, which would come in force.
        part = file.with_suffix(".part")
        part.write_text(file.read_text() + NARROW)
        part.replace(file)
        begun = time.monotonic()
        # Connections spread over the processes; each of them asks until it is so.
        connections = [Connection(platform.endpoint, timeout_s=30) for _ in range(12)]
        try:
            moments = await asyncio.gather(
                *(until(each, tenant, bob, allowed=True) for each in connections)
            )
        finally:
            for connection in connections:
                await connection.close()
        print(f"\na changed folder: every process after {max(moments) - begun:.2f} s")

    asyncio.run(edit())
    kinds = [
        json.loads(line)["kind"]
        for line in terminal.run("policy", "history", "--json").stdout.splitlines()
    ]
    assert kinds == ["FOLDER", "BOOTSTRAP"]

    async def carefully() -> None:
        async with Connection(careful, timeout_s=30) as connection:
            await serving(connection)

    asyncio.run(carefully())
    shown = terminal.json("policy", "active", endpoint=careful)
    deadline = time.monotonic() + WAIT_S
    while not shown["problem"] and time.monotonic() < deadline:
        shown = terminal.json("policy", "active", endpoint=careful)
    assert shown["kind"] == "BOOTSTRAP"
    assert "FOLDER_REFUSED" in shown["problem"]
