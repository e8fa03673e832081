"""Mail on Redis Cluster, and while Redis comes and goes."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

from ports import reserved_port
from redis_cluster import redis_cluster
from smtp_inbox import Inbox, mail_server

from argy.local.valkey import EmbeddedValkey
from argy.store.redis import RedisStore


async def test_the_queue_works_on_a_cluster(post: Any, tenant_factory: Any, tmp_path: Path) -> None:
    tenants, inbox = [await tenant_factory() for _ in range(3)], Inbox(1)
    async with (
        redis_cluster(tmp_path) as store,
        mail_server(inbox) as port,
        replace(post, redis=store).replica(port) as outbox,
    ):
        for tenant in tenants:
            await outbox.put(tenant.tenant_id, post.mail())
            await outbox.put(tenant.tenant_id, None)
        await outbox.drain()
    assert len(inbox.mails) == 3
    assert outbox.counts == {"sent": 3, "retried": 1}


async def test_mail_goes_on_when_redis_is_back_and_what_had_no_place_is_recorded(
    post: Any, tenant_factory: Any, tmp_path: Path
) -> None:
    tenant, inbox, server = (
        await tenant_factory(),
        Inbox(),
        EmbeddedValkey(tmp_path / "valkey", port=reserved_port()),
    )
    store = await RedisStore.open(server.start())
    here = replace(post, redis=store)
    try:
        async with mail_server(inbox) as port, here.replica(port) as outbox:
            await outbox.put(tenant.tenant_id, post.mail("before@example.test"))
            await outbox.drain()
            server.stop()
            await outbox.put(tenant.tenant_id, post.mail("lost@example.test"))
            await outbox.put(tenant.tenant_id, None)
            server.start()
            await outbox.put(tenant.tenant_id, post.mail("after@example.test"))
            await outbox.drain()
    finally:
        await store.close()
        server.stop()
    assert inbox.recipients == ["before@example.test", "after@example.test"]
    (record,) = await post.records(tenant)
    assert record["reason"] == "MAIL_AWAY"


async def test_mail_that_waits_outlives_a_restart_of_redis(
    post: Any, tenant_factory: Any, tmp_path: Path
) -> None:
    tenant, inbox, server = (
        await tenant_factory(),
        Inbox(),
        EmbeddedValkey(tmp_path / "valkey", port=reserved_port()),
    )
    store = await RedisStore.open(server.start())
    here = replace(post, redis=store)
    try:
        await here.outbox(post.smtp(1)).put(tenant.tenant_id, post.mail())
        server.stop()
        server.start()
        async with mail_server(inbox) as port, here.replica(port) as outbox:
            await outbox.drain()
    finally:
        await store.close()
        server.stop()
    assert inbox.recipients == ["ada@example.test"]


async def test_who_hangs_up_while_mail_is_kept_leaves_no_half_of_it(
    post: Any, tenant_factory: Any
) -> None:
    """Else places in the queue could be taken by mail that never comes."""
    tenant, inbox = await tenant_factory(), Inbox()
    client = _Slow(post.redis.client)
    slow = replace(post, redis=RedisStore(client, url=post.redis.url, cluster=False))
    outbox = slow.outbox(post.smtp(1))
    asked = asyncio.create_task(outbox.put(tenant.tenant_id, post.mail()))
    await client.half_way.wait()
    asked.cancel()
    await asyncio.gather(asked, return_exceptions=True)
    client.go_on.set()
    await outbox.close()
    async with mail_server(inbox) as port, post.replica(port) as sender:
        await sender.drain()
    assert inbox.recipients == ["ada@example.test"]
    assert asked.cancelled()


class _Slow:
    """A client whose second script waits until it may go on."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._scripts = 0
        self.half_way = asyncio.Event()
        self.go_on = asyncio.Event()

    async def eval(self, *args: Any) -> Any:
        self._scripts += 1
        if self._scripts == 2:
            self.half_way.set()
            await self.go_on.wait()
        return await self._client.eval(*args)
