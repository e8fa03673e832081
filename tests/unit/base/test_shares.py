"""Room and turns that tenants share."""

import asyncio
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argy.base.errors import ResourceExhausted
from argy.base.shares import Shares
from argy.base.turns import MAX_WAITING, Turns

TENANTS = [UUID(int=number) for number in range(1, 9)]


def fill(shares: Shares, tenant_id: UUID, step: int = 1) -> int:
    taken = 0
    while not shares.full(tenant_id):
        shares.take(tenant_id, step)
        taken += step
    return taken


def test_a_tenant_that_fills_its_share_is_refused_alone() -> None:
    shares = Shares(1_000)
    assert fill(shares, TENANTS[0]) == 500
    assert not shares.full(TENANTS[1])
    # However many do so, the next one has room.
    for tenant_id in TENANTS[1:-1]:
        assert fill(shares, tenant_id) > 0
    assert not shares.full(TENANTS[-1])


@given(st.lists(st.tuples(st.integers(0, 7), st.integers(1, 20), st.booleans()), max_size=200))
def test_what_is_given_back_is_free_again(steps: list[tuple[int, int, bool]]) -> None:
    shares, held = Shares(1_000), dict.fromkeys(TENANTS, 0)
    for index, amount, takes in steps:
        tenant_id = TENANTS[index]
        if takes and not shares.full(tenant_id):
            shares.take(tenant_id, amount)
            held[tenant_id] += amount
        elif not takes and held[tenant_id] >= amount:
            shares.give(tenant_id, amount)
            held[tenant_id] -= amount
        assert shares.total == sum(held.values())
        # Who holds nothing is never refused, whatever the others do.
        assert all(not shares.full(one) for one in TENANTS if not held[one])
    for tenant_id, amount in held.items():
        shares.give(tenant_id, amount)
    assert shares.total == 0


async def test_who_has_fewest_turns_goes_first() -> None:
    turns, busy, other = Turns(2), uuid4(), uuid4()
    for _ in range(2):
        await turns.take(busy)
    order: list[UUID] = []

    async def wait(tenant_id: UUID) -> None:
        await turns.take(tenant_id)
        order.append(tenant_id)

    waiting = [asyncio.ensure_future(wait(busy)) for _ in range(50)]
    await asyncio.sleep(0)
    waiting.append(asyncio.ensure_future(wait(other)))
    await asyncio.sleep(0)
    turns.give(busy)
    await asyncio.sleep(0)
    assert order == [other]
    turns.give(busy)
    await asyncio.sleep(0)
    assert order == [other, busy]
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    turns.give(other)
    turns.give(busy)
    # Nothing was lost by those who left.
    await asyncio.gather(turns.take(busy), turns.take(other))


async def test_one_tenants_queue_is_bounded() -> None:
    turns, busy = Turns(1), uuid4()
    await turns.take(busy)
    waiting = [asyncio.ensure_future(turns.take(busy)) for _ in range(MAX_WAITING)]
    await asyncio.sleep(0)
    with pytest.raises(ResourceExhausted) as refused:
        await turns.take(busy)
    assert refused.value.reason == "TENANT_BUSY"
    other = asyncio.ensure_future(turns.take(uuid4()))
    await asyncio.sleep(0)
    # Both have none: who came first, and then the other.
    turns.give(busy)
    turns.give(busy)
    async with asyncio.timeout(30):
        await other
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
