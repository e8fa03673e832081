"""Health as gRPC's own clients ask for it: Check, List and Watch, by anybody, bounded."""

import asyncio
from contextlib import suppress
from typing import Any

import grpc
from grpc_health.v1 import health_pb2 as pb
from grpc_health.v1 import health_pb2_grpc

from argy.rpc.health import ADDRESS_WATCHES

STATUS = pb.HealthCheckResponse
ORGS = "argy.api.directory.v1.OrgService"


def asked(service: str = "") -> pb.HealthCheckRequest:
    return pb.HealthCheckRequest(service=service)


async def test_a_watch_tells_what_is_and_then_that_the_server_stops(replica_factory: Any) -> None:
    replica = await replica_factory()
    async with grpc.aio.insecure_channel(replica.target) as channel, asyncio.timeout(60):
        stub = health_pb2_grpc.HealthStub(channel)
        watches = [stub.Watch(asked(name)) for name in ("", ORGS, "no.such.Service")]
        first = [(await watch.read()).status for watch in watches]
        assert first == [STATUS.SERVING, STATUS.SERVING, STATUS.SERVICE_UNKNOWN]
        stopping = asyncio.create_task(replica.server.stop())
        assert (await watches[0].read()).status == STATUS.NOT_SERVING
        assert await watches[0].code() is grpc.StatusCode.OK
        assert (await watches[1].read()).status == STATUS.NOT_SERVING
        # No watch keeps a server from stopping.
        await stopping


async def test_list_names_each_service(replica_factory: Any) -> None:
    replica = await replica_factory()
    async with grpc.aio.insecure_channel(replica.target) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        statuses = (await stub.List(pb.HealthListRequest())).statuses
        assert {"", ORGS} <= set(statuses)
        assert {one.status for one in statuses.values()} == {STATUS.SERVING}
        call = stub.Check(asked("no.such.Service"))
        assert await call.code() is grpc.StatusCode.NOT_FOUND


async def test_a_stranger_holds_no_more_than_a_few_watches(replica_factory: Any) -> None:
    """Who gets no place is told what has gRPC's clients go by the connection alone (A17)."""
    replica = await replica_factory(max_concurrent_calls=1000)
    async with grpc.aio.insecure_channel(replica.target) as channel, asyncio.timeout(60):
        stub = health_pb2_grpc.HealthStub(channel)
        held = [stub.Watch(asked()) for _ in range(ADDRESS_WATCHES)]
        for watch in held:
            assert (await watch.read()).status == STATUS.SERVING
        assert await stub.Watch(asked()).code() is grpc.StatusCode.UNIMPLEMENTED
        held[0].cancel()
        told = None
        while told is None:  # until the server has heard of the cancellation
            with suppress(grpc.aio.AioRpcError):
                told = await stub.Watch(asked()).read()
        assert told.status == STATUS.SERVING
