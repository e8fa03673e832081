"""When a folder counts: as the very first policy, and in development."""

import asyncio
import json
from typing import Any

import pytest

from argy.api.authz.v1 import policy_pb2 as pb
from argy.base.dsse import SigningKeys
from argy.base.errors import FailedPrecondition
from argy.policy import PolicyError
from argy.policy.statements import open_activation

OTHER = "p, role:PLATFORM_USER, *, run:*, read, allow, true\n"


async def test_the_first_server_records_its_folder_once(world: Any) -> None:
    replicas = await asyncio.gather(*(world.replica() for _ in range(3)))
    (row,) = await world.fetch("SELECT * FROM authz.policy_activation")
    activation = open_activation(row["statement"], world.control.public())
    assert (activation.sequence, activation.kind) == (1, "BOOTSTRAP")
    assert {replica.sequence for replica in replicas} == {1}
    (event,) = await world.events("authz.policy.activate")
    assert event["actor"] == "service:authz"
    active = await world.at(replicas[0]).active()
    assert active.activation.kind == pb.ACTIVATION_KIND_BOOTSTRAP


async def test_an_author_may_propose_the_folder_s_own_policy(world: Any) -> None:
    # The same bytes under two signatures, and each signer calls its key k1.
    world.control, world.author = SigningKeys.generate("k1"), SigningKeys.generate("k1")
    replica = await world.replica()
    await world.settle(replica)
    assert await world.publish(replica) == 2
    (row,) = await world.fetch("SELECT envelope FROM authz.policy_bundle")
    assert len(json.loads(row["envelope"])["signatures"]) == 2
    # Both stand up to a server that starts, as what was proposed and as what was the folder's.
    assert (await world.replica()).sequence == 2
    assert (await world.at(replica).rollback()).activation.sequence == 3
    assert (await world.replica()).sequence == 3
    # Once more proposed, nothing is signed twice.
    await world.at(replica, world.people.author).propose(world.bundle())
    (again,) = await world.fetch("SELECT envelope FROM authz.policy_bundle")
    assert again["envelope"] == row["envelope"]


async def test_a_folder_that_does_not_load_is_no_first_policy(world: Any) -> None:
    world.write("p, role:PLATFORM_USER, *, project:*, read, Allow, true\n")
    with pytest.raises(PolicyError):
        await world.replica()
    assert not await world.fetch("SELECT 1 FROM authz.policy_activation")


async def test_afterwards_the_folder_counts_for_nothing(world: Any) -> None:
    first = await world.replica()
    world.write(world.wildcard)
    second = await world.replica()
    first.authz.poke()
    assert second.authz.holder.in_force.digest == first.authz.holder.in_force.digest
    assert len(second.authz.holder.current.rules) == 9
    (row,) = await world.fetch("SELECT count(*) AS found FROM authz.policy_activation")
    assert row["found"] == 1


async def test_in_development_a_changed_folder_is_in_force_everywhere(world: Any) -> None:
    replicas = [await world.replica(unsafe=True) for _ in range(3)]
    world.write(world.deploy)
    for replica in replicas:
        await world.until(lambda replica=replica: len(replica.authz.holder.current.rules) == 10)
    rows = await world.fetch("SELECT kind FROM authz.policy_activation ORDER BY sequence")
    assert [row["kind"] for row in rows] == ["BOOTSTRAP", "FOLDER"]
    assert {replica.sequence for replica in replicas} == {2}
    # Started again with another folder than the one in force, it follows that one.
    world.write(OTHER, world.deploy)
    late = await world.replica(unsafe=True)
    await world.until(lambda: late.sequence == 3)


async def test_a_broken_folder_is_refused_by_its_line(world: Any) -> None:
    replica = await world.replica(unsafe=True)
    world.write("p, role:PLATFORM_USER, *, project:*, deploy, Deny, true\n")
    await world.until(lambda: "roles/roles.csv:9" in replica.authz.publishing.problem())
    assert "roles/roles.csv:9" in (await world.at(replica).active()).problem
    assert replica.sequence == 1
    world.write(world.deploy)
    await world.until(lambda: replica.sequence == 2)
    assert replica.authz.publishing.problem() == ""


async def test_others_refuse_an_unreviewed_folder(world: Any) -> None:
    careful = await world.replica()
    developer = await world.replica(unsafe=True)
    world.write(world.wildcard)
    await world.until(lambda: developer.sequence == 2)
    await world.until(lambda: "FOLDER_REFUSED" in careful.authz.publishing.problem())
    assert careful.sequence == 1
    assert "FOLDER_REFUSED" in (await world.at(careful).active()).problem
    # Nor does one start on it, and nobody returns to it.
    late = await world.replica()
    assert late.sequence == 1
    await careful.lane.drain()
    assert await world.events("authz.policy.refuse")
    await world.settle(careful)
    sequence = await world.publish(careful, world.deploy)
    assert sequence == 3
    with pytest.raises(FailedPrecondition) as refused:
        await world.at(careful).rollback(2)
    assert refused.value.reason == "ROLLBACK_REFUSED"
    assert "FOLDER_REFUSED" in refused.value.message


async def test_once_a_proposal_is_in_force_the_folder_is_ignored(
    world: Any, caplog: pytest.LogCaptureFixture
) -> None:
    replica = await world.replica(unsafe=True)
    await world.settle(replica)
    assert await world.publish(replica, world.deploy) == 2
    world.write(world.wildcard)
    await world.until(lambda: "the folder is ignored" in replica.authz.publishing.problem())
    assert replica.sequence == 2
    assert "the folder is ignored" in caplog.text
    # So it stays after a rollback: a person decided that.
    await world.at(replica).rollback(1)
    replica.authz.poke()
    await world.until(lambda: "the folder is ignored" in replica.authz.publishing.problem())
    assert replica.sequence == 3


async def test_a_server_of_another_control_plane_does_not_start(world: Any) -> None:
    await world.replica()
    world.control = SigningKeys.generate("control")
    with pytest.raises(FailedPrecondition) as refused:
        await world.replica()
    assert refused.value.reason == "POLICY_REFUSED"
    assert "SIGNATURE_INVALID" in refused.value.message
