"""What an attacker, a bug or a stale client sends, and the typed refusal that each gets."""

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import grpc
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.descriptor import ServiceDescriptor

from argy.api.directory.v1 import tenant_pb2 as pb
from argy.base.crypto import KeyRing
from argy.base.errors import FailedPrecondition
from argy.base.secret_token import token_of
from argy.rpc.client_keys import ServiceKey
from argy.rpc.errors import from_rpc_error
from argy.rpc.pair_keys import RootKeys
from argy.rpc.service_key_id import SVC, ServiceKeyId
from argy.rpc.signature import HEADER

GET = "/argy.api.directory.v1.OrgService/GetOrg"
LIST = "/argy.api.directory.v1.OrgService/ListOrgs"
CREATE = "/argy.api.directory.v1.OrgService/CreateOrg"
BODY = pb.GetOrgRequest(org_id=str(uuid4())).SerializeToString()
OTHER_END = b"1" if BODY.endswith(b"0") else b"0"

UNAUTHENTICATED = grpc.StatusCode.UNAUTHENTICATED
INVALID = grpc.StatusCode.INVALID_ARGUMENT
DENIED = grpc.StatusCode.PERMISSION_DENIED


@pytest.fixture
async def tenant(tenant_factory: Any) -> Any:
    return await tenant_factory(orgs=("sales",))


@pytest.fixture
def refused(send: Any) -> Any:
    """Send, and return (code, reason) of the refusal."""

    async def try_it(*args: Any, **kwargs: Any) -> tuple[grpc.StatusCode, str]:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await send(*args, **kwargs)
        return caught.value.code(), from_rpc_error(caught.value).reason

    return try_it


async def test_signed_is_served(send: Any, replica: Any, tenant: Any, attempt: Any) -> None:
    answer = pb.GetOrgResponse.FromString(
        await send(replica, GET, BODY, attempt(tenant.tenant_id, BODY).metadata())
    )
    assert answer.org.slug == tenant.slug
    assert answer.org.display_name == "service:cli"


async def test_unsigned(refused: Any, replica: Any, tenant: Any) -> None:
    metadata = [("x-tenant-id", str(tenant.tenant_id))]
    assert await refused(replica, GET, BODY, metadata) == (UNAUTHENTICATED, "SIGNATURE_MISSING")


@pytest.mark.parametrize(
    "spoil",
    [lambda h: h[:-1], lambda h: h + "A", lambda h: "2" + h[1:], lambda h: h.replace(".", "")],
    ids=["truncated", "lengthened", "another version", "no fields"],
)
async def test_malformed_signature(
    refused: Any, replica: Any, tenant: Any, attempt: Any, spoil: Any
) -> None:
    metadata = dict(attempt(tenant.tenant_id, BODY).metadata())
    metadata[HEADER] = spoil(metadata[HEADER])
    assert await refused(replica, GET, BODY, list(metadata.items())) == (
        UNAUTHENTICATED,
        "SIGNATURE_MALFORMED",
    )


async def test_wrong_key(refused: Any, replica: Any, tenant: Any, attempt: Any) -> None:
    forged = attempt(tenant.tenant_id, BODY, keys=RootKeys(KeyRing.generate("k1")))
    assert await refused(replica, GET, BODY, forged.metadata()) == (
        UNAUTHENTICATED,
        "SIGNATURE_INVALID",
    )


async def test_unknown_key_id(refused: Any, replica: Any, tenant: Any, attempt: Any) -> None:
    forged = attempt(tenant.tenant_id, BODY, keys=RootKeys(KeyRing.generate("k9")))
    assert await refused(replica, GET, BODY, forged.metadata()) == (UNAUTHENTICATED, "KEY_UNKNOWN")


async def test_two_live_keys_and_a_retired_one(
    send: Any, refused: Any, replica_factory: Any, tenant: Any, attempt: Any, ring: KeyRing
) -> None:
    replica = await replica_factory()
    old = KeyRing("k1", {"k1": ring.keys["k1"]})
    await send(replica, GET, BODY, attempt(tenant.tenant_id, BODY, keys=RootKeys(old)).metadata())
    after = await replica_factory(ring=ring.retired("k1"))
    late = attempt(tenant.tenant_id, BODY, keys=RootKeys(old))
    assert await refused(after, GET, BODY, late.metadata()) == (UNAUTHENTICATED, "KEY_UNKNOWN")


async def test_signed_as_another_service(
    refused: Any, replica: Any, tenant: Any, attempt: Any, ring: KeyRing
) -> None:
    """A service that holds its own keys only can't sign with another's name."""
    issued = RootKeys(ring).issue("example", ["directory"])
    metadata = dict(attempt(tenant.tenant_id, BODY, keys=issued, source="example").metadata())
    metadata[HEADER] = metadata[HEADER].replace(".example.", ".cli.")
    assert await refused(replica, GET, BODY, list(metadata.items())) == (
        UNAUTHENTICATED,
        "SIGNATURE_INVALID",
    )


async def test_expired(refused: Any, replica: Any, tenant: Any, attempt: Any) -> None:
    late = attempt(tenant.tenant_id, BODY)
    late.now_ms -= 31_000
    assert await refused(replica, GET, BODY, late.metadata()) == (
        UNAUTHENTICATED,
        "TIMESTAMP_EXPIRED",
    )


async def test_from_the_future(refused: Any, replica: Any, tenant: Any, attempt: Any) -> None:
    early = attempt(tenant.tenant_id, BODY)
    early.now_ms += 10_000
    assert await refused(replica, GET, BODY, early.metadata()) == (
        UNAUTHENTICATED,
        "TIMESTAMP_IN_FUTURE",
    )


async def test_replayed(send: Any, refused: Any, replica: Any, tenant: Any, attempt: Any) -> None:
    metadata = attempt(tenant.tenant_id, BODY).metadata()
    await send(replica, GET, BODY, metadata)
    assert await refused(replica, GET, BODY, metadata) == (UNAUTHENTICATED, "SIGNATURE_REPLAYED")
    assert replica.refusals.told == [("cli", "SIGNATURE_REPLAYED")]


async def test_replayed_against_a_second_replica(
    send: Any, refused: Any, replica_factory: Any, tenant: Any, attempt: Any
) -> None:
    first, second = await replica_factory(), await replica_factory()
    metadata = attempt(tenant.tenant_id, BODY).metadata()
    await send(first, GET, BODY, metadata)
    assert await refused(second, GET, BODY, metadata) == (UNAUTHENTICATED, "SIGNATURE_REPLAYED")


async def test_tenant_swapped(
    refused: Any, replica: Any, tenant: Any, tenant_factory: Any, attempt: Any
) -> None:
    other = await tenant_factory()
    metadata = dict(attempt(tenant.tenant_id, BODY).metadata())
    metadata["x-tenant-id"] = str(other.tenant_id)
    assert await refused(replica, GET, BODY, list(metadata.items())) == (
        UNAUTHENTICATED,
        "SIGNATURE_INVALID",
    )


@pytest.mark.parametrize("text", ["", "ACME", "00000000-0000-7000-8000-00000000000A"])
async def test_tenant_malformed(refused: Any, replica: Any, attempt: Any, text: str) -> None:
    metadata = attempt(text, BODY).metadata()  # the signature covers the malformed text
    code, reason = await refused(replica, GET, BODY, metadata)
    assert (code, reason) == (INVALID, "MALFORMED_ID" if text else "TENANT_REQUIRED")


async def test_tenant_unknown(refused: Any, replica: Any, attempt: Any) -> None:
    metadata = attempt(uuid4(), BODY).metadata()
    assert await refused(replica, GET, BODY, metadata) == (DENIED, "TENANT_UNKNOWN")


async def test_tenant_suspended(
    send: Any, refused: Any, replica: Any, tenant: Any, attempt: Any, db_factory: Any
) -> None:
    await send(replica, GET, BODY, attempt(tenant.tenant_id, BODY).metadata())
    db = await db_factory("argy_directory", max_size=1)
    async with db.tenant(tenant.tenant_id) as tx:
        await tx.execute("UPDATE directory.tenant SET state = 'SUSPENDED'")
    reason = ""
    while not reason:  # the change reaches the replica by NOTIFY
        try:
            await send(replica, GET, BODY, attempt(tenant.tenant_id, BODY).metadata())
        except grpc.aio.AioRpcError as error:
            reason = from_rpc_error(error).reason
    assert reason == "TENANT_SUSPENDED"


async def test_org_of_another_tenant(
    refused: Any, send: Any, replica: Any, tenant: Any, tenant_factory: Any, attempt: Any
) -> None:
    other = await tenant_factory(orgs=("sales",))
    own = attempt(tenant.tenant_id, BODY, org=tenant.orgs["sales"])
    await send(replica, GET, BODY, own.metadata())
    foreign = attempt(tenant.tenant_id, BODY, org=other.orgs["sales"])
    assert await refused(replica, GET, BODY, foreign.metadata()) == (DENIED, "ORG_NOT_IN_TENANT")


async def test_org_dropped_on_the_way(
    refused: Any, replica: Any, tenant: Any, attempt: Any
) -> None:
    metadata = dict(attempt(tenant.tenant_id, BODY, org=tenant.orgs["sales"]).metadata())
    del metadata["x-org-id"]
    assert await refused(replica, GET, BODY, list(metadata.items())) == (
        UNAUTHENTICATED,
        "SIGNATURE_INVALID",
    )


@pytest.mark.parametrize(
    "altered",
    [BODY[:-1] + OTHER_END, BODY + b"\x7a\x01x", BODY[:-2], b""],
    ids=["changed", "unknown field appended", "truncated", "emptied"],
)
async def test_body_altered(
    refused: Any, replica: Any, tenant: Any, attempt: Any, altered: bytes
) -> None:
    metadata = attempt(tenant.tenant_id, BODY).metadata()
    assert await refused(replica, GET, altered, metadata) == (UNAUTHENTICATED, "SIGNATURE_INVALID")


@pytest.mark.parametrize("name", ["x-user", "x-request-id", "x-org-id", "authorization"])
async def test_metadata_injected(
    refused: Any, replica: Any, tenant: Any, attempt: Any, name: str
) -> None:
    metadata = [*attempt(tenant.tenant_id, BODY).metadata(), (name, "admin")]
    assert await refused(replica, GET, BODY, metadata) == (UNAUTHENTICATED, "SIGNATURE_INVALID")


@pytest.mark.parametrize("name", ["x-tenant-id", HEADER])
async def test_header_duplicated(
    refused: Any, replica: Any, tenant: Any, attempt: Any, name: str
) -> None:
    metadata = attempt(tenant.tenant_id, BODY).metadata()
    metadata.append((name, dict(metadata)[name]))
    assert await refused(replica, GET, BODY, metadata) == (INVALID, "METADATA_DUPLICATED")


async def test_binary_header_injected(
    refused: Any, replica: Any, tenant: Any, attempt: Any
) -> None:
    metadata = [*attempt(tenant.tenant_id, BODY).metadata(), ("x-user-bin", b"admin")]
    assert await refused(replica, GET, BODY, metadata) == (INVALID, "METADATA_BINARY")


async def test_too_many_headers(refused: Any, replica: Any, tenant: Any, attempt: Any) -> None:
    extra = tuple((f"x-h{number}", "v") for number in range(70))
    metadata = attempt(tenant.tenant_id, BODY, extra=extra).metadata()
    assert await refused(replica, GET, BODY, metadata) == (INVALID, "METADATA_TOO_LARGE")


async def test_credential_that_nobody_verifies(
    refused: Any, replica: Any, tenant: Any, attempt: Any
) -> None:
    """A bearer token must not look as if it counted where no stage verifies it."""
    call = attempt(tenant.tenant_id, BODY, extra=(("authorization", "Bearer made-up"),))
    assert await refused(replica, GET, BODY, call.metadata()) == (
        UNAUTHENTICATED,
        "CREDENTIAL_UNSUPPORTED",
    )


async def test_service_key_that_nobody_knows_of(
    refused: Any, replica: Any, tenant: Any, attempt: Any, ring: KeyRing
) -> None:
    """The root makes the right signature; whether the key is good must be known besides."""
    key = ServiceKeyId(ring.signing, tenant.tenant_id, uuid4(), 1)
    secret = token_of(SVC, RootKeys(ring).service_secret(key, "billing"))
    keys = ServiceKey(source="billing", key_id=str(key), secret=secret)
    call = attempt(tenant.tenant_id, BODY, keys=keys, source="billing")
    assert await refused(replica, GET, BODY, call.metadata()) == (
        UNAUTHENTICATED,
        "KEY_UNSUPPORTED",
    )


async def test_method_swapped(refused: Any, replica: Any, tenant: Any, attempt: Any) -> None:
    call = attempt(tenant.tenant_id, BODY, signed_method=GET)
    assert await refused(replica, LIST, BODY, call.metadata()) == (
        UNAUTHENTICATED,
        "SIGNATURE_INVALID",
    )


async def test_destination_swapped(refused: Any, replica: Any, tenant: Any, attempt: Any) -> None:
    call = attempt(tenant.tenant_id, BODY, destination="audit")
    assert await refused(replica, GET, BODY, call.metadata()) == (
        UNAUTHENTICATED,
        "SIGNATURE_INVALID",
    )


async def test_oversized(refused: Any, replica: Any, tenant: Any, attempt: Any) -> None:
    body = b"\x7a\x84\x80\x04" + b"x" * (64 * 1024 + 4)
    call = attempt(tenant.tenant_id, body)
    assert await refused(replica, GET, body, call.metadata()) == (
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        "REQUEST_TOO_LARGE",
    )


async def test_oversized_beyond_what_is_read(
    refused: Any, replica: Any, tenant: Any, attempt: Any
) -> None:
    """Past the transport's own limit the body is not even received."""
    body = b"x" * (1024 * 1024)
    code, _ = await refused(replica, GET, body, attempt(tenant.tenant_id, body).metadata())
    assert code is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_without_deadline(refused: Any, replica: Any, tenant: Any, attempt: Any) -> None:
    metadata = attempt(tenant.tenant_id, BODY).metadata()
    assert await refused(replica, GET, BODY, metadata, None) == (INVALID, "DEADLINE_REQUIRED")


async def test_deadline_too_far(refused: Any, replica: Any, tenant: Any, attempt: Any) -> None:
    metadata = attempt(tenant.tenant_id, BODY).metadata()
    assert await refused(replica, GET, BODY, metadata, 3600) == (INVALID, "DEADLINE_REQUIRED")


async def test_without_permission(refused: Any, replica: Any, tenant: Any, attempt: Any) -> None:
    """Access is decided before the body is looked at: a malformed one is refused alike."""
    replica.permissions.denied.add("directory.org:read")
    for body in (BODY, b"\xff"):
        metadata = attempt(tenant.tenant_id, body).metadata()
        assert await refused(replica, GET, body, metadata) == (DENIED, "ACCESS_DENIED")
    assert replica.refusals.told == [("cli", "ACCESS_DENIED")] * 2


async def test_acting_for_somebody_asks_both(
    send: Any, replica: Any, tenant: Any, attempt: Any
) -> None:
    call = attempt(tenant.tenant_id, BODY, extra=(("x-argy-subject", "user:eva"),))
    answer = pb.GetOrgResponse.FromString(await send(replica, GET, BODY, call.metadata()))
    assert answer.org.display_name == "user:eva"
    assert replica.permissions.asked == [
        ("service:cli", "authz.subject:act_for", "user/eva"),
        ("user:eva", "directory.org:read", "-"),
    ]


@pytest.mark.parametrize("denied", ["authz.subject:act_for", "directory.org:read"])
async def test_acting_for_somebody_without_permission(
    refused: Any, replica: Any, tenant: Any, attempt: Any, denied: str
) -> None:
    replica.permissions.denied.add(denied)
    call = attempt(tenant.tenant_id, BODY, extra=(("x-argy-subject", "user:eva"),))
    assert await refused(replica, GET, BODY, call.metadata()) == (DENIED, "ACCESS_DENIED")


@pytest.mark.parametrize("subject", ["", "eva", "role:ADMIN", "group:x", "user:a b", "user:"])
async def test_acting_for_what_is_no_subject(
    refused: Any, replica: Any, tenant: Any, attempt: Any, subject: str
) -> None:
    call = attempt(tenant.tenant_id, BODY, extra=(("x-argy-subject", subject),))
    assert await refused(replica, GET, BODY, call.metadata()) == (INVALID, "MALFORMED_SUBJECT")


async def test_subject_injected_on_the_way(
    refused: Any, replica: Any, tenant: Any, attempt: Any
) -> None:
    metadata = [*attempt(tenant.tenant_id, BODY).metadata(), ("x-argy-subject", "user:eva")]
    assert await refused(replica, GET, BODY, metadata) == (UNAUTHENTICATED, "SIGNATURE_INVALID")


async def test_body_that_is_no_message(
    refused: Any, replica: Any, tenant: Any, attempt: Any
) -> None:
    metadata = attempt(tenant.tenant_id, b"\xff").metadata()
    assert await refused(replica, GET, b"\xff", metadata) == (INVALID, "MALFORMED_BODY")


async def test_invalid_field_is_named(send: Any, replica: Any, tenant: Any, attempt: Any) -> None:
    body = pb.CreateOrgRequest(slug="Not A Slug").SerializeToString()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await send(replica, CREATE, body, attempt(tenant.tenant_id, body).metadata())
    fields = [v.field for v in from_rpc_error(caught.value).violations]
    # The signature was made for GetOrg: nothing of the body was looked at.
    assert fields == []
    call = attempt(tenant.tenant_id, body, signed_method=CREATE)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await send(replica, CREATE, body, call.metadata())
    fields = [v.field for v in from_rpc_error(caught.value).violations]
    assert fields == ["slug", "display_name"]


async def test_change_without_audit_record(
    refused: Any, replica: Any, tenant: Any, attempt: Any
) -> None:
    body = pb.CreateOrgRequest(slug="forgetful", display_name="x").SerializeToString()
    call = attempt(tenant.tenant_id, body, signed_method=CREATE)
    assert await refused(replica, CREATE, body, call.metadata()) == (
        grpc.StatusCode.INTERNAL,
        "INTERNAL_UNAUDITED",
    )


async def test_bug_in_a_handler_tells_nothing(
    send: Any, replica: Any, tenant: Any, attempt: Any
) -> None:
    body = pb.ListOrgsRequest().SerializeToString()
    call = attempt(tenant.tenant_id, body, signed_method=LIST)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await send(replica, LIST, body, call.metadata())
    assert caught.value.code() is grpc.StatusCode.INTERNAL
    error = from_rpc_error(caught.value)
    assert error.reason == "INTERNAL"
    assert error.metadata["incident"] in error.message
    assert "hunter2" not in str(caught.value)


async def test_rpc_without_an_access_declaration(replica_factory: Any) -> None:
    """The server refuses to start, and names every RPC."""
    replica = await replica_factory()
    replica.server.add(object(), undeclared_service())
    with pytest.raises(FailedPrecondition) as caught:
        await replica.server.start()
    assert caught.value.reason == "ACCESS_UNDECLARED"
    for text in ("Ping declares no access", "Pour streams its request"):
        assert text in caught.value.message


def undeclared_service() -> ServiceDescriptor:
    file = descriptor_pb2.FileDescriptorProto(
        name="argy/api/undeclared/v1/undeclared.proto",
        package="argy.api.undeclared.v1",
        message_type=[descriptor_pb2.DescriptorProto(name="Nothing")],
        syntax="proto3",
    )
    nothing = ".argy.api.undeclared.v1.Nothing"
    service = file.service.add(name="UndeclaredService")
    service.method.add(name="Ping", input_type=nothing, output_type=nothing)
    service.method.add(name="Pour", input_type=nothing, output_type=nothing, client_streaming=True)
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    found: ServiceDescriptor = pool.FindServiceByName("argy.api.undeclared.v1.UndeclaredService")
    return found


def test_every_rpc_declares_its_access() -> None:
    from argy.rpc.declarations import declared_methods

    for service in all_services():
        assert declared_methods(service)


def all_services() -> Iterator[ServiceDescriptor]:
    from argy.api.audit.v1 import audit_pb2
    from argy.api.authz.v1 import assignment_pb2, authz_pb2
    from argy.api.directory.v1 import tenant_pb2, user_pb2

    for module in (audit_pb2, authz_pb2, assignment_pb2, tenant_pb2, user_pb2):
        yield from module.DESCRIPTOR.services_by_name.values()
