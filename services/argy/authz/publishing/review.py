"""Proposing a policy, and what reviewers say about it."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final
from uuid import UUID

from argy.authz.access import decide
from argy.authz.domain import not_permitted
from argy.authz.publishing import store
from argy.authz.publishing.approval_store import insert_approval
from argy.authz.publishing.candidates import Candidate, Candidates
from argy.authz.publishing.domain import (
    Difference,
    GivenApproval,
    PolicyName,
    Proposal,
    check_bundle,
    check_not_ahead,
    check_not_author,
    check_not_older,
    check_open,
    check_person,
    check_proposer,
    diff_changed,
)
from argy.authz.publishing.follower import PolicyFollower
from argy.authz.publishing.holder import InForce, PolicyHolder
from argy.authz.publishing.keys import PolicyKeys
from argy.authz.publishing.makers import (
    APPROVE,
    check_other,
    may_still_propose,
    still_good,
    with_makers,
)
from argy.authz.publishing.records import proposal_record
from argy.authz.snapshots import Snapshots
from argy.base.clock import Clock
from argy.base.errors import AlreadyExists
from argy.base.ids import PLATFORM_TENANT_ID, uuid7
from argy.policy.statements import Approval, seal_approval
from argy.rpc.access import auth_facts
from argy.rpc.call import Call
from argy.store.database import Database
from argy.trail.records import record

_NO_ID: Final = UUID(int=0)


class Review:
    """The use cases of proposals, up to their activation.

    What a proposal would change is worked out against the policy in force now, each time that it
    matters: approvals are of that difference, and of no other.
    """

    def __init__(
        self,
        *,
        db: Database,
        keys: PolicyKeys,
        holder: PolicyHolder,
        follower: PolicyFollower,
        candidates: Candidates,
        snapshots: Snapshots,
        clock: Clock,
    ) -> None:
        self._db = db
        self._keys = keys
        self._holder = holder
        self._follower = follower
        self._candidates = candidates
        self._snapshots = snapshots
        self._clock = clock

    async def propose(
        self,
        call: Call,
        *,
        envelope: bytes,
        title: str,
        description: str,
        request_id: UUID | None,
        validate_only: bool,
    ) -> Proposal:
        """Hand in a bundle: verified, not older, its cases run, compared with what is in force.

        Raises:
            UntrustedSignature: unsigned, altered, or signed by nobody who is trusted.
            InvalidArgument: ``BUNDLE_INVALID``, ``POLICY_INVALID``, ``COMMIT_AHEAD`` or
                ``CASES_FAILED``.
            FailedPrecondition: ``POLICY_OLDER``.
            AlreadyExists: ``REQUEST_ID_REUSED``.
        """
        candidate = await self._candidates.open(envelope)
        await self._follower.refresh()
        in_force = self._holder.in_force
        proposal = Proposal(
            id=_NO_ID if validate_only else uuid7(),
            policy=_name(candidate, in_force),
            base=_name(None, in_force),
            diff_digest="",
            changes=(),
            change_count=0,
            approvals_needed=1,
            title=title,
            description=description,
            author=call.caller,
            created_at_ms=self._clock.now_ms(),
            request_id=request_id,
            signed_in=auth_facts(call.claims, call.received_ms),
        )
        if request_id is not None and (earlier := await self._earlier(proposal)) is not None:
            call.changed_nothing()
            return earlier
        check_not_older(candidate.bundle, in_force.bundle)
        check_not_ahead(candidate.bundle, proposal.created_at_ms)
        await self._candidates.run_cases(candidate)
        proposal = _with(proposal, await self._candidates.compare(candidate, in_force))
        try:
            return await self._keep(call, proposal, candidate, validate_only=validate_only)
        except AlreadyExists:
            # Perhaps by this very request, on another connection; that has committed by now.
            earlier = await self._earlier(proposal)
            if earlier is None:
                raise
            call.changed_nothing()
            return earlier

    async def get(self, proposal_id: UUID) -> Proposal:
        """Return one proposal; raises NotFound."""
        async with self._db.tenant(PLATFORM_TENANT_ID) as tx:
            return await store.find_proposal(tx, proposal_id)

    async def list(self, *, before: UUID | None, state: str, limit: int) -> Sequence[Proposal]:
        """Return proposals without their changes, newest first."""
        async with self._db.tenant(PLATFORM_TENANT_ID) as tx:
            return await store.list_proposals(tx, before=before, state=state, limit=limit)

    async def approve(
        self, call: Call, proposal_id: UUID, *, bundle_digest: str, diff_digest: str, comment: str
    ) -> Proposal:
        """Approve a bundle together with the difference that the caller saw.

        Raises:
            PermissionDenied: ``NOT_A_PERSON``, ``AUTHOR_APPROVES``, ``APPOINTED_BY_ASKER``, or
                ``ACCESS_DENIED`` by policy.
            FailedPrecondition: ``PROPOSAL_CLOSED``, ``BUNDLE_MISMATCH`` or ``DIFF_CHANGED``.
        """
        proposal = await self.get(proposal_id)
        check_not_author(call.caller, proposal)
        await self._decide(call, proposal, APPROVE)
        check_person(call.caller)
        check_open(proposal)
        check_bundle(proposal, bundle_digest)
        candidate = await self.check_unchanged(call, proposal)
        if diff_digest != proposal.diff_digest:
            raise diff_changed(proposal.id, proposal.diff_digest)
        now_ms = self._clock.now_ms()
        approval = Approval(
            proposal_id=str(proposal.id),
            bundle_digest=bundle_digest,
            diff_digest=diff_digest,
            author=proposal.author,
            approver=call.caller,
            time_ms=now_ms,
        )
        statement = seal_approval(approval, self._keys.signing)
        given = GivenApproval(
            proposal_id=proposal.id,
            approver=call.caller,
            bundle_digest=bundle_digest,
            diff_digest=diff_digest,
            comment=comment,
            statement=statement,
            signed_in=auth_facts(call.claims, call.received_ms),
            created_at_ms=now_ms,
        )
        view = await self._snapshots.get(PLATFORM_TENANT_ID)
        async with self._db.tenant(PLATFORM_TENANT_ID) as tx:
            await store.lock_proposal(tx, proposal.id)
            held = await store.find_proposal(tx, proposal.id)
            check_open(held)
            if held.diff_digest != diff_digest:
                raise diff_changed(held.id, held.diff_digest)
            held = await with_makers(tx, held, candidate)
            check_not_author(call.caller, held)
            at_will = await check_other(tx, view, held, given, now_ms)
            given = replace(given, asker_may_grant=at_will)
            if await insert_approval(tx, given):
                told = proposal_record(
                    call, "approve", held, now_ms, comment=comment, asker_may_grant=at_will
                )
                await record(tx, told, call)
            else:
                call.changed_nothing()
            return await store.find_proposal(tx, proposal.id)

    async def reject(self, call: Call, proposal_id: UUID, comment: str) -> Proposal:
        """End a proposal. Policy alone decides who may: an author may withdraw, if it says so.

        Raises:
            PermissionDenied: ``ACCESS_DENIED``.
            FailedPrecondition: ``PROPOSAL_CLOSED``.
        """
        proposal = await self.get(proposal_id)
        await self._decide(call, proposal, "reject")
        async with self._db.tenant(PLATFORM_TENANT_ID) as tx:
            await store.lock_proposal(tx, proposal.id)
            check_open(await store.find_proposal(tx, proposal.id))
            await store.close_proposal(tx, proposal.id, "REJECTED", comment)
            now_ms = self._clock.now_ms()
            await record(
                tx, proposal_record(call, "reject", proposal, now_ms, comment=comment), call
            )
            return await store.find_proposal(tx, proposal.id)

    async def still_good(
        self,
        proposal: Proposal,
        candidate: Candidate,
        signed: Iterable[tuple[GivenApproval, Approval]],
    ) -> frozenset[bytes]:
        """The statements of those approvals that their approvers might give today as well.

        Raises:
            FailedPrecondition: ``PROPOSER_NO_LONGER_GOOD``.
        """
        view, now_ms = await self._snapshots.get(PLATFORM_TENANT_ID), self._clock.now_ms()
        check_proposer(proposal, may_propose=may_still_propose(view, proposal, now_ms))
        async with self._db.tenant(PLATFORM_TENANT_ID) as tx:
            proposal = await with_makers(tx, proposal, candidate)
            return await still_good(tx, view, proposal, signed, now_ms)

    async def check_unchanged(self, call: Call, proposal: Proposal) -> Candidate:
        """Compare a proposal with what is in force now, and keep the difference if it is another.

        Raises:
            FailedPrecondition: ``DIFF_CHANGED``, when it is: nobody approved that one yet.
        """
        candidate = await self._candidates.load(proposal.policy.digest)
        await self._follower.refresh()
        difference = await self._candidates.compare(candidate, self._holder.in_force)
        if difference.diff_digest == proposal.diff_digest:
            return candidate
        async with self._db.tenant(PLATFORM_TENANT_ID) as tx:
            await store.lock_proposal(tx, proposal.id)
            renewed = await store.update_diff(tx, proposal, difference)
            await record(
                tx,
                proposal_record(
                    call, "compare", renewed, self._clock.now_ms(), was=proposal.diff_digest
                ),
                call,
            )
        raise diff_changed(proposal.id, difference.diff_digest)

    async def _decide(self, call: Call, proposal: Proposal, action: str) -> None:
        view = await self._snapshots.get(PLATFORM_TENANT_ID)
        name, facts = f"policy:{proposal.id}", {"author": proposal.author}
        decision = decide(view, call, "", name, action, facts, self._clock.now_ms())
        if not decision.allowed:
            raise not_permitted(decision, action, name)

    async def _keep(
        self, call: Call, proposal: Proposal, candidate: Candidate, *, validate_only: bool
    ) -> Proposal:
        verb = "validate" if validate_only else "propose"
        now_ms = proposal.created_at_ms
        async with self._db.tenant(PLATFORM_TENANT_ID, errors=store.ERRORS) as tx:
            proposal = await with_makers(tx, proposal, candidate)
            if not validate_only:
                await store.keep_bundle(
                    tx, candidate.bundle, candidate.envelope, by=call.caller, now_ms=now_ms
                )
                await store.insert_proposal(tx, proposal)
            await record(
                tx, proposal_record(call, verb, proposal, now_ms, title=proposal.title), call
            )
        return proposal

    async def _earlier(self, wish: Proposal) -> Proposal | None:
        if wish.request_id is None:
            return None
        async with self._db.tenant(PLATFORM_TENANT_ID) as tx:
            made = await store.find_by_request(tx, wish.request_id)
        if made is not None and not _fulfils(made, wish):
            raise store.request_id_reused()
        return made


def _fulfils(made: Proposal, wish: Proposal) -> bool:
    """Whether an earlier call's proposal is what this one asks for."""
    return all(
        getattr(made, name) == getattr(wish, name)
        for name in ("policy", "title", "description", "author")
    )


def _with(proposal: Proposal, difference: Difference) -> Proposal:
    return replace(
        proposal,
        diff_digest=difference.diff_digest,
        changes=difference.changes,
        change_count=difference.change_count,
        approvals_needed=difference.approvals_needed,
    )


def _name(candidate: Candidate | None, in_force: InForce) -> PolicyName:
    bundle = in_force.bundle if candidate is None else candidate.bundle
    if bundle is None:
        return PolicyName("", in_force.policy.revision)
    return PolicyName(bundle.digest, bundle.source.revision, bundle.manifest.commit)
