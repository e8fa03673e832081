"""A session that an invitation opened, on a running platform: it registers a passkey, or ends."""

import json
import ssl
from collections.abc import AsyncIterator, Awaitable
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from mail_folder import PATIENCE_S, link_to

from argy.api.authn.v1 import credential_pb2 as cpb
from argy.api.authn.v1 import device_pb2 as dpb
from argy.api.authn.v1 import session_pb2 as spb
from argy.api.authn.v1.credential_pb2_grpc import CredentialServiceStub
from argy.api.authn.v1.device_pb2_grpc import DeviceServiceStub
from argy.api.authn.v1.magic_link_pb2 import RedeemLinkRequest
from argy.api.authn.v1.magic_link_pb2_grpc import MagicLinkServiceStub
from argy.api.authn.v1.passkey_pb2 import BeginRegistrationRequest, ListPasskeysRequest
from argy.api.authn.v1.passkey_pb2_grpc import PasskeyServiceStub
from argy.api.authn.v1.session_pb2_grpc import SessionServiceStub
from argy.api.authz.v1 import authz_pb2 as apb
from argy.api.authz.v1.authz_pb2_grpc import AuthzServiceStub
from argy.base.errors import PermissionDenied
from argy.client import Connection

HERE = spb.Device(ip="2001:db8::77", user_agent="Browser/1")


@dataclass
class Invited:
    """Somebody with every right, whose only proof is a link."""

    subject: str
    token: str
    session_id: str
    channel: Any
    tenant_id: UUID

    async def ask(self, stub: Any, rpc: str, request: Any) -> Any:
        """Call with the session's token."""
        metadata = (("authorization", f"Bearer {self.token}"),)
        return await getattr(stub(self.channel), rpc)(request, metadata=metadata)


@pytest.fixture
async def invited(platform: Any, rows: Any, argy: Any) -> AsyncIterator[Invited]:
    tenant_id = next(
        UUID(row["tenant_id"]) for row in rows("tenant", "list") if row["slug"] == "acme"
    )
    email = f"a{uuid4().hex[:12]}@acme.example"
    made = json.loads(argy("user", "create", email, "--tenant", "acme", "--json").stdout)
    subject = f"user:{made['user_id']}"
    for command in (
        ("grant", subject, "PLATFORM_ADMIN", "--tenant", "acme", "-m", "a test"),
        ("user", "invite", email, "--tenant", "acme"),
    ):
        done = argy(*command)
        assert done.returncode == 0, done.stderr
    edge = replace(
        platform.endpoint, source="edge", keys_file=str(platform.home / "keys" / "edge.json")
    )
    async with AsyncExitStack() as stack:
        connection = await stack.enter_async_context(Connection(edge, timeout_s=30))
        channel = connection.channel(tenant_id)
        link = await link_to(platform.home / "mail", email)
        links: Any = MagicLinkServiceStub(channel)
        redeemed = await links.RedeemLink(
            RedeemLinkRequest(secret=link, confirmed=True, device=HERE)
        )
        sessions: Any = SessionServiceStub(channel)
        secret = redeemed.session.secret
        checked = await sessions.CheckSession(spb.CheckSessionRequest(secret=secret))
        assert checked.session.acr == "urn:argy:acr:provisional"
        yield Invited(subject, checked.access_token, checked.session.session_id, channel, tenant_id)


QUESTION = apb.Question(subject="user:x", action="read", resource="project:alpha")
REFUSED: dict[str, tuple[Any, Any]] = {
    "Check": (AuthzServiceStub, apb.CheckRequest(question=QUESTION)),
    "BatchCheck": (AuthzServiceStub, apb.BatchCheckRequest(questions=[QUESTION])),
    "ListPermissions": (AuthzServiceStub, apb.ListPermissionsRequest(subject="user:x")),
    "CreatePersonalAccessToken": (
        CredentialServiceStub,
        cpb.CreatePersonalAccessTokenRequest(name="x", scopes=["project:read"], days=30),
    ),
    "CreateApiKey": (
        CredentialServiceStub,
        cpb.CreateApiKeyRequest(subject="agent:x", name="x", scopes=["project:read"], days=30),
    ),
    "ListCredentials": (CredentialServiceStub, cpb.ListCredentialsRequest()),
    "DecideDeviceCode": (
        DeviceServiceStub,
        dpb.DecideDeviceCodeRequest(user_code="BCDF-GHJK", approved=True, device=HERE),
    ),
    "EndUserSessions": (SessionServiceStub, spb.EndUserSessionsRequest()),
    "EndSession": (SessionServiceStub, spb.EndSessionRequest(session_id=str(uuid4()))),
    "ListPasskeys": (PasskeyServiceStub, ListPasskeysRequest()),
}


async def refusal(awaited: Awaitable[Any]) -> str:
    """Why a call is refused; its text says what to do."""
    with pytest.raises(PermissionDenied) as refused:
        await awaited
    assert "register a passkey" in refused.value.message
    return refused.value.reason


async def test_who_reads_a_mailbox_does_nothing_with_it_but_register_a_passkey(
    platform: Any, invited: Invited
) -> None:
    found = {
        rpc: await refusal(invited.ask(stub, rpc, request))
        for rpc, (stub, request) in REFUSED.items()
    }
    assert found == dict.fromkeys(REFUSED, "PASSKEY_REQUIRED")
    edge = platform.ready["edge"]
    trusted = ssl.create_default_context(cafile=edge["ca_file"])
    headers = {
        "authorization": f"Bearer {invited.token}",
        "x-tenant-id": str(invited.tenant_id),
    }
    body = {
        "subject": {"type": "user", "id": invited.subject.removeprefix("user:")},
        "action": {"name": "read"},
        "resource": {"type": "project", "id": "alpha"},
    }
    async with httpx.AsyncClient(
        base_url=edge["url"], verify=trusted, headers=headers, timeout=PATIENCE_S
    ) as http:
        for answer in (
            await http.post("/access/v1/evaluation", json=body),
            await http.get("/acme/whoami"),
            await http.get("/acme/credentials"),
        ):
            assert (answer.status_code, answer.json()["reason"]) == (403, "PASSKEY_REQUIRED")


async def test_it_registers_a_passkey_sees_itself_and_ends_itself(invited: Invited) -> None:
    begun = await invited.ask(PasskeyServiceStub, "BeginRegistration", BeginRegistrationRequest())
    assert json.loads(begun.options_json)
    listed = await invited.ask(SessionServiceStub, "ListSessions", spb.ListSessionsRequest())
    assert [one.session_id for one in listed.sessions] == [invited.session_id]
    ending = spb.EndSessionRequest(session_id=invited.session_id)
    await invited.ask(SessionServiceStub, "EndSession", ending)
