"""Replicas believe signatures, not rows: what whoever owns the database can and can't do."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import pytest

from argy.base.dsse import SigningKeys, seal, unseal
from argy.base.errors import FailedPrecondition
from argy.policy.statements import ACTIVATION_TYPE, open_activation

OTHER = "p, role:PLATFORM_USER, *, run:*, read, allow, true\n"
Forge = Callable[[Any, dict[str, Any]], Awaitable[dict[str, Any]]]


async def newest(world: Any) -> dict[str, Any]:
    (row,) = await world.fetch(
        "SELECT * FROM authz.policy_activation ORDER BY sequence DESC LIMIT 1"
    )
    return dict(row)


async def insert(world: Any, row: dict[str, Any]) -> None:
    marks = ", ".join(f"${number}" for number in range(1, len(row) + 1))
    await world.execute(
        f"INSERT INTO authz.policy_activation ({', '.join(row)}) VALUES ({marks})",  # noqa: S608
        *row.values(),
    )


async def statement_of(world: Any, row: dict[str, Any], **changes: Any) -> bytes:
    """The row's statement with changes, sealed by nobody's check but with the control's key."""
    payload = json.loads(
        unseal(row["statement"], payload_type=ACTIVATION_TYPE, keys=world.control.public())
    )
    keys = changes.pop("keys", world.control)
    changed = json.dumps(payload | changes, sort_keys=True, separators=(",", ":")).encode()
    return seal(changed, payload_type=ACTIVATION_TYPE, keys=keys)


async def resequenced(world: Any, row: dict[str, Any]) -> dict[str, Any]:
    """An old row, as it was signed, under a higher number."""
    return {**row, "sequence": 9}


async def reasoned(world: Any, row: dict[str, Any]) -> dict[str, Any]:
    statement = await statement_of(world, row, sequence=9)
    return {**row, "sequence": 9, "reason": "nobody said so", "statement": statement}


async def by_a_stranger(world: Any, row: dict[str, Any]) -> dict[str, Any]:
    keys = SigningKeys.generate("control")
    statement = await statement_of(world, row, sequence=9, keys=keys)
    return {**row, "sequence": 9, "statement": statement}


async def by_an_author(world: Any, row: dict[str, Any]) -> dict[str, Any]:
    statement = await statement_of(world, row, sequence=9, keys=world.author)
    return {**row, "sequence": 9, "statement": statement}


async def unsigned(world: Any, row: dict[str, Any]) -> dict[str, Any]:
    envelope = json.loads(await statement_of(world, row, sequence=9))
    bare = json.dumps({**envelope, "signatures": []}).encode()
    return {**row, "sequence": 9, "statement": bare}


async def of_another_bundle(world: Any, row: dict[str, Any]) -> dict[str, Any]:
    (first,) = await world.fetch("SELECT digest FROM authz.policy_activation WHERE sequence = 1")
    statement = await statement_of(world, row, sequence=9)
    return {**row, "sequence": 9, "digest": first["digest"], "statement": statement}


async def with_too_few(world: Any, row: dict[str, Any]) -> dict[str, Any]:
    statement = await statement_of(world, row, sequence=9, escalates=True)
    return {**row, "sequence": 9, "statement": statement}


async def with_none(world: Any, row: dict[str, Any]) -> dict[str, Any]:
    statement = await statement_of(world, row, sequence=9, approvals=[], approvals_needed=0)
    return {**row, "sequence": 9, "statement": statement}


async def for_another_diff(world: Any, row: dict[str, Any]) -> dict[str, Any]:
    statement = await statement_of(world, row, sequence=9, diff_digest="0" * 64)
    return {**row, "sequence": 9, "statement": statement}


async def by_its_author(world: Any, row: dict[str, Any]) -> dict[str, Any]:
    statement = await statement_of(world, row, sequence=9, author=world.people.cora)
    return {**row, "sequence": 9, "statement": statement}


async def as_a_bootstrap(world: Any, row: dict[str, Any]) -> dict[str, Any]:
    said = {"kind": "BOOTSTRAP", "origin": "BOOTSTRAP", "proposal_id": "", "approvals": []}
    statement = await statement_of(world, row, sequence=9, **said)
    return {
        **row, "sequence": 9, "kind": "BOOTSTRAP", "proposal_id": None, "statement": statement,
    }  # fmt: skip


async def no_statement(world: Any, row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "sequence": 9, "statement": b"{}"}


FORGERIES: list[tuple[Forge, str]] = [
    (resequenced, "SEQUENCE_NOT_ABOVE"),
    (reasoned, "ROW_ALTERED"),
    (by_a_stranger, "SIGNATURE_INVALID"),
    (by_an_author, "SIGNATURE_UNTRUSTED"),
    (unsigned, "SIGNATURE_UNTRUSTED"),
    (of_another_bundle, "BUNDLE"),
    (with_too_few, "APPROVALS_TOO_FEW"),
    (with_none, "APPROVALS_TOO_FEW"),
    (for_another_diff, "APPROVAL_OF_ANOTHER"),
    (by_its_author, "APPROVAL_OF_ANOTHER"),
    (as_a_bootstrap, "NOT_THE_FIRST"),
    (no_statement, "ENVELOPE_MALFORMED"),
]


@pytest.mark.parametrize(("forge", "reason"), FORGERIES)
async def test_a_forged_activation_is_refused_and_seen(
    started: Any, forge: Forge, reason: str
) -> None:
    world, replica = started
    caller = world.at(replica)
    await world.publish(replica, world.deploy)
    row = await newest(world)
    await insert(world, await forge(world, row))
    await world.until(lambda: replica.authz.publishing.problem())
    active = await caller.active()
    assert active.activation.sequence == 2
    assert "activation 9 is refused" in active.problem
    assert reason in active.problem or reason == "BUNDLE"
    assert await caller.allowed(world.people.nobody, "deploy")
    await replica.lane.drain()
    (event,) = await world.events("authz.policy.refuse")
    assert event["outcome"] == "FAILURE"
    assert json.loads(event["detail"])["sequence"] == 9
    # A rollback to what is in force comes above the forged one.
    back = await caller.rollback(2)
    assert back.activation.sequence == 10
    assert (await caller.active()).problem == ""


async def test_a_replica_that_starts_takes_the_newest_good_one(started: Any) -> None:
    world, replica = started
    await world.publish(replica, world.deploy)
    await insert(world, await resequenced(world, await newest(world)))
    late = await world.replica()
    assert late.sequence == 2
    await world.until(lambda: late.authz.publishing.problem())


async def test_a_replica_does_not_start_on_forgeries_alone(started: Any) -> None:
    world, _ = started
    await world.execute("UPDATE authz.policy_activation SET reason = 'another'")
    with pytest.raises(FailedPrecondition) as refused:
        await world.replica()
    assert refused.value.reason == "POLICY_REFUSED"
    assert "ROW_ALTERED" in refused.value.message


async def test_an_altered_bundle_is_refused(started: Any) -> None:
    world, first = started
    second = await world.replica()
    await second.authz.publishing.follower.close()
    sequence = await world.publish(first, world.deploy)
    row = await newest(world)
    await world.execute(
        "UPDATE authz.policy_bundle SET envelope = set_byte(envelope, 40,"
        " get_byte(envelope, 40) # 1) WHERE digest = $1",
        row["digest"],
    )
    with pytest.raises(FailedPrecondition):
        await second.authz.publishing.follower.reach(sequence, "token")
    assert second.sequence == 1
    assert "activation 2 is refused" in second.authz.publishing.problem()


async def test_a_lower_sequence_does_not_come_back(started: Any) -> None:
    """The newest row goes, as in a restored backup: what is in force stays, and the log tells."""
    world, replica = started
    await world.publish(replica, world.deploy)
    await world.execute("DELETE FROM authz.policy_activation WHERE sequence = 2")
    replica.authz.poke()
    await world.until(lambda: "SEQUENCE_NOT_ABOVE" in replica.authz.publishing.problem())
    assert replica.sequence == 2
    assert await world.at(replica).allowed(world.people.nobody, "deploy")


async def test_a_second_activation_of_the_same_sequence_is_seen(started: Any) -> None:
    world, replica = started
    await world.publish(replica, world.deploy)
    row = await newest(world)
    await world.execute("DELETE FROM authz.policy_activation WHERE sequence = 2")
    statement = await statement_of(world, row, reason="another")
    await insert(world, {**row, "reason": "another", "statement": statement})
    await world.until(lambda: "SEQUENCE_NOT_ABOVE" in replica.authz.publishing.problem())
    assert replica.authz.holder.in_force.activation.reason == ""


async def test_what_was_signed_can_be_checked_by_anybody_later(started: Any) -> None:
    world, replica = started
    await world.publish(replica, world.wildcard)
    row = await newest(world)
    activation = open_activation(row["statement"], world.control.public())
    assert activation.escalates
    assert len(activation.approvals) == 2
    assert activation.bundle_digest == row["digest"]
    assert activation.author == world.people.author


async def test_the_policy_in_force_stays_while_the_database_is_away(
    started: Any, servers: Any, caplog: pytest.LogCaptureFixture
) -> None:
    world, replica = started
    name = world.dsn.rpartition("/")[2]
    await _allow(servers.postgres_dsn, name, "false")
    try:
        await _disconnect(servers.postgres_dsn, name)
        replica.authz.poke()
        await world.until(lambda: "newer policies can't be looked for" in caplog.text)
        assert replica.sequence == 1
        assert replica.authz.holder.current.rules
    finally:
        await _allow(servers.postgres_dsn, name, "true")
    # Back again, it is followed as before.
    assert await world.publish(replica, world.deploy) == 2


async def test_an_activation_that_nobody_heard_is_found_after_a_lost_connection(
    started: Any, servers: Any
) -> None:
    world, first = started
    second = await world.replica()
    name = world.dsn.rpartition("/")[2]
    for _ in range(3):
        await _disconnect(servers.postgres_dsn, name, "argy_listen")
    sequence = await world.publish(first, world.deploy)
    await world.until(lambda: second.sequence == sequence)


async def _disconnect(admin: str, name: str, application: str = "") -> None:
    connection = await asyncpg.connect(admin)
    try:
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1"
            " AND pid <> pg_backend_pid() AND ($2 = '' OR application_name = $2)",
            name,
            application,
        )
    finally:
        await connection.close()


async def _allow(admin: str, name: str, whether: str) -> None:
    connection = await asyncpg.connect(admin)
    try:
        await connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS {whether}")
    finally:
        await connection.close()


async def test_many_who_ask_share_one_look(started: Any) -> None:
    _, replica = started
    follower = replica.authz.publishing.follower
    await asyncio.gather(*(follower.refresh() for _ in range(200)))
    with pytest.raises(FailedPrecondition):
        await follower.reach(7, "token")
