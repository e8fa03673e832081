"""Replicas evaluate a proposal on live traffic, together, and tell what they saw."""
# ruff: noqa: ASYNC110 -- what is waited for is written by other replicas, which signal nobody

import asyncio
import json
from typing import Any
from uuid import uuid4

import pytest

from argy.api.authz.v1 import policy_pb2 as pb
from argy.base.errors import FailedPrecondition, NotFound, PermissionDenied


async def start(world: Any, replica: Any, proposal: pb.Proposal, **fields: int) -> pb.Proposal:
    request = pb.StartShadowRequest(proposal_id=proposal.proposal_id, **fields)
    response = await world.at(replica).stub.StartShadow(request)
    started: pb.Proposal = response.proposal
    return started


async def report(world: Any, replica: Any, proposal: pb.Proposal) -> pb.GetShadowReportResponse:
    request = pb.GetShadowReportRequest(proposal_id=proposal.proposal_id)
    told: pb.GetShadowReportResponse = await world.at(replica).stub.GetShadowReport(request)
    return told


async def reported(
    world: Any, replica: Any, proposal: pb.Proposal, evaluated: int
) -> pb.GetShadowReportResponse:
    """The report once so many decisions are in it."""
    async with asyncio.timeout(60):
        while (told := await report(world, replica, proposal)).evaluated < evaluated:
            await asyncio.sleep(0.02)
    return told


async def proposed(world: Any, replica: Any, *added: str) -> pb.Proposal:
    made: pb.Proposal = await world.at(replica, world.people.author).propose(world.bundle(*added))
    return made


async def test_replicas_evaluate_live_traffic_and_their_counts_add_up(started: Any) -> None:
    world, first = started
    second = await world.replica()
    proposal = await proposed(world, first, world.deploy)
    running = await start(world, first, proposal, duration_s=60)
    assert running.shadow_end_time.seconds > proposal.create_time.seconds
    shadows = [replica.authz.shadow_runs._shadow for replica in (first, second)]
    await world.until(lambda: all(shadow.active for shadow in shadows))
    nobody = world.people.nobody
    for replica in (first, second):
        assert not await world.at(replica).allowed(nobody, "deploy")
        assert await world.at(replica).allowed(nobody, "read")
    told = await reported(world, second, proposal, 4)
    assert (told.evaluated, told.skipped, told.replicas) == (4, 0, 2)
    assert (told.allow_to_deny, told.deny_to_allow, told.other) == (0, 2, 0)
    sample = told.samples[0]
    assert (sample.subject, sample.action, sample.before, sample.after) == (
        nobody, "deploy", "DENY", "ALLOW",
    )  # fmt: skip
    assert (sample.caller, sample.rule_after) == ("service:cli", "roles/roles.csv:9")
    (event,) = await world.events("authz.policy_proposal.shadow")
    assert json.loads(event["detail"])["duration_s"] == 60
    # What is tried out is not in force.
    assert not await world.at(first).allowed(nobody, "deploy")


async def test_the_cost_is_bounded(started: Any) -> None:
    world, replica = started
    proposal = await proposed(world, replica, world.deploy)
    await start(world, replica, proposal, duration_s=60, max_per_second=1)
    shadow = replica.authz.shadow_runs._shadow
    await world.until(lambda: shadow.active)
    caller = world.at(replica)
    await asyncio.gather(*(caller.check(world.people.nobody, "deploy") for _ in range(20)))
    async with asyncio.timeout(60):
        while (told := await report(world, replica, proposal)).skipped < 10:
            await asyncio.sleep(0.02)
    assert told.evaluated + told.skipped <= 20


async def test_another_proposal_takes_its_place_and_a_closed_one_ends(started: Any) -> None:
    world, replica = started
    one, other = (
        await proposed(world, replica, world.deploy),
        await proposed(world, replica, world.wildcard),
    )
    await start(world, replica, one)
    shadow = replica.authz.shadow_runs._shadow
    await world.until(lambda: str(shadow.proposal_id) == one.proposal_id)
    await start(world, replica, other)
    await world.until(lambda: str(shadow.proposal_id) == other.proposal_id)
    assert not (await world.at(replica).get(one)).HasField("shadow_end_time")
    await world.at(replica, world.people.cora).reject(other)
    await world.until(lambda: not shadow.active)
    with pytest.raises(FailedPrecondition) as refused:
        await start(world, replica, other)
    assert refused.value.reason == "PROPOSAL_CLOSED"


async def test_a_bundle_that_was_altered_is_not_evaluated(started: Any) -> None:
    world, replica = started
    proposal = await proposed(world, replica, world.deploy)
    await start(world, replica, proposal)
    shadow = replica.authz.shadow_runs._shadow
    await world.until(lambda: shadow.active)
    evil = world.bundle(world.wildcard, keys=type(world.author).generate("author"))
    await world.execute("UPDATE authz.policy_bundle SET envelope = $1 WHERE digest = $2",
                        evil, proposal.policy.bundle_digest)  # fmt: skip
    fresh = await world.replica()
    again = await proposed(world, replica, world.wildcard)
    await start(world, replica, again)
    others = fresh.authz.shadow_runs._shadow
    for each in (shadow, others):
        await world.until(lambda each=each: str(each.proposal_id) == again.proposal_id)
    await start(world, replica, proposal)
    # The one that opened it before still has it; the one that has to open it now refuses.
    await world.until(lambda: str(shadow.proposal_id) == proposal.proposal_id)
    await world.until(lambda: not others.active)
    assert str(others.proposal_id) == again.proposal_id


async def test_who_may_not_is_refused_and_what_is_not_there_is_named(started: Any) -> None:
    world, replica = started
    proposal = await proposed(world, replica, world.deploy)
    request = pb.StartShadowRequest(proposal_id=proposal.proposal_id)
    for person in (world.people.nobody, world.people.cora):
        with pytest.raises(PermissionDenied):
            await world.at(replica, person).stub.StartShadow(request)
    with pytest.raises(PermissionDenied):
        await world.at(replica, world.people.nobody).stub.GetShadowReport(
            pb.GetShadowReportRequest(proposal_id=proposal.proposal_id)
        )
    missing = pb.Proposal(proposal_id=str(uuid4()))
    with pytest.raises(NotFound):
        await start(world, replica, missing)
    with pytest.raises(NotFound):
        await report(world, replica, missing)
