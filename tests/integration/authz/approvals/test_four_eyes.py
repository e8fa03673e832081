"""Four eyes are four: whoever owes their power to the asker, by any number of hops, is no other."""

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import pytest

from argy.api.authz.v1 import approval_pb2 as pb
from argy.api.authz.v1.assignment_pb2 import (
    GrantRoleRequest,
    ListRoleAssignmentsRequest,
    RevokeRoleRequest,
)
from argy.api.authz.v1.assignment_pb2_grpc import AssignmentServiceStub
from argy.authz.provenance.domain import WINDOW_MS
from argy.base.clock import FixedClock, SystemClock
from argy.base.errors import ArgyError, FailedPrecondition, PermissionDenied
from argy.base.ids import uuid7

Make = Callable[..., Awaitable[Any]]
DEV, LEAD, CHECKER = "role:DEV", "role:LEAD", "role:CHECKER"
BOSS, NOVICE = "role:BOSS", "role:NOVICE"
BOSSES_GRANT = """
p, role:BOSS, *, authz.role_assignment:*, *, allow, true
p, role:BOSS, *, authz.role_assignment:*, grant_any, allow, true
"""
APPOINTED = (PermissionDenied, "APPOINTED_BY_ASKER")
NOT_A_REVIEWER = (PermissionDenied, "REVIEWER_APPOINTED")


async def refusal(of: Awaitable[Any]) -> tuple[type[ArgyError], str]:
    with pytest.raises(ArgyError) as refused:
        await of
    return type(refused.value), refused.value.reason


async def give(giver: Any, subject: str, role: str, like: Any = None) -> Any:
    """Give a role as somebody, for as long as the elevation ``like``."""
    wish = GrantRoleRequest(subject=subject, role=role, reason="a favour")
    if like is not None:
        wish.expire_time.CopyFrom(like.assignment.expire_time)
    stub: Any = AssignmentServiceStub(giver.channel)
    return (await stub.GrantRole(wish)).assignment


async def take(home: Any, subject: str) -> None:
    """Take all of somebody's roles away."""
    held = await home.roles.ListRoleAssignments(ListRoleAssignmentsRequest(subject=subject))
    for one in held.assignments:
        await home.roles.RevokeRole(
            RevokeRoleRequest(assignment_id=one.assignment_id, reason="cover")
        )


async def end(who: Any, elevation: Any) -> None:
    request = pb.EndElevationRequest(elevation_id=elevation.elevation_id)
    await who.elevations.EndElevation(request)


async def review(who: Any, elevation: Any) -> Any:
    request = pb.CloseReviewRequest(
        elevation_id=elevation.elevation_id, justified=True, comment="all fine"
    )
    return (await who.elevations.CloseReview(request)).elevation


async def ask_to_elevate(who: Any) -> Any:
    """Ask for approval of a role for a quarter of an hour."""
    with pytest.raises(FailedPrecondition) as refused:
        await who.elevate(BOSS, 900)
    needed = refused.value.metadata
    return await who.ask(
        needed["resource"],
        action=needed["action"],
        digest=needed["request_digest"],
        context={"duration_s": 900.0},
    )


@pytest.fixture
def bosses_grant(approving_root: Any, add_lines: Any) -> None:
    """Whoever is a boss may give any role."""
    add_lines(rules=BOSSES_GRANT)


@pytest.mark.parametrize("deleted", [False, True], ids=["held", "the link between is deleted"])
async def test_two_hops_close_no_review_of_whoever_broke_the_glass(
    bosses_grant: None, town: Make, deleted: bool
) -> None:
    """X, elevated, makes A admin; A appoints B; B closes X's review JUSTIFIED."""
    home = await town()
    x, a, b, checker = [await home.person(role) for role in (DEV, DEV, DEV, CHECKER)]
    glass = (await x.elevate(BOSS, 600, break_glass=True)).elevation
    await give(x, a.subject, BOSS, glass)
    await give(a, b.subject, CHECKER, glass)
    if deleted:
        await take(home, a.subject)
    await end(x, glass)
    assert await refusal(review(b, glass)) == NOT_A_REVIEWER
    if not deleted:
        assert await refusal(review(a, glass)) == NOT_A_REVIEWER
    closed = await review(checker, glass)
    assert (closed.reviewed_by, closed.asker_may_grant) == (checker.subject, True)


async def test_two_appointees_approve_no_more_hours_of_whoever_appointed_them(
    bosses_grant: None, town: Make
) -> None:
    """Two appointees of X approve X's eight hours, again and again."""
    home = await town()
    x, other = await home.person(DEV), await home.person(CHECKER)
    appointees = [await home.person() for _ in range(2)]
    approval = await ask_to_elevate(x)
    await other.approve(approval)
    held = (await x.elevate(BOSS, 900, approval_id=approval.approval_id)).elevation
    for one in appointees:
        await give(x, one.subject, CHECKER, held)
        await give(x, one.subject, LEAD, held)
    await end(x, held)
    again = await ask_to_elevate(x)
    ships = await x.ask("thing:prod-1")
    for one in appointees:
        assert await refusal(one.approve(again)) == APPOINTED
        assert await refusal(one.approve(ships)) == APPOINTED
        assert await refusal(one.reject(ships)) == APPOINTED
    assert (await x.get(again)).state == pb.APPROVAL_STATE_PENDING


@pytest.mark.parametrize("who", ["requester", "subject"])
async def test_requester_and_subject_are_both_askers(
    approving_root: Any, town: Make, add_lines: Any, who: str
) -> None:
    add_lines(rules=BOSSES_GRANT + "p, role:BOSS, *, authz.approval:*, *, allow, true\n")
    home = await town()
    boss, dev, friend = await home.person(BOSS), await home.person(DEV), await home.person()
    await give(boss, friend.subject, LEAD)
    if who == "requester":
        asked = await boss.ask("thing:prod-1", subject=dev.subject)
    else:
        await home.grant(boss.subject, DEV)
        asked = await home.people.as_("").ask("thing:prod-1", subject=boss.subject)
    assert await refusal(friend.approve(asked)) == APPOINTED


@pytest.mark.parametrize("how", ["role", "membership", "hop"])
async def test_a_group_is_no_way_around(
    bosses_grant: None, town: Make, person: Make, how: str
) -> None:
    """The asker gives the group its role, or lets the voter in, or made whoever let them in."""
    home, group = await town(), uuid7()
    x, a = await home.person(BOSS, DEV), await home.person()
    if how == "hop":
        await give(x, a.subject, BOSS)
    let_in_by = {"role": "service:directory", "membership": x.subject, "hop": a.subject}[how]
    tenant_id = home.tenant.tenant_id
    voter = home.people.as_(await person(tenant_id, group, let_in_by=let_in_by))
    if how == "role":
        await give(x, f"group:{group}", LEAD)
    else:
        await home.grant(f"group:{group}", LEAD)
    assert await refusal(voter.approve(await x.ask("thing:prod-1"))) == APPOINTED


async def test_a_member_of_whom_nobody_said_who_let_them_in_is_no_other(
    town: Make, person: Make
) -> None:
    home, group = await town(), uuid7()
    x = await home.person(DEV)
    voter = home.people.as_(await person(home.tenant.tenant_id, group, let_in_by=""))
    await home.grant(f"group:{group}", LEAD)
    assert await refusal(voter.approve(await x.ask("thing:prod-1"))) == APPOINTED
    # By a role of their own they are.
    await home.grant(voter.subject, LEAD)
    assert (await voter.approve(await x.ask("thing:prod-1"))).votes


async def test_whoever_holds_it_by_an_independent_second_path_counts(
    bosses_grant: None, town: Make, person: Make
) -> None:
    home, group = await town(), uuid7()
    x, a = await home.person(BOSS, DEV), await home.person(BOSS)
    voter = home.people.as_(await person(home.tenant.tenant_id, group))
    await give(x, voter.subject, LEAD)
    asked = await x.ask("thing:prod-1")
    assert await refusal(voter.approve(asked)) == APPOINTED
    await home.grant(f"group:{group}", CHECKER)
    voted = (await voter.approve(asked)).votes[0]
    assert (voted.approver, voted.asker_may_grant) == (voter.subject, True)
    second = await home.person()
    await give(a, second.subject, LEAD)
    assert len((await second.approve(asked)).votes) == 2


async def test_a_role_given_once_more_makes_no_debtor_of_whoever_held_it(
    bosses_grant: None, town: Make, person: Make
) -> None:
    home, group = await town(), uuid7()
    x = await home.person(BOSS, DEV)
    a = home.people.as_(await person(home.tenant.tenant_id, group))
    await home.grant(a.subject, BOSS)
    await give(x, f"group:{group}", BOSS)
    voter = await home.person()
    await give(a, voter.subject, LEAD)
    assert (await voter.approve(await x.ask("thing:prod-1"))).votes


async def test_a_vote_shows_what_an_asker_could_have_given(bosses_grant: None, town: Make) -> None:
    home = await town()
    dev, boss, lead = await home.person(DEV), await home.person(BOSS, DEV), await home.person(LEAD)
    assert not (await lead.approve(await dev.ask("thing:prod-1"))).votes[0].asker_may_grant
    assert (await lead.approve(await boss.ask("thing:prod-1"))).votes[0].asker_may_grant


async def test_a_vote_counts_no_more_once_its_role_is_one_that_the_asker_gave(
    bosses_grant: None, town: Make
) -> None:
    """The voter loses the role by which they voted, and gets it back from the asker."""
    home = await town()
    x = await home.person(BOSS, DEV)
    first, second, third = [await home.person(LEAD) for _ in range(3)]
    granted = await x.ask("thing:prod-1")
    for one in (first, second):
        await one.approve(granted)
    open_one = await x.ask("thing:prod-2")
    await first.approve(open_one)
    await take(home, first.subject)
    await give(x, first.subject, LEAD)
    assert await refusal(x.redeem(granted)) == (FailedPrecondition, "APPROVAL_OUTDATED")
    settled = await second.approve(open_one)
    assert settled.state == pb.APPROVAL_STATE_PENDING
    assert (await third.approve(open_one)).state == pb.APPROVAL_STATE_GRANTED
    assert (await x.redeem(open_one)).decision.effect == 1


async def test_the_permission_to_vote_is_not_the_askers_either(
    approving_root: Any, town: Make, add_lines: Any
) -> None:
    """The voter holds the role of the line by themselves, and may vote by what the asker gave."""
    line = "a, *, thing:prod-*, ship, 1, role:OPERATOR, require, 24h, true\n"
    add_lines(line, BOSSES_GRANT)
    home = await town()
    x, voter = await home.person(BOSS, DEV), await home.person("role:OPERATOR")
    await give(x, voter.subject, NOVICE)
    assert await refusal(voter.approve(await x.ask("thing:prod-1"))) == APPOINTED


async def test_what_was_given_long_before_the_asking_is_settled(
    bosses_grant: None, town: Make
) -> None:
    clock = FixedClock(SystemClock().now_ms())
    home = await town(clock=clock)
    x, voter = await home.person(BOSS, DEV), await home.person()
    await give(x, voter.subject, LEAD)
    clock.advance(WINDOW_MS)
    assert await refusal(voter.approve(await x.ask("thing:prod-1"))) == APPOINTED
    clock.advance(1)
    assert (await voter.approve(await x.ask("thing:prod-2"))).votes


async def test_waiting_makes_no_reviewer_of_whom_one_appointed_after_the_glass(
    bosses_grant: None, town: Make
) -> None:
    clock = FixedClock(SystemClock().now_ms())
    home = await town(clock=clock)
    x, friend = await home.person(DEV), await home.person()
    glass = (await x.elevate(BOSS, 600, break_glass=True)).elevation
    await end(x, glass)
    await home.grant(x.subject, BOSS)
    clock.advance(WINDOW_MS)
    await give(x, friend.subject, CHECKER)
    clock.advance(WINDOW_MS)
    assert await refusal(review(friend, glass)) == NOT_A_REVIEWER


async def test_deleting_an_org_leaves_its_open_glass_reviews(
    town: Make, change_directory: Make, person: Make
) -> None:
    home = await town()
    sales = await town(org="sales", replica=home.replica, tenant=home.tenant)
    x, checker = await home.person(DEV), await home.person(CHECKER)
    glass = (await sales.people.as_(x.subject).elevate(BOSS, 600, break_glass=True)).elevation
    assert (glass.org, glass.org_gone) == ("sales", False)
    tenant_id, org_id = home.tenant.tenant_id, home.tenant.orgs["sales"]
    await change_directory(tenant_id, "SELECT authz.forget_org($1, $2)", tenant_id, org_id)
    await change_directory(tenant_id, "DELETE FROM directory.org WHERE org_id = $1", org_id)
    request = pb.ListElevationsRequest(review=pb.REVIEW_STATE_OPEN)
    (listed,) = (await checker.elevations.ListElevations(request)).elevations
    assert listed.elevation_id == glass.elevation_id
    assert (listed.org, listed.org_gone) == ("sales", True)
    assert UUID(listed.assignment.org_id) == org_id
    # Nor can another glass be broken before it was looked at.
    assert await refusal(x.elevate(BOSS, 600, break_glass=True)) == (
        FailedPrecondition,
        "REVIEW_OPEN",
    )
    await end(x, glass)
    closed = await review(checker, glass)
    assert (closed.review, closed.org_gone) == (pb.REVIEW_STATE_JUSTIFIED, True)
