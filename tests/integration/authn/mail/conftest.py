"""Mail on real Redis and Postgres, with a queue of its own for each test."""

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

import pytest

from argy.authn.mail.delivery import Pace
from argy.authn.mail.message import Mail, MailSink
from argy.authn.mail.outbox import Outbox
from argy.authn.mail.queue import MailQueue
from argy.authn.mail.sinks import MailSettings, sink_of
from argy.base.clock import FixedClock, SystemClock
from argy.base.crypto import KeyRing
from argy.base.envelope import KeyRingKms
from argy.base.ids import uuid7
from argy.store.database import Database
from argy.store.redis import RedisStore

QUICK = Pace(tries=3, first_pause_s=0.01, longest_pause_s=0.02, look_s=0.02, close_s=0.05)


@dataclass(frozen=True)
class Post:
    """A queue and who sends from it."""

    redis: RedisStore
    ring: KeyRing
    db: Database
    clock: FixedClock
    name: str
    secret: str
    read: Callable[[UUID], Awaitable[list[Any]]]

    def queue(self, **limits: Any) -> MailQueue:
        """The queue, as a process has it."""
        return MailQueue(self.redis, KeyRingKms(self.ring), name=self.name, **limits)

    def outbox(self, sink: MailSink, queue: MailQueue | None = None, **pace: Any) -> Outbox:
        """An outbox that was not started."""
        return Outbox(
            queue or self.queue(), sink, db=self.db, clock=self.clock, pace=replace(QUICK, **pace)
        )

    def smtp(self, port: int) -> MailSink:
        """Mail to a server on this machine, without TLS."""
        url = f"unsafe-smtp://127.0.0.1:{port}"
        return sink_of(MailSettings(smtp_url=url, sender="argy@example.test"))

    @asynccontextmanager
    async def replica(self, port: int, **pace: Any) -> AsyncIterator[Outbox]:
        """A started outbox that sends to a mail server."""
        made = self.outbox(self.smtp(port), **pace)
        await made.start()
        try:
            yield made
        finally:
            await made.close()

    def mail(self, to: str = "ada@example.test", kind: str = "sign_in") -> Mail:
        """A mail with a secret."""
        return Mail(
            to=to,
            subject="Sign in to acme",
            kind=kind,
            tenant="acme",
            user_id=uuid7(),
            text=f"https://id.example.test/acme/link/{self.secret}\n",
        )

    async def records(self, tenant: Any) -> list[Any]:
        """What the tenant's audit log says of mail that did not go out."""
        rows = await self.read(tenant.tenant_id)
        return [row for row in rows if row["action"] == "authn.mail.undeliverable"]


@pytest.fixture
async def post(db_factory: Any, redis_store: RedisStore) -> Post:
    """The parts of a test's mail."""
    db = await db_factory("argy_authn", max_size=4)
    audit = await db_factory("argy_audit", max_size=2)

    async def read(tenant_id: UUID) -> list[Any]:
        async with audit.tenant(tenant_id) as tx:
            return list(
                await tx.fetch(
                    "SELECT actor, action, resource, outcome, reason, detail::text"
                    " FROM audit.event WHERE tenant_id = $1 ORDER BY id",
                    tenant_id,
                )
            )

    return Post(
        redis=redis_store,
        ring=KeyRing.generate("kek1"),
        db=db,
        clock=FixedClock(SystemClock().now_ms()),
        name=f"mail-{os.urandom(6).hex()}",
        secret=os.urandom(24).hex(),
        read=read,
    )
