"""Request, vote on and use approvals: each change with its audit record in one transaction."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final
from uuid import UUID

from argy.authz.access import Facts
from argy.authz.approvals import store
from argy.authz.approvals.domain import (
    CANCEL_ANY,
    READ_ANY,
    REDEEM_FOR,
    REQUEST_FOR,
    Action,
    Approval,
    Requirement,
    Vote,
    check_actor,
    check_open_count,
    check_same_action,
    check_state,
    check_still_good,
    check_voter,
    expiry_of,
    requirements_of,
    unmet,
)
from argy.authz.approvals.policy import (
    ask,
    may,
    require_self,
    require_vote,
    roles_of,
    vote_decision,
)
from argy.authz.approvals.records import notification_of, record_of
from argy.authz.notifications.notifier import Notify
from argy.authz.provenance.others import Others
from argy.authz.snapshots import Snapshots
from argy.authz.view import TenantView
from argy.base.clock import Clock
from argy.base.errors import NotFound, PermissionDenied
from argy.base.ids import uuid7
from argy.policy import APPROVED, Decision
from argy.rpc.access import own_facts
from argy.rpc.call import Call
from argy.store.database import Database, Tx
from argy.trail.records import record

_OPEN: Final = ("PENDING", "GRANTED")


class Approvals:
    """The use cases of approvals.

    The tenant's view is taken before a transaction begins: one that is not at hand takes a
    connection to load, and calls that waited for one with one in hand would wait for each other.
    """

    __slots__ = ("_clock", "_db", "_notify", "_snapshots")

    def __init__(self, db: Database, snapshots: Snapshots, clock: Clock, notify: Notify) -> None:
        self._db = db
        self._snapshots = snapshots
        self._clock = clock
        self._notify = notify

    async def request(
        self, call: Call, wanted: Action, facts: Facts, *, reason: str, request_id: UUID | None
    ) -> Approval:
        """Ask for approval of an action; the caller's open request for the same is returned.

        Raises:
            PermissionDenied: when the policy denies the action, or ``NOT_ONESELF``.
            FailedPrecondition: ``APPROVAL_NOT_NEEDED``.
            AlreadyExists: when the request id was used for another request.
        """
        check_actor(wanted.subject)
        view, now_ms = await self._snapshots.get(call.tenant_id), self._clock.now_ms()
        require_self(view, call, wanted.subject, REQUEST_FOR, now_ms)
        if call.caller == wanted.subject:
            # What is kept is what was decided upon.
            facts = own_facts(facts, call.claims, call.received_ms)
        decision = ask(view, call, wanted, facts, now_ms)
        requirements = requirements_of(decision, wanted)
        made = Approval(
            id=uuid7(),
            wanted=wanted,
            org_slug=call.tenant.org_slug,
            requester=call.caller,
            reason=reason,
            requirements=requirements,
            policy_revision=view.policy.revision,
            state="PENDING",
            created_at_ms=now_ms,
            expires_at_ms=expiry_of(requirements, now_ms),
        )
        async with self._db.tenant(call.tenant_id, call.org_id, errors=store.ERRORS) as tx:
            await store.lock_requester(tx, call.caller)
            earlier = await self._earlier(tx, made, request_id, now_ms)
            if earlier is not None:
                call.changed_nothing()
                return earlier
            check_open_count(await store.count_open(tx, call.caller, now_ms=now_ms))
            await store.insert(tx, made, context=facts, request_id=request_id)
            await self._record(tx, call, "request", made, {"reason": reason})
        self._tell(call, "approval.requested", made)
        return made

    async def get(self, call: Call, approval_id: UUID) -> Approval:
        """Return an approval to its requester and subject, to who may read any, or may vote.

        Raises:
            NotFound: when there is none, or the caller may not see it.
        """
        view, now_ms = await self._snapshots.get(call.tenant_id), self._clock.now_ms()
        async with self._db.tenant(call.tenant_id, call.org_id) as tx:
            found = await store.get(tx, approval_id)
        held = roles_of(view, found.org_slug, now_ms)(call.caller)
        if (
            call.caller in (found.requester, found.wanted.subject)
            or any(not held.isdisjoint(line.roles) for line in found.requirements)
            or may(view, call, READ_ANY, now_ms)
        ):
            return found
        raise NotFound("No such approval", reason="APPROVAL_UNKNOWN", field="approval_id")

    async def list(
        self, call: Call, *, state: str, subject: str, after: UUID | None, limit: int
    ) -> Sequence[Approval]:
        """Return approvals, newest first: the caller's own, or all to who may read any."""
        view, now_ms = await self._snapshots.get(call.tenant_id), self._clock.now_ms()
        own = "" if may(view, call, READ_ANY, now_ms) else call.caller
        async with self._db.tenant(call.tenant_id, call.org_id) as tx:
            return await store.list_page(
                tx, state=state, subject=subject, own=own, after=after, limit=limit, now_ms=now_ms
            )

    async def vote(
        self, call: Call, approval_id: UUID, *, approved: bool, comment: str
    ) -> Approval:
        """Give one vote: the last one that is needed grants, a rejection ends the request.

        Raises:
            PermissionDenied: ``NOT_AN_APPROVER``, ``OWN_APPROVAL``, ``APPOINTED_BY_ASKER`` or
                ``NOT_A_PERSON``.
            FailedPrecondition: when the request is not open any more.
            AlreadyExists: ``ALREADY_VOTED``.
        """
        view, now_ms = await self._snapshots.get(call.tenant_id), self._clock.now_ms()
        async with self._db.tenant(call.tenant_id, call.org_id, errors=store.ERRORS) as tx:
            found = await store.lock(tx, approval_id)
            check_state(found, "PENDING", now_ms=now_ms)
            others = await self._others(tx, view, found, (*found.approvers, call.caller), now_ms)
            roles = roles_of(others.view, found.org_slug, now_ms)
            lines: Sequence[Requirement] = found.requirements
            if approved:
                # All met, and not granted: a voter has a role again. The next vote settles it.
                lines = unmet(lines, found.approvers, roles) or lines
            check_voter(
                found,
                lines,
                voter=call.caller,
                held=roles_of(view, found.org_slug, now_ms)(call.caller),
                independent=roles(call.caller),
            )
            require_vote(view, others.view, call, found, now_ms)
            made = Vote(
                approver=call.caller,
                approved=approved,
                comment=comment,
                created_at_ms=now_ms,
                asker_may_grant=_asker_may_grant(others, call, found, lines, now_ms),
            )
            await store.vote(tx, approval_id, made)
            found = replace(found, votes=(*found.votes, made))
            if not approved:
                found = replace(found, state="REJECTED")
            elif not unmet(found.requirements, found.approvers, roles):
                found = replace(found, state="GRANTED")
            if found.state != "PENDING":
                await store.set_state(tx, approval_id, found.state, before=("PENDING",))
            action = "approve" if approved else "reject"
            told = {"comment": comment, "asker_may_grant": made.asker_may_grant}
            await self._record(tx, call, action, found, told)
        if found.state != "PENDING":
            self._tell(call, f"approval.{found.state.lower()}", found)
        return found

    async def cancel(self, call: Call, approval_id: UUID) -> Approval:
        """Withdraw a request or an unused approval; its requester may, or who may cancel any.

        Raises:
            PermissionDenied: ``NOT_THE_REQUESTER``.
            FailedPrecondition: when it is over already.
        """
        view, now_ms = await self._snapshots.get(call.tenant_id), self._clock.now_ms()
        async with self._db.tenant(call.tenant_id, call.org_id) as tx:
            found = await store.lock(tx, approval_id)
            if call.caller != found.requester and not may(view, call, CANCEL_ANY, now_ms):
                raise PermissionDenied(
                    "Only the requester may withdraw this", reason="NOT_THE_REQUESTER"
                )
            check_state(found, *_OPEN, now_ms=now_ms)
            found = replace(found, state="CANCELLED")
            await store.set_state(tx, approval_id, found.state, before=_OPEN)
            await self._record(tx, call, "cancel", found, {})
        return found

    async def redeem(
        self, call: Call, approval_id: UUID, action: Action, facts: Facts
    ) -> tuple[Decision, Approval]:
        """Use an approval once; see ``redeem_in``."""
        view = await self._snapshots.get(call.tenant_id)
        async with self._db.tenant(call.tenant_id, call.org_id) as tx:
            return await self.redeem_in(tx, call, view, approval_id, action, facts)

    async def redeem_in(
        self,
        tx: Tx,
        call: Call,
        view: TenantView,
        approval_id: UUID,
        action: Action,
        facts: Facts,
    ) -> tuple[Decision, Approval]:
        """Use an approval once, in the transaction of what is done with it.

        Raises:
            FailedPrecondition: ``APPROVAL_MISMATCH``, ``APPROVAL_USED`` and the other states, or
                ``APPROVAL_OUTDATED`` when today's policy and roles would not grant it.
            PermissionDenied: when the policy denies the action by now, or ``NOT_ONESELF``.
        """
        now_ms = self._clock.now_ms()
        found = await store.get(tx, approval_id)
        require_self(view, call, found.wanted.subject, REDEEM_FOR, now_ms)
        check_same_action(found, action)
        check_state(found, "GRANTED", now_ms=now_ms)
        decision = ask(view, call, action, facts, now_ms)
        others = await self._others(tx, view, found, found.approvers, now_ms)
        roles = roles_of(others.view, call.tenant.org_slug, now_ms)
        check_still_good(found, decision, roles, now_ms=now_ms)
        if not await store.redeem(tx, approval_id, action, now_ms=now_ms):
            # Somebody was faster, and has committed by now.
            check_state(await store.get(tx, approval_id), "GRANTED", now_ms=now_ms)
        found = replace(found, state="REDEEMED")
        approved = replace(decision, allowed=True, reason=APPROVED, approvals=())
        await self._record(
            tx,
            call,
            "redeem",
            found,
            {"policy_revision": view.policy.revision, "decision": decision.reason},
        )
        return approved, found

    async def _earlier(
        self, tx: Tx, made: Approval, request_id: UUID | None, now_ms: int
    ) -> Approval | None:
        """What this very request made before, or an open one for the same on the same terms."""
        if request_id is not None:
            repeated = await store.find_by_request(tx, request_id)
            if repeated is not None:
                same = (made.wanted, made.requester, made.reason)
                if (repeated.wanted, repeated.requester, repeated.reason) != same:
                    raise store.request_id_reused()
                return repeated
        for found in await store.find_open(tx, made.requester, made.wanted, now_ms=now_ms):
            if found.requirements == made.requirements:
                return found
        return None

    async def _others(
        self, tx: Tx, view: TenantView, found: Approval, people: Sequence[str], now_ms: int
    ) -> Others:
        return await Others.read(
            tx, view, people, askers=found.askers, asked_at_ms=found.created_at_ms, now_ms=now_ms
        )

    def _tell(self, call: Call, kind: str, found: Approval) -> None:
        self._notify(notification_of(call, kind, found, now_ms=self._clock.now_ms()))

    async def _record(
        self, tx: Tx, call: Call, verb: str, found: Approval, more: Mapping[str, object]
    ) -> None:
        """Record the change in its own transaction."""
        await record(tx, record_of(call, verb, found, more, now_ms=self._clock.now_ms()), call)


def _asker_may_grant(
    others: Others, call: Call, found: Approval, lines: Sequence[Requirement], now_ms: int
) -> bool:
    """Whether the vote counts by nothing but what an asker could give at will."""
    view = others.beyond_reach(found.org_slug, now_ms)
    held = roles_of(view, found.org_slug, now_ms)(call.caller)
    return (
        all(held.isdisjoint(line.roles) for line in lines)
        or not vote_decision(view, call, found, now_ms).allowed
    )
