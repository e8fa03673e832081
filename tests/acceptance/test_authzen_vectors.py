"""The AuthZEN working group's published vectors, sent as they are to a platform set up for them.

Each scenario is a tenant with a policy of its own. Nothing of a request is renamed, added or left
out; the one header beside is that bare decisions are preferred, where answers are compared whole.
"""

import asyncio
import shutil
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import authzen_vectors as published
import httpx
import pytest
from authzen_vectors import Vector
from mail_folder import PATIENCE_S

from argy.api.authz.v1.assignment_pb2 import GrantRoleRequest
from argy.api.authz.v1.assignment_pb2_grpc import AssignmentServiceStub
from argy.api.directory.v1.tenant_pb2 import ListTenantsRequest
from argy.api.directory.v1.tenant_pb2_grpc import TenantServiceStub
from argy.base.ids import PLATFORM_TENANT_ID
from argy.client import Connection
from argy.client.connection import Endpoint

CHECKOUT = Path(__file__).parents[2]
MINIMAL = {"prefer": "return=minimal"}


def owned_by(name: str) -> str:
    has = "has(ctx.resource) && has(ctx.resource.ownerID)"
    return f"{has} && ctx.resource.ownerID == '{published.EMAILS[name]}'"


TODO_RULES = [
    "g, role:TODO_EDITOR, role:TODO_VIEWER, todo",
    "g, role:TODO_ADMIN, role:TODO_EDITOR, todo",
    "g, role:TODO_EVIL_GENIUS, role:TODO_EDITOR, todo",
    "p, role:TODO_VIEWER, todo, user:*, can_read_user, allow, true",
    "p, role:TODO_VIEWER, todo, todo:*, can_read_todos, allow, true",
    "p, role:TODO_EDITOR, todo, todo:*, can_create_todo, allow, true",
    "p, role:TODO_EVIL_GENIUS, todo, todo:*, can_update_todo, allow, true",
    "p, role:TODO_ADMIN, todo, todo:*, can_delete_todo, allow, true",
    *(
        f"p, role:{name.upper()}, todo, todo:*, {action}, allow, {owned_by(name)}"
        for name in ("morty", "summer")
        for action in ("can_update_todo", "can_delete_todo")
    ),
]
GATEWAY = [
    "g, role:CALLER_EDITOR, role:CALLER_VIEWER, gateway",
    "p, role:CALLER_VIEWER, gateway, route:/users/{userId}, GET, allow, true",
    "p, role:CALLER_VIEWER, gateway, route:/todos, GET, allow, true",
    "p, role:CALLER_EDITOR, gateway, route:/todos, POST, allow, true",
    "p, role:CALLER_EDITOR, gateway, route:/todos/{todoId}, PUT, allow, true",
    "p, role:CALLER_EDITOR, gateway, route:/todos/{todoId}, DELETE, allow, true",
]


def search_rules() -> Iterator[str]:
    for record, (department, owner) in published.RECORDS.items():
        for role, verbs in (
            (f"OWNS_{owner.upper()}", ("view", "edit", "delete")),
            (f"IN_{department.upper()}", ("view",)),
            ("MANAGER", ("view",)),
            (f"MANAGES_{department.upper()}", ("edit",)),
        ):
            for verb in verbs:
                yield f"p, role:{role}, search, record:{record}, {verb}, allow, true"


NOT_ARCHIVED = (
    "!(has(ctx.resource) && has(ctx.resource.status) && ctx.resource.status == 'archived')"
)
CERTIFICATION = [
    "g, role:AUTHOR, role:READER, cert",
    "g, role:ARCHIVIST, role:READER, cert",
    "p, role:READER, cert, record:record-1, read, allow, true",
    "p, role:READER, cert, record:record-2, read, allow, true",
    f"p, role:AUTHOR, cert, record:record-1, write, allow, {NOT_ARCHIVED}",
    "p, role:AUTHOR, cert, record:record-1, delete, allow,"
    " has(ctx.action) && has(ctx.action.soft) && ctx.action.soft",
    "p, role:ARCHIVIST, cert, record:record-2, write, allow, true",
]
TENANTS = {
    "todo": TODO_RULES,
    "gateway": GATEWAY,
    "search": [*search_rules()],
    "cert": CERTIFICATION,
}
SERVICES = """
p, service:edge, *, authz.subject:service/demo, act_for, allow, true
p, service:demo, *, authz.decision:*, check, allow, true
p, service:demo, *, authz.decision:*, explain, allow, true
"""


def grants() -> Iterator[tuple[str, str, str]]:
    """Tenant, subject and role of each assignment."""
    for name, roles in published.TODO_ROLES.items():
        for role in roles:
            yield "todo", f"user:{published.EMAILS[name]}", f"TODO_{role.upper()}"
        editor = roles != ("viewer",)
        kind = "EDITOR" if editor else "VIEWER"
        yield "gateway", f"identity:{published.PIDS[name]}", f"CALLER_{kind}"
    for name in ("morty", "summer"):
        yield "todo", f"user:{published.PIDS[name]}", name.upper()
    for name, (role, department) in published.USERS.items():
        yield "search", f"user:{name}", f"OWNS_{name.upper()}"
        yield "search", f"user:{name}", f"IN_{department.upper()}"
        if role == "manager":
            yield "search", f"user:{name}", "MANAGER"
            yield "search", f"user:{name}", f"MANAGES_{department.upper()}"
    yield "cert", "user:alice", "AUTHOR"
    yield "cert", "user:bob", "ARCHIVIST"


@dataclass(frozen=True)
class Pdp:
    """A platform with the four scenarios."""

    edge: dict[str, str]
    tenants: dict[str, str]

    def client(self, tenant: str, **headers: str) -> httpx.Client:
        token = Path(self.edge["token_file"]).read_text()
        return httpx.Client(
            verify=ssl.create_default_context(cafile=self.edge["ca_file"]),
            base_url=f"{self.edge['url']}/access/v1/",
            headers={
                "authorization": f"Bearer {token}",
                "x-tenant-id": self.tenants[tenant],
                **headers,
            },
            timeout=PATIENCE_S,
        )


async def grant_all(endpoint: Endpoint) -> dict[str, str]:
    """Make the assignments; returns the tenants' ids."""
    async with Connection(endpoint, timeout_s=30) as connection:
        listed = await TenantServiceStub(connection.channel(PLATFORM_TENANT_ID)).ListTenants(
            ListTenantsRequest()
        )
        tenants = {tenant.slug: tenant.tenant_id for tenant in listed.tenants}
        for tenant, subject, role in grants():
            request = GrantRoleRequest(
                subject=subject,
                role=f"role:{role}",
                reason="the scenario's",
                request_id=str(uuid4()),
            )
            channel = connection.channel(UUID(tenants[tenant]))
            await AssignmentServiceStub(channel).GrantRole(request)
    return tenants


@pytest.fixture(scope="module")
def pdp(
    tmp_path_factory: pytest.TempPathFactory, start_platform: Callable[..., Any]
) -> Iterator[Pdp]:
    folder = tmp_path_factory.mktemp("vectors")
    policy = folder / "policy"
    shutil.copytree(CHECKOUT / "policy", policy)
    for tenant, rules in TENANTS.items():
        (policy / "tenants" / tenant).mkdir()
        (policy / "tenants" / tenant / "rules.csv").write_text("\n".join([*rules, ""]))
    with (policy / "services.csv").open("a") as services:
        services.write(SERVICES)
    platform = start_platform(folder / "home", "--policy", str(policy))

    def argy(*arguments: str) -> None:
        subprocess.run(
            [Path(sys.executable).with_name("argy"), *arguments],
            env={"ARGY_HOME": str(platform.home), "PATH": "/usr/bin:/bin"},
            check=True,
            stdout=subprocess.DEVNULL,
        )

    for tenant in TENANTS:
        argy("tenant", "create", tenant)
    for name, email in published.EMAILS.items():
        known_as = ("--external-id", published.PIDS[name])
        argy("user", "create", email, "--tenant", "todo", "--name", name, *known_as)
    for tenant in ("gateway", "search", "cert"):
        argy("tenant", "foreign-subjects", tenant, "on", "-m", "the scenario's people are its own")
    yield Pdp(platform.ready["edge"], asyncio.run(grant_all(platform.endpoint)))
    assert platform.stop() == 0


def answered(http: httpx.Client, vector: Vector) -> Any:
    answer = http.post(vector.endpoint, json=vector.request)
    assert answer.status_code == 200, (vector.name, answer.text)
    assert answer.headers["content-type"] == "application/json"
    return answer.json()


def in_order(found: list[dict[str, str]]) -> list[dict[str, str]]:
    return sorted(found, key=lambda one: sorted(one.items()))


@pytest.mark.parametrize(
    ("tenant", "vectors", "count"),
    [("todo", published.todo, 40), ("gateway", published.gateway, 25)],
)
def test_every_decision(
    pdp: Pdp, tenant: str, vectors: Callable[[], Iterator[Vector]], count: int
) -> None:
    with pdp.client(tenant) as http:
        told = {vector.name: answered(http, vector)["decision"] for vector in vectors()}
    assert told == {vector.name: vector.expected for vector in vectors()}
    assert len(list(vectors())) == count


def test_every_batch_bare(pdp: Pdp) -> None:
    with pdp.client("todo", **MINIMAL) as http:
        for vector in published.todo_batches():
            assert answered(http, vector) == {"evaluations": vector.expected}, vector.name
    assert len(list(published.todo_batches())) == 3


@pytest.mark.parametrize(("vectors", "count"), [(published.search, 198), (published.idp, 6)])
def test_every_search(pdp: Pdp, vectors: Callable[[], Iterator[Vector]], count: int) -> None:
    asked = list(vectors())
    with pdp.client("search") as http:
        told = [in_order(answered(http, vector)["results"]) for vector in asked]
    wrong = {
        f"{vector.endpoint} {vector.name}": found
        for vector, found in zip(asked, told, strict=True)
        if found != in_order(vector.expected)
    }
    assert wrong == {}
    assert len(asked) == count


# --- certification


@pytest.fixture
def cert(pdp: Pdp) -> Iterator[httpx.Client]:
    with pdp.client("cert") as http:
        yield http


@pytest.mark.parametrize("vector", [*published.decisions()], ids=attrgetter("name"))
def test_a_decision_of_the_certification(cert: httpx.Client, vector: Vector) -> None:
    told = answered(cert, vector)
    assert told["decision"] is vector.expected
    assert isinstance(told["context"], dict)  # 2.3.2
    # 2.6: asked again it is the same; with Prefer there is nothing beside.
    assert answered(cert, vector)["decision"] is vector.expected
    cert.headers.update(MINIMAL)
    assert answered(cert, vector) == {"decision": vector.expected}


@pytest.mark.parametrize("vector", [*published.batches()], ids=attrgetter("name"))
def test_a_batch_of_the_certification(cert: httpx.Client, vector: Vector) -> None:
    told = answered(cert, vector)
    assert "decision" not in told  # 3.3.4
    decisions = [item["decision"] for item in told["evaluations"]]
    assert {type(decision) for decision in decisions} == {bool}  # 3.3.3
    assert len(decisions) == len(vector.expected)  # 3.3.1
    for decision, expected in zip(decisions, vector.expected, strict=True):  # 3.3.2
        assert expected is None or decision is expected


@pytest.mark.parametrize("vector", [*published.refusals()], ids=attrgetter("name"))
def test_a_refusal_of_the_certification(cert: httpx.Client, vector: Vector) -> None:
    if isinstance(vector.request, bytes):
        headers = {"content-type": "application/json"}
        answer = cert.post(vector.endpoint, content=vector.request, headers=headers)
    else:
        answer = cert.post(vector.endpoint, json=vector.request)
    assert answer.status_code == vector.expected, answer.text


@pytest.mark.parametrize("vector", [*published.findings()], ids=attrgetter("name"))
def test_a_search_of_the_certification(cert: httpx.Client, vector: Vector) -> None:
    results = answered(cert, vector)["results"]
    if vector.expected is None:
        assert results == []
        return
    assert all(expected in results for expected in vector.expected), results
    kind = vector.endpoint.rpartition("/")[2]
    if kind == "action":
        assert all(set(one) == {"name"} for one in results)
    else:
        assert {one["type"] for one in results} == {vector.request[kind]["type"]}
        assert all(set(one) == {"type", "id"} for one in results)


def test_the_pages_of_the_certification(cert: httpx.Client) -> None:  # 4.5.1 to 4.5.3
    vector = next(published.findings())
    found = []
    page: dict[str, Any] = {"limit": 1}
    while True:
        told = answered(
            cert, Vector("4.5", vector.endpoint, {**vector.request, "page": page}, None)
        )
        found += told["results"]
        token = told["page"]["next_token"]
        assert isinstance(token, str)
        if not token:
            break
        page = {"token": token}
    assert all(expected in found for expected in vector.expected)


def test_the_headers_of_the_certification(cert: httpx.Client) -> None:
    asked = next(published.decisions())
    # 2.4.3
    wrong = {"content-type": "text/plain"}
    assert cert.post(asked.endpoint, content=b"{}", headers=wrong).status_code == 400
    # 2.5.1, on every endpoint and on refusals too; 2.5.2
    sent = "bfe9eb29-ab87-4ca3-be83-a1d5d8305716"
    for vector in (asked, *published.batches(), *published.findings(), *published.refusals()):
        if not isinstance(vector.request, bytes):
            headers = {"x-request-id": sent}
            answer = cert.post(vector.endpoint, json=vector.request, headers=headers)
            assert answer.headers["x-request-id"] == sent
    assert cert.post(asked.endpoint, json=asked.request).status_code == 200


def test_the_metadata_of_the_certification(pdp: Pdp, cert: httpx.Client) -> None:  # 6.1 to 6.5
    answer = cert.get(f"{pdp.edge['url']}/.well-known/authzen-configuration")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    told = answer.json()
    assert told["policy_decision_point"] == pdp.edge["url"]
    endpoints = {name for name in told if name.endswith("_endpoint")}
    assert "access_evaluation_endpoint" in endpoints
    assert all(told[name].startswith("https://") for name in endpoints)
