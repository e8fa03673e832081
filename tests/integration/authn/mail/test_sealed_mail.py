"""Who reads or writes Redis learns no link, no address, and sends no mail."""

import json
from dataclasses import replace
from typing import Any

import pytest
from smtp_inbox import Inbox, mail_server

from argy.authn.mail.queue import TABLE
from argy.base.crypto import KeyRing
from argy.base.envelope import KeyRingKms, seal
from argy.base.ids import PLATFORM_TENANT_ID, uuid7


async def _everything(post: Any, *tenants: Any) -> bytes:
    found = []
    for tenant_id in (PLATFORM_TENANT_ID, *(tenant.tenant_id for tenant in tenants)):
        pattern = f"{post.redis.key(tenant_id, post.name)}:*"
        async for name in post.redis.client.scan_iter(match=_literal(pattern), count=1_000):
            found.append(name)
            if await post.redis.client.type(name) == b"hash":
                found += await post.redis.client.hkeys(name)
                found += await post.redis.client.hvals(name)
            else:
                found += await post.redis.client.zrange(name, 0, -1)
    return b"\n".join(found)


def _literal(pattern: str) -> str:
    return pattern.replace("{", "\\{").replace("}", "\\}")


async def test_a_dump_of_redis_holds_no_link_and_no_address(post: Any, tenant_factory: Any) -> None:
    tenant = await tenant_factory()
    mail = post.mail("ada.lovelace@example.test")
    await post.outbox(post.smtp(1)).put(tenant.tenant_id, mail)
    dump = await _everything(post, tenant)
    assert str(mail.id).encode() in dump
    for told in (post.secret, "lovelace", "example.test", "sign_in", str(mail.user_id)):
        assert told.encode() not in dump


async def test_mail_moved_to_another_tenant_or_id_is_not_sent(
    post: Any, tenant_factory: Any
) -> None:
    tenant, other, inbox = await tenant_factory(), await tenant_factory(), Inbox()
    outbox = post.outbox(post.smtp(1))
    mails = [post.mail("ada@example.test"), post.mail("bob@example.test")]
    for mail in mails:
        await outbox.put(tenant.tenant_id, mail)
    await outbox.put(other.tenant_id, post.mail("eve@example.test"))
    sealed = post.redis.key(tenant.tenant_id, post.name, "sealed")
    others = post.redis.key(other.tenant_id, post.name, "sealed")
    ((mail_id, _),) = (await post.redis.client.hgetall(others)).items()
    stolen = await post.redis.client.hget(sealed, str(mails[0].id))
    await post.redis.client.hset(others, mail_id, stolen)
    await post.redis.client.hset(sealed, str(mails[1].id), stolen)
    async with mail_server(inbox) as port, post.replica(port) as sender:
        await sender.drain()
    assert inbox.recipients == ["ada@example.test"]
    for place in (tenant, other):
        (record,) = await post.records(place)
        assert (record["reason"], record["resource"]) == ("MAIL_UNREADABLE", "user:-")


@pytest.mark.parametrize("poison", ["nothing", "bytes", "no mail"])
async def test_a_poison_message_is_dead_lettered_and_holds_up_nobody(
    post: Any, tenant_factory: Any, poison: str
) -> None:
    tenant, inbox, bad = await tenant_factory(), Inbox(), post.mail("eve@example.test")
    outbox = post.outbox(post.smtp(1))
    await outbox.put(tenant.tenant_id, bad)
    await outbox.put(tenant.tenant_id, post.mail())
    place = {"tenant_id": tenant.tenant_id, "table": TABLE, "row": str(bad.id)}
    value = {
        "nothing": b"",
        "bytes": bytes(64),
        "no mail": seal(b'{"mail": 1}', kek=KeyRingKms(post.ring), **place),
    }[poison]
    name = post.redis.key(tenant.tenant_id, post.name, "sealed")
    await post.redis.client.hset(name, str(bad.id), value)
    async with mail_server(inbox) as port, post.replica(port) as sender:
        await sender.drain()
    assert inbox.recipients == ["ada@example.test"]
    (record,) = await post.records(tenant)
    assert (record["actor"], record["outcome"]) == ("service:authn", "FAILURE")
    assert record["reason"] == "MAIL_UNREADABLE"
    assert json.loads(record["detail"])["mail"] == str(bad.id)


async def test_a_key_that_a_replica_does_not_know_yet_leaves_mail_to_another(
    post: Any, tenant_factory: Any
) -> None:
    tenant, inbox = await tenant_factory(), Inbox()
    await post.outbox(post.smtp(1)).put(tenant.tenant_id, post.mail())
    other_ring = KeyRing.generate("kek2")
    async with mail_server(inbox) as port:
        behind = replace(post, ring=other_ring).outbox(post.smtp(port), tries=99)
        await behind.start()
        while not behind.counts["retried"]:
            await behind._idle.wait()
        await behind.close()
        async with post.replica(port, tries=99) as sender:
            await sender.drain()
    assert inbox.recipients == ["ada@example.test"]
    assert await post.records(tenant) == []


async def test_who_writes_an_entry_of_his_own_sends_nothing(post: Any, tenant_factory: Any) -> None:
    """Without the key-encryption key nobody makes us send mail."""
    tenant, inbox = await tenant_factory(), Inbox()
    outbox = post.outbox(post.smtp(1))
    real, forged = post.mail(), str(uuid7())
    await outbox.put(tenant.tenant_id, real)
    names = [post.redis.key(tenant.tenant_id, post.name, part) for part in ("due", "sealed")]
    await post.redis.client.zadd(names[0], {forged: 0, "not an id": 0})
    await post.redis.client.hset(names[1], forged, b'{"mail": {"to": "eve@example.test"}}')
    async with mail_server(inbox) as port, post.replica(port) as sender:
        await sender.drain()
    assert inbox.recipients == ["ada@example.test"]
    records = await post.records(tenant)
    assert [record["reason"] for record in records] == ["MAIL_UNREADABLE"] * 2
