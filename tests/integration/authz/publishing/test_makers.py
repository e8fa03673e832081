"""Four eyes bind to everybody who made a policy: who proposed it, signed it, or wrote it."""

from typing import Any

import pytest

from argy.api.authz.v1 import policy_pb2 as pb
from argy.api.authz.v1.assignment_pb2 import (
    GrantRoleRequest,
    ListRoleAssignmentsRequest,
    RevokeRoleRequest,
)
from argy.api.authz.v1.assignment_pb2_grpc import AssignmentServiceStub
from argy.base.dsse import TrustedKeys
from argy.base.errors import FailedPrecondition, PermissionDenied
from argy.base.ids import PLATFORM_TENANT_ID, uuid7
from argy.policy.bundle import build_bundle, sign_bundle
from argy.policy.files import PolicyFiles

APPROVER = "role:COMPLIANCE_APPROVER"


def written_by(world: Any, *authors: str) -> bytes:
    """A signed bundle whose commits say who wrote it."""
    files = PolicyFiles(
        world.files(world.deploy), "a test", "5" * 40, 1_700_000_000, tuple(sorted(authors))
    )
    return sign_bundle(build_bundle(files), world.author)


async def by_ci(world: Any, replica: Any, bundle: bytes) -> pb.Proposal:
    """A proposal of a job: no person proposes it."""
    proposal: pb.Proposal = await world.at(replica, "service:ci").propose(bundle)
    return proposal


async def refused_approval(world: Any, replica: Any, who: str, proposal: Any) -> str:
    with pytest.raises(PermissionDenied) as refused:
        await world.at(replica, who).approve(proposal)
    return str(refused.value.reason)


@pytest.fixture
async def with_ci(started: Any) -> Any:
    """As ``started``, with a service that may propose."""
    world, replica = started
    await world.grant(replica, PLATFORM_TENANT_ID, "service:ci", "role:POLICY_AUTHOR")
    return started


async def test_an_approver_cant_approve_what_they_wrote_and_ci_proposed(with_ci: Any) -> None:
    world, replica = with_ci
    proposal = await by_ci(
        world, replica, written_by(world, "cora@example.test", "stranger@example.test")
    )
    assert list(proposal.makers) == [world.people.cora]
    assert list(proposal.unknown_makers) == ["stranger@example.test"]
    assert await refused_approval(world, replica, world.people.cora, proposal) == "AUTHOR_APPROVES"
    approved = await world.at(replica, world.people.carl).approve(proposal)
    assert approved.state == pb.PROPOSAL_STATE_APPROVED
    assert (await world.at(replica).activate(proposal)).activation.sequence == 2


@pytest.mark.parametrize("owner", ["subject", "address"])
async def test_an_approver_cant_approve_what_their_key_signed(world: Any, owner: str) -> None:
    first = await world.replica()
    await world.settle(first)
    cora = world.people.cora if owner == "subject" else "Cora@example.test"
    public = world.author.public()
    owned = TrustedKeys(public.keys, dict.fromkeys(public.keys, cora))
    replica = await world.replica(authors=owned)
    proposal = await world.at(replica, world.people.author).propose(world.bundle(world.deploy))
    assert list(proposal.makers) == [world.people.cora]
    assert await refused_approval(world, replica, world.people.cora, proposal) == "AUTHOR_APPROVES"


async def test_who_changes_their_address_after_proposing_wrote_it_still(with_ci: Any) -> None:
    world, replica = with_ci
    proposal = await by_ci(world, replica, written_by(world, "cora@example.test"))
    await world.execute(
        "UPDATE directory.user_account SET email = 'other@example.test' WHERE user_id = $1",
        world.people.cora.removeprefix("user:"),
    )
    assert await refused_approval(world, replica, world.people.cora, proposal) == "AUTHOR_APPROVES"


async def test_an_author_who_becomes_known_only_later_cant_activate_by_an_earlier_approval(
    with_ci: Any,
) -> None:
    world, replica = with_ci
    proposal = await by_ci(world, replica, written_by(world, "late@example.test"))
    await world.at(replica, world.people.cora).approve(proposal)
    await world.execute(
        "UPDATE directory.user_account SET email = 'late@example.test' WHERE user_id = $1",
        world.people.cora.removeprefix("user:"),
    )
    with pytest.raises(FailedPrecondition) as refused:
        await world.at(replica).activate(proposal)
    assert refused.value.reason == "APPROVAL_NO_LONGER_GOOD"
    assert refused.value.metadata["approvers"] == world.people.cora


@pytest.mark.parametrize("hops", [1, 2])
async def test_whom_a_maker_appointed_approves_nothing_of_theirs(with_ci: Any, hops: int) -> None:
    """The administrator writes a policy, has CI propose it, and an appointee approve it."""
    world, replica = with_ci
    people = world.people
    giver = people.admin
    if hops == 2:
        await grant_as(world, replica, people.admin, people.nobody, "role:PLATFORM_ADMIN")
        giver = people.nobody
    puppet = await newcomer(world)
    await grant_as(world, replica, giver, puppet, APPROVER)
    proposal = await by_ci(world, replica, written_by(world, "admin@example.test"))
    assert await refused_approval(world, replica, puppet, proposal) == "APPOINTED_BY_ASKER"
    shown = await world.at(replica, people.cora).approve(proposal)
    assert [(one.approver, one.asker_may_grant) for one in shown.approvals] == [(people.cora, True)]


async def test_an_approval_counts_no_more_once_its_role_is_of_a_makers_giving(
    with_ci: Any,
) -> None:
    world, replica = with_ci
    people = world.people
    proposal = await by_ci(world, replica, written_by(world, "admin@example.test"))
    await world.at(replica, people.cora).approve(proposal)
    await revoke(world, replica, people.cora)
    await grant_as(world, replica, people.admin, people.cora, APPROVER)
    with pytest.raises(FailedPrecondition) as refused:
        await world.at(replica).activate(proposal)
    assert refused.value.reason == "APPROVAL_NO_LONGER_GOOD"
    assert refused.value.metadata["approvers"] == people.cora


async def test_what_its_proposer_may_not_propose_any_more_is_not_activated(with_ci: Any) -> None:
    world, replica = with_ci
    for proposer in (world.people.author, "service:ci"):
        proposal = await world.at(replica, proposer).propose(world.bundle(world.deploy))
        await world.at(replica, world.people.cora).approve(proposal)
        await revoke(world, replica, proposer)
        with pytest.raises(FailedPrecondition) as refused:
            await world.at(replica).activate(proposal)
        assert refused.value.reason == "PROPOSER_NO_LONGER_GOOD"
        assert refused.value.metadata["proposer"] == proposer


async def newcomer(world: Any) -> str:
    """Somebody who holds nothing."""
    user = uuid7()
    await world.execute(
        "INSERT INTO directory.user_account (tenant_id, user_id, email, display_name)"
        " VALUES ($1, $2, $3, 'New')",
        PLATFORM_TENANT_ID,
        user,
        f"{user}@example.test",
    )
    return f"user:{user}"


async def grant_as(world: Any, replica: Any, giver: str, subject: str, role: str) -> None:
    stub: Any = AssignmentServiceStub(world.channel(replica, giver))
    await stub.GrantRole(GrantRoleRequest(subject=subject, role=role, reason="test"))


async def revoke(world: Any, replica: Any, subject: str) -> None:
    roles: Any = AssignmentServiceStub(world.channel(replica))
    held = await roles.ListRoleAssignments(ListRoleAssignmentsRequest(subject=subject))
    for one in held.assignments:
        await roles.RevokeRole(RevokeRoleRequest(assignment_id=one.assignment_id, reason="left"))
