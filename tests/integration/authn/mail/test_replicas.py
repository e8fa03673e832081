"""Mail outlives the process that took it, and of many that send it one does."""

import asyncio
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from smtp_inbox import Inbox, mail_server

from argy.authn.mail.queue import Taken
from argy.store.redis import RedisStore

HOLDING = Path(__file__).with_name("holding_sender.py")


async def test_another_replica_sends_what_a_killed_process_was_sending(
    post: Any, tenant_factory: Any, login_dsn: Callable[[str], str], redis_url: str, tmp_path: Path
) -> None:
    tenant, inbox, hung = await tenant_factory(), Inbox(), Inbox(held=("ada@example.test",))
    post.ring.save(tmp_path / "ring.json")
    async with mail_server(inbox) as port, mail_server(hung) as hung_port:
        told = {
            "redis": redis_url,
            "ring": str(tmp_path / "ring.json"),
            "name": post.name,
            "dsn": login_dsn("argy_authn"),
            "smtp": f"unsafe-smtp://127.0.0.1:{hung_port}",
            "tenant": str(tenant.tenant_id),
            "to": "ada@example.test",
            "text": post.secret,
        }
        process = await asyncio.create_subprocess_exec(
            sys.executable, str(HOLDING), stdin=asyncio.subprocess.PIPE
        )
        assert process.stdin is not None
        process.stdin.write(json.dumps(told).encode())
        process.stdin.write_eof()
        async with asyncio.timeout(60):
            await hung.reached.wait()
        process.kill()
        await process.wait()
        async with post.replica(port) as outbox:
            await outbox.drain()
    (taken,) = inbox.mails
    assert post.secret.encode() in taken.content
    assert hung.attempts == 1
    assert await post.records(tenant) == []


async def test_what_a_taker_abandoned_is_taken_by_another_when_its_lease_ends(
    post: Any, tenant_factory: Any
) -> None:
    tenant, inbox, queue = await tenant_factory(), Inbox(), post.queue()
    async with mail_server(inbox) as port:
        await post.outbox(post.smtp(port)).put(tenant.tenant_id, post.mail())
        (lane,) = await queue.lanes()
        abandoned = await queue.take(lane, lease_s=0.1)
        assert isinstance(abandoned, Taken)
        async with post.replica(port) as other:
            await other.drain()
        # Too late: it is somebody else's, or gone.
        assert not await queue.put_back(abandoned, pause_s=0.0)
        assert not await queue.remove(abandoned)
    assert inbox.recipients == ["ada@example.test"]


async def test_who_lost_its_lease_takes_nothing_from_who_has_it(
    post: Any, tenant_factory: Any
) -> None:
    tenant, queue = await tenant_factory(), post.queue()
    await post.outbox(post.smtp(1)).put(tenant.tenant_id, post.mail())
    (lane,) = await queue.lanes()
    late = await queue.take(lane, lease_s=0.0)
    holder = await queue.take(lane, lease_s=3_600.0)
    assert isinstance(holder, Taken)
    assert not await queue.remove(late)
    assert not await queue.put_back(late, pause_s=0.0)
    assert not isinstance(await queue.take(lane, lease_s=0.0), Taken)
    assert await queue.size() == 1
    assert await queue.remove(holder)
    assert await queue.size() == 0


async def test_a_mail_that_is_put_again_for_a_lost_answer_is_there_once(
    post: Any, tenant_factory: Any
) -> None:
    tenant, queue, mail = await tenant_factory(), post.queue(), post.mail()
    times = {"now_ms": post.clock.now_ms(), "ends_at_ms": post.clock.now_ms() + 600_000}
    await queue.put(tenant.tenant_id, mail, **times)
    (lane,) = await queue.lanes()
    holder = await queue.take(lane, lease_s=3_600.0)
    assert isinstance(holder, Taken)
    await queue.put(tenant.tenant_id, mail, **times)
    assert not isinstance(await queue.take(lane, lease_s=0.0), Taken)
    assert await queue.size() == 1
    assert await queue.remove(holder)
    assert await queue.size() == 0


async def test_of_two_replicas_one_sends_each_mail(post: Any, tenant_factory: Any) -> None:
    tenants = [await tenant_factory() for _ in range(3)]
    people = {f"{number}@example.test" for number in range(30)}
    inbox = Inbox()
    async with mail_server(inbox) as port, post.replica(port) as one, post.replica(port) as other:
        for number, to in enumerate(sorted(people)):
            through = (one, other)[number % 2]
            await through.put(tenants[number % 3].tenant_id, post.mail(to))
        await one.drain()
        assert one.counts["sent"] + other.counts["sent"] == len(people)
    assert sorted(inbox.recipients) == sorted(people)


async def test_a_stopping_process_puts_back_what_it_was_sending(
    post: Any, tenant_factory: Any
) -> None:
    tenant, inbox, hung = await tenant_factory(), Inbox(), Inbox(held=("ada@example.test",))
    async with mail_server(inbox) as port, mail_server(hung) as hung_port:
        async with post.replica(hung_port, lease_s=3_600.0) as stopping:
            await stopping.put(tenant.tenant_id, post.mail())
            async with asyncio.timeout(60):
                await hung.reached.wait()
        assert stopping.counts["put_back"] == 1
        async with post.replica(port, tries=1) as other:
            await other.drain()
    assert inbox.recipients == ["ada@example.test"]


async def test_a_stopping_process_lets_a_mail_under_way_arrive(
    post: Any, tenant_factory: Any
) -> None:
    tenant, inbox = await tenant_factory(), Inbox(held=("ada@example.test",))
    async with mail_server(inbox) as port:
        outbox = post.outbox(post.smtp(port), close_s=30.0)
        await outbox.start()
        await outbox.put(tenant.tenant_id, post.mail())
        async with asyncio.timeout(60):
            await inbox.reached.wait()
        closing = asyncio.create_task(outbox.close())
        inbox.release.set()
        await closing
    assert inbox.recipients == ["ada@example.test"]
    assert (outbox.counts["sent"], outbox.counts["put_back"]) == (1, 0)
    assert await post.queue().size() == 0


@pytest.mark.parametrize("told", ["some", "none"])
async def test_whoever_gets_no_mail_costs_the_same_work(
    post: Any, tenant_factory: Any, told: str
) -> None:
    tenant = await tenant_factory()
    asked = _Asked(post.redis.client)
    noting = replace(post, redis=RedisStore(asked, url=post.redis.url, cluster=False))
    await noting.outbox(post.smtp(1)).put(tenant.tenant_id, post.mail() if told == "some" else None)
    queue = post.queue()
    assert asked.commands == ["eval", "eval"]
    assert await queue.size() == (1 if told == "some" else 0)
    assert len(await queue.lanes()) == (1 if told == "some" else 0)


class _Asked:
    """A client that notes its commands."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self.commands: list[str] = []

    def __getattr__(self, name: str) -> Any:
        self.commands.append(name)
        return getattr(self.client, name)
