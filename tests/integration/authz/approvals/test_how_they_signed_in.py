"""Decisions inside of approvals, elevations and grants: by a fresh proof, within the scopes."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from signed_in import Bearer, SignedIn, everybody

from argy.api.authz.v1 import approval_pb2 as pb
from argy.api.authz.v1.assignment_pb2 import GrantRoleRequest
from argy.api.authz.v1.assignment_pb2_grpc import AssignmentServiceStub
from argy.base.errors import ArgyError, FailedPrecondition

Make = Callable[..., Awaitable[Any]]
SECURE, GUARD, OPERATOR = "role:SECURE", "role:GUARD", "role:OPERATOR"
FRESH, STALE = 10, 4_000
FORGED = {"auth": {"age_s": 1.0, "acr": "urn:argy:acr:passkey", "methods": ["passkey"]}}
RECENT = "has(ctx.auth) && ctx.auth.age_s <= 300"
# What a method declares is let in without a condition: what is tested is asked inside of it.
RULES = f"""
p, role:SECURE, *, thing:*, ship, allow, {RECENT}
p, role:SECURE, *, authz.decision:*, *, allow, true
p, role:SECURE, *, authz.approval:*, request, allow, true
p, role:SECURE, *, authz.approval:*, redeem, allow, true
p, role:SECURE, *, authz.elevation:*, request, allow, true
p, role:SECURE, *, authz.elevation:*, read, allow, true
p, role:SECURE, *, authz.role:OPERATOR, elevate, allow, {RECENT}
p, role:SECURE, *, authz.role:BOSS, elevate, allow, {RECENT}
p, role:SECURE, *, authz.role:BOSS, break_glass, allow, {RECENT}
p, role:GUARD, *, authz.approval:*, approve, allow, "!has(ctx.subject) || ({RECENT})"
p, role:GUARD, *, authz.approval:*, read, allow, true
p, role:GUARD, *, authz.approval:*, read_any, allow, true
p, role:GUARD, *, authz.approval:*, cancel_any, allow, true
p, role:GUARD, *, authz.approval:*, request, allow, true
p, role:GUARD, *, authz.elevation:*, request, allow, true
p, role:GUARD, *, authz.elevation:*, read, allow, true
p, role:GUARD, *, authz.elevation:*, read_any, allow, true
p, role:GUARD, *, authz.elevation:*, end_any, allow, {RECENT}
p, role:GUARD, *, authz.elevation:*, review, allow, "!has(ctx.subject) || ({RECENT})"
p, role:GUARD, *, authz.role_assignment:*, grant, allow, true
p, role:GUARD, *, authz.role_assignment:*, grant_any, allow, {RECENT}
"""
LINES = """\
a, *, thing:*, ship, 1, role:GUARD, require, 24h, true
a, *, authz.role:BOSS, elevate, 1, role:GUARD, require, 1h, true
"""
VOTE = "authz.approval:approve"
ASK, REDEEM = "authz.approval:request", "authz.approval:redeem"
TAKE = "authz.elevation:request"


async def refusal(of: Awaitable[Any]) -> str:
    with pytest.raises(ArgyError) as refused:
        await of
    return refused.value.reason


class House:
    """A tenant whose people call with credentials of their own."""

    def __init__(self, town: Any, signed_in: SignedIn) -> None:
        self.town = town
        self._signed_in = signed_in

    def aged(self, who: Any, age_s: int, scope: str = "") -> Any:
        """Somebody with an access token for a proof so old."""
        token = self._signed_in.token(self.town.tenant, who.subject, age_s=age_s, scope=scope)
        return self._with(who, token)

    def limited(self, who: Any, *scopes: str) -> Any:
        """Somebody with a personal access token."""
        return self._with(who, self._signed_in.personal(who.subject, *scopes))

    def _with(self, who: Any, secret: str) -> Any:
        own = self.town.people.as_("")
        return type(own)(Bearer(own.channel, secret), who.subject)


@pytest.fixture
async def house(town: Make, add_lines: Callable[..., None], approving_root: Any) -> House:
    add_lines(LINES, RULES)
    signed_in = everybody()
    return House(await town(tokens=signed_in.verifier, credentials=signed_in), signed_in)


# --- approving


async def test_an_old_proof_does_not_approve_and_a_fresh_one_does(house: House) -> None:
    asker, guard = await house.town.person(SECURE), await house.town.person(GUARD)
    approval = await house.aged(asker, FRESH).ask("thing:a")
    assert await refusal(house.aged(guard, STALE).approve(approval)) == "ACCESS_DENIED"
    assert (await house.aged(guard, FRESH).approve(approval)).state == pb.APPROVAL_STATE_GRANTED


async def test_who_a_service_acts_for_has_proved_nothing(house: House) -> None:
    asker, guard = await house.town.person(SECURE), await house.town.person(GUARD)
    approval = await house.aged(asker, FRESH).ask("thing:a")
    named = house.town.people.named
    assert await refusal(named(guard.subject).approve(approval)) == "PROOF_REQUIRED"
    assert await refusal(named(asker.subject).ask("thing:b")) == "ACCESS_DENIED"
    assert await refusal(named(asker.subject).elevate(OPERATOR)) == "PROOF_REQUIRED"


async def test_a_personal_access_token_for_reading_does_not_approve(house: House) -> None:
    asker, guard = await house.town.person(SECURE), await house.town.person(GUARD)
    approval = await house.aged(asker, FRESH).ask("thing:a")
    reading = house.limited(guard, "authz.approval:read")
    assert await refusal(reading.approve(approval)) == "SCOPE_INSUFFICIENT"
    assert await refusal(reading.reject(approval)) == "SCOPE_INSUFFICIENT"
    # One for approving carries no proof that the policy's condition could be met by.
    assert await refusal(house.limited(guard, VOTE).approve(approval)) == "ACCESS_DENIED"
    scoped = house.aged(guard, FRESH, scope=VOTE)
    assert (await scoped.approve(approval)).state == pb.APPROVAL_STATE_GRANTED


async def test_read_any_and_cancel_any_are_not_held_beyond_the_scopes(house: House) -> None:
    asker, guard = await house.town.person(SECURE), await house.town.person(GUARD)
    approval = await house.aged(asker, FRESH).ask("thing:a")
    reader = house.limited(guard, "authz.approval:read")
    assert not (await reader.list()).approvals
    every = house.limited(guard, "authz.approval:read", "authz.approval:read_any")
    assert [one.approval_id for one in (await every.list()).approvals] == [approval.approval_id]
    assert await refusal(house.limited(guard, ASK).cancel(approval)) == "NOT_THE_REQUESTER"
    canceller = house.limited(guard, ASK, "authz.approval:cancel_any")
    assert (await canceller.cancel(approval)).state == pb.APPROVAL_STATE_CANCELLED


# --- requesting and redeeming


@pytest.mark.parametrize("age_s", [None, STALE], ids=["no_proof", "old_proof"])
async def test_a_sign_in_made_up_in_an_approvals_context_is_not_believed(
    house: House, age_s: int | None
) -> None:
    asker, guard = await house.town.person(SECURE), await house.town.person(GUARD)
    named = house.town.people.named(asker.subject)
    mallory = named if age_s is None else house.aged(asker, age_s)
    assert await refusal(mallory.ask("thing:a", context=FORGED)) == "ACCESS_DENIED"
    approval = await house.aged(asker, FRESH).ask("thing:a")
    await house.aged(guard, FRESH).approve(approval)
    assert await refusal(mallory.redeem(approval, context=FORGED)) == "ACCESS_DENIED"
    assert (await house.aged(asker, FRESH).redeem(approval)).decision.effect == 1


async def test_what_is_kept_of_a_request_is_the_sign_in_that_was_decided_upon(
    house: House, db_factory: Make
) -> None:
    asker = await house.town.person(SECURE)
    approval = await house.aged(asker, FRESH).ask("thing:a", context=FORGED | {"why": "x"})
    db = await db_factory("argy_authz", max_size=1)
    async with db.tenant(house.town.tenant.tenant_id) as tx:
        rows = await tx.fetch(
            "SELECT context::text FROM authz.approval WHERE tenant_id = $1 AND id = $2",
            house.town.tenant.tenant_id,
            approval.approval_id,
        )
    kept = json.loads(rows[0]["context"])
    assert kept["why"] == "x"
    assert FRESH <= kept["auth"]["age_s"] < STALE


async def test_an_approval_is_not_redeemed_beyond_the_scopes(house: House) -> None:
    asker, guard = await house.town.person(SECURE), await house.town.person(GUARD)
    without = house.aged(asker, FRESH, scope=f"{ASK} {REDEEM}")
    assert await refusal(without.ask("thing:a")) == "SCOPE_INSUFFICIENT"
    approval = await house.aged(asker, FRESH).ask("thing:a")
    await house.aged(guard, FRESH).approve(approval)
    assert await refusal(without.redeem(approval)) == "SCOPE_INSUFFICIENT"
    enough = house.aged(asker, FRESH, scope=f"{REDEEM} thing:ship")
    assert (await enough.redeem(approval)).decision.effect == 1


# --- elevating


@pytest.mark.parametrize("glass", [False, True], ids=["elevate", "break_glass"])
async def test_an_old_proof_gives_no_role_and_a_fresh_one_does(house: House, glass: bool) -> None:
    asker = await house.town.person(SECURE)
    role = "role:BOSS" if glass else OPERATOR
    old, fresh = house.aged(asker, STALE), house.aged(asker, FRESH)
    assert await refusal(old.elevate(role, break_glass=glass)) == "ACCESS_DENIED"
    assert (await fresh.elevate(role, break_glass=glass)).elevation.break_glass is glass


async def test_a_role_is_not_taken_beyond_the_scopes(house: House) -> None:
    asker = await house.town.person(SECURE)
    without = house.aged(asker, FRESH, scope=TAKE)
    assert await refusal(without.elevate(OPERATOR)) == "SCOPE_INSUFFICIENT"
    assert await refusal(without.elevate("role:BOSS", break_glass=True)) == "SCOPE_INSUFFICIENT"
    elevating = house.aged(asker, FRESH, scope=f"{TAKE} authz.role:elevate")
    # Elevating is not breaking the glass.
    assert await refusal(elevating.elevate("role:BOSS", break_glass=True)) == "SCOPE_INSUFFICIENT"
    assert (await elevating.elevate(OPERATOR)).elevation.assignment.role == OPERATOR


async def test_an_approval_does_not_make_an_old_proof_give_a_role(house: House) -> None:
    asker, guard = await house.town.person(SECURE), await house.town.person(GUARD)
    fresh = house.aged(asker, FRESH)
    with pytest.raises(FailedPrecondition) as needed:
        await fresh.elevate("role:BOSS")
    wanted = needed.value.metadata
    approval = await fresh.ask(
        wanted["resource"],
        action=wanted["action"],
        digest=wanted["request_digest"],
        context=json.loads(wanted["context"]),
    )
    await house.aged(guard, FRESH).approve(approval)
    given = {"approval_id": approval.approval_id}
    old = house.aged(asker, STALE)
    assert await refusal(old.elevate("role:BOSS", **given)) == "ACCESS_DENIED"
    assert (await fresh.elevate("role:BOSS", **given)).elevation.assignment.role == "role:BOSS"


async def test_ending_and_reviewing_ask_for_a_fresh_proof_and_the_scope(house: House) -> None:
    asker, guard = await house.town.person(SECURE), await house.town.person(GUARD)
    made = await house.aged(asker, FRESH).elevate("role:BOSS", break_glass=True)
    wanted = pb.EndElevationRequest(elevation_id=made.elevation.elevation_id)
    for who in (
        house.aged(guard, STALE),
        house.aged(guard, FRESH, scope=TAKE),
        house.limited(guard, TAKE, "authz.elevation:end_any"),
    ):
        assert await refusal(who.elevations.EndElevation(wanted)) == "ELEVATION_UNKNOWN"
    ending = house.aged(guard, FRESH, scope=f"{TAKE} authz.elevation:end_any")
    await ending.elevations.EndElevation(wanted)
    review = pb.CloseReviewRequest(
        elevation_id=made.elevation.elevation_id, justified=True, comment="looked at it"
    )
    old = house.aged(guard, STALE)
    assert await refusal(old.elevations.CloseReview(review)) == "ACCESS_DENIED"
    await house.aged(guard, FRESH).elevations.CloseReview(review)


async def test_elevations_of_others_are_not_listed_beyond_the_scopes(house: House) -> None:
    asker, guard = await house.town.person(SECURE), await house.town.person(GUARD)
    await house.aged(asker, FRESH).elevate(OPERATOR)
    every = pb.ListElevationsRequest()
    reader = house.limited(guard, "authz.elevation:read")
    assert not (await reader.elevations.ListElevations(every)).elevations
    all_of_them = house.limited(guard, "authz.elevation:read", "authz.elevation:read_any")
    assert len((await all_of_them.elevations.ListElevations(every)).elevations) == 1


# --- granting


async def test_grant_any_asks_for_a_fresh_proof_and_the_scope(house: House) -> None:
    asker, guard = await house.town.person(SECURE), await house.town.person(GUARD)
    wish = GrantRoleRequest(subject=asker.subject, role="role:NOVICE", reason="test")
    for who in (
        house.aged(guard, STALE),
        house.aged(guard, FRESH, scope="authz.role_assignment:grant"),
        house.limited(guard, "authz.role_assignment:grant", "authz.role_assignment:grant_any"),
    ):
        roles: Any = AssignmentServiceStub(who.channel)
        assert await refusal(roles.GrantRole(wish)) == "ROLE_NOT_HELD"
    fresh: Any = AssignmentServiceStub(house.aged(guard, FRESH).channel)
    assert (await fresh.GrantRole(wish)).assignment.role == "role:NOVICE"
