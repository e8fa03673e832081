"""A device that is let in in the moment in which whoever approved it is deleted: both end."""

import asyncio
from typing import Any

import asyncpg

from argy.api.authn.v1.device_pb2 import DEVICE_POLL_GRANTED

_WAITING = """
SELECT count(*) FROM pg_stat_activity
WHERE wait_event_type = 'Lock' AND datname = current_database()
"""


async def _waiting(admin: Any, count: int) -> None:
    """Until so many transactions wait for a lock."""
    async with asyncio.timeout(60):
        while await admin.fetchval(_WAITING) < count:  # noqa: ASYNC110 - it asks each time
            await asyncio.sleep(0)


async def test_a_redemption_that_races_the_deletion_of_its_approver_deadlocks_nobody(
    world: Any, ada: Any, pg_dsn: str
) -> None:
    begun = await world.begin(ada.tenant)
    await world.decide(ada, begun.user_code)
    admin, deleting = await asyncpg.connect(pg_dsn), await asyncpg.connect(pg_dsn)
    try:
        async with admin.transaction():
            # Redeeming comes to a halt with its code used and no token written.
            await admin.execute(
                "SELECT pg_advisory_xact_lock("
                "hashtextextended($1::uuid::text || ' user:' || $2::uuid::text, 0))",
                ada.tenant.tenant_id,
                ada.user_id,
            )
            redeeming = asyncio.create_task(world.poll(ada.tenant, begun.device_code))
            await _waiting(admin, 1)
            deletion = asyncio.create_task(
                deleting.execute(
                    "DELETE FROM directory.user_account WHERE tenant_id = $1 AND user_id = $2",
                    ada.tenant.tenant_id,
                    ada.user_id,
                )
            )
            await _waiting(admin, 2)
        assert (await redeeming).poll == DEVICE_POLL_GRANTED
        assert await deletion == "DELETE 1"
    finally:
        await deleting.close()
        await admin.close()
