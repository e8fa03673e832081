"""A trade, and a deletion or a revocation at the same moment: both end, and nothing is left."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from argy.base.errors import ArgyError, Unauthenticated
from argy.rpc.revoked import session_entry

_WAITING = """
SELECT count(*) FROM pg_stat_activity
WHERE wait_event_type = 'Lock' AND datname = current_database()
"""


@pytest.fixture
async def admin(pg_dsn: str) -> AsyncIterator[Any]:
    """An administrator's connection."""
    connection = await asyncpg.connect(pg_dsn)
    yield connection
    await connection.close()


async def waiting(admin: Any, count: int) -> None:
    """Until so many transactions wait for a lock."""
    async with asyncio.timeout(60):
        while await admin.fetchval(_WAITING) < count:  # noqa: ASYNC110 - it asks each time
            await asyncio.sleep(0)


@pytest.mark.parametrize("gone", ["user_account", "org", "tenant"])
async def test_a_trade_that_races_the_deletion_of_its_owner_deadlocks_nobody(
    world: Any, replica: Any, ada: Any, admin: Any, pg_dsn: str, gone: str
) -> None:
    tenant_id = ada.tenant.tenant_id
    org_id = await admin.fetchval(
        "SELECT org_id FROM directory.org WHERE tenant_id = $1", tenant_id
    )
    first = await world.sign_in(replica, ada, org_id=org_id)
    # What the deletion ends by itself, beside the tokens, is of no interest.
    table, column, value = {
        "user_account": ("directory.user_account", "user_id", ada.user_id),
        "org": ("directory.org", "org_id", org_id),
        "tenant": ("directory.tenant", "tenant_id", tenant_id),
    }[gone]
    deleting = await asyncpg.connect(pg_dsn)
    try:
        async with admin.transaction():
            # The trade comes to a halt with its token used and the next one not written.
            await admin.execute("LOCK TABLE authz.tenant_revision IN ACCESS EXCLUSIVE MODE")
            trade = asyncio.create_task(world.refresh(replica, ada, first.refresh_token))
            await waiting(admin, 1)
            deletion = asyncio.create_task(
                deleting.execute(
                    f"DELETE FROM {table} WHERE tenant_id = $1 AND {column} = $2",  # noqa: S608
                    tenant_id,
                    value,
                )
            )
            await waiting(admin, 2)
        fresh = await trade
        assert await deletion == "DELETE 1"
    finally:
        await deleting.close()
    with pytest.raises(ArgyError):
        await world.refresh(replica, ada, fresh.refresh_token)


async def test_a_trade_that_races_a_revocation_leaves_no_refresh_token_behind(
    world: Any, replica: Any, ada: Any, admin: Any
) -> None:
    first = await world.sign_in(replica, ada)
    async with admin.transaction():
        # As above.
        await admin.execute("LOCK TABLE authz.tenant_revision IN ACCESS EXCLUSIVE MODE")
        trade = asyncio.create_task(world.refresh(replica, ada, first.refresh_token))
        await waiting(admin, 1)
        entry = session_entry(str(ada.session_id))
        ended = asyncio.create_task(replica.endings.deny(ada.tenant.tenant_id, [entry]))
        await waiting(admin, 2)
    fresh = await trade
    await ended
    with pytest.raises(Unauthenticated):
        await world.refresh(replica, ada, fresh.refresh_token)
