"""Who has a service key, or less, gets no further than the key goes."""

from dataclasses import replace
from typing import Any
from uuid import uuid4

import grpc
import pytest

from argy.api.authn.v1 import credential_pb2 as pb
from argy.api.authn.v1.credential_pb2_grpc import CredentialServiceStub
from argy.api.authz.v1.authz_pb2 import CheckRequest, Question
from argy.api.directory.v1 import tenant_pb2 as directory_pb
from argy.base.crypto import KeyRing
from argy.base.errors import ArgyError, PermissionDenied, Unauthenticated
from argy.base.ids import PLATFORM_TENANT_ID
from argy.base.secret_token import token_of
from argy.rpc.call import Call
from argy.rpc.client_keys import ServiceKey
from argy.rpc.declarations import declared_methods
from argy.rpc.pair_keys import RootKeys, derive_service_secret
from argy.rpc.service_key_id import SVC, ServiceKeyId, parse_key_id
from argy.rpc.service_keys import admit_key

CHECK = "authz.decision:check"
ACT_FOR = "authz.subject:act_for"
SERVERS = ("authn", "beside")


@pytest.fixture(params=SERVERS)
async def replica(request: pytest.FixtureRequest, authn: Any, beside: Any) -> Any:
    """A server that hosts sign-in, and one that asks it."""
    return authn if request.param == "authn" else beside


async def reason(call: Any) -> str:
    with pytest.raises(ArgyError) as refused:
        await call
    return str(refused.value.reason)


def altered(one: Any, *, source: str = "billing", **parts: Any) -> ServiceKey:
    """The thief's best: the genuine secret under another name."""
    key_id = str(replace(parse_key_id(one.key.signing), **parts))
    return ServiceKey(source=source, key_id=key_id, secret=one.secret)


async def test_a_key_signs_within_its_scopes(world: Any, replica: Any, tenant: Any) -> None:
    made = await world.make(tenant.tenant_id, CHECK)
    assert await world.check(replica, made.key, tenant.tenant_id)
    narrow = await world.make(tenant.tenant_id, "directory.org:read")
    refused = world.check(replica, narrow.key, tenant.tenant_id)
    assert await reason(refused) == "SCOPE_INSUFFICIENT"


async def test_a_method_without_a_permission_is_refused(
    world: Any, authn: Any, tenant: Any
) -> None:
    made = await world.make(tenant.tenant_id, CHECK)
    stub: Any = CredentialServiceStub(
        world.channel(authn, tenant.tenant_id, made.key, source="billing")
    )
    refused = stub.ListCredentials(pb.ListCredentialsRequest())
    assert await reason(refused) == "ACCESS_DENIED"


async def test_a_key_of_another_tenant_is_refused(
    world: Any, replica: Any, tenant: Any, tenant_factory: Any
) -> None:
    victim = await tenant_factory()
    made = await world.make(tenant.tenant_id, CHECK)
    refused = world.check(replica, made.key, victim.tenant_id)
    assert await reason(refused) == "KEY_OF_ANOTHER_TENANT"
    # Whose key it is learns of it; the other tenant's records have nothing of it.
    assert replica.refusals.told == [(tenant.tenant_id, "billing", "KEY_OF_ANOTHER_TENANT")]


async def test_a_key_renamed_to_another_tenant_is_refused(
    world: Any, replica: Any, tenant: Any, tenant_factory: Any
) -> None:
    victim = await tenant_factory()
    made = await world.make(tenant.tenant_id, CHECK)
    for tenant_id in (victim.tenant_id, PLATFORM_TENANT_ID):
        forged = altered(made, tenant_id=tenant_id)
        refused = world.check(replica, forged, victim.tenant_id)
        assert await reason(refused) == "SIGNATURE_INVALID"
    assert replica.standings.asked == 0


async def test_a_tenant_s_key_does_not_act_in_the_platform_tenant(
    world: Any, beside: Any, authn: Any, tenant: Any
) -> None:
    """What is decided in the platform tenant is the platform's service's of that name to do."""
    made = await world.make(tenant.tenant_id, "directory.tenant:read")
    request = directory_pb.GetTenantRequest(tenant_id=str(tenant.tenant_id))
    for tenant_id in (tenant.tenant_id, PLATFORM_TENANT_ID):
        refused = world.tenants(beside, made, tenant_id).GetTenant(request)
        assert await reason(refused) == "KEY_OF_ANOTHER_TENANT"
    platform = await world.make(PLATFORM_TENANT_ID, "directory.tenant:read")
    found = await world.tenants(beside, platform, PLATFORM_TENANT_ID).GetTenant(request)
    assert found.tenant.slug == tenant.slug


async def test_a_key_of_the_platform_signs_for_every_tenant(
    world: Any, replica: Any, tenant: Any
) -> None:
    made = await world.make(PLATFORM_TENANT_ID, CHECK)
    assert await world.check(replica, made.key, tenant.tenant_id)
    assert await world.check(replica, made.key, PLATFORM_TENANT_ID)


@pytest.mark.parametrize(
    "parts",
    [{"generation": 2}, {"generation": 999_999}, {"root_id": "k2"}, {"credential_id": uuid4()}],
    ids=["generation", "last generation", "root", "credential"],
)
async def test_a_tampered_key_id_is_refused(
    world: Any, replica: Any, tenant: Any, parts: dict[str, Any]
) -> None:
    made = await world.make(tenant.tenant_id, CHECK)
    refused = world.check(replica, altered(made, **parts), tenant.tenant_id)
    assert await reason(refused) in {"SIGNATURE_INVALID", "KEY_UNKNOWN"}
    assert replica.standings.asked == 0


@pytest.mark.parametrize("source", ["cli", "edge", "directory", "billing-2"])
async def test_a_key_signs_as_no_other_service(
    world: Any, replica: Any, tenant: Any, source: str
) -> None:
    made = await world.make(tenant.tenant_id, CHECK)
    forged = altered(made, source=source)
    refused = world.check(replica, forged, tenant.tenant_id, source=source)
    assert await reason(refused) == "SIGNATURE_INVALID"
    assert replica.standings.asked == 0


async def test_a_signature_for_another_destination_is_refused(
    world: Any, replica: Any, tenant: Any
) -> None:
    made = await world.make(tenant.tenant_id, CHECK)

    class Elsewhere:
        signing = made.key.signing

        def pair_key(self, key_id: str, source: str, destination: str) -> bytes:
            return bytes(made.key.pair_key(key_id, source, "audit"))

    refused = world.check(replica, Elsewhere(), tenant.tenant_id)
    assert await reason(refused) == "SIGNATURE_INVALID"


async def test_a_call_that_a_key_signed_is_served_once_on_whichever_server(
    world: Any, authn: Any, beside: Any, tenant: Any
) -> None:
    made = await world.make(tenant.tenant_id, CHECK)
    channel = world.channel(authn, tenant.tenant_id, made.key, source="billing")
    question = Question(subject="user:x", action="read", resource="project:alpha")
    body = CheckRequest(question=question).SerializeToString()
    path = "/argy.api.authz.v1.AuthzService/Check"
    headers = channel._signed(path, "authz", body, (), False)
    codes = []
    for replica in (authn, authn, beside):
        target = f"127.0.0.1:{replica.server.port}"
        async with grpc.aio.insecure_channel(target) as raw:
            call = raw.unary_unary(path, None, None)(
                body, timeout=10, metadata=grpc.aio.Metadata(*headers)
            )
            codes.append(await call.code())
    assert codes == [grpc.StatusCode.OK, *[grpc.StatusCode.UNAUTHENTICATED] * 2]


async def test_a_made_up_key_asks_authn_nothing_however_often(
    world: Any, beside: Any, tenant: Any
) -> None:
    for number in range(200):
        key_id = ServiceKeyId("k1", tenant.tenant_id, uuid4(), number + 1)
        secret = token_of(SVC, number.to_bytes(32, "big"))
        made_up = ServiceKey(source="billing", key_id=str(key_id), secret=secret)
        refused = world.check(beside, made_up, tenant.tenant_id)
        assert await reason(refused) == "SIGNATURE_INVALID"
    assert beside.standings.asked == 0
    assert beside.refusals.told == []


async def test_a_revoked_key_asks_authn_once_in_a_while_however_often(
    world: Any, beside: Any, tenant: Any
) -> None:
    made = await world.make(tenant.tenant_id, CHECK)
    await world.revoke(made)
    for _ in range(50):
        assert await reason(world.check(beside, made.key, tenant.tenant_id)) == "KEY_OVER"
    assert beside.standings.asked == 1


async def test_a_dump_of_the_database_signs_nothing(world: Any, replica: Any, tenant: Any) -> None:
    made = await world.make(tenant.tenant_id, CHECK)
    (row,) = await world.rows(tenant.tenant_id)
    stolen = bytes.fromhex(row["secret_hash"])
    for secret in (
        stolen,
        # The digest in place of the root from which the secret is derived.
        derive_service_secret(stolen, parse_key_id(made.key.signing), "billing"),
    ):
        forged = ServiceKey(source="billing", key_id=made.key.signing, secret=token_of(SVC, secret))
        refused = world.check(replica, forged, tenant.tenant_id)
        assert await reason(refused) == "SIGNATURE_INVALID"


async def test_another_platform_s_root_makes_no_key_of_ours(
    world: Any, replica: Any, tenant: Any
) -> None:
    made = await world.make(tenant.tenant_id, CHECK)
    root = KeyRing.generate("k1").keys["k1"]
    secret = derive_service_secret(root, parse_key_id(made.key.signing), "billing")
    forged = ServiceKey(source="billing", key_id=made.key.signing, secret=token_of(SVC, secret))
    refused = world.check(replica, forged, tenant.tenant_id)
    assert await reason(refused) == "SIGNATURE_INVALID"


async def test_a_key_that_was_never_handed_out_is_refused(
    world: Any, replica: Any, tenant: Any
) -> None:
    """Even the root alone makes none: authn must know its digest."""
    key = ServiceKeyId("k1", tenant.tenant_id, uuid4(), 1)
    secret = RootKeys(world.ring).service_secret(key, "billing")
    forged = ServiceKey(source="billing", key_id=str(key), secret=token_of(SVC, secret))
    assert await reason(world.check(replica, forged, tenant.tenant_id)) == "KEY_OVER"


async def test_a_key_whose_root_was_retired_is_refused(world: Any, authn: Any, tenant: Any) -> None:
    made = await world.make(tenant.tenant_id, CHECK)
    ring = world.ring.rotated("k2")
    both = await world.host(ring=ring)
    assert await world.check(both, made.key, tenant.tenant_id)
    rest = await world.host(ring=ring.retired("k1"))
    assert await reason(world.check(rest, made.key, tenant.tenant_id)) == "KEY_UNKNOWN"


async def test_rotation_derives_from_the_root_that_signs_now(
    world: Any, authn: Any, tenant: Any
) -> None:
    made = await world.make(tenant.tenant_id, CHECK)
    world.ring = world.ring.rotated("k2")
    await world.host(ring=world.ring)
    fresh = await world.rotate(made, 24, replica=1)
    assert parse_key_id(fresh.key.signing).root_id == "k2"
    rest = await world.host(ring=world.ring.retired("k1"))
    assert await world.check(rest, fresh.key, tenant.tenant_id)


async def test_acting_for_people_needs_a_scope_of_its_own(
    world: Any, replica: Any, tenant: Any
) -> None:
    ada, _ = await world.person(tenant, "role:CHECKER")
    without = await world.make(tenant.tenant_id, CHECK)
    refused = world.check(replica, without.key, tenant.tenant_id, subject=ada)
    assert await reason(refused) == "SCOPE_INSUFFICIENT"
    may = await world.make(tenant.tenant_id, CHECK, ACT_FOR)
    assert await world.check(replica, may.key, tenant.tenant_id, subject=ada)
    refused = world.check(replica, may.key, tenant.tenant_id, subject="service:cli")
    assert await reason(refused) == "ACCESS_DENIED"


async def test_an_administrator_s_wildcard_makes_no_key_that_acts_for_people(
    world: Any, authn: Any, tenant: Any
) -> None:
    """Whoever holds act_for by ``*`` alone hands it to nobody; the owner's right is not enough."""
    _, admin = await world.person(tenant, "role:PLATFORM_ADMIN")
    channel = world.channel(authn, tenant.tenant_id, RootKeys(world.ring), source="edge")
    stub: Any = CredentialServiceStub(channel)
    refused = world.make(tenant.tenant_id, CHECK, ACT_FOR, stub=stub, metadata=admin)
    assert await reason(refused) == "SCOPE_BEYOND_RIGHTS"
    made = await world.make(tenant.tenant_id, CHECK, stub=stub, metadata=admin)
    assert await world.check(authn, made.key, tenant.tenant_id)
    # Nor can a key be made for a service that would hold it by ``*`` alone.
    await world.grant(tenant.tenant_id, "service:bot", "role:PLATFORM_ADMIN")
    refused = world.make(tenant.tenant_id, CHECK, ACT_FOR, service="bot")
    assert await reason(refused) == "SCOPE_BEYOND_RIGHTS"


async def test_a_person_s_token_adds_nothing_to_the_key_that_carries_it(
    world: Any, authn: Any, tenant: Any
) -> None:
    _, admin = await world.person(tenant, "role:PLATFORM_ADMIN")
    narrow = await world.make(tenant.tenant_id, "directory.org:read")
    refused = world.check(authn, narrow.key, tenant.tenant_id, metadata=admin)
    assert await reason(refused) == "SCOPE_INSUFFICIENT"
    _, as_wide = await world.person(tenant, "role:PLATFORM_ADMIN", scope=CHECK)
    refused = world.check(authn, narrow.key, tenant.tenant_id, metadata=as_wide)
    assert await reason(refused) == "SCOPE_INSUFFICIENT"
    wide = await world.make(tenant.tenant_id, CHECK)
    assert await world.check(authn, wide.key, tenant.tenant_id, metadata=admin)
    _, limited = await world.person(tenant, "role:PLATFORM_ADMIN", scope="project:read")
    refused = world.check(authn, wide.key, tenant.tenant_id, metadata=limited)
    assert await reason(refused) == "SCOPE_INSUFFICIENT"


async def test_only_the_platform_s_services_ask_about_keys(
    world: Any, authn: Any, tenant: Any
) -> None:
    made = await world.make(tenant.tenant_id, CHECK)
    request = pb.VerifyServiceKeyRequest(credential_id=made.credential_id, secret_hash="0" * 64)
    keys = RootKeys(world.ring)
    for channel in (
        world.channel(authn, tenant.tenant_id, made.key, source="billing"),
        world.channel(authn, tenant.tenant_id, keys, source="billing"),
    ):
        with pytest.raises(PermissionDenied):
            await CredentialServiceStub(channel).VerifyServiceKey(request)
    directory = world.channel(authn, tenant.tenant_id, keys, source="directory")
    answer = await CredentialServiceStub(directory).VerifyServiceKey(request)
    assert list(answer.scopes) == []


async def test_a_server_that_was_told_of_no_service_keys_takes_none(
    world: Any, authn: Any, tenant: Any
) -> None:
    made = await world.make(tenant.tenant_id, CHECK)
    (method, *_) = declared_methods(directory_pb.DESCRIPTOR.services_by_name["OrgService"])
    call = Call(method, b"", 0)
    call.tenant_id = tenant.tenant_id
    with pytest.raises(Unauthenticated) as refused:
        await admit_key(None, call, parse_key_id(made.key.signing))
    assert refused.value.reason == "KEY_UNSUPPORTED"
