"""The server and the signed channel in bad weather: Redis away, retries, TLS, limits, shutdown."""

import asyncio
import ssl
from collections.abc import Callable
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from ports import reserved_port

from argy.api.directory.v1 import tenant_pb2 as pb
from argy.base.errors import ResourceExhausted, Unavailable
from argy.local.dev_ca import ensure_dev_certificates
from argy.local.valkey import EmbeddedValkey
from argy.rpc.tls import ClientTls, ServerTls

GET = pb.GetOrgRequest(org_id=str(uuid4()))
Stub = Callable[..., Any]


def create(slug: str, request_id: str = "") -> pb.CreateOrgRequest:
    return pb.CreateOrgRequest(slug=slug, display_name="Org", request_id=request_id)


@pytest.fixture
async def tenant(tenant_factory: Any) -> Any:
    return await tenant_factory(orgs=("sales",))


async def test_with_redis_away_changes_are_refused_and_reads_served(
    replica_factory: Any, stub_factory: Stub, tenant: Any, tmp_path: Path
) -> None:
    valkey = EmbeddedValkey(tmp_path / "valkey", port=reserved_port(), durable=False)
    replica = await replica_factory(url=valkey.start())
    stub = stub_factory(replica, tenant.tenant_id)
    try:
        await stub.CreateOrg(create("before"))
        valkey.stop()
        with pytest.raises(Unavailable) as refused:
            await stub.CreateOrg(create("during"))
        assert refused.value.reason == "REPLAY_CACHE_AWAY"
        assert refused.value.retry_after_ms
        assert (await stub.GetOrg(GET)).org.slug == tenant.slug
        valkey.start()
        async with asyncio.timeout(60):
            while True:
                try:
                    await stub.CreateOrg(create("after"))
                    break
                except Unavailable:
                    continue
    finally:
        valkey.stop()
    assert replica.servicer.created == ["before", "after"]


class Flaky(grpc.aio.ServerInterceptor):  # type: ignore[type-arg]
    """Answers the first calls with UNAVAILABLE, and keeps the signature of each."""

    def __init__(self, failures: int) -> None:
        self.left = failures
        self.signatures: list[str] = []

    async def intercept_service(self, continuation: Any, details: Any) -> Any:
        self.signatures.append(dict(details.invocation_metadata)["x-argy-signature"])
        if self.left <= 0:
            return await continuation(details)
        self.left -= 1

        async def away(_request: Any, context: Any) -> None:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "away")

        return grpc.unary_unary_rpc_method_handler(away)


@pytest.fixture
async def flaky_server() -> Any:
    """A server that is away for a while: ``flaky_server(2)`` gives (target, interceptor)."""
    servers: list[grpc.aio.Server] = []

    async def start(failures: int) -> tuple[Any, Flaky]:
        flaky = Flaky(failures)
        server = grpc.aio.server(interceptors=[flaky])

        async def get(_request: bytes, _context: Any) -> bytes:
            return pb.GetOrgResponse().SerializeToString()

        handlers = {name: grpc.unary_unary_rpc_method_handler(get) for name in METHODS}
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler("argy.api.directory.v1.OrgService", handlers),)
        )
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        servers.append(server)
        return Target(f"127.0.0.1:{port}"), flaky

    yield start
    for server in servers:
        await server.stop(None)


METHODS = ("GetOrg", "CreateOrg")


class Target:
    """As much of a replica as a stub needs."""

    def __init__(self, target: str) -> None:
        self.target = target


async def test_reads_are_tried_again_each_with_a_fresh_nonce(
    flaky_server: Any, stub_factory: Stub, tenant: Any
) -> None:
    target, flaky = await flaky_server(2)
    await stub_factory(target, tenant.tenant_id).GetOrg(GET)
    assert len(flaky.signatures) == 3
    assert len({signature.split(".")[4] for signature in flaky.signatures}) == 3


async def test_a_change_is_tried_again_only_with_an_idempotency_key(
    flaky_server: Any, stub_factory: Stub, tenant: Any
) -> None:
    target, flaky = await flaky_server(1)
    stub = stub_factory(target, tenant.tenant_id)
    with pytest.raises(Unavailable):
        await stub.CreateOrg(create("once"))
    assert len(flaky.signatures) == 1
    flaky.left = 1
    await stub.CreateOrg(create("twice", str(uuid4())))
    assert len(flaky.signatures) == 3


async def test_it_gives_up_after_three_attempts(
    flaky_server: Any, stub_factory: Stub, tenant: Any
) -> None:
    target, flaky = await flaky_server(100)
    with pytest.raises(Unavailable):
        await stub_factory(target, tenant.tenant_id).GetOrg(GET)
    assert len(flaky.signatures) == 3


async def test_tls_with_and_without_a_client_certificate(
    replica_factory: Any, stub_factory: Stub, tenant: Any, tmp_path: Path
) -> None:
    now = datetime.now(UTC)
    ours = ensure_dev_certificates(tmp_path / "ours", now=now)
    others = ensure_dev_certificates(tmp_path / "others", now=now)
    open_tls = ServerTls(ours.server_cert_file, ours.server_key_file)
    mutual = ServerTls(ours.server_cert_file, ours.server_key_file, ours.ca_file)
    secret = {"unsafe_plaintext": False}
    server = await replica_factory(tls=open_tls, **secret)
    strict = await replica_factory(tls=mutual, **secret)
    named = ClientTls(ours.ca_file, ours.client_cert_file, ours.client_key_file)
    stranger = ClientTls(ours.ca_file, others.client_cert_file, others.client_key_file)
    for replica, tls, served in (
        (server, ClientTls(ours.ca_file), True),
        (server, ClientTls(others.ca_file), False),
        (server, None, False),
        (strict, named, True),
        (strict, ClientTls(ours.ca_file), False),
        (strict, stranger, False),
    ):
        replica.port = replica.server.port
        options = {**secret, "tls": tls} if tls else {}
        target = Target(f"localhost:{replica.port}")
        stub = stub_factory(target, tenant.tenant_id, timeout_s=20, **options)
        if served:
            assert (await stub.GetOrg(GET)).org.slug == tenant.slug
        else:
            with pytest.raises(Unavailable):
                await stub.GetOrg(GET)


async def test_tls_older_than_1_2_is_refused(replica_factory: Any, tmp_path: Path) -> None:
    ours = ensure_dev_certificates(tmp_path / "ours", now=datetime.now(UTC))
    tls = ServerTls(ours.server_cert_file, ours.server_key_file)
    replica = await replica_factory(tls=tls, unsafe_plaintext=False)
    for version, spoken in ((ssl.TLSVersion.TLSv1_2, True), (ssl.TLSVersion.TLSv1_1, False)):
        context = ssl.create_default_context(cafile=str(ours.ca_file))
        context.set_alpn_protocols(["h2"])
        context.set_ciphers("ALL:@SECLEVEL=0")
        with nullcontext() if spoken else pytest.warns(DeprecationWarning, match="TLSv1_1"):
            context.minimum_version = context.maximum_version = version
        opening = asyncio.open_connection(
            "127.0.0.1", replica.server.port, ssl=context, server_hostname="localhost"
        )
        if spoken:
            _, writer = await opening
            writer.transport.abort()
        else:
            with pytest.raises((ssl.SSLError, ConnectionError)):
                await opening


async def test_more_calls_at_a_time_than_allowed_are_refused(
    replica_factory: Any, stub_factory: Stub, tenant: Any
) -> None:
    replica = await replica_factory(max_concurrent_calls=2)
    replica.servicer.leave.clear()
    stub = stub_factory(replica, tenant.tenant_id)
    running = [asyncio.create_task(stub.GetOrg(GET)) for _ in range(2)]
    for _ in running:
        await replica.servicer.entered.acquire()
    with pytest.raises(ResourceExhausted):
        await stub.GetOrg(GET)
    replica.servicer.leave.set()
    await asyncio.gather(*running)


async def test_a_running_call_finishes_when_the_server_stops(
    replica_factory: Any, stub_factory: Stub, tenant: Any
) -> None:
    replica = await replica_factory()
    replica.servicer.leave.clear()
    stub = stub_factory(replica, tenant.tenant_id)
    running = asyncio.create_task(stub.GetOrg(GET))
    await replica.servicer.entered.acquire()
    stopping = asyncio.create_task(replica.server.stop())
    with pytest.raises(Unavailable):
        await stub_factory(replica, tenant.tenant_id, timeout_s=20).GetOrg(GET)
    replica.servicer.leave.set()
    assert (await running).org.slug == tenant.slug
    await stopping


async def test_nobody_can_hold_unsigned_calls_open(
    replica_factory: Any, stub_factory: Stub, tenant: Any
) -> None:
    replica = await replica_factory(max_concurrent_calls=4)
    async with grpc.aio.insecure_channel(replica.target) as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch
        for _ in range(8):
            call = watch(health_pb2.HealthCheckRequest(service="x"))
            assert await call.code() is grpc.StatusCode.UNIMPLEMENTED
    assert (await stub_factory(replica, tenant.tenant_id).GetOrg(GET)).org.slug == tenant.slug


@pytest.mark.parametrize(
    "method", ["/argy.api.directory.v1.OrgService/GetOrg", "/grpc.health.v1.Health/Check"]
)
async def test_nobody_can_hold_calls_open_by_never_sending_the_request(
    replica_factory: Any, stub_factory: Stub, tenant: Any, method: str
) -> None:
    replica = await replica_factory(max_concurrent_calls=4, request_s=1.0)
    async with grpc.aio.insecure_channel(replica.target) as channel, asyncio.timeout(60):
        held = [channel.stream_unary(method, None, None)(None) for _ in range(4)]
        for call in held:
            assert await call.code() is grpc.StatusCode.DEADLINE_EXCEEDED
            assert call.done()
        assert (await stub_factory(replica, tenant.tenant_id).GetOrg(GET)).org.slug == tenant.slug


async def test_a_handshake_that_takes_a_while_comes_about(
    replica_factory: Any, stub_factory: Stub, tenant: Any, tmp_path: Path
) -> None:
    ours = ensure_dev_certificates(tmp_path / "ours", now=datetime.now(UTC))
    tls = ServerTls(ours.server_cert_file, ours.server_key_file)
    replica = await replica_factory(tls=tls, unsafe_plaintext=False)
    loop = asyncio.get_running_loop()

    async def from_afar(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", replica.server.port)

        async def carry(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            while data := await source.read(65_536):
                loop.call_later(0.2, sink.write, data)
            sink.close()

        await asyncio.gather(carry(reader, back), carry(there, writer))

    async with await asyncio.start_server(from_afar, "127.0.0.1", 0) as far:
        target = Target(f"localhost:{far.sockets[0].getsockname()[1]}")
        options = {"unsafe_plaintext": False, "tls": ClientTls(ours.ca_file), "timeout_s": 20}
        stub = stub_factory(target, tenant.tenant_id, **options)
        assert (await stub.GetOrg(GET)).org.slug == tenant.slug
