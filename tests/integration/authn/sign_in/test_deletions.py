"""A person's ways in that change in the moment in which the person is deleted: both end."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from argy.api.authn.v1 import passkey_pb2 as passkeys_pb
from argy.api.authn.v1 import session_pb2 as pb
from argy.base.errors import Unauthenticated

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


async def _waiting(admin: Any, count: int) -> None:
    """Until so many transactions wait for a lock."""
    async with asyncio.timeout(60):
        while await admin.fetchval(_WAITING) < count:  # noqa: ASYNC110 - it asks each time
            await asyncio.sleep(0)


async def _reset(world: Any, ada: Any, device: Any) -> None:
    request = pb.ResetSignInRequest(user_id=str(ada.user_id), reason="lost laptop")
    rpc = "SessionService.ResetSignIn"
    await world.call(ada.tenant, rpc, request, caller="service:cli")


async def _remove(world: Any, ada: Any, device: Any) -> None:
    session = await world.sign_in(ada.tenant, device)
    token = await world.token(ada.tenant, session.secret)
    listed = await world.call(
        ada.tenant, "PasskeyService.ListPasskeys", passkeys_pb.ListPasskeysRequest(), token=token
    )
    request = passkeys_pb.RemovePasskeyRequest(passkey_id=listed.passkeys[0].passkey_id)
    await world.call(ada.tenant, "PasskeyService.RemovePasskey", request, token=token)


async def _recover(world: Any, ada: Any, device: Any) -> None:
    await world.redeem(ada.tenant, *await world.ask_link(ada))


async def _block(world: Any, ada: Any, device: Any) -> None:
    with pytest.raises(Unauthenticated) as refused:
        await world.sign_in(ada.tenant, device, sign_count=3)
    assert refused.value.reason == "COUNTER_REGRESSION"


@pytest.mark.parametrize("change", [_reset, _remove, _recover, _block])
async def test_a_change_that_races_the_deletion_of_its_person_deadlocks_nobody(
    world: Any, ada: Any, authenticator: Any, admin: Any, pg_dsn: str, change: Any
) -> None:
    device = authenticator()
    await world.register(ada, device)
    await world.register(ada, authenticator())
    await world.sign_in(ada.tenant, device, sign_count=9)
    world.clock.advance(6_000)
    deleting = await asyncpg.connect(pg_dsn)
    try:
        async with admin.transaction():
            # The change comes to a halt with its row locked and its person's not.
            await admin.execute("LOCK TABLE authn.security_notice IN EXCLUSIVE MODE")
            changing = asyncio.create_task(change(world, ada, device))
            await _waiting(admin, 1)
            deletion = asyncio.create_task(
                deleting.execute(
                    "DELETE FROM directory.user_account WHERE tenant_id = $1 AND user_id = $2",
                    ada.tenant.tenant_id,
                    ada.user_id,
                )
            )
            await _waiting(admin, 2)
        await changing
        assert await deletion == "DELETE 1"
    finally:
        await deleting.close()
