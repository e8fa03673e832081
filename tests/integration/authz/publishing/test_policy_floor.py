"""Nothing below what was in force comes back, whatever the database's owner does to it."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ports import reserved_port
from redis.asyncio import Redis

from argy.authz.publishing.floor import KEY, PolicyFloor
from argy.authz.publishing.folder import begin
from argy.base.clock import SystemClock
from argy.base.errors import FailedPrecondition, Unavailable
from argy.local.valkey import EmbeddedValkey
from argy.store.redis import RedisStore

OTHER = "p, role:PLATFORM_USER, *, run:*, read, allow, true\n"
NEWEST = (
    "DELETE FROM authz.policy_activation"
    " WHERE sequence = (SELECT max(sequence) FROM authz.policy_activation)"
)


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[EmbeddedValkey]:
    """A Valkey of the test's own: the floor is one for all servers of it."""
    server = EmbeddedValkey(tmp_path / "valkey", port=reserved_port(), durable=False)
    server.start()
    yield server
    server.stop()


async def stop_following(replica: Any) -> None:
    """As if the server had ended: nobody in the process remembers what was in force."""
    await replica.authz.publishing.follower.close()


async def test_a_server_that_starts_takes_no_older_activation_from_the_database(
    world: Any, valkey: EmbeddedValkey
) -> None:
    first = await world.replica(floor_url=valkey.url)
    await world.settle(first)
    await world.publish(first, world.deploy)
    await world.publish(first, world.deploy, OTHER)
    await stop_following(first)
    await world.execute(NEWEST)
    with pytest.raises(FailedPrecondition) as refused:
        await world.replica(floor_url=valkey.url)
    assert refused.value.reason == "POLICY_BEHIND"
    assert refused.value.metadata == {"sequence": "2", "floor": "3"}
    (event,) = await world.events("authz.policy.refuse")
    assert (event["outcome"], event["reason"]) == ("FAILURE", "POLICY_BEHIND")
    assert json.loads(event["detail"])["floor"] == "3"


async def test_an_emptied_database_does_not_begin_with_a_folder_again(
    world: Any, valkey: EmbeddedValkey
) -> None:
    first = await world.replica(floor_url=valkey.url)
    await stop_following(first)
    await world.execute("DELETE FROM authz.policy_activation")
    world.write(world.wildcard)
    with pytest.raises(FailedPrecondition) as refused:
        await world.replica(floor_url=valkey.url)
    assert refused.value.reason == "POLICY_BEHIND"
    assert not await world.fetch("SELECT 1 FROM authz.policy_activation")


async def test_a_running_server_that_missed_the_newest_takes_no_older_one(
    world: Any, valkey: EmbeddedValkey
) -> None:
    first = await world.replica(floor_url=valkey.url)
    late = await world.replica(floor_url=valkey.url)
    await stop_following(late)
    await world.settle(first)
    await world.publish(first, world.deploy)
    await world.publish(first, world.deploy, OTHER)
    await world.execute(NEWEST)
    await late.authz.publishing.follower.refresh()
    assert late.sequence == 1
    assert "POLICY_BEHIND" in late.authz.publishing.problem()


async def test_a_rollback_is_above_what_it_leaves(world: Any, valkey: EmbeddedValkey) -> None:
    first = await world.replica(floor_url=valkey.url)
    await world.settle(first)
    await world.publish(first, world.deploy)
    assert (await world.at(first).rollback(1)).activation.sequence == 3
    assert (await world.replica(floor_url=valkey.url)).sequence == 3


async def test_a_restored_backup_comes_in_force_once_an_operator_says_so(
    world: Any, valkey: EmbeddedValkey
) -> None:
    first = await world.replica(floor_url=valkey.url)
    await world.settle(first)
    await world.publish(first, world.deploy)
    await stop_following(first)
    await world.execute(NEWEST)
    with pytest.raises(FailedPrecondition) as refused:
        await world.replica(floor_url=valkey.url)
    assert KEY in refused.value.message
    redis: Any = Redis.from_url(valkey.url)
    await redis.delete(KEY)
    again = await world.replica(floor_url=valkey.url)
    assert again.sequence == 1
    assert int(await redis.get(KEY)) == 1
    await redis.aclose()


async def test_what_came_in_force_while_redis_was_away_is_kept_later(
    world: Any, valkey: EmbeddedValkey
) -> None:
    first = await world.replica(floor_url=valkey.url)
    await world.settle(first)
    proposal = await world.approved(first, world.deploy)
    valkey.stop()
    await world.at(first).activate(proposal)
    with pytest.raises(Unavailable):
        await first.authz.publishing.follower.refresh()
    assert first.sequence == 1
    valkey.start()
    await world.until(lambda: first.sequence == 2)
    redis: Any = Redis.from_url(valkey.url)
    async with asyncio.timeout(60):
        while int(await redis.get(KEY) or 0) != 2:  # noqa: ASYNC110 - it asks each time
            await asyncio.sleep(0)
    await redis.aclose()


async def test_a_server_does_not_start_while_nobody_can_say(
    world: Any, valkey: EmbeddedValkey
) -> None:
    first = await world.replica(floor_url=valkey.url)
    floor = PolicyFloor(await RedisStore.open(valkey.url))
    valkey.stop()
    with pytest.raises(Unavailable) as refused:
        await begin(first.db, world.keys(), world.root, SystemClock(), floor)
    assert refused.value.reason == "POLICY_FLOOR_AWAY"
