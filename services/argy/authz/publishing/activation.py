"""Putting an approved policy in force, returning to an earlier one, and what was in force."""

import asyncio
import base64
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from uuid import UUID

from argy.authz.publishing import store
from argy.authz.publishing.candidates import Candidates
from argy.authz.publishing.domain import (
    ActivationRow,
    Difference,
    GivenApproval,
    Proposal,
    check_approved,
    check_not_older,
    check_open,
    concurrent_activation,
    counting,
    diff_changed,
)
from argy.authz.publishing.follower import PolicyFollower, Refused, verified
from argy.authz.publishing.holder import InForce, PolicyHolder
from argy.authz.publishing.keys import PolicyKeys
from argy.authz.publishing.records import activation_record
from argy.authz.publishing.review import Review
from argy.base.clock import Clock
from argy.base.dsse import TrustedKeys
from argy.base.errors import ArgyError, FailedPrecondition, InvalidArgument, NotFound
from argy.base.ids import PLATFORM_TENANT_ID
from argy.policy.statements import Activation, Approval, open_approval, seal_activation
from argy.rpc.call import Call
from argy.store.database import Database, Tx
from argy.trail.records import record


@dataclass(frozen=True, slots=True)
class Standing:
    """What is in force on this server."""

    in_force: InForce
    problem: str
    """Why something newer is not; empty when nothing is newer."""


class Activations:
    """The use cases of activations. Of two at once one wins, the other is told to look again."""

    def __init__(
        self,
        *,
        db: Database,
        keys: PolicyKeys,
        holder: PolicyHolder,
        follower: PolicyFollower,
        candidates: Candidates,
        review: Review,
        problem: Callable[[], str],
        clock: Clock,
    ) -> None:
        self._db = db
        self._keys = keys
        self._holder = holder
        self._follower = follower
        self._candidates = candidates
        self._review = review
        self._problem = problem
        self._clock = clock

    def standing(self) -> Standing:
        """What is in force here."""
        return Standing(self._holder.in_force, self._problem())

    async def list(self, *, before: int | None, limit: int) -> Sequence[ActivationRow]:
        """Return activations, newest first."""
        async with self._db.tenant(PLATFORM_TENANT_ID) as tx:
            return await store.list_activations(tx, before=before, limit=limit)

    async def activate(self, call: Call, proposal_id: UUID) -> Activation:
        """Put an approved proposal in force.

        Raises:
            FailedPrecondition: ``PROPOSAL_CLOSED``, ``POLICY_OLDER``, ``DIFF_CHANGED``,
                ``APPROVALS_MISSING``, ``APPROVAL_NO_LONGER_GOOD`` or ``PROPOSER_NO_LONGER_GOOD``.
            Aborted: ``CONCURRENT_ACTIVATION``.
        """
        newest = await self._newest()
        proposal = await self._review.get(proposal_id)
        check_open(proposal)
        candidate = await self._review.check_unchanged(call, proposal)
        in_force = self._holder.in_force
        check_not_older(candidate.bundle, in_force.bundle)
        difference = await self._candidates.compare(candidate, in_force)
        # Outside of the transaction: what is approved from here on was not asked about yet.
        signed = _signed(proposal, self._keys.trust.control)
        good = await self._review.still_good(proposal, candidate, signed)
        async with self._db.tenant(PLATFORM_TENANT_ID, errors=store.ERRORS) as tx:
            await store.lock_proposal(tx, proposal.id)
            await self._check_newest(tx, newest)
            held = await store.find_proposal(tx, proposal.id)
            check_open(held)
            if held.diff_digest != difference.diff_digest:
                raise diff_changed(held.id, held.diff_digest)
            activation = self._of_proposal(call, held, good, difference, in_force, newest + 1)
            await self._put(tx, activation)
            await store.close_proposal(tx, held.id, "ACTIVATED")
            await record(
                tx,
                activation_record(
                    call,
                    activation,
                    approvers=_approvers(activation, self._keys.trust.control),
                    commit=held.policy.commit,
                ),
                call,
            )
        await self._follow()
        return activation

    async def rollback(self, call: Call, sequence: int, reason: str) -> Activation:
        """Return to an earlier activation; 0 is the one before the present one.

        While a newer activation is refused, the present one may be named: it comes in force anew,
        above the refused one.

        Raises:
            NotFound: ``ACTIVATION_UNKNOWN``.
            InvalidArgument: ``NOT_EARLIER``.
            FailedPrecondition: ``ROLLBACK_REFUSED``, when that one may not be in force here.
            Aborted: ``CONCURRENT_ACTIVATION``.
        """
        newest = await self._newest()
        await self._follower.refresh()
        in_force = self._holder.in_force
        target = await self._earlier(sequence, in_force, newest)
        activation = Activation(
            sequence=newest + 1,
            kind="ROLLBACK",
            origin=target.activation.origin if target.activation else "PROPOSAL",
            bundle_digest=target.digest,
            policy_revision=target.policy.revision,
            previous_digest=in_force.digest,
            activated_by=call.caller,
            reason=reason,
            time_ms=self._clock.now_ms(),
            restores=target.sequence,
        )
        async with self._db.tenant(PLATFORM_TENANT_ID, errors=store.ERRORS) as tx:
            await self._check_newest(tx, newest)
            await self._put(tx, activation)
            await record(tx, activation_record(call, activation), call)
        await self._follow()
        return activation

    def _of_proposal(
        self,
        call: Call,
        proposal: Proposal,
        good: Collection[bytes],
        difference: Difference,
        in_force: InForce,
        sequence: int,
    ) -> Activation:
        signed = _signed(proposal, self._keys.trust.control)
        said = [approval for _, approval in signed]
        counted = counting(proposal, said)
        places = [place for place in counted if signed[place][0].statement in good]
        needed = max(difference.approvals_needed, proposal.approvals_needed)
        lapsed = {said[place].approver for place in counted if place not in places}
        check_approved(len(places), needed, lapsed)
        return Activation(
            sequence=sequence,
            kind="PROPOSAL",
            origin="PROPOSAL",
            bundle_digest=proposal.policy.digest,
            policy_revision=proposal.policy.revision,
            previous_digest=in_force.digest,
            activated_by=call.caller,
            reason="",
            time_ms=self._clock.now_ms(),
            proposal_id=str(proposal.id),
            author=proposal.author,
            diff_digest=difference.diff_digest,
            escalates=difference.escalates,
            approvals_needed=needed,
            approvals=tuple(
                base64.b64encode(signed[place][0].statement).decode() for place in places
            ),
        )

    async def _earlier(self, sequence: int, in_force: InForce, newest: int) -> InForce:
        """The activation to return to, proved to be one that may be in force here."""
        if not sequence:
            rows = await self.list(before=in_force.sequence, limit=1)
            sequence = rows[0].sequence if rows else 0
        most = in_force.sequence if newest > in_force.sequence else in_force.sequence - 1
        if sequence > most:
            raise InvalidArgument(
                f"activation {sequence} is not earlier than {in_force.sequence}, which is in force",
                reason="NOT_EARLIER",
                field="sequence",
            )
        async with self._db.tenant(PLATFORM_TENANT_ID) as tx:
            published = await store.find_published(tx, sequence)
        if published is None:
            raise NotFound("No such activation", reason="ACTIVATION_UNKNOWN", field="sequence")
        try:
            return await asyncio.to_thread(verified, published, self._keys.trust, above=0)
        except Refused as refused:
            raise FailedPrecondition(refused.problem, reason="ROLLBACK_REFUSED") from refused

    async def _put(self, tx: Tx, activation: Activation) -> None:
        await store.insert_activation(
            tx, activation, seal_activation(activation, self._keys.signing)
        )

    async def _newest(self) -> int:
        """The sequence that what is worked out from here on must still find."""
        async with self._db.tenant(PLATFORM_TENANT_ID) as tx:
            newest = await store.find_newest(tx)
        return 0 if newest is None else newest.sequence

    async def _check_newest(self, tx: Tx, seen: int) -> None:
        newest = await store.find_newest(tx)
        if (0 if newest is None else newest.sequence) != seen:
            raise concurrent_activation()

    async def _follow(self) -> None:
        """Have it in force here at once; it is committed, so nothing may fail any more."""
        try:
            await self._follower.refresh()
        except ArgyError:
            self._follower.poke()


def _signed(proposal: Proposal, control: TrustedKeys) -> list[tuple[GivenApproval, Approval]]:
    """The approvals that were signed; a row that was written or altered otherwise is none."""
    found = []
    for given in proposal.approvals:
        try:
            found.append((given, open_approval(given.statement, control)))
        except ArgyError:
            continue
    return found


def _approvers(activation: Activation, control: TrustedKeys) -> list[str]:
    return [
        open_approval(base64.b64decode(text), control).approver for text in activation.approvals
    ]
