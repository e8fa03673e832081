"""Requested, voted on, used once: every way to do it wrong is refused, and what is done is told."""

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import pytest

from argy.api.authz.v1 import approval_pb2 as pb
from argy.api.authz.v1.assignment_pb2 import RevokeRoleRequest
from argy.base.clock import FixedClock, SystemClock
from argy.base.errors import (
    AlreadyExists,
    ArgyError,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
)
from argy.base.ids import uuid7
from argy.policy import compile_policy, load_policy

Make = Callable[..., Awaitable[Any]]
DEV, LEAD, CHECKER, HEAD = "role:DEV", "role:LEAD", "role:CHECKER", "role:HEAD"
DIGEST, OTHER = "ab" * 32, "cd" * 32
HOUR_MS = 3_600_000
NEEDS_APPROVAL = 3


def state(approval: Any) -> str:
    return pb.ApprovalState.Name(approval.state).removeprefix("APPROVAL_STATE_")


async def refusal(of: Awaitable[Any]) -> tuple[type[ArgyError], str]:
    with pytest.raises(ArgyError) as refused:
        await of
    return type(refused.value), refused.value.reason


async def granted(home: Any, dev: Any, resource: str = "thing:prod-1", **fields: Any) -> Any:
    """An approval that two people granted."""
    approval = await dev.ask(resource, **fields)
    for _ in range(2):
        approval = await (await home.person(LEAD, CHECKER)).approve(approval)
    return approval


async def test_requested_approved_by_two_used_once(town: Make, audit_events: Make) -> None:
    home = await town()
    dev, lead, checker = [await home.person(role) for role in (DEV, LEAD, CHECKER)]
    gateway = home.people.as_("")
    asked = await gateway.check(dev.subject, "ship", "thing:prod-1")
    assert asked.effect == NEEDS_APPROVAL
    assert [(need.approvals, list(need.roles)) for need in asked.approvals] == [
        (2, [LEAD, CHECKER])
    ]

    approval = await dev.ask("thing:prod-1", digest=DIGEST)
    assert state(approval) == "PENDING"
    assert approval.requirements[0] == asked.approvals[0]
    assert await refusal(dev.redeem(approval)) == (FailedPrecondition, "APPROVAL_PENDING")
    assert state(await lead.approve(approval, "fine")) == "PENDING"
    approval = await checker.approve(approval)
    assert state(approval) == "GRANTED"
    assert [(v.approver, v.comment, v.approved) for v in approval.votes] == [
        (lead.subject, "fine", True),
        (checker.subject, "", True),
    ]
    used = await gateway.redeem(approval)
    assert (used.decision.effect, used.decision.reason) == (1, "APPROVED")
    assert used.decision.rule.file == "roles/roles.csv"
    assert list(used.decision.role_path) == [dev.subject, DEV]
    assert state(used.approval) == "REDEEMED"
    assert await refusal(gateway.redeem(approval)) == (FailedPrecondition, "APPROVAL_USED")
    assert (await gateway.check(dev.subject, "ship", "thing:prod-1")).effect == NEEDS_APPROVAL

    (request,) = await audit_events(home.tenant.tenant_id, "authz.approval.request")
    detail = json.loads(request["detail"])
    assert request["actor"] == dev.subject
    assert request["via"] == "service:gateway"
    assert detail["lines"] == ["approvals/a.csv:1"]
    assert detail["request_digest"] == DIGEST
    votes = await audit_events(home.tenant.tenant_id, "authz.approval.approve")
    assert [(v["actor"], json.loads(v["detail"])["state"]) for v in votes] == [
        (lead.subject, "PENDING"),
        (checker.subject, "GRANTED"),
    ]
    (redeemed,) = await audit_events(home.tenant.tenant_id, "authz.approval.redeem")
    assert redeemed["actor"] == "service:gateway"
    assert redeemed["resource"] == f"authz.approval:{approval.approval_id}"
    assert json.loads(redeemed["detail"])["decision"] == "NEEDS_APPROVAL"


async def test_of_twenty_who_use_it_at_once_one_does(town: Make, audit_events: Make) -> None:
    home = await town()
    dev = await home.person(DEV)
    approval = await granted(home, dev)
    outcomes: list[Any] = await asyncio.gather(
        *(dev.redeem(approval) for _ in range(20)), return_exceptions=True
    )
    counted = Counter(
        one.reason if isinstance(one, ArgyError) else one.decision.reason for one in outcomes
    )
    assert counted == {"APPROVED": 1, "APPROVAL_USED": 19}
    assert len(await audit_events(home.tenant.tenant_id, "authz.approval.redeem")) == 1


async def test_neither_requester_nor_subject_votes(town: Make) -> None:
    home = await town()
    both = await home.person(DEV, LEAD)
    own = await both.ask("thing:prod-1")
    assert await refusal(both.approve(own)) == (PermissionDenied, "OWN_APPROVAL")
    assert await refusal(both.reject(own)) == (PermissionDenied, "OWN_APPROVAL")
    for_both = await home.people.as_("").ask("thing:prod-2", subject=both.subject)
    assert for_both.requester == "service:gateway"
    assert await refusal(both.approve(for_both)) == (PermissionDenied, "OWN_APPROVAL")
    assert await refusal(home.people.as_("").approve(own)) == (PermissionDenied, "PROOF_REQUIRED")


async def test_who_holds_none_of_the_roles_does_not_vote(town: Make) -> None:
    home = await town()
    dev = await home.person(DEV)
    approval = await dev.ask("thing:prod-1")
    novice = await home.person("role:NOVICE")
    assert await refusal(novice.approve(approval)) == (PermissionDenied, "NOT_AN_APPROVER")
    assert await refusal(novice.reject(approval)) == (PermissionDenied, "NOT_AN_APPROVER")
    stranger = await home.person("role:PLATFORM_USER")
    assert await refusal(stranger.approve(approval)) == (PermissionDenied, "ACCESS_DENIED")


async def test_one_person_has_one_vote(town: Make) -> None:
    home = await town()
    dev, both = await home.person(DEV), await home.person(LEAD, CHECKER)
    approval = await dev.ask("thing:prod-1")
    assert state(await both.approve(approval)) == "PENDING"
    assert await refusal(both.approve(approval)) == (AlreadyExists, "ALREADY_VOTED")
    assert await refusal(both.reject(approval)) == (AlreadyExists, "ALREADY_VOTED")
    assert state(await dev.get(approval)) == "PENDING"


async def test_votes_that_come_at_once_each_count_once(town: Make) -> None:
    home = await town()
    dev = await home.person(DEV)
    approval = await dev.ask("thing:prod-1")
    voters = [await home.person(LEAD) for _ in range(4)]
    outcomes = await asyncio.gather(
        *(voter.approve(approval) for voter in voters), return_exceptions=True
    )
    counted = Counter(one.reason if isinstance(one, ArgyError) else state(one) for one in outcomes)
    assert counted == {"PENDING": 1, "GRANTED": 1, "APPROVAL_GRANTED": 2}
    assert len((await dev.get(approval)).votes) == 2


async def test_roles_count_that_are_inherited_or_come_by_a_group(town: Make) -> None:
    home = await town()
    dev, head = await home.person(DEV), await home.person(HEAD)
    group = uuid7()
    member = await home.person(groups=(group,))
    await home.grant(f"group:{group}", CHECKER)
    approval = await dev.ask("thing:prod-1")
    await head.approve(approval)
    assert state(await member.approve(approval)) == "GRANTED"


async def test_a_voter_who_has_the_role_again_counts_again(town: Make) -> None:
    home = await town()
    dev, first, second, third = [await home.person(r) for r in (DEV, "", LEAD, LEAD)]
    held = await home.grant(first.subject, LEAD)
    approval = await dev.ask("thing:prod-1")
    await first.approve(approval)
    await home.roles.RevokeRole(RevokeRoleRequest(assignment_id=held, reason="moved"))
    assert state(await second.approve(approval)) == "PENDING"
    await home.grant(first.subject, LEAD)
    assert state(await third.approve(approval)) == "GRANTED"


async def test_lines_that_do_not_fit_are_refused(
    town: Make, add_lines: Any, policy_root: Any
) -> None:
    line = "a, *, thing:*, ship, 1, role:LEAD, require, 1h, "
    many = [f"{line}true || ctx.n == {n}.0" for n in range(21)]
    wide = [f'{line}"true || ctx.n == {n}.0 {" " * 3900}"' for n in range(19)]
    for lines in (many, wide):
        add_lines("\n".join(lines))
        home = await town()
        dev = await home.person(DEV)
        assert await refusal(dev.ask("thing:prod-1")) == (
            FailedPrecondition,
            "TOO_MANY_REQUIREMENTS",
        )


async def test_every_line_must_be_met(town: Make) -> None:
    home = await town()
    dev = await home.person(DEV)
    approval = await dev.ask("thing:ledger")
    assert len(approval.requirements) == 2
    spent = approval.expire_time.ToMilliseconds() - approval.create_time.ToMilliseconds()
    assert spent == 2 * HOUR_MS, "the shorter of the two lines"
    lead, second, checker = [await home.person(role) for role in (LEAD, LEAD, CHECKER)]
    await lead.approve(approval)
    assert await refusal(second.approve(approval)) == (PermissionDenied, "NOT_AN_APPROVER")
    assert state(await checker.approve(approval)) == "GRANTED"


async def test_the_policy_says_more_about_a_vote_than_roles(town: Make) -> None:
    home = await town()
    dev, lead = await home.person(DEV), await home.person(LEAD)
    approval = await dev.ask("thing:veto")
    assert await refusal(lead.approve(approval)) == (PermissionDenied, "ACCESS_DENIED")


async def test_what_is_denied_is_not_asked_for(town: Make, audit_events: Make) -> None:
    home = await town()
    dev, user = await home.person(DEV), await home.person("role:NOVICE")
    assert await refusal(dev.ask("thing:prod-1", action="erase")) == (
        PermissionDenied,
        "ACCESS_DENIED",
    )
    assert await refusal(dev.ask("thing:stage-1")) == (FailedPrecondition, "APPROVAL_NOT_NEEDED")
    assert await refusal(user.ask("thing:prod-1")) == (PermissionDenied, "ACCESS_DENIED")
    assert await refusal(dev.ask("thing:prod-1", subject=f"group:{uuid7()}")) == (
        InvalidArgument,
        "INVALID_ARGUMENT",
    )
    assert await audit_events(home.tenant.tenant_id, "authz.approval.request") == []


async def test_only_a_service_that_may_asks_and_redeems_for_others(town: Make) -> None:
    home = await town()
    dev, other = await home.person(DEV), await home.person(DEV)
    assert await refusal(dev.ask("thing:prod-1", subject=other.subject)) == (
        PermissionDenied,
        "NOT_ONESELF",
    )
    approval = await granted(home, dev)
    assert await refusal(other.redeem(approval)) == (PermissionDenied, "NOT_ONESELF")
    assert await refusal(other.redeem(approval, subject=other.subject)) == (
        PermissionDenied,
        "NOT_ONESELF",
    )
    assert (await dev.redeem(approval)).decision.effect == 1


async def test_the_same_open_request_is_returned_not_doubled(
    town: Make, audit_events: Make
) -> None:
    home = await town()
    dev, other = await home.person(DEV), await home.person(DEV)
    first = await asyncio.gather(*(dev.ask("thing:prod-1", digest=DIGEST) for _ in range(6)))
    assert len({one.approval_id for one in first}) == 1
    assert len(await audit_events(home.tenant.tenant_id, "authz.approval.request")) == 1
    known = {first[0].approval_id}
    for asked in (
        dev.ask("thing:prod-2", digest=DIGEST),
        dev.ask("thing:prod-1", digest=OTHER),
        dev.ask("thing:prod-1"),
        other.ask("thing:prod-1", digest=DIGEST),
        home.people.as_("").ask("thing:prod-1", digest=DIGEST, subject=dev.subject),
    ):
        approval = await asked
        assert approval.approval_id not in known
        known.add(approval.approval_id)
    await dev.cancel(first[0])
    again = await dev.ask("thing:prod-1", digest=DIGEST)
    assert again.approval_id not in known


async def test_a_request_id_stands_for_one_request(town: Make) -> None:
    home = await town()
    dev, other = await home.person(DEV), await home.person(DEV)
    key = str(uuid7())
    first = await dev.ask("thing:prod-1", request_id=key)
    await dev.cancel(first)
    assert state(await dev.ask("thing:prod-1", request_id=key)) == "CANCELLED"
    for asked in (
        dev.ask("thing:prod-2", request_id=key),
        dev.ask("thing:prod-1", request_id=key, reason="another"),
        other.ask("thing:prod-1", request_id=key),
    ):
        assert await refusal(asked) == (AlreadyExists, "REQUEST_ID_REUSED")


async def test_open_requests_are_bounded(town: Make) -> None:
    home = await town()
    dev = await home.person(DEV)
    for start in range(0, 100, 20):
        await asyncio.gather(*(dev.ask(f"thing:prod-{n}") for n in range(start, start + 20)))
    assert await refusal(dev.ask("thing:prod-x")) == (
        ResourceExhausted,
        "TOO_MANY_OPEN_APPROVALS",
    )
    assert state(await dev.ask("thing:prod-7")) == "PENDING", "an open one is still returned"


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"digest": OTHER}, "APPROVAL_MISMATCH"),
        ({"digest": ""}, "APPROVAL_MISMATCH"),
        ({"resource": "thing:prod-2"}, "APPROVAL_MISMATCH"),
        ({"action": "sell"}, "APPROVAL_MISMATCH"),
        ({"subject": "user:somebody"}, "APPROVAL_MISMATCH"),
    ],
)
async def test_it_is_good_for_exactly_what_was_approved(
    town: Make, changed: dict[str, str], reason: str
) -> None:
    home = await town()
    dev = await home.person(DEV)
    approval = await granted(home, dev, digest=DIGEST)
    gateway = home.people.as_("")
    assert await refusal(gateway.redeem(approval, **changed)) == (FailedPrecondition, reason)
    assert (await gateway.redeem(approval)).decision.effect == 1, "a wrong attempt uses nothing up"


async def test_an_approval_of_the_tenant_is_none_of_an_org(
    town: Make, tenant_factory: Make
) -> None:
    home = await town()
    dev = await home.person(DEV)
    approval = await granted(home, dev)
    sales = await town(org="sales", replica=home.replica, tenant=home.tenant)
    assert await refusal(sales.people.as_(dev.subject).redeem(approval)) == (
        NotFound,
        "APPROVAL_UNKNOWN",
    )
    in_org = await sales.people.as_(dev.subject).ask("thing:prod-1")
    assert in_org.org_id == str(home.tenant.orgs["sales"])
    for _ in range(2):
        await (await home.person(LEAD)).approve(in_org)
    assert await refusal(dev.redeem(in_org)) == (FailedPrecondition, "APPROVAL_MISMATCH")
    assert (await sales.people.as_(dev.subject).redeem(in_org)).decision.effect == 1
    elsewhere = await town(replica=home.replica)
    stranger = await elsewhere.person(CHECKER)
    assert await refusal(stranger.get(approval)) == (NotFound, "APPROVAL_UNKNOWN")
    assert await refusal(stranger.approve(approval)) == (NotFound, "APPROVAL_UNKNOWN")


async def test_roles_count_where_the_action_takes_place(town: Make) -> None:
    home = await town()
    sales = await town(org="sales", replica=home.replica, tenant=home.tenant)
    ops = await town(org="ops", replica=home.replica, tenant=home.tenant)
    dev = await home.person(DEV)
    approval = await sales.people.as_(dev.subject).ask("thing:prod-1")
    local = await sales.person(LEAD, org=home.tenant.orgs["sales"])
    foreign = await ops.person(LEAD, org=home.tenant.orgs["ops"])
    assert len((await local.approve(approval)).votes) == 1
    assert await refusal(foreign.approve(approval)) == (NotFound, "APPROVAL_UNKNOWN")


async def test_it_expires_by_the_clock(town: Make) -> None:
    clock = FixedClock(SystemClock().now_ms())
    home = await town(clock=clock)
    dev, lead = await home.person(DEV), await home.person(LEAD)
    pending, approval = await dev.ask("thing:prod-1"), await granted(home, dev, "thing:prod-2")
    clock.advance(24 * HOUR_MS - 1)
    assert state(await dev.get(approval)) == "GRANTED"
    clock.advance(1)
    assert state(await dev.get(pending)) == state(await dev.get(approval)) == "EXPIRED"
    for attempt in (
        lead.approve(pending),
        lead.reject(pending),
        dev.cancel(pending),
        dev.redeem(approval),
    ):
        assert await refusal(attempt) == (FailedPrecondition, "APPROVAL_EXPIRED")
    assert len((await dev.list(state="APPROVAL_STATE_EXPIRED")).approvals) == 2
    assert len((await dev.list(state="APPROVAL_STATE_GRANTED")).approvals) == 0
    fresh = await dev.ask("thing:prod-1")
    assert fresh.approval_id != pending.approval_id


async def test_rejected_is_over(town: Make, audit_events: Make) -> None:
    home = await town()
    dev, lead, other = [await home.person(role) for role in (DEV, LEAD, LEAD)]
    approval = await dev.ask("thing:prod-1")
    await other.approve(approval)
    with pytest.raises(InvalidArgument):
        await lead.reject(approval, comment="")
    rejected = await lead.reject(approval, comment="not on a Friday")
    assert state(rejected) == "REJECTED"
    assert [(v.approved, v.comment) for v in rejected.votes] == [
        (True, ""),
        (False, "not on a Friday"),
    ]
    late = await home.person(LEAD)
    for attempt in (late.approve(approval), dev.redeem(approval), dev.cancel(approval)):
        assert await refusal(attempt) == (FailedPrecondition, "APPROVAL_REJECTED")
    (event,) = await audit_events(home.tenant.tenant_id, "authz.approval.reject")
    assert json.loads(event["detail"])["comment"] == "not on a Friday"


async def test_cancelled_by_its_requester_or_who_may_cancel_any(
    town: Make, audit_events: Make
) -> None:
    home = await town()
    dev, lead = await home.person(DEV), await home.person(LEAD)
    other = await home.person(DEV)
    approval = await granted(home, dev)
    assert await refusal(other.cancel(approval)) == (PermissionDenied, "NOT_THE_REQUESTER")
    assert state(await dev.cancel(approval)) == "CANCELLED"
    assert await refusal(dev.redeem(approval)) == (FailedPrecondition, "APPROVAL_CANCELLED")
    assert await refusal(dev.cancel(approval)) == (FailedPrecondition, "APPROVAL_CANCELLED")
    second = await dev.ask("thing:prod-1")
    assert state(await home.people.as_("").cancel(second)) == "CANCELLED"
    assert await refusal(lead.approve(second)) == (FailedPrecondition, "APPROVAL_CANCELLED")
    assert len(await audit_events(home.tenant.tenant_id, "authz.approval.cancel")) == 2


async def test_an_approver_who_lost_the_role_no_longer_counts(town: Make) -> None:
    home = await town()
    dev, lead = await home.person(DEV), await home.person()
    assignment = await home.grant(lead.subject, LEAD)
    approval = await dev.ask("thing:prod-1")
    await lead.approve(approval)
    approval = await (await home.person(LEAD)).approve(approval)
    assert state(approval) == "GRANTED"
    await home.roles.RevokeRole(RevokeRoleRequest(assignment_id=assignment, reason="left"))
    assert await refusal(dev.redeem(approval)) == (FailedPrecondition, "APPROVAL_OUTDATED")
    await home.grant(lead.subject, LEAD)
    assert (await dev.redeem(approval)).decision.effect == 1


@pytest.mark.parametrize(
    ("lines", "rules", "outcome"),
    [
        ("a, *, thing:*, ship, 3, role:LEAD|role:CHECKER, require, 24h, true", "",
         (FailedPrecondition, "APPROVAL_OUTDATED")),
        ("a, *, thing:*, ship, 2, role:HEAD, require, 24h, true", "",
         (FailedPrecondition, "APPROVAL_OUTDATED")),
        ("a, *, thing:*, ship, 2, role:LEAD, require, 24h, true\n"
         "a, *, thing:*, ship, 1, role:NOVICE, require, 24h, true", "",
         (FailedPrecondition, "APPROVAL_OUTDATED")),
        ("a, *, thing:*, ship, 2, role:LEAD, require, 24h, true",
         "p, role:DEV, *, thing:*, ship, deny, true\n", (PermissionDenied, "ACCESS_DENIED")),
        ("a, *, thing:*, ship, 1, role:LEAD, require, 24h, true", "", "APPROVED"),
        ("a, *, thing:*, ship, 2, role:LEAD, off, 24h, true", "", "APPROVED"),
    ],
)  # fmt: skip
async def test_the_policy_changed_meanwhile(
    town: Make, add_lines: Any, policy_root: Any, lines: str, rules: str, outcome: Any
) -> None:
    home = await town()
    dev = await home.person(DEV)
    approval = await granted(home, dev)
    add_lines(lines, rules)
    home.replica.authz.holder.activate(compile_policy(load_policy(policy_root)))
    if isinstance(outcome, str):
        used = await dev.redeem(approval)
        assert (used.decision.effect, used.decision.reason) == (1, outcome)
    else:
        assert await refusal(dev.redeem(approval)) == outcome
        assert state(await dev.get(approval)) == "GRANTED"


async def test_a_shorter_expiry_holds_at_once(town: Make, add_lines: Any, policy_root: Any) -> None:
    clock = FixedClock(SystemClock().now_ms())
    home = await town(clock=clock)
    dev = await home.person(DEV)
    approval = await granted(home, dev)
    add_lines("a, *, thing:*, ship, 2, role:LEAD, require, 1h, true")
    home.replica.authz.holder.activate(compile_policy(load_policy(policy_root)))
    clock.advance(HOUR_MS)
    assert await refusal(dev.redeem(approval)) == (FailedPrecondition, "APPROVAL_OUTDATED")


async def test_another_policy_asks_anew(town: Make, add_lines: Any, policy_root: Any) -> None:
    home = await town()
    dev = await home.person(DEV)
    first = await dev.ask("thing:prod-1")
    add_lines("a, *, thing:*, ship, 1, role:LEAD, require, 24h, true")
    home.replica.authz.holder.activate(compile_policy(load_policy(policy_root)))
    second = await dev.ask("thing:prod-1")
    assert second.approval_id != first.approval_id
    assert [need.approvals for need in second.requirements] == [1]


async def test_who_sees_which(town: Make) -> None:
    home = await town()
    dev, other, lead, checker = [await home.person(role) for role in (DEV, DEV, LEAD, CHECKER)]
    mine, theirs = await dev.ask("thing:prod-1"), await other.ask("thing:prod-1")
    assert await refusal(dev.get(theirs)) == (NotFound, "APPROVAL_UNKNOWN")
    assert (await lead.get(theirs)).subject == other.subject, "who may vote may look"
    assert (await checker.get(mine)).subject == dev.subject

    async def listed(who: Any, **fields: Any) -> list[str]:
        return [one.approval_id for one in (await who.list(**fields)).approvals]

    assert await listed(dev) == [mine.approval_id]
    assert await listed(lead) == []
    assert await listed(checker) == [theirs.approval_id, mine.approval_id]
    assert await listed(checker, subject=dev.subject) == [mine.approval_id]
    assert await listed(dev, subject=other.subject) == []
    assert await listed(checker, state="APPROVAL_STATE_GRANTED") == []
    sales = await town(org="sales", replica=home.replica, tenant=home.tenant)
    assert await listed(sales.people.as_(checker.subject)) == []


async def test_lists_come_in_pages(town: Make) -> None:
    home = await town()
    dev, checker = await home.person(DEV), await home.person(CHECKER)
    made = [(await dev.ask(f"thing:prod-{n}")).approval_id for n in range(5)]
    seen: list[str] = []
    token = ""
    while True:
        page = await checker.list(page_size=2, page_token=token)
        assert len(page.approvals) <= 2
        seen += [one.approval_id for one in page.approvals]
        token = page.next_page_token
        if not token:
            break
    assert seen == made[::-1]
    first = await checker.list(page_size=2)
    with pytest.raises(InvalidArgument):
        await dev.list(page_size=2, page_token=first.next_page_token)


async def test_explain_and_the_decision_log_say_so(town: Make, audit_events: Make) -> None:
    home = await town()
    dev, admin = await home.person(DEV), await home.person("role:PLATFORM_ADMIN")
    told = await admin.explain(dev.subject, "ship", "thing:prod-1")
    assert told.decision.effect == NEEDS_APPROVAL
    assert [(m.rule.file, m.matched) for m in told.matches if m.effect == NEEDS_APPROVAL] == [
        ("approvals/a.csv", True)
    ]
    await admin.check(dev.subject, "ship", "thing:prod-1")
    await home.replica.authz.log.drain()
    await home.replica.lane.drain()
    event = (await audit_events(home.tenant.tenant_id, "authz.decision.check"))[-1]
    assert event["outcome"] == "DENIED"
    (decision,) = json.loads(event["detail"])["decisions"]
    assert (decision["effect"], decision["reason"]) == ("NEEDS_APPROVAL", "NEEDS_APPROVAL")


async def test_a_call_that_needs_approval_itself_is_refused_and_says_so(
    town: Make, add_lines: Any
) -> None:
    add_lines("a, *, authz.approval:*, request, 1, role:LEAD, require, 24h, true")
    home = await town()
    dev = await home.person(DEV)
    with pytest.raises(PermissionDenied, match="needs an approval") as refused:
        await dev.ask("thing:prod-1")
    assert refused.value.metadata["decision"] == "NEEDS_APPROVAL"


async def test_what_can_not_be_stored_is_the_callers_fault(town: Make) -> None:
    home = await town()
    dev = await home.person(DEV)
    for fields in ({"reason": "a\0b"}, {"context": {"a": "b\0c"}}):
        with pytest.raises(InvalidArgument):
            await dev.ask("thing:prod-1", **fields)
    assert state(await dev.ask("thing:prod-1", context={"n": float("nan"), "l": [1, None]}))


async def test_an_unknown_approval(town: Make) -> None:
    home = await town()
    dev, lead = await home.person(DEV), await home.person(LEAD)
    nothing = pb.Approval(approval_id=str(UUID(int=7)), subject=dev.subject, action="ship",
                          resource="thing:prod-1")  # fmt: skip
    for attempt in (dev.get(nothing), lead.approve(nothing), dev.cancel(nothing),
                    dev.redeem(nothing)):  # fmt: skip
        assert await refusal(attempt) == (NotFound, "APPROVAL_UNKNOWN")
