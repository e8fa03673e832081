"""AuthZEN over the edge with people's tokens: how they signed in decides, whatever they send."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from signed_in import SignedIn

from argy.base.crypto import write_secret
from argy.client import Connection
from argy.client.connection import Endpoint
from argy.client.pep_tokens import add_token
from argy.edge.main import assemble
from argy.edge.settings import EdgeSettings
from argy.rpc.claims import ACR_PROVISIONAL
from argy.rpc.pair_keys import RootKeys

Make = Callable[..., Awaitable[Any]]
RECENT = "has(ctx.auth) && ctx.auth.age_s <= 300"
RULES = f"""
p, role:CALLER, *, project:*, purge, allow, {RECENT}
p, role:CALLER, *, project:*, ship, allow, true
p, role:CALLER, *, authz.decision:*, *, allow, true
"""
SERVICES = """
p, service:shop, *, authz.decision:*, *, allow, true
p, service:edge, *, authz.subject:service/shop, act_for, allow, true
"""
FORGED = {"auth": {"age_s": 1.0, "acr": "urn:argy:acr:passkey", "methods": ["passkey"]}}
ASKING = "authz.decision:check authz.decision:explain"
Answers = dict[str, bool]


class Door:
    """The edge before a replica, and one person of one tenant."""

    def __init__(self, http: httpx.AsyncClient, tenant: Any, subject: str) -> None:
        self.http, self.tenant, self.subject = http, tenant, subject

    async def post(self, path: str, secret: str, body: Any) -> httpx.Response:
        headers = {
            "authorization": f"Bearer {secret}",
            "x-tenant-id": str(self.tenant.tenant_id),
        }
        return await self.http.post(f"/access/v1/{path}", json=body, headers=headers)

    async def ask(self, secret: str, action: str, context: Any = None) -> Answers:
        """What each endpoint answers to one question."""
        person = {"type": "user", "id": self.subject.removeprefix("user:")}
        body: dict[str, Any] = {
            "subject": person,
            "action": {"name": action},
            "resource": {"type": "project", "id": "alpha"},
        }
        if context is not None:
            body["context"] = context
        told: dict[str, Any] = {}
        for path in ("evaluation", "evaluations", "search/action", "search/subject"):
            asked = {**body, "evaluations": [{}]} if path == "evaluations" else body
            answer = await self.post(path, secret, asked)
            assert answer.status_code == 200, answer.text
            told[path] = answer.json()
        return {
            "evaluation": told["evaluation"]["decision"],
            "evaluations": told["evaluations"]["evaluations"][0]["decision"],
            "actions": {"name": action} in told["search/action"]["results"],
            "subjects": person in told["search/subject"]["results"],
        }


def every(answer: bool) -> Answers:
    return dict.fromkeys(("evaluation", "evaluations", "actions", "subjects"), answer)


@pytest.fixture
def signed_in() -> SignedIn:
    return SignedIn()


@pytest.fixture
def service_token(tmp_path: Path) -> str:
    """The edge token by which the service ``shop`` asks."""
    file, now = tmp_path / "edge-tokens.json", datetime.now(UTC)
    return add_token(file, service="shop", tenant_id=None, now=now)[0]


@pytest.fixture
async def door(
    authz_replica: Make,
    authz_client: Callable[..., Any],
    tenant_factory: Make,
    person: Make,
    policy_root: Path,
    tmp_path: Path,
    service_token: str,
    signed_in: SignedIn,
) -> AsyncIterator[Door]:
    with (policy_root / "roles" / "roles.csv").open("a") as file:
        file.write(RULES)
    with (policy_root / "services.csv").open("a") as file:
        file.write(SERVICES)
    replica = await authz_replica(tokens=signed_in.verifier, credentials=signed_in)
    tenant = await tenant_factory()
    subject = await person(tenant.tenant_id)
    await authz_client(replica, tenant.tenant_id).grant(subject, "role:CALLER")
    keys = tmp_path / "edge.json"
    issued = RootKeys(replica.ring).issue("edge", ["authz", "authn", "directory"])
    write_secret(keys, json.dumps(issued.to_json()).encode())
    endpoint = Endpoint(replica.target, "edge", str(keys), unsafe_plaintext=True)
    settings = EdgeSettings(tokens=tmp_path / "edge-tokens.json", unsafe_plaintext=True)
    async with Connection(endpoint, timeout_s=10) as connection:
        app: Any = assemble(settings, endpoint, connection)
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
            yield Door(http, tenant, subject)


async def test_a_fresh_proof_decides_and_a_made_up_one_does_not(
    door: Door, signed_in: SignedIn, service_token: str
) -> None:
    fresh = signed_in.token(door.tenant, door.subject, age_s=10)
    stale = signed_in.token(door.tenant, door.subject, age_s=4_000)
    personal = signed_in.personal(door.subject, *ASKING.split(), "project:purge")
    for context in (None, FORGED, {"auth": {"age_s": 9_000.0}}):
        assert await door.ask(fresh, "purge", context) == every(True)
        assert await door.ask(stale, "purge", context) == every(False)
        assert await door.ask(personal, "purge", context) == every(False)
    # What a service says of a person is what it knows of them.
    assert await door.ask(service_token, "purge") == every(False)
    assert await door.ask(service_token, "purge", FORGED) == every(True)


async def test_no_endpoint_tells_yes_beyond_the_scopes(door: Door, signed_in: SignedIn) -> None:
    for scope, answer in ((ASKING, False), (f"{ASKING} project:ship", True), ("", True)):
        token = signed_in.token(door.tenant, door.subject, scope=scope)
        assert await door.ask(token, "ship") == every(answer)


async def test_an_expired_token_is_refused_everywhere(door: Door, signed_in: SignedIn) -> None:
    expired = signed_in.token(door.tenant, door.subject, lasts_s=-60)
    for path in ("evaluation", "evaluations", "search/action", "search/subject"):
        body = {
            "subject": {"type": "user", "id": door.subject.removeprefix("user:")},
            "action": {"name": "ship"},
            "resource": {"type": "project", "id": "alpha"},
        }
        answer = await door.post(path, expired, body)
        assert (answer.status_code, answer.json()["reason"]) == (401, "TOKEN_EXPIRED")
        assert answer.headers["www-authenticate"] == 'Bearer realm="argy", error="invalid_token"'


async def test_a_token_of_another_key_is_refused(door: Door) -> None:
    forged = SignedIn().token(door.tenant, door.subject)
    body = {
        "subject": {"type": "user", "id": "x"},
        "action": {"name": "ship"},
        "resource": {"type": "project", "id": "alpha"},
    }
    answer = await door.post("evaluation", forged, body)
    assert (answer.status_code, answer.json()["reason"]) == (401, "TOKEN_SIGNATURE_INVALID")


@pytest.mark.parametrize(
    "path", ["evaluation", "evaluations", "search/action", "search/subject", "search/resource"]
)
async def test_a_forged_token_learns_nothing_of_what_is_wrong_with_its_request(
    door: Door, signed_in: SignedIn, path: str
) -> None:
    forged = SignedIn().token(door.tenant, door.subject)
    answer = await door.post(path, forged, {})
    assert (answer.status_code, answer.json()["reason"]) == (401, "TOKEN_SIGNATURE_INVALID")
    answer = await door.post(path, signed_in.token(door.tenant, door.subject), {})
    assert answer.status_code == 400


async def test_a_batch_of_which_nothing_can_be_asked_is_not_answered_to_a_forged_token(
    door: Door, signed_in: SignedIn
) -> None:
    batch = {
        "action": {"name": "ship"},
        "resource": {"type": "project", "id": "alpha"},
        "evaluations": [{"subject": {"type": "user", "id": name}} for name in ("a\tb", "c\td")],
    }
    forged, own = SignedIn().token(door.tenant, door.subject), door.subject
    answer = await door.post("evaluations", forged, batch)
    assert (answer.status_code, answer.json()["reason"]) == (401, "TOKEN_SIGNATURE_INVALID")
    expired = signed_in.token(door.tenant, own, lasts_s=-60)
    assert (await door.post("evaluations", expired, batch)).status_code == 401
    # Nor to a token that may not ask.
    limited = signed_in.token(door.tenant, own, scope="project:ship")
    assert (await door.post("evaluations", limited, batch)).status_code == 403
    good = await door.post("evaluations", signed_in.token(door.tenant, own), batch)
    assert good.status_code == 200
    told = good.json()["evaluations"]
    assert [item["decision"] for item in told] == [False, False]
    assert all("error" in item["context"] for item in told)


async def test_a_provisional_session_is_told_to_register_a_passkey(
    door: Door, signed_in: SignedIn
) -> None:
    token = signed_in.token(door.tenant, door.subject, acr=ACR_PROVISIONAL)
    body = {
        "subject": {"type": "user", "id": door.subject.removeprefix("user:")},
        "action": {"name": "ship"},
        "resource": {"type": "project", "id": "alpha"},
    }
    for path in ("evaluation", "evaluations", "search/action", "search/subject"):
        answer = await door.post(path, token, body)
        assert (answer.status_code, answer.json()["reason"]) == (403, "PASSKEY_REQUIRED")
        assert "register a passkey" in answer.json()["detail"]
