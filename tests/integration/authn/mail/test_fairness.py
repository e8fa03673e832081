"""One tenant's flood, or people whose mail nobody takes, hold up nobody else's mail."""

import asyncio
from typing import Any

from smtp_inbox import Inbox, mail_server

from argy.base.ids import PLATFORM_TENANT_ID


async def test_a_flood_of_one_tenant_does_not_hold_up_another(
    post: Any, tenant_factory: Any
) -> None:
    flooding, other, inbox = await tenant_factory(), await tenant_factory(), Inbox()
    async with mail_server(inbox) as port:
        sender = post.outbox(post.smtp(port), senders=2, per_tenant=2)
        for number in range(50):
            await sender.put(flooding.tenant_id, post.mail(f"{number}@flood.test"))
        await sender.put(other.tenant_id, post.mail())
        await sender.start()
        await sender.drain()
        await sender.close()
    assert len(inbox.mails) == 51
    assert inbox.recipients.index("ada@example.test") < 6


async def test_people_whose_mail_hangs_hold_their_own_tenants_senders_only(
    post: Any, tenant_factory: Any
) -> None:
    hanging, other = await tenant_factory(), await tenant_factory()
    held = tuple(f"{number}@hung.test" for number in range(8))
    inbox, free = Inbox(held=held), 20
    async with mail_server(inbox) as port, post.replica(port, attempt_s=60.0) as sender:
        for to in held:
            await sender.put(hanging.tenant_id, post.mail(to))
        for number in range(free):
            await sender.put(other.tenant_id, post.mail(f"{number}@example.test"))
        async with asyncio.timeout(60):
            while len(inbox.mails) < free:
                await sender._idle.wait()
                sender._idle.clear()
        assert inbox.attempts == free + 2
        inbox.release.set()
        await sender.drain()
    assert len(inbox.mails) == free + len(held)


async def test_tenants_are_served_in_turn_when_there_are_more_than_senders(
    post: Any, tenant_factory: Any
) -> None:
    tenants, inbox = [await tenant_factory() for _ in range(5)], Inbox()
    async with mail_server(inbox) as port:
        sender = post.outbox(post.smtp(port), senders=1)
        for turn in range(3):
            for number, tenant in enumerate(tenants):
                await sender.put(tenant.tenant_id, post.mail(f"{turn}@t{number}.test"))
        await sender.start()
        await sender.drain()
        await sender.close()
    turns = [address.partition("@")[0] for address in inbox.recipients]
    assert turns == ["0"] * 5 + ["1"] * 5 + ["2"] * 5


async def test_no_more_mail_is_under_way_than_there_are_senders(
    post: Any, tenant_factory: Any
) -> None:
    inbox = Inbox(held=("ada@example.test",))
    async with mail_server(inbox) as port:
        sender = post.outbox(post.smtp(port), senders=3)
        for _ in range(5):
            await sender.put((await tenant_factory()).tenant_id, post.mail())
        await sender._look()
        assert len(sender._sending) == 3
        inbox.release.set()
        await sender.start()
        await sender.drain()
        await sender.close()
    assert len(inbox.mails) == 5


async def test_an_empty_lane_is_left_and_one_with_mail_is_not(
    post: Any, tenant_factory: Any
) -> None:
    tenant, queue = await tenant_factory(), post.queue()
    await post.outbox(post.smtp(1)).put(tenant.tenant_id, post.mail())
    (lane,) = await queue.lanes()
    taken = await queue.take(lane, lease_s=60.0)
    waited: Any = await queue.take(lane, lease_s=60.0)
    assert 0 < waited <= 60
    await queue.remove(taken)
    # A mail may be on its way to it.
    assert await queue.take(lane, lease_s=60.0) is None
    assert len(await queue.lanes()) == 1
    name = post.redis.key(PLATFORM_TENANT_ID, post.name, "lanes")
    long_ago = lane.last_put_ms - 3_600_000
    await post.redis.client.zadd(name, {str(tenant.tenant_id): long_ago})
    # Somebody put a mail since this replica looked: it stays.
    assert await queue.take(lane, lease_s=60.0) is None
    (old,) = await queue.lanes()
    assert await queue.take(old, lease_s=60.0) is None
    assert await queue.lanes() == []
