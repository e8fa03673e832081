"""How a policy comes in force, on every replica, and how it goes again."""

import asyncio
from typing import Any
from uuid import uuid4

import pytest

from argy.api.authz.v1 import authz_pb2 as authz
from argy.api.authz.v1 import policy_pb2 as pb
from argy.base.errors import Aborted, FailedPrecondition, InvalidArgument, NotFound
from argy.base.ids import PLATFORM_TENANT_ID
from argy.base.revisions import parse_revision, policy_token, revision_token

OTHER = "p, role:PLATFORM_USER, *, run:*, read, allow, true\n"


async def test_an_activation_reaches_every_replica(started: Any) -> None:
    world, first = started
    others = [await world.replica() for _ in range(2)]
    uma = world.people.nobody
    assert not await world.at(first).allowed(uma, "deploy")
    sequence = await world.publish(first, world.deploy)
    assert sequence == 2
    for replica in others:
        await world.until(lambda replica=replica: replica.sequence == 2)
    for replica in (first, *others):
        answer = await world.at(replica).check(uma, "deploy")
        assert answer.decision.rule.file == "roles/roles.csv"
        assert parse_revision(PLATFORM_TENANT_ID, answer.revision).policy == 2
        active = await world.at(replica).active()
        assert active.activation.sequence == 2
        assert active.activation.kind == pb.ACTIVATION_KIND_PROPOSAL
        assert active.problem == ""
        assert active.rules == 10
    (_, event) = await world.events("authz.policy.activate")  # the bootstrap came first
    assert world.people.cora in event["detail"]
    assert (event["actor"], event["via"]) == (world.people.admin, "service:cli")


async def test_a_token_of_the_activation_makes_a_replica_catch_up_first(started: Any) -> None:
    world, first = started
    second = await world.replica()
    caller = world.at(second)
    # The second one hears nothing: only the token makes it look.
    publishing = second.authz.publishing
    await publishing.follower.close()
    proposal = await world.approved(first, world.deploy)
    token = (await world.at(first).activate(proposal)).revision
    assert token == policy_token(2)
    assert not await caller.allowed(world.people.nobody, "deploy")
    assert await caller.allowed(world.people.nobody, "deploy", token)
    assert second.sequence == 2


@pytest.mark.parametrize("method", ["Check", "BatchCheck", "Explain"])
async def test_a_token_that_is_newer_than_the_database_is_stale(started: Any, method: str) -> None:
    world, replica = started
    question = authz.Question(subject="user:x", action="read", resource="project:x")
    request: Any = {
        "Check": authz.CheckRequest(question=question),
        "BatchCheck": authz.BatchCheckRequest(questions=[question]),
        "Explain": authz.ExplainRequest(question=question),
    }[method]
    for token in (policy_token(99), revision_token(PLATFORM_TENANT_ID, 0, 99)):
        request.at_least = token
        with pytest.raises(FailedPrecondition) as refused:
            await getattr(world.at(replica).decisions, method)(request)
        assert refused.value.reason == "STALE_REVISION"
    request.at_least = policy_token(1)
    await getattr(world.at(replica).decisions, method)(request)


async def test_of_two_activations_at_once_one_wins(started: Any) -> None:
    world, first = started
    second = await world.replica()
    one = await world.approved(first, world.deploy)
    other = await world.approved(first, OTHER)
    found = await asyncio.gather(
        world.at(first).activate(one), world.at(second).activate(other), return_exceptions=True
    )
    lost = [error for error in found if isinstance(error, BaseException)]
    assert len(lost) == 1
    # Overtaken at the end, or already when it looked at what it would change.
    assert isinstance(lost[0], Aborted | FailedPrecondition)
    assert lost[0].reason in ("CONCURRENT_ACTIVATION", "DIFF_CHANGED")
    rows = await world.fetch("SELECT sequence FROM authz.policy_activation ORDER BY 1")
    assert [row["sequence"] for row in rows] == [1, 2]


async def test_one_proposal_activated_twice_at_once_is_activated_once(started: Any) -> None:
    world, first = started
    second = await world.replica()
    proposal = await world.approved(first, world.deploy)
    found = await asyncio.gather(
        *(world.at(replica).activate(proposal) for replica in (first, second)),
        return_exceptions=True,
    )
    lost = [error for error in found if isinstance(error, BaseException)]
    assert len(lost) == 1
    assert isinstance(lost[0], Aborted | FailedPrecondition)
    assert (await world.at(first).get(proposal)).state == pb.PROPOSAL_STATE_ACTIVATED


async def test_the_loser_of_a_race_in_the_database_is_told_to_look_again(started: Any) -> None:
    """The sequence is taken between the look and the insertion: the primary key decides."""
    world, replica = started
    proposal = await world.approved(replica, world.deploy)
    await world.execute("CREATE TABLE public.race AS SELECT 1 AS one")
    await world.execute(
        "CREATE FUNCTION public.race() RETURNS trigger LANGUAGE plpgsql AS $$"
        " BEGIN RAISE unique_violation USING CONSTRAINT = 'policy_activation_pkey'; END $$"
    )
    await world.execute(
        "CREATE TRIGGER race BEFORE INSERT ON authz.policy_activation"
        " FOR EACH ROW EXECUTE FUNCTION public.race()"
    )
    with pytest.raises(Aborted) as refused:
        await world.at(replica).activate(proposal)
    assert refused.value.reason == "CONCURRENT_ACTIVATION"
    await world.execute("DROP TRIGGER race ON authz.policy_activation")
    assert (await world.at(replica).activate(proposal)).activation.sequence == 2


async def test_rollback_returns_in_one_call(started: Any) -> None:
    world, replica = started
    caller, uma = world.at(replica), world.people.nobody
    await world.publish(replica, world.deploy)
    await world.publish(replica, world.deploy, OTHER)
    back = await caller.rollback()
    assert (back.activation.sequence, back.activation.kind) == (4, pb.ACTIVATION_KIND_ROLLBACK)
    assert back.revision == policy_token(4)
    assert await caller.allowed(uma, "deploy", back.revision)
    first = await caller.rollback(1)
    assert not await caller.allowed(uma, "deploy", first.revision)
    assert (await caller.active()).activation.reason == "it was wrong"
    listed = await caller.stub.ListActivations(pb.ListActivationsRequest(page_size=3))
    assert [one.sequence for one in listed.activations] == [5, 4, 3]
    rest = await caller.stub.ListActivations(
        pb.ListActivationsRequest(page_size=3, page_token=listed.next_page_token)
    )
    assert [one.sequence for one in rest.activations] == [2, 1]
    assert rest.activations[0].proposal_id
    assert len(await world.events("authz.policy.rollback")) == 2


async def test_rollback_goes_backwards_only(started: Any) -> None:
    world, replica = started
    caller = world.at(replica)
    with pytest.raises(NotFound):
        await caller.rollback()  # nothing was there before the first
    await world.publish(replica, world.deploy)
    for sequence in (2, 3, 1000):
        with pytest.raises(InvalidArgument) as refused:
            await caller.rollback(sequence)
        assert refused.value.reason == "NOT_EARLIER"


async def test_an_older_policy_needs_a_rollback(started: Any) -> None:
    world, replica = started
    await world.publish(replica, world.deploy, time_s=1_700_000_000)
    author = world.at(replica, world.people.author)
    for time_s in (1_699_999_999, 0):  # of an older commit, or of none
        with pytest.raises(FailedPrecondition) as refused:
            await author.propose(world.bundle(OTHER, time_s=time_s))
        assert refused.value.reason == "POLICY_OLDER"
    assert await author.propose(world.bundle(OTHER, time_s=1_700_000_000))


async def test_a_proposal_that_became_older_is_not_activated(started: Any) -> None:
    world, replica = started
    older = await world.approved(replica, world.deploy, time_s=1_700_000_000)
    # The same meaning from a newer commit comes first: the diff of the older one is empty then.
    await world.publish(replica, world.deploy, time_s=1_700_000_001)
    author, cora = (world.at(replica, p) for p in (world.people.author, world.people.cora))
    with pytest.raises(FailedPrecondition) as changed:
        await world.at(replica).activate(older)
    assert changed.value.reason == "DIFF_CHANGED"
    await cora.approve(await author.get(older))
    with pytest.raises(FailedPrecondition) as refused:
        await world.at(replica).activate(older)
    assert refused.value.reason == "POLICY_OLDER"
    assert (await world.at(replica).rollback(1)).activation.sequence == 3


async def test_rows_beside_the_signed_approvals_count_for_nothing(started: Any) -> None:
    """Whoever can write to the database adds approvals, copies them, or changes the author."""
    world, replica = started
    author, cora = (world.at(replica, p) for p in (world.people.author, world.people.cora))
    proposal = await author.propose(world.bundle(world.wildcard))
    await cora.approve(proposal)
    await world.execute(
        "INSERT INTO authz.policy_approval SELECT tenant_id, proposal_id, $1, bundle_digest,"
        " diff_digest, comment, statement, now() FROM authz.policy_approval",
        world.people.carl,
    )
    shown = await author.get(proposal)
    assert shown.state == pb.PROPOSAL_STATE_APPROVED  # as the rows say
    with pytest.raises(FailedPrecondition) as refused:
        await world.at(replica).activate(proposal)
    assert refused.value.reason == "APPROVALS_MISSING"
    await world.execute("UPDATE authz.policy_proposal SET approvals_needed = 1")
    with pytest.raises(FailedPrecondition) as lowered:
        await world.at(replica).activate(proposal)
    assert lowered.value.reason == "APPROVALS_MISSING"
    await world.execute("UPDATE authz.policy_proposal SET author = $1", world.people.admin)
    with pytest.raises(FailedPrecondition) as disowned:
        await world.at(replica).activate(proposal)
    assert disowned.value.reason == "APPROVALS_MISSING"


async def test_a_bundle_altered_while_it_waited_is_not_activated(started: Any) -> None:
    world, first = started
    proposal = await world.approved(first, world.deploy)
    second = await world.replica()  # has not opened the bundle yet
    other = world.bundle(world.wildcard)
    await world.execute(
        "UPDATE authz.policy_bundle SET envelope = $1 WHERE digest = $2",
        other,
        proposal.policy.bundle_digest,
    )
    with pytest.raises(FailedPrecondition) as refused:
        await world.at(second).activate(proposal)
    assert refused.value.reason == "BUNDLE_MISMATCH"


async def test_what_is_not_there_is_not_found(started: Any) -> None:
    world, replica = started
    with pytest.raises(NotFound):
        await world.at(replica).activate(pb.Proposal(proposal_id=str(uuid4())))
