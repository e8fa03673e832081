"""What makes an approval good, and what ends it: pure rules."""

from dataclasses import replace
from uuid import UUID

import pytest

from argy.authz.approvals.domain import (
    Action,
    Approval,
    Requirement,
    Vote,
    check_same_action,
    check_state,
    check_still_good,
    check_voter,
    expiry_of,
    unmet,
)
from argy.authz.elevation.domain import (
    Elevation,
    Wish,
    check_review,
    elevation_digest,
)
from argy.base.errors import ArgyError, FailedPrecondition, PermissionDenied
from argy.policy import ApprovalRule, Decision

ACTION = Action(subject="user:e", action="ship", resource="thing:1", request_digest="", org_id=None)
RULE = ApprovalRule(
    id="r", file="approvals/a.csv", line=1, text="a", dom="*", obj="thing:*", act="ship",
    approvals=2, roles=("role:A", "role:B"), mode="require", expires_s=60,
)  # fmt: skip
HELD = {
    "user:a": frozenset({"role:A"}),
    "user:b": frozenset({"role:B", "role:C"}),
    "user:c": frozenset({"role:C"}),
}


def roles(subject: str) -> frozenset[str]:
    return HELD.get(subject, frozenset())


def line(approvals: int, *names: str, expires_s: int = 60) -> Requirement:
    return Requirement(
        rule_id="r", file="f", line=1, text="t", approvals=approvals, roles=names,
        expires_s=expires_s,
    )  # fmt: skip


def vote(approver: str, *, approved: bool = True) -> Vote:
    return Vote(approver=approver, approved=approved, comment="", created_at_ms=1)


def approval(*votes: Vote, **fields: object) -> Approval:
    made = Approval(
        id=UUID(int=1),
        wanted=ACTION,
        org_slug="",
        requester="user:r",
        reason="because",
        requirements=(line(2, "role:A", "role:B"),),
        policy_revision="0" * 64,
        state="GRANTED",
        created_at_ms=0,
        expires_at_ms=60_000,
        votes=votes,
    )
    return replace(made, **fields)  # type: ignore[arg-type]


def reason(error: pytest.ExceptionInfo[ArgyError]) -> str:
    return error.value.reason


@pytest.mark.parametrize(
    ("lines", "approvers", "left"),
    [
        ((line(1, "role:A"),), (), 1),
        ((line(1, "role:A"),), ("user:a",), 0),
        ((line(1, "role:A"),), ("user:b",), 1),
        ((line(2, "role:A"),), ("user:a", "user:a"), 1),
        ((line(2, "role:A", "role:B"),), ("user:a", "user:b"), 0),
        ((line(2, "role:A"), line(1, "role:C")), ("user:a", "user:b"), 1),
        ((line(1, "role:B"), line(1, "role:C")), ("user:b",), 0),
        ((line(1, "role:A"),), ("user:stranger",), 1),
    ],
)
def test_each_line_needs_so_many_people_with_its_roles(
    lines: tuple[Requirement, ...], approvers: tuple[str, ...], left: int
) -> None:
    assert len(unmet(lines, approvers, roles)) == left


def test_what_is_open_ends_by_the_clock_and_what_is_over_stays() -> None:
    for state in ("PENDING", "GRANTED"):
        assert approval(state=state).state_at(59_999) == state
        assert approval(state=state).state_at(60_000) == "EXPIRED"
    for state in ("REJECTED", "CANCELLED", "REDEEMED"):
        assert approval(state=state).state_at(60_000) == state
    assert expiry_of((line(1, expires_s=90), line(1, expires_s=60)), 5) == 60_005


def test_a_rejection_is_no_approval() -> None:
    assert approval(vote("user:a"), vote("user:b", approved=False)).approvers == ("user:a",)


@pytest.mark.parametrize(
    ("state", "told"),
    [
        ("PENDING", "APPROVAL_PENDING"),
        ("REJECTED", "APPROVAL_REJECTED"),
        ("CANCELLED", "APPROVAL_CANCELLED"),
        ("REDEEMED", "APPROVAL_USED"),
    ],
)
def test_every_state_has_its_reason(state: str, told: str) -> None:
    with pytest.raises(FailedPrecondition) as refused:
        check_state(approval(state=state), "GRANTED", now_ms=0)
    assert reason(refused) == told


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("subject", "user:x"),
        ("action", "sell"),
        ("resource", "thing:2"),
        ("request_digest", "ab" * 32),
        ("org_id", UUID(int=9)),
    ],
)
def test_it_is_for_one_action(name: str, value: object) -> None:
    check_same_action(approval(), ACTION)
    with pytest.raises(FailedPrecondition) as refused:
        check_same_action(approval(), replace(ACTION, **{name: value}))  # type: ignore[arg-type]
    assert (reason(refused), refused.value.field) == ("APPROVAL_MISMATCH", name)


@pytest.mark.parametrize(
    ("voter", "told"),
    [
        ("user:r", "OWN_APPROVAL"),
        ("user:e", "OWN_APPROVAL"),
        ("service:s", "NOT_A_PERSON"),
        ("agent:a", "NOT_A_PERSON"),
        ("user:c", "NOT_AN_APPROVER"),
        ("user:a", "APPOINTED_BY_ASKER"),
    ],
)
def test_who_does_not_vote(voter: str, told: str) -> None:
    found = approval()
    held = roles("user:a")
    check_voter(found, found.requirements, voter="user:a", held=held, independent=held)
    held = frozenset({"role:A"}) if told != "NOT_AN_APPROVER" else roles(voter)
    independent = frozenset[str]() if told == "APPOINTED_BY_ASKER" else held
    with pytest.raises(PermissionDenied) as refused:
        check_voter(found, found.requirements, voter=voter, held=held, independent=independent)
    assert reason(refused) == told


def test_the_votes_are_held_to_the_policy_of_today() -> None:
    found = approval(vote("user:a"), vote("user:b"))
    needs = Decision(False, "NEEDS_APPROVAL", approvals=(RULE,))
    check_still_good(found, needs, roles, now_ms=59_999)
    check_still_good(found, Decision(True, "ALLOWED_BY_RULE"), roles, now_ms=59_999)
    for now_ms, line_of_today in (
        (60_000, RULE),
        (0, replace(RULE, approvals=3)),
        (0, replace(RULE, roles=("role:A",))),
    ):
        today = Decision(False, "NEEDS_APPROVAL", approvals=(line_of_today,))
        with pytest.raises(FailedPrecondition) as refused:
            check_still_good(found, today, roles, now_ms=now_ms)
        assert reason(refused) == "APPROVAL_OUTDATED"
    with pytest.raises(PermissionDenied):
        check_still_good(found, Decision(False, "DENIED_BY_RULE"), roles, now_ms=0)


def test_an_elevation_is_approved_for_one_role_and_one_length() -> None:
    digests = {
        elevation_digest(role, seconds) for role in ("role:A", "role:A1") for seconds in (10, 110)
    }
    assert len(digests) == 4
    wish = Wish(
        role="role:A", duration_s=60, reason="r", break_glass=True, org_id=None,
        approval_id=None, request_id=None,
    )  # fmt: skip
    asked = wish.action("user:e")
    assert (asked.action, asked.resource) == ("break_glass", "authz.role:A")
    assert replace(wish, break_glass=False).action("user:e").action == "elevate"


def test_a_review_is_by_another_of_what_is_over_and_open() -> None:
    broken = Elevation(
        id=UUID(int=1), assignment_id=UUID(int=2), subject="user:e", role="role:A", org_id=None,
        reason="r", break_glass=True, created_at_ms=0, expires_at_ms=60_000, review="OPEN",
    )  # fmt: skip
    check_review(broken, reviewer="user:c", now_ms=60_000)
    check_review(replace(broken, ended_at_ms=5), reviewer="user:c", now_ms=6)
    for changed, reviewer, now_ms, told in (
        ({}, "user:e", 60_000, "OWN_REVIEW"),
        ({}, "user:c", 59_999, "ELEVATION_LIVE"),
        ({"review": "JUSTIFIED"}, "user:c", 60_000, "REVIEW_NOT_OPEN"),
        ({"review": "NOT_NEEDED"}, "user:c", 60_000, "REVIEW_NOT_OPEN"),
    ):
        with pytest.raises(ArgyError) as refused:
            check_review(replace(broken, **changed), reviewer=reviewer, now_ms=now_ms)  # type: ignore[arg-type]
        assert reason(refused) == told
