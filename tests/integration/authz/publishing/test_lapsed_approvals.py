"""An approval counts for as long as its approver might give it: asked again when it is used."""

from types import SimpleNamespace
from typing import Any

import pytest
from signed_in import Bearer, everybody

from argy.api.authz.v1.assignment_pb2 import (
    ListRoleAssignmentsRequest,
    RevokeRoleRequest,
)
from argy.api.authz.v1.assignment_pb2_grpc import AssignmentServiceStub
from argy.base.errors import FailedPrecondition
from argy.base.ids import PLATFORM_TENANT_ID

FRESH = (
    'p, role:COMPLIANCE_APPROVER, *, policy:*, approve, deny, "has(ctx.author) &&'
    ' (!has(ctx.auth) || ctx.auth.age_s > 300)"\n'
)


async def revoke_role(world: Any, replica: Any, subject: str) -> None:
    """Take the roles of somebody away."""
    roles: Any = AssignmentServiceStub(world.channel(replica))
    held = await roles.ListRoleAssignments(ListRoleAssignmentsRequest(subject=subject))
    for one in held.assignments:
        await roles.RevokeRole(RevokeRoleRequest(assignment_id=one.assignment_id, reason="left"))


async def disable(world: Any, subject: str) -> None:
    """Disable a person, as the directory does."""
    await world.execute(
        "UPDATE directory.user_account SET state = 'DISABLED' WHERE user_id = $1",
        subject.removeprefix("user:"),
    )
    tenant = f"'{PLATFORM_TENANT_ID}'"
    await world.execute(
        f"DO $$ BEGIN PERFORM set_config('app.tenant_id', {tenant}, true);"
        f" PERFORM authz.bump_revision({tenant}); END $$"
    )


async def lapsed(world: Any, replica: Any, proposal: Any) -> FailedPrecondition:
    """The refusal of an activation whose approval counts no more."""
    with pytest.raises(FailedPrecondition) as refused:
        await world.at(replica).activate(proposal)
    assert refused.value.reason == "APPROVAL_NO_LONGER_GOOD"
    return refused.value


@pytest.mark.parametrize("how", ["role", "disabled"])
async def test_who_is_no_approver_any_more_has_approved_nothing(started: Any, how: str) -> None:
    world, replica = started
    proposal = await world.approved(replica, world.deploy)
    cora = world.people.cora
    await (revoke_role(world, replica, cora) if how == "role" else disable(world, cora))
    error = await lapsed(world, replica, proposal)
    assert cora in error.message
    assert error.metadata["approvers"] == cora
    # Another one can be collected, and it alone is what the activation tells.
    await world.at(replica, world.people.carl).approve(proposal)
    assert (await world.at(replica).activate(proposal)).activation.sequence == 2
    event = (await world.events("authz.policy.activate"))[-1]
    assert world.people.carl in event["detail"]
    assert cora not in event["detail"]


async def test_of_two_approvals_the_one_that_lapsed_is_named(started: Any) -> None:
    world, replica = started
    proposal = await world.approved(replica, world.wildcard)
    await revoke_role(world, replica, world.people.carl)
    error = await lapsed(world, replica, proposal)
    assert error.metadata == {
        "approvers": world.people.carl,
        "approvals": "1",
        "approvals_needed": "2",
    }


async def test_a_role_that_comes_back_makes_the_approval_good_again(started: Any) -> None:
    world, replica = started
    proposal = await world.approved(replica, world.deploy)
    await revoke_role(world, replica, world.people.cora)
    await lapsed(world, replica, proposal)
    await world.grant(replica, PLATFORM_TENANT_ID, world.people.cora, "role:COMPLIANCE_APPROVER")
    assert (await world.at(replica).activate(proposal)).activation.sequence == 2


async def test_a_copied_approval_is_not_good_by_the_role_of_whom_it_was_copied_to(
    started: Any,
) -> None:
    """Whoever writes to the database puts a lapsed statement beside the name of an approver."""
    world, replica = started
    proposal = await world.approved(replica, world.deploy)
    await revoke_role(world, replica, world.people.cora)
    await world.execute("UPDATE authz.policy_approval SET approver = $1", world.people.carl)
    error = await lapsed(world, replica, proposal)
    assert error.metadata["approvers"] == world.people.cora


async def test_a_vote_by_less_than_the_rules_ask_for_today_is_given_again(world: Any) -> None:
    signed_in = everybody()
    replica = await world.replica(signed_in=signed_in)
    people = await world.settle(replica)
    platform = SimpleNamespace(tenant_id=PLATFORM_TENANT_ID, slug="platform")
    author = world.at(replica, people.author)

    def carl(age_s: int) -> Any:
        token = signed_in.token(platform, people.carl, age_s=age_s)
        return type(author)(Bearer(world.channel(replica), token))

    proposal = await author.propose(world.bundle(FRESH, world.deploy))
    await carl(4_000).approve(proposal)
    await world.publish(replica, FRESH)
    # What it would change is another thing now, and was not approved yet.
    with pytest.raises(FailedPrecondition):
        await world.at(replica).activate(proposal)
    await carl(10).approve(await author.get(proposal))
    # As if it had been given by an older proof, before the rules asked for a fresh one.
    await world.execute(
        "UPDATE authz.policy_approval SET signed_in ="
        " jsonb_set(signed_in, '{auth,age_s}', '4000.0') WHERE approver = $1",
        people.carl,
    )
    error = await lapsed(world, replica, proposal)
    assert error.metadata["approvers"] == people.carl
    again = await carl(10).approve(await author.get(proposal))
    assert people.carl in {one.approver for one in again.approvals}
    assert (await world.at(replica).activate(proposal)).activation.sequence == 3
