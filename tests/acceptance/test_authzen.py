"""AuthZEN 1.0 against the running platform: the front door of ``argy up``, and the todo scenario.

The todo application's people, roles and forty decisions are those of the OpenID AuthZEN working
group's interop scenario "Todo" (github.com/openid/authzen, interop/authzen-todo-backend/test),
written down anew as a table. Its policy decision points look a subject's e-mail address up; ours
hold no attributes, so the enforcement point sends it as the subject's property.
"""

import asyncio
import json
import os
import shutil
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from mail_folder import PATIENCE_S

from argy.api.authz.v1.assignment_pb2 import GrantRoleRequest
from argy.api.authz.v1.assignment_pb2_grpc import AssignmentServiceStub
from argy.api.directory.v1.tenant_pb2 import CreateTenantRequest
from argy.api.directory.v1.tenant_pb2_grpc import TenantServiceStub
from argy.api.directory.v1.user_pb2 import CreateUserRequest
from argy.api.directory.v1.user_pb2_grpc import UserServiceStub
from argy.base.ids import PLATFORM_TENANT_ID, parse_uuid
from argy.client import Connection
from argy.client.connection import Endpoint
from argy.client.pep_tokens import add_token, revoke_token

CHECKOUT = Path(__file__).parents[2]
EVALUATION = "/access/v1/evaluation"
EVALUATIONS = "/access/v1/evaluations"
SEARCH = "/access/v1/search/"

PEOPLE = {
    "rick": ("rick@the-citadel.com", ("TODO_ADMIN", "TODO_EVIL_GENIUS")),
    "morty": ("morty@the-citadel.com", ("TODO_EDITOR",)),
    "summer": ("summer@the-smiths.com", ("TODO_EDITOR",)),
    "beth": ("beth@the-smiths.com", ("TODO_VIEWER",)),
    "jerry": ("jerry@the-smiths.com", ("TODO_VIEWER",)),
}
QUESTIONS = (
    ("can_read_user", "user", "beth"),
    ("can_read_user", "user", "self"),
    ("can_read_todos", "todo", ""),
    ("can_create_todo", "todo", ""),
    ("can_update_todo", "todo", "rick"),
    ("can_update_todo", "todo", "self"),
    ("can_delete_todo", "todo", "rick"),
    ("can_delete_todo", "todo", "self"),
)
# One letter a question, in their order. Rick's "self" is Morty: he may touch others' todos too.
DECISIONS = {
    "rick": "++++++++",
    "morty": "++++-+-+",
    "summer": "++++-+-+",
    "beth": "+++-----",
    "jerry": "+++-----",
}
POLICY = """\
g, role:TODO_EDITOR, role:TODO_VIEWER, todo
g, role:TODO_ADMIN, role:TODO_EDITOR, todo
g, role:TODO_EVIL_GENIUS, role:TODO_EDITOR, todo
p, role:TODO_VIEWER, todo, user:*, can_read_user, allow, true
p, role:TODO_VIEWER, todo, todo:*, can_read_todos, allow, true
p, role:TODO_EDITOR, todo, todo:*, can_create_todo, allow, true
p, role:TODO_EDITOR, todo, todo:*, can_update_todo, allow, MINE
p, role:TODO_EDITOR, todo, todo:*, can_delete_todo, allow, MINE
p, role:TODO_EVIL_GENIUS, todo, todo:*, can_update_todo, allow, true
p, role:TODO_ADMIN, todo, todo:*, can_delete_todo, allow, true
p, role:TODO_VIEWER, todo, todo:welcome, can_pin_todo, allow, true
p, role:TODO_VIEWER, todo, todo:news, can_pin_todo, allow, true
p, role:TODO_VIEWER, todo, todo:rules, can_pin_todo, allow, has(ctx.season)
""".replace(
    "MINE",
    '"has(ctx.resource) && has(ctx.resource.ownerID) && has(ctx.subject)'
    ' && has(ctx.subject.email) && ctx.resource.ownerID == ctx.subject.email"',
)
SERVICES = """
p, service:edge, todo, authz.subject:service/demo, act_for, allow, true
p, service:edge, *, authz.subject:service/checker, act_for, allow, true
p, service:demo, todo, authz.decision:*, check, allow, true
p, service:demo, todo, authz.decision:*, explain, allow, true
p, service:checker, todo, authz.decision:*, check, allow, true
"""


@dataclass(frozen=True)
class Todo:
    """A platform with the todo application's policy and people."""

    platform: Any
    tenant_id: str
    subjects: dict[str, str]

    def client(self, token: str = "") -> httpx.Client:
        edge = self.platform.ready["edge"]
        token = token or Path(edge["token_file"]).read_text()
        return httpx.Client(
            verify=ssl.create_default_context(cafile=edge["ca_file"]),
            base_url=edge["url"],
            headers={"authorization": f"Bearer {token}", "x-tenant-id": self.tenant_id},
            timeout=PATIENCE_S,
        )

    def subject(self, name: str) -> dict[str, Any]:
        email = PEOPLE[name][0]
        return {"type": "user", "id": self.subjects[name], "properties": {"email": email}}

    def question(self, name: str, action: str, kind: str, other: str) -> dict[str, Any]:
        mine = {"rick": "morty"}.get(name, name)
        owner = PEOPLE[mine if other == "self" else other][0] if other else ""
        resource: dict[str, Any] = {"type": kind, "id": "todo-1"}
        if kind == "user":
            resource["id"] = owner
        elif owner:
            resource["properties"] = {"ownerID": owner}
        return {
            "subject": self.subject(name),
            "action": {"name": action},
            "resource": resource,
        }


async def _people(endpoint: Endpoint) -> tuple[str, dict[str, str]]:
    """The tenant and its people; every request is answered with what the last one made."""
    async with Connection(endpoint, timeout_s=30) as connection:
        tenants = TenantServiceStub(connection.channel(PLATFORM_TENANT_ID))
        made = await tenants.CreateTenant(
            CreateTenantRequest(slug="todo", display_name="Todo", request_id=str(uuid4()))
        )
        tenant = parse_uuid(made.tenant.tenant_id, field="tenant_id")
        channel = connection.channel(tenant)
        users, roles = UserServiceStub(channel), AssignmentServiceStub(channel)
        subjects = {}
        for name, (email, held) in PEOPLE.items():
            asked = CreateUserRequest(email=email, display_name=name, request_id=str(uuid4()))
            user = (await users.CreateUser(asked)).user
            subjects[name] = user.user_id
            for role in held:
                await roles.GrantRole(
                    GrantRoleRequest(
                        subject=f"user:{user.user_id}",
                        role=f"role:{role}",
                        reason="the interop scenario's",
                        request_id=str(uuid4()),
                    )
                )
        return str(tenant), subjects


@pytest.fixture(scope="module")
def todo(
    tmp_path_factory: pytest.TempPathFactory, start_platform: Callable[..., Any]
) -> Iterator[Todo]:
    folder = tmp_path_factory.mktemp("todo")
    policy = folder / "policy"
    shutil.copytree(CHECKOUT / "policy", policy)
    (policy / "tenants" / "todo").mkdir()
    (policy / "tenants" / "todo" / "todo.csv").write_text(POLICY)
    with (policy / "services.csv").open("a") as services:
        services.write(SERVICES)
    platform = start_platform(folder / "home", "--policy", str(policy))
    tenant_id, subjects = asyncio.run(_people(platform.endpoint))
    yield Todo(platform, tenant_id, subjects)
    assert platform.stop() == 0


@pytest.fixture
def http(todo: Todo) -> Iterator[httpx.Client]:
    with todo.client() as client:
        yield client


def told(answer: httpx.Response, status: int = 200) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    found: dict[str, Any] = answer.json()
    return found


# --- the interop scenario


@pytest.mark.parametrize("name", PEOPLE)
def test_every_decision_of_the_interop_scenario(todo: Todo, http: httpx.Client, name: str) -> None:
    answers = [
        told(http.post(EVALUATION, json=todo.question(name, *question)))["decision"]
        for question in QUESTIONS
    ]
    assert "".join("-+"[answer] for answer in answers) == DECISIONS[name]


@pytest.mark.parametrize("name", PEOPLE)
def test_the_same_decisions_in_one_batch(todo: Todo, http: httpx.Client, name: str) -> None:
    items = [todo.question(name, *question) for question in QUESTIONS]
    for item in items:
        del item["subject"]
    answer = told(
        http.post(EVALUATIONS, json={"subject": todo.subject(name), "evaluations": items})
    )
    assert set(answer) == {"evaluations"}
    decisions = [item["decision"] for item in answer["evaluations"]]
    assert "".join("-+"[decision] for decision in decisions) == DECISIONS[name]


# --- the specification


def test_a_decision_says_what_it_stood_on(todo: Todo, http: httpx.Client) -> None:
    context = told(http.post(EVALUATION, json=todo.question("morty", *QUESTIONS[3])))["context"]
    assert context["effect"] == "ALLOW"
    assert context["reason"] == "ALLOWED_BY_RULE"
    assert context["rule"] == "tenants/todo/todo.csv:6"
    assert context["role_path"] == [f"user:{todo.subjects['morty']}", "role:TODO_EDITOR"]
    assert len(context["policy_revision"]) == 64


@pytest.mark.parametrize(
    ("semantic", "expected"),
    [
        ("execute_all", [True, False, True]),
        ("deny_on_first_deny", [True, False]),
        ("permit_on_first_permit", [True]),
    ],
)
def test_a_batch_ends_as_it_was_asked_to(
    todo: Todo, http: httpx.Client, semantic: str, expected: list[bool]
) -> None:
    body = {
        "subject": todo.subject("beth"),
        "resource": {"type": "todo", "id": "1"},
        "options": {"evaluations_semantic": semantic},
        "evaluations": [
            {"action": {"name": "can_read_todos"}},
            {"action": {"name": "can_create_todo"}},
            {"action": {"name": "can_read_todos"}},
        ],
    }
    answer = told(http.post(EVALUATIONS, json=body))
    assert [item["decision"] for item in answer["evaluations"]] == expected


def test_an_item_in_error_is_a_denial_of_that_item_alone(todo: Todo, http: httpx.Client) -> None:
    body = {
        "subject": todo.subject("beth"),
        "action": {"name": "can_read_todos"},
        "evaluations": [
            {"resource": {"type": "todo", "id": "1"}},
            {"resource": {"type": "todo", "id": "no\ttabs"}},
            {"resource": {"type": "todo", "id": "2"}},
        ],
    }
    first, second, third = told(http.post(EVALUATIONS, json=body))["evaluations"]
    assert (first["decision"], second["decision"], third["decision"]) == (True, False, True)
    assert second["context"]["error"]["status"] == 400
    assert second["context"]["error"]["pointer"] == "/evaluations/1/resource/id"


@pytest.mark.parametrize(
    ("prefer", "bare"),
    [
        ("return=minimal", True),
        ('respond-async, Return = "minimal"; x=1', True),
        ("return=representation", False),
        ("x; return=minimal", False),
    ],
)
def test_who_prefers_it_is_told_decisions_alone(
    todo: Todo, http: httpx.Client, prefer: str, bare: bool
) -> None:
    body = {"evaluations": [todo.question("beth", *QUESTIONS[0]), {}]}
    answer = http.post(EVALUATIONS, json=body, headers={"prefer": prefer})
    told = [set(item) == {"decision"} for item in answer.json()["evaluations"]]
    assert told == [bare, bare]
    assert ("preference-applied" in answer.headers) is bare
    assert answer.json()["evaluations"][1]["decision"] is False


def test_without_a_list_the_batch_endpoint_decides_once(todo: Todo, http: httpx.Client) -> None:
    answer = told(http.post(EVALUATIONS, json=todo.question("beth", *QUESTIONS[0])))
    assert answer["decision"] is True


def test_the_metadata_names_every_endpoint_and_each_of_them_is_there(
    todo: Todo, http: httpx.Client
) -> None:
    del http.headers["authorization"]
    answer = http.get("/.well-known/authzen-configuration")
    found = told(answer)
    assert answer.headers["content-type"] == "application/json"
    assert "max-age" in answer.headers["cache-control"]
    assert found["policy_decision_point"] == todo.platform.ready["edge"]["url"]
    endpoints = {name: url for name, url in found.items() if name.endswith("_endpoint")}
    assert len(endpoints) == 5
    with todo.client() as known:
        for url in endpoints.values():
            assert told(known.post(url, json={}), 400)["errors"][0]["pointer"].startswith("/")


def test_the_request_id_comes_back_and_is_in_the_audit_log(todo: Todo, http: httpx.Client) -> None:
    request_id = f"authzen-{uuid4()}"
    answer = http.post(
        EVALUATION,
        json=todo.question("beth", *QUESTIONS[0]),
        headers={"x-request-id": request_id},
    )
    assert answer.headers["x-request-id"] == request_id
    argy = Path(sys.executable).with_name("argy")
    shown = subprocess.run(
        [argy, "audit", "tail", "--tenant", "todo", "-n", "100", "--json"],
        env={"ARGY_HOME": str(todo.platform.home), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    events = [json.loads(line) for line in shown.splitlines()]
    (event,) = [event for event in events if event["request_id"] == request_id]
    # The edge says for which service it asks; nobody but the edge itself proved to be somebody.
    assert (event["actor"], event["on_behalf_of"]) == ("service:edge", "service:demo")
    assert event["subject"] == f"user:{todo.subjects['beth']}"


# --- searches


def pages(http: httpx.Client, kind: str, body: dict[str, Any], limit: int) -> list[list[Any]]:
    """Every page of a search, as the specification says to walk them."""
    found, token = [], ""
    while True:
        page = {"limit": limit, "token": token} if token else {"limit": limit}
        answer = told(http.post(SEARCH + kind, json={**body, "page": page}))
        assert len(answer["results"]) == answer["page"]["count"] <= limit
        found.append(answer["results"])
        token = answer["page"]["next_token"]
        if not token:
            return found


@pytest.mark.parametrize("limit", [1, 2, 5, 100])
def test_a_subject_search_finds_who_may_and_nobody_else(
    todo: Todo, http: httpx.Client, limit: int
) -> None:
    body = {
        "subject": {"type": "user"},
        "action": {"name": "can_create_todo"},
        "resource": {"type": "todo", "id": "1"},
    }
    found = [entity for page in pages(http, "subject", body, limit) for entity in page]
    assert {entity["type"] for entity in found} == {"user"}
    ids = [entity["id"] for entity in found]
    assert sorted(ids) == sorted(todo.subjects[name] for name in ("rick", "morty", "summer"))
    for entity in found:
        question = {**body, "subject": entity}
        assert told(http.post(EVALUATION, json=question))["decision"] is True


def test_a_subject_search_of_another_type_finds_none_of_these(http: httpx.Client) -> None:
    body = {
        "subject": {"type": "agent"},
        "action": {"name": "can_create_todo"},
        "resource": {"type": "todo", "id": "1"},
    }
    assert pages(http, "subject", body, 100) == [[]]


@pytest.mark.parametrize("limit", [1, 100])
def test_an_action_search_finds_what_may_be_done(
    todo: Todo, http: httpx.Client, limit: int
) -> None:
    def actions(name: str, owner: str) -> set[str]:
        resource: dict[str, Any] = {"type": "todo", "id": "1"}
        if owner:
            resource["properties"] = {"ownerID": PEOPLE[owner][0]}
        body = {"subject": todo.subject(name), "resource": resource}
        return {one["name"] for page in pages(http, "action", body, limit) for one in page}

    assert actions("beth", "beth") == {"can_read_todos"}
    assert actions("morty", "rick") == {"can_read_todos", "can_create_todo"}
    own = {"can_read_todos", "can_create_todo", "can_update_todo", "can_delete_todo"}
    assert actions("morty", "morty") == own
    assert actions("rick", "") == own


def test_a_resource_search_finds_what_rules_name(todo: Todo, http: httpx.Client) -> None:
    body: dict[str, Any] = {
        "subject": todo.subject("beth"),
        "action": {"name": "can_pin_todo"},
        "resource": {"type": "todo"},
    }

    def resources(limit: int = 100) -> list[str]:
        found = pages(http, "resource", body, limit)
        assert {one["type"] for page in found for one in page} == {"todo"}
        return [one["id"] for page in found for one in page]

    assert resources() == resources(1) == ["news", "welcome"]
    body["context"] = {"season": "autumn"}
    assert resources() == ["news", "rules", "welcome"]


def test_a_page_token_serves_one_search_alone(todo: Todo, http: httpx.Client) -> None:
    body = {
        "subject": {"type": "user"},
        "action": {"name": "can_read_todos"},
        "resource": {"type": "todo", "id": "1"},
        "page": {"limit": 1},
    }
    token = told(http.post(SEARCH + "subject", json=body))["page"]["next_token"]
    assert token
    for change in (
        {"action": {"name": "can_create_todo"}},
        {"resource": {"type": "todo", "id": "2"}},
        {"context": {"a": 1}},
    ):
        answer = http.post(SEARCH + "subject", json={**body, **change, "page": {"token": token}})
        assert told(answer, 400)["reason"] == "INVALID_PAGE_TOKEN"
    answer = http.post(SEARCH + "subject", json={**body, "page": {"token": token, "limit": 2}})
    assert told(answer, 400)["errors"][0]["pointer"] == "/page/limit"


# --- whose permissions decide


def tokens_of(todo: Todo) -> Path:
    return Path(todo.platform.home) / "keys" / "edge-tokens.json"


def test_a_service_without_permission_in_the_tenant_is_told_nothing(
    todo: Todo, http: httpx.Client
) -> None:
    question = todo.question("rick", *QUESTIONS[0])
    other = todo.platform.ready["edge"]["tenant_id"]
    assert told(http.post(EVALUATION, json=question))["decision"] is True
    assert told(http.post(EVALUATION, json=question, headers={"x-tenant-id": other}))
    token, _ = add_token(tokens_of(todo), service="checker", tenant_id=None, now=datetime.now(UTC))
    with todo.client(token) as checker:
        assert told(checker.post(EVALUATION, json=question))["decision"] is True
        for tenant in (other, str(PLATFORM_TENANT_ID)):
            answer = checker.post(EVALUATION, json=question, headers={"x-tenant-id": tenant})
            refused = told(answer, 403)
            assert refused["reason"] == "ACCESS_DENIED"
            assert "decision" not in refused
        # It may check, and not explain, which a search does.
        body = {"subject": todo.subject("beth"), "resource": {"type": "todo", "id": "1"}}
        assert told(checker.post(SEARCH + "action", json=body), 403)["reason"] == "ACCESS_DENIED"


def test_a_service_that_policy_does_not_name_is_refused(todo: Todo) -> None:
    token, _ = add_token(tokens_of(todo), service="stranger", tenant_id=None, now=datetime.now(UTC))
    with todo.client(token) as stranger:
        answer = stranger.post(EVALUATION, json=todo.question("rick", *QUESTIONS[0]))
    assert told(answer, 403)["reason"] == "ACCESS_DENIED"


def test_a_revoked_token_is_refused_by_the_running_edge(todo: Todo) -> None:
    token, entry = add_token(tokens_of(todo), service="demo", tenant_id=None, now=datetime.now(UTC))
    question = todo.question("rick", *QUESTIONS[0])
    with todo.client(token) as mine:
        assert told(mine.post(EVALUATION, json=question))["decision"] is True
        revoke_token(tokens_of(todo), entry.token_id)
        assert told(mine.post(EVALUATION, json=question), 401)["reason"] == "TOKEN_INVALID"


@pytest.mark.parametrize(
    "headers",
    [
        {"x-tenant-id": "01a2104a-5732-76ca-9c73-4b16f9403c74"},
        {"x-org-id": "01a2104a-5732-76ca-9c73-4b16f9403c74"},
    ],
    ids=["tenant", "org"],
)
def test_an_unknown_tenant_or_org_is_refused(
    todo: Todo, http: httpx.Client, headers: dict[str, str]
) -> None:
    answer = http.post(EVALUATION, json=todo.question("rick", *QUESTIONS[0]), headers=headers)
    assert answer.status_code == 403
    assert answer.headers["content-type"] == "application/problem+json"


def test_health_is_serving(http: httpx.Client) -> None:
    assert told(http.get("/healthz")) == {"status": "SERVING"}


# --- argy up


def test_the_examples_of_the_readme_work_as_shown(platform: Any) -> None:
    text = (CHECKOUT / "README.md").read_text()
    section = text.split("## Ask over HTTP (AuthZEN)")[1].split("\n## ")[0]
    script, shown = section.split("```sh\n")[1].split("```", 1)
    edge = platform.ready["edge"]
    script = script.replace(".argy/", f"{platform.home}/")
    script = script.replace("https://localhost:8443", edge["url"])
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=CHECKOUT,
        env={
            "ARGY_HOME": str(platform.home),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    single, batch, actions, malformed = answers
    assert single["decision"] is True
    assert [item["decision"] for item in batch["evaluations"]] == [True, False]
    assert malformed["errors"][0]["pointer"] == "/subject/id"
    promised = shown.split("```\n")[1].splitlines()
    assert len(promised) == len(answers)
    for answer in (single, batch["evaluations"][1]):
        assert f'"rule":"{answer["context"]["rule"]}"' in "".join(promised)
    assert json.loads(promised[2]) == actions


def test_what_argy_up_prints_is_a_command_that_works(tmp_path: Path) -> None:
    argy = Path(sys.executable).with_name("argy")
    started = subprocess.Popen(
        [argy, "up"],
        cwd=CHECKOUT,
        env={
            "ARGY_HOME": str(tmp_path / "home"),
            "ARGY_UP_PORT": "0",
            "ARGY_UP_EDGE_PORT": "0",
            "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert started.stdout is not None
    try:
        lines: list[str] = []
        while not lines or not lines[-1].startswith("curl "):
            lines.append(started.stdout.readline())
            assert lines[-1], "".join(lines)
        command = lines[-1]
        done = subprocess.run(
            ["bash", "-c", f"{command.strip()} -sS"],
            cwd=CHECKOUT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["decision"] is True
    finally:
        started.terminate()
        started.wait(PATIENCE_S)
        started.stdout.close()


def test_the_token_outlives_a_restart_and_a_port_that_is_taken_is_not_fought_over(
    platform: Any, platform_factory: Callable[..., Any]
) -> None:
    first = platform_factory()
    token_file = Path(first.ready["edge"]["token_file"])
    token = token_file.read_text()
    assert token_file.stat().st_mode & 0o777 == 0o600
    assert token not in (token_file.parent / "edge-tokens.json").read_text()
    first.stop()
    taken = platform.ready["edge"]["url"].rpartition(":")[2]
    second = platform_factory(first.home, ARGY_UP_EDGE_PORT=taken)
    assert second.ready["edge"]["url"].rpartition(":")[2] != taken
    assert token_file.read_text() == token
    edge = second.ready["edge"]
    answer = httpx.get(
        f"{edge['url']}/nothing",
        headers={"authorization": f"Bearer {token}"},
        verify=ssl.create_default_context(cafile=edge["ca_file"]),
        timeout=PATIENCE_S,
    )
    assert answer.status_code == 404


def test_argy_up_ends_with_an_error_that_names_the_log_when_the_edge_dies(
    platform_factory: Callable[..., Any],
) -> None:
    platform = platform_factory()
    platform.running("argy.local.serve_edge").kill()
    assert platform.process.wait(PATIENCE_S) != 0
    told_last = platform.process.stderr.read()
    assert "edge.log" in told_last
    assert "Traceback" not in told_last
