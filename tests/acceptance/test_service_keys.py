"""A service signs with a key of its own, against the platform as people start it."""

import asyncio
import json
import ssl
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from link_sign_in import signed_in
from mail_folder import PATIENCE_S

from argy.api.authz.v1.authz_pb2 import CheckRequest, Question, WatchRevisionsRequest
from argy.api.authz.v1.authz_pb2_grpc import AuthzServiceStub
from argy.base.crypto import write_secret
from argy.base.errors import ArgyError, PermissionDenied, Unauthenticated
from argy.base.ids import PLATFORM_TENANT_ID
from argy.client import Connection, Endpoint

CREATE = ("service-key", "create", "--service", "example", "--scope", "authz.decision:check")
QUESTION = Question(subject="user:nobody", action="read", resource="project:alpha")


@pytest.fixture
def acme(rows: Callable[..., list[dict[str, Any]]]) -> UUID:
    return next(UUID(row["tenant_id"]) for row in rows("tenant", "list") if row["slug"] == "acme")


async def check(endpoint: Endpoint, tenant_id: UUID) -> bool:
    async with Connection(endpoint, timeout_s=30) as connection:
        stub: Any = AuthzServiceStub(connection.channel(tenant_id))
        return bool((await stub.Check(CheckRequest(question=QUESTION))).decision.effect)


async def refused(endpoint: Endpoint, tenant_id: UUID) -> str:
    """The reason why a key that ended is refused; the first such answer ends the wait."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                await check(endpoint, tenant_id)
            except ArgyError as error:
                return error.reason


async def test_a_service_signs_with_its_key_until_it_is_revoked(
    platform: Any, rows: Any, argy: Any, acme: UUID, tmp_path: Path
) -> None:
    out = tmp_path / "example.json"
    (made,) = rows(*CREATE, "--tenant", "acme", "--days", "90", "--out", str(out))
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    held = json.loads(out.read_text())
    assert set(held) == {"source", "key_id", "secret"}
    assert held["secret"] not in json.dumps(made)
    about = platform.endpoint
    endpoint = Endpoint(about.target, "example", str(out), ca_file=about.ca_file)
    assert await check(endpoint, acme)
    with pytest.raises(PermissionDenied) as elsewhere:
        await check(endpoint, PLATFORM_TENANT_ID)
    assert elsewhere.value.reason == "KEY_OF_ANOTHER_TENANT"
    # The same key by the environment, and in nothing that prints.
    environment = {
        "ARGY_TARGET": about.target,
        "ARGY_CA_FILE": about.ca_file,
        "ARGY_SERVICE_KEY": f"example:{held['key_id']}:{held['secret']}",
    }
    by_environment = Endpoint.from_env(source="example", env=environment)
    assert held["secret"] not in repr(by_environment)
    assert await check(by_environment, acme)
    question = ("service:nobody", "read", "project:alpha", "--tenant", str(acme))
    asked = argy("check", *question, **environment)
    assert (asked.returncode, asked.stderr) == (1, "")
    assert asked.stdout.startswith("DENY")

    listed = rows("service-key", "list", "--tenant", "acme", "--service", "example")
    assert [row["id"] for row in listed] == [made["id"]]
    fresh = tmp_path / "fresh.json"
    rotate = ("service-key", "rotate", made["id"], "--tenant", "acme", "--out", str(fresh))
    rows(*rotate, "--service", "example", "--overlap-hours", "1")
    renewed = Endpoint(about.target, "example", str(fresh), ca_file=about.ca_file)
    for one in (endpoint, renewed):
        assert await check(one, acme)

    rows("service-key", "revoke", made["id"], "--tenant", "acme")
    for one in (endpoint, renewed):
        assert await refused(one, acme) == "KEY_OVER"
    assert held["secret"].split("_")[2] not in platform.log


async def test_a_server_beside_sign_in_asks_it_and_hears_of_the_end(
    platform: Any, rows: Any, replica_factory: Callable[..., Endpoint], acme: UUID, tmp_path: Path
) -> None:
    about = platform.endpoint
    there = replica_factory(
        "authz",
        ARGY_AUTHN_TARGET=about.target,
        ARGY_AUTHN_CA=about.ca_file,
        ARGY_PUBLIC_URL="https://localhost:1",
    )
    told_of_none = replica_factory("authz", ARGY_SPOOL_DIR=str(tmp_path / "other-spool"))
    for server in (there, told_of_none):
        async with Connection(server) as connection, asyncio.timeout(PATIENCE_S):
            while not await connection.serving(timeout_s=1):  # noqa: ASYNC110 - it asks each time
                await asyncio.sleep(0)
    out = tmp_path / "example.json"
    (made,) = rows(*CREATE, "--tenant", "acme", "--out", str(out))
    endpoint = Endpoint(there.target, "example", str(out), ca_file=about.ca_file)
    assert await check(endpoint, acme)
    with pytest.raises(Unauthenticated) as unsupported:
        await check(Endpoint(told_of_none.target, "example", str(out), ca_file=about.ca_file), acme)
    assert unsupported.value.reason == "KEY_UNSUPPORTED"
    rows("service-key", "revoke", made["id"], "--tenant", "acme")
    assert await refused(endpoint, acme) == "KEY_OVER"


async def test_another_service_s_credential_is_not_rotated_by_mistake(
    argy: Any, rows: Any, tmp_path: Path
) -> None:
    out = tmp_path / "example.json"
    (made,) = rows(*CREATE, "--tenant", "acme", "--out", str(out))
    rotate = ("service-key", "rotate", made["id"], "--tenant", "acme", "--service", "other")
    done = argy(*rotate, "--out", str(out))
    assert done.returncode == 4
    assert "'other' has no live key" in done.stderr
    rows("service-key", "revoke", made["id"], "--tenant", "acme")


@pytest.mark.parametrize("service", ["edge", "cli", "authz", "authn"])
def test_the_platform_s_own_services_have_no_service_keys(
    argy: Any, tmp_path: Path, service: str
) -> None:
    out = tmp_path / "stolen.json"
    done = argy(
        "service-key", "create", "--service", service, "--scope", "authz.decision:check",
        "--tenant", "platform", "--out", str(out),
    )  # fmt: skip
    assert done.returncode == 2
    assert "a service of the platform itself" in done.stderr
    assert not out.exists()


async def test_a_key_made_in_the_platform_tenant_signs_for_every_tenant(
    platform: Any, rows: Any, acme: UUID, tmp_path: Path
) -> None:
    out = tmp_path / "example.json"
    (made,) = rows(*CREATE, "--tenant", "platform", "--out", str(out))
    about = platform.endpoint
    endpoint = Endpoint(about.target, "example", str(out), ca_file=about.ca_file)
    for tenant_id in (acme, PLATFORM_TENANT_ID):
        assert await check(endpoint, tenant_id)
    renamed = json.loads(out.read_text()) | {"source": "cli"}
    out.write_text(json.dumps(renamed))
    with pytest.raises(Unauthenticated) as forged:
        await check(Endpoint(about.target, "cli", str(out), ca_file=about.ca_file), acme)
    assert forged.value.reason == "SIGNATURE_INVALID"
    rows("service-key", "revoke", made["id"], "--tenant", "platform")


async def test_a_key_that_a_person_rotates_at_the_edge_signs_under_the_id_it_tells(
    platform: Any, rows: Any, argy: Any, acme: UUID, tmp_path: Path
) -> None:
    out, email = tmp_path / "example.json", f"a{uuid4().hex[:12]}@acme.example"
    (made,) = rows(*CREATE, "--tenant", "acme", "--out", str(out))
    (user,) = rows("user", "create", email, "--tenant", "acme", "--name", "Ada")
    subject = f"user:{user['user_id']}"
    granted = argy("grant", subject, "PLATFORM_ADMIN", "--tenant", "acme", "-m", "a test")
    assert granted.returncode == 0, granted.stderr
    edge, about = platform.ready["edge"], platform.endpoint
    trusted = ssl.create_default_context(cafile=edge["ca_file"])
    async with (
        signed_in(platform, acme, email=email, subject=subject) as person,
        httpx.AsyncClient(base_url=edge["url"], verify=trusted, timeout=PATIENCE_S) as http,
    ):
        headers = {"authorization": f"Bearer {person.access_token}"}
        path = f"/acme/credentials/{made['id']}"
        answer = await http.post(f"{path}/rotate", headers=headers, json={"overlap_hours": 0})
        assert answer.status_code == 200, answer.text
        told = answer.json()
        assert (told["id"], told["kind"]) == (made["id"], "service_key")
        assert told["key_id"] != json.loads(out.read_text())["key_id"]
        # A token has no id to sign under, and tells none.
        body = {"kind": "token", "name": "x", "scopes": ["authz.decision:check"], "days": 7}
        token = await http.post("/acme/credentials", headers=headers, json=body)
        assert token.status_code == 201, token.text
        turned = await http.post(
            f"/acme/credentials/{token.json()['id']}/rotate",
            headers=headers,
            json={"overlap_hours": 0},
        )
        assert turned.status_code == 200, turned.text
        assert "key_id" not in turned.json()
        old = Endpoint(about.target, "example", str(out), ca_file=about.ca_file)
        assert await refused(old, acme) == "KEY_OVER"
        fresh = tmp_path / "fresh.json"
        pair = {"source": "example", "key_id": told["key_id"], "secret": told["secret"]}
        write_secret(fresh, json.dumps(pair).encode())
        assert await check(
            Endpoint(about.target, "example", str(fresh), ca_file=about.ca_file), acme
        )
        assert (await http.delete(path, headers=headers)).status_code == 204


async def test_a_stream_of_a_revoked_service_key_is_cut(
    platform: Any, rows: Any, acme: UUID, tmp_path: Path
) -> None:
    out, about = tmp_path / "example.json", platform.endpoint
    (made,) = rows(*CREATE, "--tenant", "acme", "--out", str(out))
    endpoint = Endpoint(about.target, "example", str(out), ca_file=about.ca_file)
    async with Connection(endpoint, timeout_s=30) as connection, asyncio.timeout(PATIENCE_S):
        stub: Any = AuthzServiceStub(connection.channel(acme))
        states = stub.WatchRevisions(WatchRevisionsRequest(), timeout=PATIENCE_S)
        assert (await anext(states)).revision
        rows("service-key", "revoke", made["id"], "--tenant", "acme")
        with pytest.raises(Unauthenticated) as cut:
            await anext(states)
        assert cut.value.reason == "KEY_OVER"
