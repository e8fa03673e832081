"""Credentials belong to the whole tenant: what is held in one org of it reaches none of them."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest

from argy.api.authn.v1 import credential_pb2 as pb
from argy.base.errors import PermissionDenied

CHECK = "authz.decision:check"
AGENT = "agent:builder"
Attack = Callable[[Any, str, str], tuple[Any, Any]]


def revoke_a_token(stub: Any, theirs: str, key: str) -> tuple[Any, Any]:
    return stub.RevokeCredential, pb.RevokeCredentialRequest(credential_id=theirs)


def revoke_a_key(stub: Any, theirs: str, key: str) -> tuple[Any, Any]:
    return stub.RevokeCredential, pb.RevokeCredentialRequest(credential_id=key)


def learn_a_key(stub: Any, theirs: str, key: str) -> tuple[Any, Any]:
    return stub.RotateCredential, pb.RotateCredentialRequest(credential_id=key)


def make_a_key(stub: Any, theirs: str, key: str) -> tuple[Any, Any]:
    return stub.CreateApiKey, pb.CreateApiKeyRequest(
        subject=AGENT, name="mine", scopes=[CHECK], days=30
    )


def make_a_service_key(stub: Any, theirs: str, key: str) -> tuple[Any, Any]:
    return stub.CreateServiceKey, pb.CreateServiceKeyRequest(
        service="billing", name="mine", scopes=[CHECK], days=30
    )


def read_a_key(stub: Any, theirs: str, key: str) -> tuple[Any, Any]:
    return stub.ListCredentials, pb.ListCredentialsRequest(subject=AGENT)


@pytest.mark.parametrize(
    "attack",
    [revoke_a_token, revoke_a_key, learn_a_key, make_a_key, make_a_service_key, read_a_key],
)
async def test_the_administrator_of_one_org_does_not_reach_credentials_of_the_tenant(
    world: Any, tenant_factory: Any, attack: Attack
) -> None:
    tenant = await tenant_factory(orgs=("sales", "lab"))
    ada = await world.person(tenant, "role:PLATFORM_USER")
    await world.grant(tenant, AGENT, "role:PLATFORM_USER")
    key = await world.credentials(tenant, source="cli").CreateApiKey(
        pb.CreateApiKeyRequest(subject=AGENT, name="build", scopes=[CHECK], days=30)
    )
    theirs = await world.make_token(ada, CHECK)
    mallory = await world.person(tenant)
    sales: UUID = tenant.orgs["sales"]
    await world.grant(tenant, mallory.subject, "role:PLATFORM_ADMIN", org_id=sales)
    stub = world.credentials(tenant, org_id=sales)
    call, request = attack(stub, theirs.credential.credential_id, key.credential.credential_id)
    with pytest.raises(PermissionDenied) as refused:
        await call(request, metadata=mallory.metadata)
    assert refused.value.reason == "TENANT_WIDE_ONLY"
    for secret in (theirs.secret, key.secret):
        assert await world.may_read(tenant, secret)


async def test_a_token_that_is_bound_to_an_org_makes_none_for_the_whole_tenant(
    world: Any, tenant_factory: Any
) -> None:
    tenant = await tenant_factory(orgs=("sales", "lab"))
    ada = await world.person(tenant, "role:PLATFORM_USER")
    sales: UUID = tenant.orgs["sales"]
    bound = await world.sign_in(tenant, ada.user_id, org_id=sales)
    request = pb.CreatePersonalAccessTokenRequest(name="out", scopes=[CHECK], days=30)
    with pytest.raises(PermissionDenied) as refused:
        await world.credentials(tenant, org_id=sales).CreatePersonalAccessToken(
            request, metadata=(("authorization", f"Bearer {bound}"),)
        )
    assert refused.value.reason == "TENANT_WIDE_ONLY"
