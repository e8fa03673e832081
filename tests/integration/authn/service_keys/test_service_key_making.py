"""Service keys are made, told once, kept as a digest, counted and recorded."""

import importlib
import json
import re
from pathlib import Path
from typing import Any

import pytest

from argy.api.authn.v1 import credential_pb2 as pb
from argy.api.authn.v1.credential_pb2_grpc import CredentialServiceStub
from argy.api.common.v1.access_pb2 import access
from argy.api.directory.v1 import tenant_pb2
from argy.authn.service_keys.domain import RESERVED
from argy.base.errors import (
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    Unauthenticated,
)
from argy.base.ids import PLATFORM_TENANT_ID
from argy.base.secret_token import is_token, token_digest
from argy.rpc.declarations import destination_of
from argy.rpc.pair_keys import RootKeys

CHECK = "authz.decision:check"
SCANNERS = re.compile(r"argy_svc_[0-9A-Za-z]{43}_[0-9A-Za-z]{6}")
"""What a secret scanner is told to look for."""


async def test_a_key_is_told_once_and_kept_as_a_digest(
    world: Any, authn: Any, tenant: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    made = await world.make(tenant.tenant_id, CHECK)
    assert SCANNERS.fullmatch(made.secret)
    assert is_token(made.secret, kind="svc")
    assert await world.check(authn, made.key, tenant.tenant_id)
    rotated = await world.rotate(made, 1)
    await world.revoke(made)
    (row,) = await world.rows(tenant.tenant_id)
    assert row["secret_hash"] == token_digest(rotated.secret)
    dump = " ".join(str(value) for value in row.values())
    told = json.dumps([dict(one) for one in await world.audit(tenant.tenant_id)])
    assert {"authn.credential.create", "authn.credential.rotate", "authn.credential.revoke"} <= {
        one["action"] for one in await world.audit(tenant.tenant_id)
    }
    for secret in (made.secret, rotated.secret):
        body = secret.split("_")[2]
        for place in (dump, told, caplog.text, repr(made), repr(made.key), str(made.key)):
            assert body not in place
            assert not SCANNERS.search(place)


async def test_what_a_key_is_can_be_seen(world: Any, authn: Any, tenant: Any) -> None:
    made = await world.make(tenant.tenant_id, CHECK, days=30)
    (found,) = await world.listed(tenant.tenant_id)
    assert found.credential_id == made.credential_id
    assert found.kind == pb.CREDENTIAL_KIND_SERVICE_KEY
    assert found.subject == "service:billing"
    assert found.prefix == made.secret[:13]
    assert list(found.scopes) == [CHECK]
    assert found.expire_time.seconds - found.create_time.seconds == 30 * 86_400
    assert not found.HasField("last_used_time")
    assert await world.check(authn, made.key, tenant.tenant_id)
    await authn.used.flush()
    (found,) = await world.listed(tenant.tenant_id)
    assert found.last_used_time.seconds == world.clock.now_ms() // 60_000 * 60


async def test_a_use_elsewhere_is_noted_too(
    world: Any, authn: Any, beside: Any, tenant: Any
) -> None:
    made = await world.make(tenant.tenant_id, CHECK)
    assert await world.check(beside, made.key, tenant.tenant_id)
    await authn.used.flush()
    (found,) = await world.listed(tenant.tenant_id)
    assert found.HasField("last_used_time")


def named_services() -> set[str]:
    """Every service that some RPC names as its caller, or that answers RPCs."""
    names: set[str] = set()
    root = Path(tenant_pb2.__file__).parents[4]
    for file in (root / "argy" / "api").rglob("*_pb2.py"):
        name = ".".join(file.relative_to(root).with_suffix("").parts)
        descriptor = importlib.import_module(name).DESCRIPTOR
        for service in descriptor.services_by_name.values():
            for rpc in service.methods:
                names |= set(rpc.GetOptions().Extensions[access].services.names)
                names.add(destination_of(f"/{service.full_name}/{rpc.name}"))
    return names


def test_every_service_that_an_rpc_names_is_reserved() -> None:
    names = named_services()
    assert {"edge", "cli", "authz", "authn", "audit", "directory"} <= names
    assert names <= RESERVED


@pytest.mark.parametrize("service", sorted(RESERVED))
async def test_the_platform_s_own_names_can_t_be_had(
    world: Any, authn: Any, tenant: Any, service: str
) -> None:
    for tenant_id in (tenant.tenant_id, PLATFORM_TENANT_ID):
        with pytest.raises(InvalidArgument) as refused:
            await world.make(tenant_id, CHECK, service=service)
        assert refused.value.reason == "SERVICE_RESERVED"


@pytest.mark.parametrize(
    "service", ["", "Billing", "1st", "-x", "a.b", "a b", "svc.k1", "cli\n", "a" * 64, "café"]
)
async def test_what_is_no_name_of_a_service_is_refused(
    world: Any, authn: Any, tenant: Any, service: str
) -> None:
    with pytest.raises(InvalidArgument):
        await world.make(tenant.tenant_id, CHECK, service=service)


async def test_scopes_beyond_the_service_s_rights_are_refused(
    world: Any, authn: Any, tenant: Any
) -> None:
    with pytest.raises(PermissionDenied) as refused:
        await world.make(tenant.tenant_id, CHECK, "audit.event:read")
    assert refused.value.reason == "SCOPE_BEYOND_RIGHTS"
    assert refused.value.metadata["scope"] == "audit.event:read"
    assert await world.listed(tenant.tenant_id) == []


async def test_scopes_beyond_the_maker_s_rights_are_refused(
    world: Any, authn: Any, tenant: Any
) -> None:
    _, maker = await world.person(tenant, "role:KEY_MAKER")
    stub = CredentialServiceStub(
        world.channel(authn, tenant.tenant_id, RootKeys(world.ring), source="edge")
    )
    assert await world.make(tenant.tenant_id, CHECK, stub=stub, metadata=maker)
    # The service may, the maker may not.
    with pytest.raises(PermissionDenied) as refused:
        await world.make(tenant.tenant_id, CHECK, "directory.org:read", stub=stub, metadata=maker)
    assert refused.value.reason == "SCOPE_BEYOND_RIGHTS"


async def test_only_who_may_make_keys_makes_them_and_rotates_them(
    world: Any, authn: Any, tenant: Any
) -> None:
    made = await world.make(tenant.tenant_id, CHECK)
    _, other = await world.person(tenant, "role:CHECKER")
    stub: Any = CredentialServiceStub(
        world.channel(authn, tenant.tenant_id, RootKeys(world.ring), source="edge")
    )
    with pytest.raises(PermissionDenied) as refused:
        await world.make(tenant.tenant_id, CHECK, stub=stub, metadata=other)
    assert refused.value.reason == "ACCESS_DENIED"
    for call, request in (
        (stub.RotateCredential, pb.RotateCredentialRequest(credential_id=made.credential_id)),
        (stub.RevokeCredential, pb.RevokeCredentialRequest(credential_id=made.credential_id)),
    ):
        with pytest.raises(NotFound):
            await call(request, metadata=other)
    assert await world.check(authn, made.key, tenant.tenant_id)


async def test_a_person_makes_one_only_lately_signed_in(
    world: Any, authn: Any, tenant: Any
) -> None:
    stub = CredentialServiceStub(
        world.channel(authn, tenant.tenant_id, RootKeys(world.ring), source="edge")
    )
    _, stale = await world.person(tenant, "role:KEY_MAKER", auth_age_s=301)
    with pytest.raises(FailedPrecondition) as refused:
        await world.make(tenant.tenant_id, CHECK, stub=stub, metadata=stale)
    assert refused.value.reason == "STEP_UP_REQUIRED"


async def test_a_limited_token_makes_no_key_that_may_more(
    world: Any, authn: Any, tenant: Any
) -> None:
    _, narrow = await world.person(tenant, "role:KEY_MAKER", scope="authn.service_key:create")
    stub = CredentialServiceStub(
        world.channel(authn, tenant.tenant_id, RootKeys(world.ring), source="edge")
    )
    with pytest.raises(PermissionDenied) as refused:
        await world.make(tenant.tenant_id, CHECK, stub=stub, metadata=narrow)
    assert refused.value.reason == "SCOPE_BEYOND_RIGHTS"


async def test_a_key_makes_no_key_that_may_more(world: Any, authn: Any, tenant: Any) -> None:
    parent = await world.make(tenant.tenant_id, "authn.service_key:create", CHECK)
    stub = CredentialServiceStub(
        world.channel(authn, tenant.tenant_id, parent.key, source="billing")
    )
    assert await world.make(tenant.tenant_id, CHECK, stub=stub)
    with pytest.raises(PermissionDenied) as refused:
        await world.make(tenant.tenant_id, "directory.org:read", stub=stub)
    assert refused.value.reason == "SCOPE_BEYOND_RIGHTS"


@pytest.mark.parametrize("days", [0, 367, -1])
async def test_a_lifetime_outside_of_its_limits_is_refused(
    world: Any, authn: Any, tenant: Any, days: int
) -> None:
    with pytest.raises(InvalidArgument):
        await world.make(tenant.tenant_id, CHECK, days=days)


async def test_the_26th_key_of_a_service_is_refused(world: Any, authn: Any, tenant: Any) -> None:
    made = [await world.make(tenant.tenant_id, CHECK) for _ in range(25)]
    with pytest.raises(ResourceExhausted) as refused:
        await world.make(tenant.tenant_id, CHECK)
    assert refused.value.reason == "TOO_MANY_CREDENTIALS"
    await world.revoke(made[0])
    assert await world.make(tenant.tenant_id, CHECK)


async def test_a_secret_that_signs_is_no_bearer_secret(world: Any, authn: Any, tenant: Any) -> None:
    made = await world.make(tenant.tenant_id, CHECK)
    keys = RootKeys(world.ring)
    for metadata in (
        (("authorization", f"Bearer {made.secret}"),),
        (("x-api-key", made.secret),),
    ):
        with pytest.raises(Unauthenticated):
            await world.check(authn, keys, tenant.tenant_id, source="edge", metadata=metadata)
    stub: Any = CredentialServiceStub(
        world.channel(authn, tenant.tenant_id, keys, source="directory")
    )
    with pytest.raises(PermissionDenied) as refused:
        await stub.VerifyCredential(pb.VerifyCredentialRequest(secret=made.secret))
    assert refused.value.reason == "CREDENTIAL_INVALID"
