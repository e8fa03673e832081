"""AuthZEN with credentials of one's own: access tokens, personal access tokens and API keys."""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from link_sign_in import Person, signed_in
from mail_folder import PATIENCE_S

from argy.api.authn.v1 import credential_pb2 as pb
from argy.api.authn.v1.credential_pb2_grpc import CredentialServiceStub
from argy.api.authn.v1.session_pb2 import EndUserSessionsRequest
from argy.api.authn.v1.session_pb2_grpc import SessionServiceStub
from argy.api.directory.v1 import user_pb2
from argy.api.directory.v1.user_pb2_grpc import UserServiceStub
from argy.base.ids import PLATFORM_TENANT_ID
from argy.base.secret_token import new_token
from argy.client import Connection

EVALUATION = "/access/v1/evaluation"
EVALUATIONS = "/access/v1/evaluations"
SEARCH = "/access/v1/search/"
ASKING = "authz.decision:check"
INVALID = 'Bearer realm="argy", error="invalid_token"'
FORGED = {"auth": {"age_s": 1.0, "acr": "urn:argy:acr:passkey", "methods": ["passkey"]}}

Rows = Callable[..., list[dict[str, Any]]]
Browse = Callable[..., httpx.Client]


@pytest.fixture
def acme(rows: Rows) -> UUID:
    return next(UUID(row["tenant_id"]) for row in rows("tenant", "list") if row["slug"] == "acme")


@pytest.fixture
async def operator(platform: Any) -> AsyncIterator[Connection]:
    async with Connection(platform.endpoint, timeout_s=30) as connection:
        yield connection


@pytest.fixture
def http(platform: Any, acme: UUID) -> Iterator[Browse]:
    """A client with the headers that are given, for Acme."""
    edge = platform.ready["edge"]
    made: list[httpx.Client] = []

    def client(**headers: str) -> httpx.Client:
        given = {"x-tenant-id": str(acme)} | {
            name.replace("_", "-"): value for name, value in headers.items()
        }
        one = httpx.Client(
            verify=ssl.create_default_context(cafile=edge["ca_file"]),
            base_url=edge["url"],
            headers=given,
            timeout=PATIENCE_S,
        )
        made.append(one)
        return one

    yield client
    for one in made:
        one.close()


@pytest.fixture
async def lena(platform: Any, acme: UUID, rows: Rows, argy: Any) -> AsyncIterator[Person]:
    """Somebody who may deploy, and ask."""
    email = f"a{uuid4().hex[:12]}@acme.example"
    (made,) = rows("user", "create", email, "--tenant", "acme", "--name", "Lena")
    subject = f"user:{made['user_id']}"
    for role in ("PLATFORM_USER", "PLATFORM_ENGINEER"):
        granted = argy("grant", subject, role, "--tenant", "acme", "-m", "a test")
        assert granted.returncode == 0, granted.stderr
    async with signed_in(platform, acme, email=email, subject=subject) as person:
        yield person


@pytest.fixture
def of_service(platform: Any) -> str:
    """The edge token of a service."""
    return Path(platform.ready["edge"]["token_file"]).read_text()


def bearer(secret: str) -> str:
    return f"Bearer {secret}"


async def personal(person: Person, *scopes: str) -> Any:
    """A personal access token of somebody."""
    stub: Any = CredentialServiceStub(person.channel)
    asked = pb.CreatePersonalAccessTokenRequest(name="a test", scopes=scopes, days=7)
    return await stub.CreatePersonalAccessToken(asked, metadata=person.bearer)


def question(
    subject: str, action: str = "deploy", resource: str = "project:alpha", **more: Any
) -> dict[str, Any]:
    kind, _, name = subject.partition(":")
    of, _, which = resource.partition(":")
    return {
        "subject": {"type": kind, "id": name},
        "action": {"name": action},
        "resource": {"type": of, "id": which},
        **more,
    }


def told(answer: httpx.Response, status: int = 200) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    found: dict[str, Any] = answer.json()
    return found


def refused(answer: httpx.Response, status: int, reason: str) -> None:
    found = told(answer, status)
    assert found["reason"] == reason
    assert "decision" not in found
    assert answer.headers["content-type"] == "application/problem+json"


# --- what they may ask


def test_a_person_asks_about_themselves_with_their_access_token(
    http: Browse, lena: Person, people: dict[str, str]
) -> None:
    client = http(authorization=bearer(lena.access_token))
    assert told(client.post(EVALUATION, json=question(lena.subject)))["decision"] is True
    abolish = question(lena.subject, "abolish", context=FORGED)
    assert told(client.post(EVALUATION, json=abolish))["decision"] is False
    both = {
        **question(lena.subject),
        "evaluations": [{}, {"action": {"name": "abolish"}}],
    }
    answers = told(client.post(EVALUATIONS, json=both))["evaluations"]
    assert [answer["decision"] for answer in answers] == [True, False]
    # Who may check may ask about others as well, and who may explain may search.
    assert told(client.post(EVALUATION, json=question(people["Bob"])))["decision"] is False
    search = {"subject": {"type": "user", "id": lena.subject[5:]}}
    search |= {"resource": {"type": "project", "id": "alpha"}}
    found = told(client.post(SEARCH + "action", json=search))
    assert {"name": "deploy"} in found["results"]


async def test_a_person_without_the_permission_asks_about_nobody(
    http: Browse, platform: Any, acme: UUID, rows: Rows, people: dict[str, str]
) -> None:
    email = f"n{uuid4().hex[:12]}@acme.example"
    (made,) = rows("user", "create", email, "--tenant", "acme", "--name", "Nina")
    subject = f"user:{made['user_id']}"
    async with signed_in(platform, acme, email=email, subject=subject) as nina:
        client = http(authorization=bearer(nina.access_token))
        for whom in (people["Alice"], subject):
            refused(client.post(EVALUATION, json=question(whom)), 403, "ACCESS_DENIED")


async def test_a_personal_access_token_is_held_to_its_scopes(http: Browse, lena: Person) -> None:
    made = await personal(lena, ASKING, "project:read")
    client = http(authorization=bearer(made.secret))
    read = question(lena.subject, "read")
    assert told(client.post(EVALUATION, json=read))["decision"] is True
    beyond = told(client.post(EVALUATION, json=question(lena.subject)))
    assert (beyond["decision"], beyond["context"]["reason"]) == (False, "SCOPE_INSUFFICIENT")
    # It is not for explaining, which a search does.
    search = {**read, "resource": {"type": "project"}}
    answer = client.post(SEARCH + "resource", json=search)
    refused(answer, 403, "SCOPE_INSUFFICIENT")


async def test_an_api_key_asks_for_its_agent_and_learns_no_role_of_anybody_else(
    http: Browse, operator: Connection, acme: UUID, argy: Any, people: dict[str, str]
) -> None:
    agent = f"agent:{uuid4().hex}"
    granted = argy("grant", agent, "PLATFORM_USER", "--tenant", "acme", "-m", "a test")
    assert granted.returncode == 0, granted.stderr
    stub: Any = CredentialServiceStub(operator.channel(acme))
    asked = pb.CreateApiKeyRequest(
        subject=agent, name="a test", scopes=[ASKING, "project:read"], days=1
    )
    made = await stub.CreateApiKey(asked)
    client = http(x_api_key=made.secret)
    assert told(client.post(EVALUATION, json=question(agent, "read")))["decision"] is True
    assert told(client.post(EVALUATION, json=question(agent)))["decision"] is False
    itself = told(client.post(EVALUATION, json=question(agent, "read")))["context"]
    assert itself["role_path"] == [agent, "role:PLATFORM_USER"]
    other = told(client.post(EVALUATION, json=question(people["Alice"], "read")))
    assert other["decision"] is True
    assert set(other["context"]) == {"effect", "reason", "policy_revision", "revision"}
    # A key is no bearer token, nor the other way round.
    wrong = http(authorization=bearer(made.secret)).post(EVALUATION, json=question(agent))
    refused(wrong, 401, "TOKEN_INVALID")
    await stub.RevokeCredential(
        pb.RevokeCredentialRequest(credential_id=made.credential.credential_id)
    )
    refused(client.post(EVALUATION, json=question(agent, "read")), 401, "CREDENTIAL_INVALID")


# --- attacks


async def test_a_scope_that_is_too_small_to_ask_is_refused(http: Browse, lena: Person) -> None:
    made = await personal(lena, "project:deploy")
    answer = http(authorization=bearer(made.secret)).post(EVALUATION, json=question(lena.subject))
    refused(answer, 403, "SCOPE_INSUFFICIENT")
    assert answer.headers["www-authenticate"] == 'Bearer realm="argy", error="insufficient_scope"'


async def test_credentials_of_another_tenant_are_refused(
    http: Browse, lena: Person, rows: Rows
) -> None:
    other = rows("tenant", "create", f"other-{uuid4().hex[:8]}")[0]["tenant_id"]
    made = await personal(lena, ASKING)
    for tenant in (other, str(PLATFORM_TENANT_ID)):
        for secret, reason in (
            (lena.access_token, "TOKEN_OF_ANOTHER_TENANT"),
            (made.secret, "CREDENTIAL_INVALID"),
        ):
            client = http(authorization=bearer(secret), x_tenant_id=tenant)
            answer = client.post(EVALUATION, json=question(lena.subject))
            refused(answer, 401, reason)
            assert answer.headers["www-authenticate"] == INVALID


async def test_a_credential_without_a_tenant_is_refused(http: Browse, lena: Person) -> None:
    client = http(authorization=bearer(lena.access_token))
    del client.headers["x-tenant-id"]
    refused(client.post(EVALUATION, json=question(lena.subject)), 400, "TENANT_REQUIRED")


async def test_a_token_of_an_ended_session_is_refused(http: Browse, lena: Person) -> None:
    client = http(authorization=bearer(lena.access_token))
    assert told(client.post(EVALUATION, json=question(lena.subject)))["decision"] is True
    sessions: Any = SessionServiceStub(lena.channel)
    await sessions.EndUserSessions(EndUserSessionsRequest(), metadata=lena.bearer)
    # Servers hear of it within half a second.
    ends_s = time.monotonic() + PATIENCE_S
    while (answer := client.post(EVALUATION, json=question(lena.subject))).status_code == 200:
        assert time.monotonic() < ends_s
        await asyncio.sleep(0.05)
    refused(answer, 401, "TOKEN_REVOKED")
    assert answer.headers["www-authenticate"] == INVALID


async def test_a_revoked_personal_access_token_is_refused(http: Browse, lena: Person) -> None:
    made = await personal(lena, ASKING, "project:read")
    client, read = http(authorization=bearer(made.secret)), question(lena.subject, "read")
    assert told(client.post(EVALUATION, json=read))["decision"] is True
    stub: Any = CredentialServiceStub(lena.channel)
    await stub.RevokeCredential(
        pb.RevokeCredentialRequest(credential_id=made.credential.credential_id),
        metadata=lena.bearer,
    )
    refused(client.post(EVALUATION, json=read), 401, "CREDENTIAL_INVALID")


async def test_a_personal_access_token_of_a_disabled_person_is_refused(
    http: Browse, lena: Person, operator: Connection, acme: UUID
) -> None:
    made = await personal(lena, ASKING, "project:read")
    client, read = http(authorization=bearer(made.secret)), question(lena.subject, "read")
    assert told(client.post(EVALUATION, json=read))["decision"] is True
    users: Any = UserServiceStub(operator.channel(acme))
    await users.SetUserState(
        user_pb2.SetUserStateRequest(
            user_id=lena.subject[5:], state=user_pb2.USER_STATE_DISABLED, reason="a test"
        )
    )
    refused(client.post(EVALUATION, json=read), 401, "CREDENTIAL_INVALID")


async def test_two_credentials_at_once_are_refused(
    http: Browse, lena: Person, of_service: str
) -> None:
    key = new_token("key")
    for secret in (lena.access_token, of_service):
        client = http(authorization=bearer(secret), x_api_key=key)
        answer = client.post(EVALUATION, json=question(lena.subject))
        refused(answer, 400, "CREDENTIAL_AMBIGUOUS")
    twice = [("authorization", bearer(lena.access_token))] * 2
    answer = http().post(EVALUATION, json=question(lena.subject), headers=twice)
    refused(answer, 401, "TOKEN_INVALID")
    keys = [("x-api-key", key)] * 2
    answer = http().post(EVALUATION, json=question(lena.subject), headers=keys)
    refused(answer, 401, "CREDENTIAL_INVALID")


@pytest.mark.parametrize("name", ["access_token", "api_key", "X-API-Key", "token"])
async def test_a_credential_in_the_address_is_refused(
    http: Browse, lena: Person, name: str
) -> None:
    path = f"{EVALUATION}?{name}={lena.access_token}"
    refused(http().post(path, json=question(lena.subject)), 401, "TOKEN_MISSING")
    client = http(authorization=bearer(lena.access_token))
    refused(client.post(path, json=question(lena.subject)), 400, "CREDENTIAL_IN_QUERY")


async def test_a_cookie_signs_nobody_in_and_a_form_asks_nothing(http: Browse, lena: Person) -> None:
    for name in ("__Host-argy", "session", "authorization"):
        client = http(cookie=f"{name}={lena.access_token}")
        answer = client.post(EVALUATION, json=question(lena.subject))
        refused(answer, 401, "TOKEN_MISSING")
        assert answer.headers["www-authenticate"] == 'Bearer realm="argy"'
    # What a page of another origin can have a browser send without asking: no JSON, no header.
    client = http(authorization=bearer(lena.access_token), origin="https://evil.example")
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        answer = client.post(EVALUATION, content=b"{}", headers={"content-type": kind})
        refused(answer, 400, "MEDIA_TYPE_NOT_JSON")
        assert "access-control-allow-origin" not in answer.headers
    preflight = http(origin="https://evil.example").options(
        EVALUATION, headers={"access-control-request-method": "POST"}
    )
    assert preflight.status_code == 401
    assert not [name for name in preflight.headers if name.startswith("access-control-")]


async def test_nobody_is_named_beside_a_credential(
    http: Browse, lena: Person, people: dict[str, str]
) -> None:
    """The services are told whom the credential is of by itself, not by a header of the caller."""
    client = http(authorization=bearer(lena.access_token), x_argy_subject="service:cli")
    answer = told(client.post(EVALUATION, json=question(lena.subject, "abolish")))
    assert answer["decision"] is False


@pytest.mark.parametrize(
    "made_up", ["a.b.c", "argy_pat_x", "e" * 9000, "a.b", "\u00e9.b.c"],
    ids=["unsigned", "no_checksum", "too_long", "two_parts", "not_ascii"],
)  # fmt: skip
async def test_what_is_no_credential_is_refused(http: Browse, lena: Person, made_up: str) -> None:
    client = http()
    headers: Any = {"authorization": bearer(made_up).encode("latin-1")}
    answer = client.post(EVALUATION, json=question(lena.subject), headers=headers)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == INVALID
    assert made_up not in answer.text


async def test_a_page_token_of_one_credential_serves_no_other(http: Browse, lena: Person) -> None:
    scopes = (ASKING, "authz.decision:explain", "project:read")
    first, second = await personal(lena, *scopes), await personal(lena, *scopes)
    body = {
        "subject": {"type": "user"},
        "action": {"name": "read"},
        "resource": {"type": "project", "id": "alpha"},
    }
    mine = http(authorization=bearer(first.secret))
    page = told(mine.post(SEARCH + "subject", json={**body, "page": {"limit": 1}}))["page"]
    again = {**body, "page": {"token": page["next_token"]}}
    assert told(mine.post(SEARCH + "subject", json=again))["results"]
    theirs = http(authorization=bearer(second.secret))
    refused(theirs.post(SEARCH + "subject", json=again), 400, "INVALID_PAGE_TOKEN")
