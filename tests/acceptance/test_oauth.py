"""OAuth at the edge of a platform as people start it: tokens, their end, their keys."""

import asyncio
import json
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import jwt
import pytest
from mail_folder import PATIENCE_S

from argy.api.authn.v1.session_pb2 import ListSessionsRequest
from argy.api.authn.v1.session_pb2_grpc import SessionServiceStub
from argy.api.authz.v1.authz_pb2 import CheckRequest, Question
from argy.api.authz.v1.authz_pb2_grpc import AuthzServiceStub
from argy.api.directory.v1.user_pb2 import USER_STATE_DISABLED, SetUserStateRequest
from argy.api.directory.v1.user_pb2_grpc import UserServiceStub
from argy.authn.tokens.domain import Tokens
from argy.authn.tokens.issuing import TokenIssuer
from argy.authn.tokens.key_rotation import DELAY_S
from argy.authn.tokens.revocation import RevocationList
from argy.authn.tokens.signing_keys import SigningKeys
from argy.base.clock import SystemClock
from argy.base.crypto import KeyRing
from argy.base.envelope import KeyRingKms
from argy.base.errors import ArgyError
from argy.base.ids import uuid7
from argy.base.secret_token import new_token
from argy.client import Connection
from argy.rpc.jwt import PUBLISHED_AGE_S
from argy.store.database import Database
from argy.store.redis import RedisStore

CLIENT = "argy-test"


@dataclass
class Edge:
    """The edge as an OAuth client sees it, and a person's tokens without a ceremony."""

    platform: Any
    http: httpx.AsyncClient
    issuer: TokenIssuer
    db: Database

    @property
    def url(self) -> str:
        return str(self.platform.ready["edge"]["url"])

    @property
    def tenant_id(self) -> UUID:
        return UUID(self.platform.ready["edge"]["tenant_id"])

    async def sign_in(self, user_id: str) -> Tokens:
        async with self.db.tenant(self.tenant_id) as tx:
            return await self.issuer.issue(
                tx,
                tenant="acme",
                user_id=UUID(user_id),
                session_id=uuid7(),
                acr="urn:argy:acr:passkey",
                amr=("passkey",),
                auth_time_ms=time.time_ns() // 1_000_000,
                client_id=CLIENT,
                with_refresh=True,
            )

    async def post(self, path: str, **fields: str) -> httpx.Response:
        return await self.http.post(f"/acme/oauth/{path}", data=fields)

    async def refresh(self, token: str) -> httpx.Response:
        return await self.post(
            "token", grant_type="refresh_token", refresh_token=token, client_id=CLIENT
        )

    async def introspect(self, token: str) -> dict[str, Any]:
        answer = await self.http.post(
            "/acme/oauth/introspect",
            data={"token": token},
            headers={"authorization": f"Bearer {edge_token(self.platform)}"},
        )
        assert answer.status_code == 200, answer.text
        return dict(answer.json())


@pytest.fixture
async def edge(platform: Any) -> AsyncIterator[Edge]:
    """The edge, and an issuer that stands on the platform's own keys."""
    home, clock = platform.home, SystemClock()
    told = platform.ready["edge"]
    trust = ssl.create_default_context(cafile=platform.endpoint.ca_file)
    async with AsyncExitStack() as stack:
        dsn = (home / "run" / "argy_authn_dsn").read_text()
        db = await Database.open(dsn, role="argy_authn", max_size=2)
        stack.push_async_callback(db.close)
        redis = await RedisStore.open((home / "run" / "argy_authn_redis_url").read_text())
        stack.push_async_callback(redis.close)
        keys = SigningKeys(db, KeyRingKms(KeyRing.load(home / "keys" / "kek.json")), clock)
        await keys.start()
        stack.push_async_callback(keys.close)
        issuer = TokenIssuer(
            keys=keys,
            revocations=RevocationList(redis, clock),
            public_url=told["url"],
            clock=clock,
        )
        http = httpx.AsyncClient(base_url=told["url"], verify=trust, timeout=PATIENCE_S)
        await stack.enter_async_context(http)
        yield Edge(platform, http, issuer, db)


@pytest.fixture
def user_id(rows: Any, argy: Any) -> str:
    """A user of Acme."""
    email = f"o{uuid7().hex}@acme.example"
    (made,) = rows("user", "create", email, "--tenant", "acme", "--name", "Olga")
    granted = argy(
        "grant", f"user:{made['user_id']}", "PLATFORM_USER", "--tenant", "acme", "-m", "a test"
    )
    assert granted.returncode == 0, granted.stderr
    return str(made["user_id"])


async def test_a_stranger_verifies_a_token_with_what_is_published(edge: Edge, user_id: str) -> None:
    """As any OAuth library would: from the issuer to the metadata, the keys and the claims."""
    tokens = await edge.sign_in(user_id)
    issuer = jwt.decode(tokens.access_token, options={"verify_signature": False})["iss"]
    assert issuer == f"{edge.url}/acme"
    metadata = (await edge.http.get("/.well-known/oauth-authorization-server/acme")).json()
    assert metadata["issuer"] == issuer
    assert metadata["grant_types_supported"] == [
        "refresh_token",
        "urn:ietf:params:oauth:grant-type:device_code",
    ]
    # Whatever the document does not say would be client_secret_basic (RFC 8414 §2).
    methods = {name: value for name, value in metadata.items() if "_auth_methods_" in name}
    assert methods == {
        "token_endpoint_auth_methods_supported": ["none"],
        "revocation_endpoint_auth_methods_supported": ["none"],
        "introspection_endpoint_auth_methods_supported": ["Bearer"],
    }
    answer = await edge.http.get(metadata["jwks_uri"])
    assert answer.headers["content-type"] == "application/jwk-set+json"
    keys = jwt.PyJWKSet.from_dict(answer.json())
    key = keys[jwt.get_unverified_header(tokens.access_token)["kid"]]
    claims = jwt.decode(tokens.access_token, key, ["RS256"], audience="argy", issuer=issuer)
    assert claims["sub"] == f"user:{user_id}"
    assert all(
        set(entry) == {"kty", "use", "alg", "kid", "n", "e"} for entry in answer.json()["keys"]
    )


async def test_nobody_rotates_the_keys_without_answering_for_it(argy: Any) -> None:
    done = await asyncio.to_thread(argy, "keys", "rotate-access")
    assert done.returncode == 3
    assert "argy login" in done.stderr


async def test_a_rotated_key_is_published_beside_the_old_one(
    edge: Edge, user_id: str, argy: Any, keeper: dict[str, str]
) -> None:
    tokens = await edge.sign_in(user_id)
    old = jwt.get_unverified_header(tokens.access_token)["kid"]
    began = datetime.now(UTC)
    done = await asyncio.to_thread(argy, "keys", "rotate-access", "--json", **keeper)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    kid = told["kid"]
    # Not before every copy of the published keys has it.
    signs_from = datetime.fromisoformat(told["signs_from"])
    assert signs_from > began + timedelta(seconds=PUBLISHED_AGE_S)
    async with asyncio.timeout(PATIENCE_S):
        published: list[str] = []
        while kid not in published:
            answer = await edge.http.get("/.well-known/jwks.json")
            published = [entry["kid"] for entry in answer.json()["keys"]]
    assert old in published
    assert (await edge.introspect(tokens.access_token))["active"] is True


async def test_after_a_withdrawal_no_token_of_before_is_good_and_a_refresh_gives_another(
    edge: Edge, user_id: str, argy: Any, keeper: dict[str, str]
) -> None:
    tokens = await edge.sign_in(user_id)
    old = jwt.get_unverified_header(tokens.access_token)["kid"]
    done = await asyncio.to_thread(argy, "keys", "rotate-access", "--withdraw", **keeper)
    assert done.returncode == 0, done.stderr
    assert old in done.stdout.partition("refused from now on")[2]
    assert (await edge.introspect(tokens.access_token))["active"] is False
    answer = await edge.http.get("/.well-known/jwks.json")
    (key,) = answer.json()["keys"]
    assert key["kid"] != old
    # Nobody may keep the published keys for longer than it takes a rotated one to sign.
    assert answer.headers["cache-control"] == f"public, max-age={PUBLISHED_AGE_S}"
    assert DELAY_S > PUBLISHED_AGE_S
    fresh = (await edge.refresh(tokens.refresh_token)).json()["access_token"]
    assert jwt.get_unverified_header(fresh)["kid"] == key["kid"]
    assert (await edge.introspect(fresh))["active"] is True


async def test_metadata_of_nobody(edge: Edge) -> None:
    answer = await edge.http.get("/.well-known/oauth-authorization-server/nobody")
    assert answer.status_code == 404
    for path in ("/.well-known/nothing", "/.well-known/openid-configuration/x", "/nothing/at/all"):
        assert (await edge.http.get(path)).status_code == 404
    nobody = await edge.http.post(
        "/nobody/oauth/token",
        data={"grant_type": "refresh_token", "refresh_token": "x", "client_id": CLIENT},
    )
    assert (nobody.status_code, nobody.json()["error"]) == (401, "invalid_client")
    offered = (await edge.http.get("/.well-known/oauth-authorization-server/acme")).json()
    assert {"authz.decision:check", "audit.event:read"} <= set(offered["scopes_supported"])
    for method, path in (
        ("GET", "/acme/oauth/token"),
        ("POST", "/.well-known/jwks.json"),
    ):
        assert (await edge.http.request(method, path)).status_code == 405


async def test_a_refresh_token_is_traded_once(edge: Edge, user_id: str) -> None:
    tokens = await edge.sign_in(user_id)
    first = await edge.refresh(tokens.refresh_token)
    assert first.status_code == 200, first.text
    assert first.headers["cache-control"] == "no-store"
    told = first.json()
    assert (told["token_type"], told["expires_in"]) == ("Bearer", 600)
    assert (await edge.introspect(told["access_token"]))["active"] is True
    again = await edge.refresh(tokens.refresh_token)
    assert (again.status_code, again.json()["error"]) == (400, "invalid_grant")
    assert (await edge.refresh(told["refresh_token"])).json()["error"] == "invalid_grant"
    assert await edge.introspect(told["access_token"]) == {"active": False}


async def test_a_refresh_gives_no_more_scope_than_was_asked_for(edge: Edge, user_id: str) -> None:
    tokens = await edge.sign_in(user_id)
    more = await edge.post(
        "token",
        grant_type="refresh_token",
        refresh_token=tokens.refresh_token,
        client_id=CLIENT,
        scope="no scope!",
    )
    assert (more.status_code, more.json()["error"]) == (400, "invalid_scope")
    # Refused, and not used up; the grant has no limit, so there is no scope to tell of it.
    first = (await edge.refresh(tokens.refresh_token)).json()
    assert "scope" not in first
    narrowed = await edge.post(
        "token",
        grant_type="refresh_token",
        refresh_token=first["refresh_token"],
        client_id=CLIENT,
        scope="project:read",
    )
    told = narrowed.json()
    assert told["scope"] == "project:read"
    claims = jwt.decode(told["access_token"], options={"verify_signature": False})
    assert claims["scope"] == "project:read"
    # The family keeps what was granted.
    assert "scope" not in (await edge.refresh(told["refresh_token"])).json()


async def test_introspection_tells_a_service_and_nobody_else(edge: Edge, user_id: str) -> None:
    tokens = await edge.sign_in(user_id)
    told = await edge.introspect(tokens.access_token)
    assert told["sub"] == f"user:{user_id}"
    assert told["iss"] == f"{edge.url}/acme"
    assert told["exp"] - told["iat"] == 600
    assert (told["token_type"], told["token_kind"], told["aud"]) == (
        "Bearer",
        "access_token",
        "argy",
    )
    assert (
        told["jti"] == jwt.decode(tokens.access_token, options={"verify_signature": False})["jti"]
    )
    assert (await edge.introspect(tokens.refresh_token))["token_kind"] == "refresh_token"
    assert await edge.introspect("x") == {"active": False}
    basic = {"authorization": "Basic Y2xpZW50OnNlY3JldA=="}
    for headers in ({}, {"authorization": f"Bearer {tokens.access_token}"}, basic):
        answer = await edge.http.post(
            "/acme/oauth/introspect", data={"token": tokens.access_token}, headers=headers
        )
        assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
    # The token of the edge speaks for a service of Acme alone.
    answer = await edge.http.post(
        "/platform/oauth/introspect",
        data={"token": "x"},
        headers={"authorization": f"Bearer {edge_token(edge.platform)}"},
    )
    assert answer.status_code == 403


async def test_revocation_answers_alike_and_ends_a_family(edge: Edge, user_id: str) -> None:
    tokens = await edge.sign_in(user_id)
    for token in ("x", new_token("rt")):
        assert (await edge.post("revoke", token=token)).status_code == 200
    # Another client's: nothing ends, nothing is told.
    kept = await edge.post("revoke", token=tokens.refresh_token, client_id="evil")
    assert kept.status_code == 200
    assert (await edge.introspect(tokens.access_token))["active"] is True
    done = await edge.post("revoke", token=tokens.refresh_token, client_id=CLIENT)
    assert (done.status_code, done.content) == (200, b"")
    async with asyncio.timeout(PATIENCE_S):
        while (await edge.introspect(tokens.access_token))["active"]:
            pass
    assert (await edge.refresh(tokens.refresh_token)).json()["error"] == "invalid_grant"


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"grant_type": "password", "username": "a", "password": "b"}, "unsupported_grant_type"),
        ({"grant_type": "client_credentials"}, "unsupported_grant_type"),
        ({"grant_type": "authorization_code", "code": "x"}, "unsupported_grant_type"),
        ({"grant_type": "refresh_token", "client_id": CLIENT}, "invalid_request"),
        ({"grant_type": "refresh_token", "refresh_token": "x"}, "invalid_request"),
        (
            {"grant_type": "refresh_token", "refresh_token": "x", "client_id": CLIENT},
            "invalid_grant",
        ),
        (
            {"grant_type": "refresh_token", "refresh_token": "x" * 300, "client_id": CLIENT},
            "invalid_request",
        ),
        ({}, "invalid_request"),
    ],
)
async def test_refused_grants(edge: Edge, fields: dict[str, str], error: str) -> None:
    answer = await edge.post("token", **fields)
    assert answer.status_code == 400
    assert answer.json()["error"] == error
    if fields.get("grant_type") == "password":
        assert "no passwords" in answer.json()["error_description"]


async def test_basic_authentication_and_bent_forms(edge: Edge) -> None:
    basic = await edge.http.post(
        "/acme/oauth/token", data={"grant_type": "refresh_token"}, auth=("client", "secret")
    )
    assert (basic.status_code, basic.json()["error"]) == (401, "invalid_client")
    assert basic.headers["www-authenticate"] == 'Bearer realm="argy"'
    form = {"content-type": "application/x-www-form-urlencoded"}
    for content, headers in (
        (b"grant_type=refresh_token&grant_type=password", form),
        (b"grant_type=%ff", form),
        (json.dumps({"grant_type": "refresh_token"}).encode(), {"content-type": "text/plain"}),
    ):
        answer = await edge.http.post("/acme/oauth/token", content=content, headers=headers)
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")


async def test_disabling_a_person_ends_everything(edge: Edge, user_id: str) -> None:
    tokens = await edge.sign_in(user_id)
    platform = edge.platform
    endpoint = replace(
        platform.endpoint, source="edge", keys_file=str(platform.home / "keys" / "edge.json")
    )
    bearer = (("authorization", f"Bearer {tokens.access_token}"),)
    question = Question(subject=f"user:{user_id}", action="read", resource="project:alpha")

    async def decide(connection: Connection) -> str:
        stub: Any = AuthzServiceStub(connection.channel(edge.tenant_id))
        return await outcome(stub.Check(CheckRequest(question=question), metadata=bearer))

    async def own_sessions(connection: Connection) -> str:
        stub: Any = SessionServiceStub(connection.channel(edge.tenant_id))
        return await outcome(stub.ListSessions(ListSessionsRequest(), metadata=bearer))

    async with Connection(endpoint, timeout_s=30) as connection:
        assert [await decide(connection), await own_sessions(connection)] == ["", ""]
        async with Connection(platform.endpoint, timeout_s=30) as operator:
            users: Any = UserServiceStub(operator.channel(edge.tenant_id))
            request = SetUserStateRequest(user_id=user_id, state=USER_STATE_DISABLED, reason="left")
            await users.SetUserState(request)
        async with asyncio.timeout(PATIENCE_S):
            for ask in (decide, own_sessions):
                while not await ask(connection):
                    pass
            while (await edge.introspect(tokens.access_token))["active"]:
                pass
        refused = await edge.refresh(tokens.refresh_token)
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_grant")


def edge_token(platform: Any) -> str:
    """The token of a service at the edge."""
    return Path(platform.ready["edge"]["token_file"]).read_text().strip()


async def outcome(awaited: Any) -> str:
    """The reason of a refusal; empty when there was none."""
    try:
        await awaited
    except ArgyError as error:
        return error.reason
    return ""
