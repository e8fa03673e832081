"""Roles for a while: asked of the policy, ended by the clock; broken glass that is looked at."""

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from argy.api.authz.v1 import approval_pb2 as pb
from argy.api.authz.v1.approval_pb2_grpc import ElevationServiceStub
from argy.api.authz.v1.assignment_pb2 import GrantRoleRequest, RevokeRoleRequest
from argy.api.authz.v1.assignment_pb2_grpc import AssignmentServiceStub
from argy.authz.notifications.notifier import Notification
from argy.base.clock import FixedClock, SystemClock
from argy.base.errors import (
    AlreadyExists,
    ArgyError,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
)
from argy.base.ids import PLATFORM_TENANT_ID, uuid7
from argy.policy import compile_policy, load_policy

Make = Callable[..., Awaitable[Any]]
DEV, LEAD, CHECKER = "role:DEV", "role:LEAD", "role:CHECKER"
OPERATOR, BOSS, ADMIN = "role:OPERATOR", "role:BOSS", "role:PLATFORM_ADMIN"


async def refusal(of: Awaitable[Any]) -> tuple[type[ArgyError], str]:
    with pytest.raises(ArgyError) as refused:
        await of
    return type(refused.value), refused.value.reason


async def may(home: Any, who: Any) -> bool:
    """Whether somebody may do what only an operator may."""
    decision = await home.people.as_("").check(who.subject, "run", "plant:x")
    return bool(decision.effect == 1)


async def ask_for(who: Any, refused: ArgyError) -> Any:
    """Request the approval that an elevation was refused for want of."""
    wanted = refused.metadata
    return await who.ask(
        wanted["resource"],
        action=wanted["action"],
        digest=wanted["request_digest"],
        context=json.loads(wanted["context"]),
    )


async def end(who: Any, elevation_id: str) -> Any:
    return await who.elevations.EndElevation(pb.EndElevationRequest(elevation_id=elevation_id))


async def review(who: Any, elevation_id: str, *, justified: bool = True) -> Any:
    request = pb.CloseReviewRequest(
        elevation_id=elevation_id, justified=justified, comment="looked at it"
    )
    return (await who.elevations.CloseReview(request)).elevation


async def test_allowed_at_once_and_ended_by_the_clock_alone(town: Make, audit_events: Make) -> None:
    clock = FixedClock(SystemClock().now_ms())
    home = await town(clock=clock)
    dev = await home.person(DEV)
    assert not await may(home, dev)
    made = await dev.elevate(OPERATOR, 1800)
    given = made.elevation.assignment
    assert (given.subject, given.role, given.created_by) == (dev.subject, OPERATOR, dev.subject)
    assert given.expire_time.ToMilliseconds() == clock.now_ms() + 1_800_000
    assert made.elevation.review == pb.REVIEW_STATE_NOT_NEEDED
    assert made.revision
    clock.advance(1_800_000 - 1)
    assert await may(home, dev)
    clock.advance(1)
    decision = await home.people.as_("").check(dev.subject, "run", "plant:x")
    assert (decision.effect, decision.reason) == (2, "NO_MATCHING_RULE")
    assert await refusal(end(dev, made.elevation.elevation_id)) == (
        FailedPrecondition,
        "ELEVATION_OVER",
    )
    assert (await dev.elevate(OPERATOR)).elevation.assignment.role == OPERATOR
    event = (await audit_events(home.tenant.tenant_id, "authz.elevation.elevate"))[0]
    detail = json.loads(event["detail"])
    assert event["actor"] == dev.subject
    assert event["reason"] == "on call"
    assert (detail["role"], detail["break_glass"]) == (OPERATOR, False)


async def test_what_the_policy_denies(town: Make) -> None:
    home = await town()
    dev, checker = await home.person(DEV), await home.person(CHECKER, DEV)
    assert await refusal(dev.elevate(CHECKER)) == (PermissionDenied, "ACCESS_DENIED")
    assert await refusal(dev.elevate(ADMIN)) == (PermissionDenied, "ACCESS_DENIED")
    assert await refusal(dev.elevate(OPERATOR, break_glass=True)) == (
        PermissionDenied,
        "ACCESS_DENIED",
    )
    assert await refusal(dev.elevate(BOSS, 3601)) == (PermissionDenied, "ACCESS_DENIED")
    assert await refusal(dev.elevate("role:NO_SUCH")) == (InvalidArgument, "UNKNOWN_ROLE")
    only = await home.person(LEAD)
    assert await refusal(only.elevate(OPERATOR)) == (PermissionDenied, "ACCESS_DENIED")
    assert await refusal(checker.elevate(CHECKER)) == (AlreadyExists, "ROLE_ALREADY_HELD")


@pytest.mark.parametrize("duration_s", [-1, 0, 59, 28_801])
async def test_how_long(town: Make, duration_s: int) -> None:
    home = await town()
    dev = await home.person(DEV)
    assert (await refusal(dev.elevate(OPERATOR, duration_s)))[0] is InvalidArgument


async def test_a_glass_is_broken_for_an_hour_at_most(town: Make) -> None:
    home = await town()
    dev = await home.person(DEV)
    assert (await refusal(dev.elevate(BOSS, 3601, break_glass=True)))[0] is InvalidArgument
    assert (await dev.elevate(BOSS, 3600, break_glass=True)).elevation.break_glass


async def test_only_people_elevate_and_only_themselves(town: Make) -> None:
    home = await town()
    stub: Any = ElevationServiceStub(home.people.as_("").channel)
    request = pb.ElevateRequest(role=OPERATOR, duration_s=60, reason="r")
    assert await refusal(stub.Elevate(request)) == (PermissionDenied, "PROOF_REQUIRED")
    assert "subject" not in pb.ElevateRequest.DESCRIPTOR.fields_by_name


async def test_what_needs_approval_redeems_one(town: Make, audit_events: Make) -> None:
    home = await town()
    dev, checker = await home.person(DEV), await home.person(CHECKER)
    with pytest.raises(FailedPrecondition) as refused:
        await dev.elevate(BOSS, 900)
    assert refused.value.reason == "APPROVAL_NEEDED"
    assert (refused.value.metadata["action"], refused.value.metadata["resource"]) == (
        "elevate",
        "authz.role:BOSS",
    )
    approval = await ask_for(dev, refused.value)
    assert await refusal(dev.elevate(BOSS, 900, approval_id=approval.approval_id)) == (
        FailedPrecondition,
        "APPROVAL_PENDING",
    )
    await checker.approve(approval)
    assert await refusal(dev.elevate(BOSS, 1800, approval_id=approval.approval_id)) == (
        FailedPrecondition,
        "APPROVAL_MISMATCH",
    ), "approved for fifteen minutes, not for thirty"
    made = await dev.elevate(BOSS, 900, approval_id=approval.approval_id)
    (redeemed,) = await audit_events(home.tenant.tenant_id, "authz.approval.redeem")
    (elevated,) = await audit_events(home.tenant.tenant_id, "authz.elevation.elevate")
    assert redeemed["request_id"] == elevated["request_id"]
    assert json.loads(elevated["detail"])["approval_id"] == approval.approval_id
    await end(dev, made.elevation.elevation_id)
    assert await refusal(dev.elevate(BOSS, 900, approval_id=approval.approval_id)) == (
        FailedPrecondition,
        "APPROVAL_USED",
    )


async def test_an_elevation_that_fails_uses_no_approval_up(town: Make) -> None:
    home = await town()
    dev, checker = await home.person(DEV), await home.person(CHECKER)
    with pytest.raises(FailedPrecondition) as refused:
        await dev.elevate(BOSS, 900)
    approval = await ask_for(dev, refused.value)
    await checker.approve(approval)
    key = str(uuid7())
    await dev.elevate(OPERATOR, 900, request_id=key)
    assert await refusal(
        dev.elevate(BOSS, 900, approval_id=approval.approval_id, request_id=key)
    ) == (AlreadyExists, "REQUEST_ID_REUSED")
    await dev.elevate(BOSS, 900, approval_id=approval.approval_id)


async def test_an_approval_used_at_once_gives_one_elevation(town: Make) -> None:
    home = await town()
    dev, checker = await home.person(DEV), await home.person(CHECKER)
    with pytest.raises(FailedPrecondition) as refused:
        await dev.elevate(BOSS, 900)
    approval = await ask_for(dev, refused.value)
    await checker.approve(approval)
    outcomes = await asyncio.gather(
        *(dev.elevate(BOSS, 900, approval_id=approval.approval_id) for _ in range(8)),
        return_exceptions=True,
    )
    assert sum(not isinstance(one, BaseException) for one in outcomes) == 1


async def test_a_broken_glass_shouts_and_is_looked_at(town: Make, audit_events: Make) -> None:
    told: list[Notification] = []
    clock = FixedClock(SystemClock().now_ms())
    home = await town(clock=clock, notify=told.append)
    dev, checker, boss = [await home.person(role) for role in (DEV, CHECKER, BOSS)]
    made = (await dev.elevate(BOSS, 600, break_glass=True, reason="the site is down")).elevation
    assert made.review == pb.REVIEW_STATE_OPEN
    assert (await home.people.as_("").check(dev.subject, "review", "authz.elevation:x")).effect == 1
    for tenant_id in (home.tenant.tenant_id, PLATFORM_TENANT_ID):
        events = await audit_events(tenant_id, "authz.break_glass")
        (event,) = [e for e in events if e["resource"].endswith(made.elevation_id)]
        assert (event["actor"], event["outcome"], event["reason"]) == (
            dev.subject, "SUCCESS", "the site is down",
        )  # fmt: skip
        detail = json.loads(event["detail"])
        assert detail["role"] == BOSS
        assert detail.get("tenant", home.tenant.slug) == home.tenant.slug
    assert [one.kind for one in told] == ["break_glass"]
    assert told[0].data["reason"] == "the site is down"

    assert await refusal(review(dev, made.elevation_id)) == (PermissionDenied, "OWN_REVIEW")
    assert await refusal(review(checker, made.elevation_id)) == (
        FailedPrecondition,
        "ELEVATION_LIVE",
    )
    clock.advance(600_000)
    assert await refusal(dev.elevate(BOSS, 600, break_glass=True)) == (
        FailedPrecondition,
        "REVIEW_OPEN",
    )
    assert await refusal(review(await home.person(DEV), made.elevation_id)) == (
        PermissionDenied,
        "ACCESS_DENIED",
    )
    closed = await review(checker, made.elevation_id, justified=False)
    assert (closed.review, closed.reviewed_by, closed.review_comment) == (
        pb.REVIEW_STATE_UNJUSTIFIED, checker.subject, "looked at it",
    )  # fmt: skip
    assert await refusal(review(boss, made.elevation_id)) == (
        FailedPrecondition,
        "REVIEW_NOT_OPEN",
    )
    (event,) = await audit_events(home.tenant.tenant_id, "authz.elevation.review")
    assert event["actor"] == checker.subject
    assert json.loads(event["detail"])["review"] == "UNJUSTIFIED"
    assert (await dev.elevate(BOSS, 600, break_glass=True)).elevation.break_glass


async def test_a_glass_broken_twice_at_once_breaks_once(town: Make) -> None:
    home = await town()
    dev = await home.person(DEV)
    outcomes = await asyncio.gather(
        *(dev.elevate(BOSS, 600, break_glass=True) for _ in range(6)), return_exceptions=True
    )
    counted = Counter(one.reason if isinstance(one, ArgyError) else "broken" for one in outcomes)
    assert counted.pop("broken") == 1
    assert set(counted) <= {"REVIEW_OPEN", "ROLE_ALREADY_HELD"}


async def test_whoever_broke_it_cant_review_as_what_they_became(town: Make) -> None:
    home = await town()
    dev = await home.person(DEV)
    made = (await dev.elevate(BOSS, 600, break_glass=True)).elevation
    await end(dev, made.elevation_id)
    assert (await refusal(review(dev, made.elevation_id)))[0] is PermissionDenied


async def test_who_was_appointed_by_whoever_broke_it_cant_review(
    town: Make, add_lines: Make
) -> None:
    add_lines(
        rules="p, role:BOSS, *, authz.role_assignment:*, grant, allow, true\n"
        "p, role:BOSS, *, authz.role_assignment:*, grant_any, allow, true\n"
    )
    home = await town()
    dev, friend = await home.person(DEV), await home.person(DEV)
    checker = await home.person("role:CHECKER")
    made = (await dev.elevate(BOSS, 600, break_glass=True)).elevation
    wish = GrantRoleRequest(subject=friend.subject, role="role:CHECKER", reason="a favour")
    wish.expire_time.CopyFrom(made.assignment.expire_time)
    await AssignmentServiceStub(dev.channel).GrantRole(wish)
    await end(dev, made.elevation_id)
    assert await refusal(review(friend, made.elevation_id)) == (
        PermissionDenied,
        "REVIEWER_APPOINTED",
    )
    assert (await review(checker, made.elevation_id)).reviewed_by == checker.subject


async def test_who_was_let_into_the_reviewers_group_by_whoever_broke_it_cant_review(
    town: Make,
) -> None:
    home = await town()
    dev, group = await home.person(DEV), uuid7()
    veteran = await home.person(groups=(group,))
    await home.grant(f"group:{group}", "role:CHECKER")
    made = (await dev.elevate(BOSS, 600, break_glass=True)).elevation
    friend = await home.person(groups=(group,), let_in_by=dev.subject)
    await end(dev, made.elevation_id)
    assert await refusal(review(friend, made.elevation_id)) == (
        PermissionDenied,
        "REVIEWER_APPOINTED",
    )
    assert (await review(veteran, made.elevation_id)).reviewed_by == veteran.subject


async def test_given_back_early(town: Make, audit_events: Make) -> None:
    home = await town()
    dev, other = await home.person(DEV), await home.person(DEV)
    admin = await home.person(ADMIN)
    made = (await dev.elevate(BOSS, 600, break_glass=True)).elevation
    assert await refusal(end(other, made.elevation_id)) == (NotFound, "ELEVATION_UNKNOWN")
    ended = await end(dev, made.elevation_id)
    assert ended.elevation.HasField("end_time")
    assert (await home.people.as_("").check(dev.subject, "review", "authz.elevation:x")).effect == 2
    assert await refusal(end(dev, made.elevation_id)) == (FailedPrecondition, "ELEVATION_OVER")
    second = (await other.elevate(OPERATOR)).elevation
    assert (await end(admin, second.elevation_id)).elevation.HasField("end_time")
    events = await audit_events(home.tenant.tenant_id, "authz.elevation.end")
    assert [event["actor"] for event in events] == [dev.subject, admin.subject]


async def test_a_request_id_gives_one_elevation(town: Make, audit_events: Make) -> None:
    home = await town()
    dev = await home.person(DEV)
    key = str(uuid7())
    first = await dev.elevate(OPERATOR, request_id=key)
    assert (await dev.elevate(OPERATOR, request_id=key)).elevation == first.elevation
    assert await refusal(dev.elevate(OPERATOR, 60, request_id=key)) == (
        AlreadyExists,
        "REQUEST_ID_REUSED",
    )
    assert await refusal(dev.elevate(OPERATOR)) == (AlreadyExists, "ROLE_ALREADY_HELD")
    assert len(await audit_events(home.tenant.tenant_id, "authz.elevation.elevate")) == 1


async def test_in_an_org_it_holds_there_only(town: Make) -> None:
    home = await town()
    sales = await town(org="sales", replica=home.replica, tenant=home.tenant)
    dev = await home.person(DEV)
    made = (await sales.people.as_(dev.subject).elevate(BOSS, 600, break_glass=True)).elevation
    assert made.assignment.org_id == str(home.tenant.orgs["sales"])
    asked = (dev.subject, "review", "authz.elevation:x")
    assert (await sales.people.as_("").check(*asked)).effect == 1
    assert (await home.people.as_("").check(*asked)).effect == 2
    ops = await town(org="ops", replica=home.replica, tenant=home.tenant)
    assert await refusal(end(ops.people.as_(dev.subject), made.elevation_id)) == (
        NotFound,
        "ELEVATION_UNKNOWN",
    )


async def test_lists_show_ones_own_and_the_open_reviews(town: Make) -> None:
    home = await town()
    dev, other, checker = [await home.person(role) for role in (DEV, DEV, CHECKER)]
    mine = (await dev.elevate(OPERATOR)).elevation.elevation_id
    broken = (await other.elevate(BOSS, 600, break_glass=True)).elevation.elevation_id

    async def listed(who: Any, **fields: Any) -> list[str]:
        page = await who.elevations.ListElevations(pb.ListElevationsRequest(**fields))
        return [one.elevation_id for one in page.elevations]

    assert await listed(dev) == [mine]
    assert await listed(checker) == [broken, mine]
    assert await listed(checker, review="REVIEW_STATE_OPEN") == [broken]
    first = await checker.elevations.ListElevations(pb.ListElevationsRequest(page_size=1))
    assert await listed(checker, page_size=1, page_token=first.next_page_token) == [mine]


async def test_a_role_that_was_revoked_meanwhile_can_still_be_ended(town: Make) -> None:
    home = await town()
    dev = await home.person(DEV)
    made = (await dev.elevate(OPERATOR)).elevation
    await home.roles.RevokeRole(
        RevokeRoleRequest(assignment_id=made.assignment.assignment_id, reason="enough")
    )
    assert (await end(dev, made.elevation_id)).elevation.HasField("end_time")


async def test_the_policy_can_ask_for_approval_of_a_broken_glass_too(
    town: Make, add_lines: Any, policy_root: Any
) -> None:
    home = await town()
    dev = await home.person(DEV)
    add_lines("a, *, authz.role:BOSS, break_glass, 1, role:CHECKER, require, 1h, true")
    home.replica.authz.holder.activate(compile_policy(load_policy(policy_root)))
    assert await refusal(dev.elevate(BOSS, 600, break_glass=True)) == (
        FailedPrecondition,
        "APPROVAL_NEEDED",
    )
