"""What looks like authority and is none: another tenant's agent of a name, and an invitation."""

from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import pytest
from link_sign_in import signed_in

from argy.api.authn.v1.credential_pb2 import CreateApiKeyRequest
from argy.api.authn.v1.credential_pb2_grpc import CredentialServiceStub
from argy.api.authn.v1.token_pb2 import RotateSigningKeyRequest
from argy.api.authn.v1.token_pb2_grpc import TokenServiceStub
from argy.api.authz.v1.assignment_pb2 import GrantRoleRequest
from argy.api.authz.v1.assignment_pb2_grpc import AssignmentServiceStub
from argy.api.directory.v1.tenant_pb2 import ListTenantsRequest
from argy.api.directory.v1.tenant_pb2_grpc import TenantServiceStub
from argy.base.errors import PermissionDenied
from argy.client import Connection

Rows = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def acme(rows: Rows) -> UUID:
    return next(UUID(row["tenant_id"]) for row in rows("tenant", "list") if row["slug"] == "acme")


async def test_an_agent_of_a_tenant_rotates_no_keys_of_the_platform(
    platform: Any, argy: Any, acme: UUID
) -> None:
    """The platform's administrator ``agent:ops`` and acme's own are not one."""
    agent = f"agent:ops-{uuid4().hex}"
    for tenant in ("platform", "acme"):
        done = argy("grant", agent, "PLATFORM_ADMIN", "--tenant", tenant, "-m", "a test")
        assert done.returncode == 0, done.stderr
    scopes = ["authn.signing_key:rotate", "directory.tenant:read"]
    async with Connection(platform.endpoint, timeout_s=30) as connection:
        channel = connection.channel(acme)
        keys: Any = CredentialServiceStub(channel)
        made = await keys.CreateApiKey(
            CreateApiKeyRequest(subject=agent, name="ours", scopes=scopes, days=30)
        )
        metadata = (("x-api-key", made.secret),)
        tokens: Any = TokenServiceStub(channel)
        with pytest.raises(PermissionDenied) as refused:
            await tokens.RotateSigningKey(RotateSigningKeyRequest(), metadata=metadata)
        # Nor does any agent: it takes a person.
        assert refused.value.reason == "PROOF_REQUIRED"
        tenants: Any = TenantServiceStub(channel)
        with pytest.raises(PermissionDenied) as elsewhere:
            await tenants.ListTenants(ListTenantsRequest(), metadata=metadata)
        assert elsewhere.value.reason == "PRINCIPAL_OF_ANOTHER_TENANT"


async def test_who_is_invited_or_reset_holds_what_they_were_given_and_no_more(
    platform: Any, rows: Rows, argy: Any, acme: UUID
) -> None:
    email = f"i{uuid4().hex}@acme.example"
    (made,) = rows("user", "create", email, "--tenant", "acme", "--name", "Ines")
    subject = f"user:{made['user_id']}"
    invited = argy("user", "invite", email, "--tenant", "acme")
    assert invited.returncode == 0, invited.stderr
    async with signed_in(platform, acme, email=email, subject=subject) as person:
        roles: Any = AssignmentServiceStub(person.channel)
        wish = GrantRoleRequest(subject=subject, role="role:PLATFORM_ADMIN", reason="mine")
        with pytest.raises(PermissionDenied) as refused:
            await roles.GrantRole(wish, metadata=person.bearer)
    assert refused.value.reason in {"ACCESS_DENIED", "PASSKEY_REQUIRED"}
    reset = argy("user", "reset-sign-in", email, "--yes", "-m", "lost laptop", "--tenant", "acme")
    assert reset.returncode == 0, reset.stderr
    assert argy("check", email, "read", "project:alpha", "--tenant", "acme").returncode == 1
