"""A process that keeps one mail and begins to send it; killed by a test while it does."""

import asyncio
import json
import sys
from pathlib import Path
from uuid import UUID

from argy.authn.mail.delivery import Pace
from argy.authn.mail.message import Mail
from argy.authn.mail.outbox import Outbox
from argy.authn.mail.queue import MailQueue
from argy.authn.mail.sinks import MailSettings, sink_of
from argy.base.clock import SystemClock
from argy.base.envelope import KeyRingKms
from argy.store.database import Database
from argy.store.redis import RedisStore


async def main() -> None:
    told = json.loads(sys.stdin.read())
    redis = await RedisStore.open(told["redis"])
    outbox = Outbox(
        MailQueue(redis, KeyRingKms.from_settings(Path(told["ring"]), ""), name=told["name"]),
        sink_of(MailSettings(smtp_url=told["smtp"], sender="argy@example.test")),
        db=await Database.open(told["dsn"], role="argy_authn", max_size=2),
        clock=SystemClock(),
        pace=Pace(lease_s=0.5),
    )
    mail = Mail(to=told["to"], subject="-", kind="sign_in", tenant="acme", text=told["text"])
    await outbox.put(UUID(told["tenant"]), mail)
    await outbox.start()
    await outbox.drain()


asyncio.run(main())
