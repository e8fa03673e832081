"""A stream ends with the service key that signed for it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pytest

from argy.api.authz.v1 import authz_pb2 as pb
from argy.api.authz.v1.authz_pb2_grpc import AuthzServiceStub
from argy.base.errors import ArgyError

DAY_MS = 86_400_000


@asynccontextmanager
async def watching(world: Any, replica: Any, one: Any) -> AsyncIterator[Any]:
    """A watch that a service key signed for."""
    channel = world.channel(replica, one.tenant_id, one.key, source="billing")
    call: Any = AuthzServiceStub(channel).WatchRevisions(pb.WatchRevisionsRequest())
    async with asyncio.timeout(60), aclosing(call) as states:
        assert (await anext(states)).revision
        yield states


async def cut(states: Any) -> str:
    """Why a watch ends, to which nothing more happens."""
    try:
        async for _ in states:
            continue
    except ArgyError as error:
        return error.reason
    return ""


@pytest.mark.parametrize("where", ["host", "beside"])
@pytest.mark.parametrize("how", ["revoked", "rotated", "expired"])
async def test_a_watch_of_a_service_key_that_ended_is_cut(
    world: Any, tenant_factory: Any, where: str, how: str
) -> None:
    host = await world.host()
    replica = host if where == "host" else await world.beside(host)
    one = await world.make((await tenant_factory()).tenant_id)
    async with watching(world, replica, one) as states:
        if how == "revoked":
            await world.revoke(one)
        elif how == "rotated":
            await world.rotate(one, 0)
        else:
            world.clock.advance(91 * DAY_MS)
        assert await cut(states) == "KEY_OVER"


async def test_a_watch_goes_on_while_its_rotated_key_overlaps(
    world: Any, tenant_factory: Any
) -> None:
    host = await world.host()
    one, other = [await world.make((await tenant_factory()).tenant_id) for _ in range(2)]
    async with watching(world, host, one) as states, watching(world, host, other) as others:
        await world.rotate(one, 1)
        await world.revoke(other)
        assert await cut(others) == "KEY_OVER"
        await world.grant(one.tenant_id, "agent:late", "role:CHECKER")
        assert (await anext(states)).revision
