"""Take a role for a while, give it back, and look at broken glass: all audited where it happens."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Final
from uuid import UUID

from argy.authz import store as assignments
from argy.authz.access import decide, may
from argy.authz.approvals.policy import roles_of
from argy.authz.approvals.use_cases import Approvals
from argy.authz.domain import Grant, check_role_defined, directory_id
from argy.authz.elevation import store
from argy.authz.elevation.domain import (
    ELEVATION_RESOURCE,
    END_ANY,
    READ_ANY,
    Elevation,
    Wish,
    check_decision,
    check_not_held,
    check_review,
    check_wish,
    review_open,
)
from argy.authz.elevation.review import check_reviewer
from argy.authz.notifications.notifier import Notification, Notify
from argy.authz.snapshots import Snapshots
from argy.authz.view import TenantView
from argy.base.clock import Clock
from argy.base.errors import FailedPrecondition, NotFound
from argy.base.ids import PLATFORM_TENANT_ID, uuid7
from argy.base.revisions import revision_token
from argy.rpc.call import Call
from argy.store.database import Database, Tx
from argy.trail.records import AuditRecord, record

BROKEN: Final = "authz.break_glass"
"""Action of the event that shouts: in the tenant's audit log and in the platform's."""


class Elevations:
    """The use cases of elevation.

    What is given is an ordinary assignment with an end: the engine stops counting it at that very
    millisecond, and no job has to run for it. Changes raise the tenant's revision first, as those
    of ``Assignments`` do, so that they come one after the other.
    """

    __slots__ = ("_approvals", "_clock", "_db", "_notify", "_snapshots")

    def __init__(
        self,
        db: Database,
        snapshots: Snapshots,
        clock: Clock,
        approvals: Approvals,
        notify: Notify,
    ) -> None:
        self._db = db
        self._snapshots = snapshots
        self._clock = clock
        self._approvals = approvals
        self._notify = notify

    async def elevate(self, call: Call, wish: Wish) -> tuple[Elevation, str]:
        """Give the caller a role until it ends; return it and the revision that contains it.

        Raises:
            PermissionDenied: when the policy denies it, or the caller is no person.
            FailedPrecondition: ``APPROVAL_NEEDED`` without an approval; ``REVIEW_OPEN``.
            AlreadyExists: ``ROLE_ALREADY_HELD``, or the request id was used differently.
        """
        check_wish(wish, call.caller)
        view, now_ms = await self._snapshots.get(call.tenant_id), self._clock.now_ms()
        check_role_defined(wish.role, defined=view.policy.roles)
        subject_id = directory_id(call.caller)
        async with self._db.tenant(call.tenant_id, call.org_id, errors=store.ERRORS) as tx:
            revision = await assignments.bump_revision(tx)
            earlier = await self._earlier(tx, call, wish)
            if earlier is not None:
                # The revision that this call raised contains it as well.
                made = earlier
                call.changed_nothing()
            else:
                made = await self._give(tx, call, view, wish, subject_id, now_ms, revision)
        self._snapshots.invalidate(call.tenant_id, revision)
        if earlier is None:
            kind = "break_glass" if made.break_glass else "elevation.given"
            self._tell(call, kind, made)
        return made, revision_token(call.tenant_id, revision)

    async def end(self, call: Call, elevation_id: UUID) -> tuple[Elevation, str]:
        """Give a role back early: its holder may, or who may end any.

        Raises:
            FailedPrecondition: ``ELEVATION_OVER``.
            NotFound: when there is none that the caller may end.
        """
        view, now_ms = await self._snapshots.get(call.tenant_id), self._clock.now_ms()
        async with self._db.tenant(call.tenant_id, call.org_id) as tx:
            revision = await assignments.bump_revision(tx)
            found = await store.lock(tx, elevation_id)
            if call.caller != found.subject and not may(
                view, call, ELEVATION_RESOURCE, END_ANY, now_ms
            ):
                raise NotFound(
                    "No such elevation", reason="ELEVATION_UNKNOWN", field="elevation_id"
                )
            if found.over(now_ms):
                raise FailedPrecondition("The elevation is over", reason="ELEVATION_OVER")
            # Revoked meanwhile, perhaps; what is left then is to say when it ended.
            with suppress(NotFound):
                await assignments.delete(tx, found.assignment_id)
            await store.end(tx, elevation_id, now_ms=now_ms)
            found = replace(found, ended_at_ms=now_ms)
            await self._record(tx, call, "authz.elevation.end", found, {"revision": revision})
        self._snapshots.invalidate(call.tenant_id, revision)
        return found, revision_token(call.tenant_id, revision)

    async def close_review(
        self, call: Call, elevation_id: UUID, *, justified: bool, comment: str
    ) -> Elevation:
        """Say whether a broken glass was justified; never by whoever broke it.

        Raises:
            PermissionDenied: ``OWN_REVIEW``, ``REVIEWER_APPOINTED`` by whoever broke the glass,
                through any number of hops, or when the policy denies the caller this review.
            FailedPrecondition: ``REVIEW_NOT_OPEN`` or ``ELEVATION_LIVE``.
        """
        view, now_ms = await self._snapshots.get(call.tenant_id), self._clock.now_ms()
        async with self._db.tenant(call.tenant_id, call.org_id) as tx:
            found = await store.lock(tx, elevation_id)
            check_review(found, reviewer=call.caller, now_ms=now_ms)
            asker_may_grant = await check_reviewer(tx, call, view, found, now_ms)
            found = replace(
                found,
                review="JUSTIFIED" if justified else "UNJUSTIFIED",
                reviewed_by=call.caller,
                review_comment=comment,
                asker_may_grant=asker_may_grant,
            )
            await store.close_review(tx, found)
            told: dict[str, object] = {
                "review": found.review,
                "comment": comment,
                "asker_may_grant": found.asker_may_grant,
            }
            await self._record(tx, call, "authz.elevation.review", found, told)
        self._tell(call, "break_glass.reviewed", found)
        return found

    async def list(
        self, call: Call, *, review: str, after: UUID | None, limit: int
    ) -> Sequence[Elevation]:
        """Return elevations, newest first: the caller's own, or all to who may read any."""
        view = await self._snapshots.get(call.tenant_id)
        may_any = may(view, call, ELEVATION_RESOURCE, READ_ANY, self._clock.now_ms())
        own = "" if may_any else call.caller
        async with self._db.tenant(call.tenant_id, call.org_id) as tx:
            return await store.list_page(tx, review=review, own=own, after=after, limit=limit)

    async def _give(
        self,
        tx: Tx,
        call: Call,
        view: TenantView,
        wish: Wish,
        subject_id: UUID | None,
        now_ms: int,
        revision: int,
    ) -> Elevation:
        check_not_held(wish.role, roles_of(view, call.tenant.org_slug, now_ms)(call.caller))
        action = wish.action(call.caller)
        facts = {"duration_s": float(wish.duration_s)}
        org = call.tenant.org_slug
        decision = decide(view, call, org, action.resource, action.action, facts, now_ms)
        check_decision(decision, action, facts, approval_given=wish.approval_id is not None)
        if wish.break_glass and await store.has_open_review(tx, call.caller):
            raise review_open()
        await assignments.find_target(
            tx, org_id=wish.org_id, subject=call.caller, subject_id=subject_id
        )
        if wish.approval_id is not None:
            await self._approvals.redeem_in(tx, call, view, wish.approval_id, action, facts)
        expires_at_ms = now_ms + wish.duration_s * 1_000
        grant = Grant(
            subject=call.caller,
            role=wish.role,
            org_id=wish.org_id,
            expires_at_ms=expires_at_ms,
            reason=wish.reason,
            request_id=None,
        )
        given = await assignments.insert(
            tx, grant, made_id=uuid7(), caller=call.caller, now_ms=now_ms
        )
        made = Elevation(
            id=uuid7(),
            assignment_id=given.id,
            subject=call.caller,
            role=wish.role,
            org_id=wish.org_id,
            reason=wish.reason,
            break_glass=wish.break_glass,
            created_at_ms=now_ms,
            expires_at_ms=expires_at_ms,
            review="OPEN" if wish.break_glass else "NOT_NEEDED",
            org_slug=org,
        )
        await store.insert(tx, made, request_id=wish.request_id)
        told: dict[str, object] = {"expires_at_ms": expires_at_ms, "revision": revision}
        if wish.approval_id is not None:
            told["approval_id"] = str(wish.approval_id)
        if not wish.break_glass:
            await self._record(tx, call, "authz.elevation.elevate", made, told)
            return made
        await self._record(tx, call, BROKEN, made, told)
        if call.tenant_id != PLATFORM_TENANT_ID:
            told |= {"tenant_id": str(call.tenant_id), "tenant": call.tenant.slug}
            # The platform's own log hears of it too: the tenant's administrators may be the ones
            # to look at. This transaction writes nothing else there.
            async with tx.unsafe_enter(PLATFORM_TENANT_ID):
                await self._record(tx, call, BROKEN, made, told, elsewhere=True)
        return made

    async def _earlier(self, tx: Tx, call: Call, wish: Wish) -> Elevation | None:
        if wish.request_id is None:
            return None
        made = await store.find_by_request(tx, wish.request_id)
        if made is not None and not made.fulfils(wish, call.caller):
            raise store.request_id_reused()
        return made

    def _tell(self, call: Call, kind: str, made: Elevation) -> None:
        self._notify(
            Notification(
                kind=kind,
                tenant_id=call.tenant_id,
                tenant=call.tenant.slug,
                resource=f"authz.elevation:{made.id}",
                time_ms=self._clock.now_ms(),
                data={
                    "subject": made.subject,
                    "role": made.role,
                    "org": call.tenant.org_slug,
                    "reason": made.reason,
                    "expires_at_ms": made.expires_at_ms,
                    "review": made.review,
                },
            )
        )

    async def _record(
        self,
        tx: Tx,
        call: Call,
        action: str,
        made: Elevation,
        more: Mapping[str, object],
        *,
        elsewhere: bool = False,
    ) -> None:
        """Record the change in its own transaction; ``elsewhere`` when not in the org's tenant."""
        detail: dict[str, object] = {
            "subject": made.subject,
            "role": made.role,
            "assignment_id": str(made.assignment_id),
            "break_glass": made.break_glass,
            **more,
        }
        if made.org_id is not None:
            detail["org_id"] = str(made.org_id)
        await record(
            tx,
            AuditRecord.of(
                call,
                action,
                f"authz.elevation:{made.id}",
                subject=made.subject,
                reason=made.reason,
                org_id=None if elsewhere else made.org_id,
                detail=detail,
                occurred_at_ms=self._clock.now_ms(),
            ),
            call,
        )
