"""One tenant's streams leave room for those of the others."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, aclosing
from typing import Any

import pytest

from argy.api.authz.v1 import authz_pb2 as pb
from argy.api.authz.v1.authz_pb2_grpc import AuthzServiceServicer, AuthzServiceStub
from argy.base.crypto import KeyRing
from argy.base.errors import ResourceExhausted
from argy.rpc.client import SignedChannel
from argy.rpc.open_streams import TENANT_STREAMS
from argy.rpc.pair_keys import RootKeys

Make = Callable[..., Any]


class Watches(AuthzServiceServicer):
    """Says one thing, and holds the stream open."""

    async def WatchRevisions(  # noqa: N802
        self, request: Any, context: Any
    ) -> AsyncIterator[pb.WatchRevisionsResponse]:
        yield pb.WatchRevisionsResponse(revision="1")
        await asyncio.Event().wait()


async def test_a_tenant_can_not_take_the_streams_of_all_others(
    replica_factory: Make, tenant_factory: Make, ring: KeyRing
) -> None:
    greedy, other = await tenant_factory(), await tenant_factory()
    service = pb.DESCRIPTOR.services_by_name["AuthzService"]
    watches: Any = Watches  # its stub calls the methods abstract that it does not need
    replica = await replica_factory(more=((watches(), service),))
    async with (
        SignedChannel(
            replica.target,
            source="cli",
            keys=RootKeys(ring),
            tenant_id=greedy.tenant_id,
            unsafe_plaintext=True,
        ) as channel,
        AsyncExitStack() as held,
        asyncio.timeout(60),
    ):

        def watch(tenant: Any) -> Any:
            stub: Any = AuthzServiceStub(channel.for_tenant(tenant.tenant_id))
            return stub.WatchRevisions(pb.WatchRevisionsRequest(), timeout=60)

        for _ in range(TENANT_STREAMS):
            assert (await anext(await held.enter_async_context(aclosing(watch(greedy))))).revision
        with pytest.raises(ResourceExhausted) as refused:
            await anext(watch(greedy))
        assert refused.value.reason == "TOO_MANY_STREAMS"
        assert (await anext(await held.enter_async_context(aclosing(watch(other))))).revision
        # What was held is free again when it ends.
        await held.aclose()
        while True:
            try:
                again = await held.enter_async_context(aclosing(watch(greedy)))
                assert (await anext(again)).revision
                return
            except ResourceExhausted:
                continue
