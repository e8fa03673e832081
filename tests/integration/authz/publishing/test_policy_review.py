"""What reviewers may say about a proposal, and when it counts."""

import asyncio
import json
import time
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from signed_in import Bearer, everybody

from argy.api.authz.v1 import policy_pb2 as pb
from argy.base.dsse import SigningKeys, TrustedKeys
from argy.base.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
)
from argy.base.ids import PLATFORM_TENANT_ID


async def test_a_proposal_tells_what_it_would_change(started: Any) -> None:
    world, replica = started
    author = world.at(replica, world.people.author)
    made = await author.propose(world.bundle(world.deploy), title="deploys", description="why")
    assert made.state == pb.PROPOSAL_STATE_OPEN
    assert (made.title, made.description, made.author) == ("deploys", "why", world.people.author)
    assert made.change_count == 1
    (change,) = made.changes
    assert (change.kind, change.role, change.resource, change.action) == (
        "gained", "role:PLATFORM_USER", "project:*", "deploy",
    )  # fmt: skip
    assert change.rules == ["roles/roles.csv:9"]
    assert made.approvals_needed == 1
    assert await author.get(made) == made
    (event,) = await world.events("authz.policy_proposal.propose")
    assert (event["actor"], event["via"]) == (world.people.author, "service:cli")
    detail = json.loads(event["detail"])
    assert detail["diff"] == made.diff_digest


async def test_an_escalation_needs_two(started: Any) -> None:
    world, replica = started
    proposal = await world.at(replica, world.people.author).propose(world.bundle(world.wildcard))
    assert proposal.approvals_needed == 2
    assert any(change.escalation for change in proposal.changes)
    first = await world.at(replica, world.people.cora).approve(proposal)
    assert first.state == pb.PROPOSAL_STATE_OPEN
    with pytest.raises(FailedPrecondition) as refused:
        await world.at(replica).activate(proposal)
    assert refused.value.reason == "APPROVALS_MISSING"
    # The same person again is still one person.
    again = await world.at(replica, world.people.cora).approve(proposal)
    assert len(again.approvals) == 1
    second = await world.at(replica, world.people.carl).approve(proposal)
    assert second.state == pb.PROPOSAL_STATE_APPROVED
    made = await world.at(replica).activate(proposal)
    assert made.activation.sequence == 2
    assert len(await world.events("authz.policy_proposal.approve")) == 2


async def test_an_old_proof_approves_no_policy_and_a_fresh_one_does(world: Any) -> None:
    signed_in = everybody()
    replica = await world.replica(signed_in=signed_in)
    await world.settle(replica)
    stale = "has(ctx.author) && (!has(ctx.auth) || ctx.auth.age_s > 300)"
    deny = f'p, role:COMPLIANCE_APPROVER, *, policy:*, approve, deny, "{stale}"\n'
    await world.publish(replica, deny)
    author = world.at(replica, world.people.author)
    proposal = await author.propose(world.bundle(deny, world.deploy))
    platform = SimpleNamespace(tenant_id=PLATFORM_TENANT_ID, slug="platform")
    own = world.channel(replica)

    def cora(**fields: Any) -> Any:
        token = signed_in.token(platform, world.people.cora, **fields)
        return type(author)(Bearer(own, token))

    reading = signed_in.personal(world.people.cora, "policy:read")
    for who, reason in (
        (cora(age_s=4_000), "ACCESS_DENIED"),
        # Named by a service, who can't say how she signed in.
        (world.named(replica, world.people.cora), "PROOF_REQUIRED"),
        (type(author)(Bearer(own, reading)), "SCOPE_INSUFFICIENT"),
    ):
        with pytest.raises(PermissionDenied) as refused:
            await who.approve(proposal)
        assert refused.value.reason == reason
    assert (await cora(age_s=10).approve(proposal)).approvals[0].approver == world.people.cora
    # By the proof of then it counts, whenever it is activated.
    assert (await world.at(replica).activate(proposal)).activation.sequence == 3


async def test_the_author_never_approves(started: Any) -> None:
    world, replica = started
    author = world.at(replica, world.people.author)  # holds COMPLIANCE_APPROVER as well
    proposal = await author.propose(world.bundle(world.deploy))
    with pytest.raises(PermissionDenied) as refused:
        await author.approve(proposal)
    assert refused.value.reason == "AUTHOR_APPROVES"
    assert not (await author.get(proposal)).approvals


async def test_who_may_approve_is_decided_by_policy(started: Any) -> None:
    world, replica = started
    proposal = await world.at(replica, world.people.author).propose(world.bundle(world.deploy))
    for who, reason in (
        (world.people.nobody, "ACCESS_DENIED"),
        (world.people.admin, "ACCESS_DENIED"),
        ("", "PROOF_REQUIRED"),
    ):
        with pytest.raises(PermissionDenied) as refused:
            await world.at(replica, who).approve(proposal)
        assert refused.value.reason == reason
    with pytest.raises(PermissionDenied):
        await world.at(replica, world.people.cora).propose(world.bundle(world.deploy))
    with pytest.raises(PermissionDenied):
        await world.at(replica, world.people.cora).activate(proposal)


async def test_an_unsigned_altered_or_strangers_bundle_is_refused(started: Any) -> None:
    world, replica = started
    author = world.at(replica, world.people.author)
    envelope = json.loads(world.bundle(world.deploy))
    unsigned = json.dumps({**envelope, "signatures": []}).encode()
    other = json.loads(world.bundle(world.wildcard))
    altered = json.dumps({**envelope, "payload": other["payload"]}).encode()
    stranger = world.bundle(world.deploy, keys=SigningKeys.generate("author"))
    # Nor does the control plane's key stand for an author's.
    control = world.bundle(world.deploy, keys=world.control)
    for bundle, reason in (
        (unsigned, "SIGNATURE_UNTRUSTED"),
        (altered, "SIGNATURE_INVALID"),
        (stranger, "SIGNATURE_INVALID"),
        (control, "SIGNATURE_UNTRUSTED"),
    ):
        with pytest.raises(FailedPrecondition) as refused:
            await author.propose(bundle)
        assert refused.value.reason == reason
    with pytest.raises(InvalidArgument) as malformed:
        await author.propose(b"no envelope")
    assert malformed.value.reason == "ENVELOPE_MALFORMED"


async def test_nobody_is_trusted_until_the_settings_say_whom(world: Any) -> None:
    replica = await world.replica(authors=TrustedKeys({}))
    with pytest.raises(FailedPrecondition) as refused:
        await world.at(replica).propose(world.bundle(world.deploy))
    assert refused.value.reason == "SIGNATURE_UNTRUSTED"


async def test_a_failing_case_is_named(started: Any) -> None:
    world, replica = started
    wrong = world.bundle("p, role:PLATFORM_USER, *, project:alpha, read, deny, true\n")
    with pytest.raises(InvalidArgument) as refused:
        await world.at(replica, world.people.author).propose(wrong)
    assert refused.value.reason == "CASES_FAILED"
    assert "cases/users.yaml:5 user:uma read project:alpha" in refused.value.message


async def test_validate_only_tells_all_and_keeps_nothing(started: Any) -> None:
    world, replica = started
    author = world.at(replica, world.people.author)
    seen = await author.propose(world.bundle(world.wildcard), validate_only=True)
    assert seen.proposal_id == ""
    assert seen.approvals_needed == 2
    listed = await author.stub.ListProposals(pb.ListProposalsRequest())
    assert not listed.proposals
    assert len(await world.events("authz.policy_proposal.validate")) == 1


async def test_a_repeated_call_makes_one_proposal(started: Any) -> None:
    world, replica = started
    author, request_id = world.at(replica, world.people.author), str(uuid4())
    bundle = world.bundle(world.deploy)
    both = await asyncio.gather(*(author.propose(bundle, request_id=request_id) for _ in range(2)))
    assert both[0] == both[1] == await author.propose(bundle, request_id=request_id)
    with pytest.raises(AlreadyExists) as refused:
        await author.propose(bundle, title="another", request_id=request_id)
    assert refused.value.reason == "REQUEST_ID_REUSED"
    assert len(await world.events("authz.policy_proposal.propose")) == 1


async def test_an_approval_names_what_was_seen(started: Any) -> None:
    world, replica = started
    cora = world.at(replica, world.people.cora)
    proposal = await world.at(replica, world.people.author).propose(world.bundle(world.deploy))
    for field, reason in (("bundle_digest", "BUNDLE_MISMATCH"), ("diff_digest", "DIFF_CHANGED")):
        with pytest.raises(FailedPrecondition) as refused:
            await cora.approve(proposal, **{field: "0" * 64})
        assert refused.value.reason == reason
    with pytest.raises(NotFound):
        await cora.get(pb.Proposal(proposal_id=str(uuid4())))


async def test_a_changed_diff_voids_approvals(started: Any) -> None:
    world, replica = started
    cora, carl = (world.at(replica, p) for p in (world.people.cora, world.people.carl))
    author = world.at(replica, world.people.author)
    seen = await author.propose(world.bundle(world.deploy))
    approved = await cora.approve(seen)
    assert approved.approvals[0].counts
    # Meanwhile another policy comes in force: what the first would change is not the same now.
    await world.publish(replica, "p, role:PLATFORM_USER, *, run:*, read, allow, true\n")
    with pytest.raises(FailedPrecondition) as refused:
        await world.at(replica).activate(seen)
    assert refused.value.reason == "DIFF_CHANGED"
    now = await cora.get(seen)
    assert refused.value.metadata["diff_digest"] == now.diff_digest != seen.diff_digest
    assert not now.approvals[0].counts
    assert now.state == pb.PROPOSAL_STATE_OPEN
    with pytest.raises(FailedPrecondition) as stale:
        await carl.approve(seen)
    assert stale.value.reason == "DIFF_CHANGED"
    # Approved anew, as it is now.
    again = await cora.approve(now)
    assert [given.counts for given in again.approvals] == [False, True]
    assert (await world.at(replica).activate(seen)).activation.sequence == 3


async def test_a_changed_diff_is_found_by_an_approver_too(started: Any) -> None:
    world, replica = started
    seen = await world.at(replica, world.people.author).propose(world.bundle(world.deploy))
    await world.publish(replica, "p, role:PLATFORM_USER, *, run:*, read, allow, true\n")
    cora = world.at(replica, world.people.cora)
    with pytest.raises(FailedPrecondition) as refused:
        await cora.approve(seen)
    now = await cora.get(seen)
    assert refused.value.metadata["diff_digest"] == now.diff_digest
    assert {change.kind for change in now.changes} == {"gained", "lost"}
    (event,) = await world.events("authz.policy_proposal.compare")
    assert json.loads(event["detail"])["was"] == seen.diff_digest


async def test_a_rejected_proposal_can_not_come_back(started: Any) -> None:
    world, replica = started
    author, cora = (world.at(replica, p) for p in (world.people.author, world.people.cora))
    proposal = await author.propose(world.bundle(world.deploy))
    with pytest.raises(PermissionDenied):
        await world.at(replica, world.people.nobody).reject(proposal)
    gone = await cora.reject(proposal)
    assert (gone.state, gone.rejection) == (pb.PROPOSAL_STATE_REJECTED, "no")
    for again in (cora.reject(proposal), cora.approve(proposal), world.at(replica).activate(gone)):
        with pytest.raises(FailedPrecondition) as refused:
            await again
        assert refused.value.reason == "PROPOSAL_CLOSED"


async def test_proposals_are_listed_in_pages_and_by_state(started: Any) -> None:
    world, replica = started
    author, cora = (world.at(replica, p) for p in (world.people.author, world.people.cora))
    made = [await author.propose(world.bundle(world.deploy)) for _ in range(3)]
    await cora.reject(made[0])
    await cora.approve(made[1])
    found, token = [], ""
    while True:
        page = await author.stub.ListProposals(
            pb.ListProposalsRequest(page_size=2, page_token=token)
        )
        found += page.proposals
        token = page.next_page_token
        if not token:
            break
    assert [one.proposal_id for one in found] == [one.proposal_id for one in reversed(made)]
    assert not any(one.changes for one in found)
    for state, expected in (("REJECTED", made[0]), ("APPROVED", made[1]), ("OPEN", made[2])):
        page = await author.stub.ListProposals(
            pb.ListProposalsRequest(state=pb.ProposalState.Value(f"PROPOSAL_STATE_{state}"))
        )
        ids = [one.proposal_id for one in page.proposals]
        assert expected.proposal_id in ids
        assert (len(ids) == 1) or state == "OPEN"


async def test_impact_tells_who_gains_tenant_by_tenant(started: Any) -> None:
    world, replica = started
    acme = await world.tenant("acme")
    other = await world.tenant("other")
    for tenant, subject in ((acme, "agent:ann"), (acme, "agent:ben"), (other, "agent:eve")):
        await world.grant(replica, tenant, subject, "role:PLATFORM_USER")
    author = world.at(replica, world.people.author)
    proposal = await author.propose(world.bundle(world.deploy))
    found, token = {}, ""
    while True:
        page = await author.stub.GetProposalImpact(
            pb.GetProposalImpactRequest(
                proposal_id=proposal.proposal_id, page_size=1, page_token=token
            )
        )
        for one in page.tenants:
            found[one.tenant] = {subject.subject for subject in one.subjects}
            (change,) = one.subjects[0].changes
            assert (change.kind, change.resource, change.action) == (
                "gained",
                "project:*",
                "deploy",
            )
        token = page.next_page_token
        if not token:
            break
    assert found == {
        "acme": {"agent:ann", "agent:ben"},
        "other": {"agent:eve"},
        "platform": {world.people.nobody},
    }
    only = await author.stub.GetProposalImpact(
        pb.GetProposalImpactRequest(proposal_id=proposal.proposal_id, tenant_id=str(other))
    )
    assert [one.tenant for one in only.tenants] == ["other"]


async def test_an_agent_with_an_approvers_role_is_no_second_person(started: Any) -> None:
    world, replica = started
    await world.grant(replica, PLATFORM_TENANT_ID, "agent:bot", "role:COMPLIANCE_APPROVER")
    proposal = await world.at(replica, world.people.author).propose(world.bundle(world.deploy))
    with pytest.raises(PermissionDenied) as refused:
        await world.at(replica, "agent:bot").approve(proposal)
    assert refused.value.reason == "PROOF_REQUIRED"


async def test_a_commit_of_next_year_does_not_make_all_later_policies_older(started: Any) -> None:
    world, replica = started
    author = world.at(replica, world.people.author)
    ahead = world.bundle(world.deploy, time_s=int(time.time()) + 366 * 86_400)
    with pytest.raises(InvalidArgument) as refused:
        await author.propose(ahead)
    assert refused.value.reason == "COMMIT_AHEAD"
    await author.propose(world.bundle(world.deploy, time_s=int(time.time())))
