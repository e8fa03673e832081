"""Puts the authz service together; decides nothing."""

from dataclasses import dataclass
from pathlib import Path

from google.protobuf.descriptor import ServiceDescriptor

from argy.api.authz.v1 import assignment_pb2, authz_pb2, replication_pb2
from argy.authz.access import LocalAccess
from argy.authz.approvals.wiring import approval_services
from argy.authz.assignments import Assignments
from argy.authz.decision_log import DecisionLog, OnFull
from argy.authz.listing import Listing
from argy.authz.notifications.notifier import Notify
from argy.authz.publishing.floor import PolicyFloor
from argy.authz.publishing.holder import InForce, PolicyHolder
from argy.authz.publishing.keys import PolicyKeys
from argy.authz.publishing.wiring import Publishing, policy_services, publishing_of
from argy.authz.replication.service import ReplicationService
from argy.authz.revision_watch import RevisionWatch
from argy.authz.service import AssignmentService, AuthzService
from argy.authz.shadow.evaluation import Shadow
from argy.authz.shadow.runs import ShadowRuns
from argy.authz.snapshots import Snapshots
from argy.authz.subjects import Subjects
from argy.base.clock import Clock
from argy.policy import CompiledPolicy
from argy.rpc.page_token import PageTokens
from argy.store.database import Database
from argy.trail.lane import AuditLane

Services = tuple[tuple[object, ServiceDescriptor], ...]


@dataclass(frozen=True, slots=True)
class Authz:
    """The service's parts. ``start`` before the server, ``close`` after it, before the lane."""

    services: Services
    access: LocalAccess
    holder: PolicyHolder
    snapshots: Snapshots
    log: DecisionLog
    publishing: Publishing | None
    shadow_runs: ShadowRuns | None
    replication: ReplicationService

    async def start(self) -> None:
        """Begin to listen for changes, to log decisions and to follow what is published."""
        await self.snapshots.start()
        await self.log.start()
        if self.publishing is not None:
            await self.publishing.start()
        if self.shadow_runs is not None:
            await self.shadow_runs.open()

    async def close(self) -> None:
        """Stop all that, handing the last decisions to the lane."""
        if self.shadow_runs is not None:
            await self.shadow_runs.close()
        if self.publishing is not None:
            await self.publishing.close()
        await self.snapshots.close()
        await self.log.close()

    def poke(self) -> None:
        """Look for a newer policy now; for SIGHUP."""
        if self.publishing is not None:
            self.publishing.poke()


def assemble(
    *,
    db: Database,
    lane: AuditLane,
    pages: PageTokens,
    clock: Clock,
    policy: CompiledPolicy | InForce,
    policy_keys: PolicyKeys | None = None,
    policy_root: Path | None = None,
    policy_floor: PolicyFloor | None = None,
    on_log_full: OnFull = "reject",
    max_tenants: int = 20_000,
    max_rows: int = 2_000_000,
    notify: Notify | None = None,
) -> Authz:
    """Wire the service; ``db`` acts as argy_authz.

    ``policy`` is what ``policy_folder.begin`` found. Without ``policy_keys`` it stays, and nothing
    is published; ``policy_root`` is followed when the keys' trust says so (unsafe). Nothing below
    ``policy_floor`` comes in force. ``notify`` is told of what waits for people.
    """
    holder = PolicyHolder(policy)
    publishing: Publishing | None = None
    if policy_keys is not None:
        publishing = publishing_of(
            db=db,
            lane=lane,
            holder=holder,
            keys=policy_keys,
            root=policy_root,
            clock=clock,
            floor=policy_floor,
        )
    snapshots = Snapshots(
        db,
        holder,
        clock,
        max_tenants=max_tenants,
        max_rows=max_rows,
        **({} if publishing is None else {"reach": publishing.follower.reach}),
    )
    log = DecisionLog(lane, on_full=on_log_full)
    watch = RevisionWatch(snapshots)
    shadow = Shadow(clock)
    subjects = Subjects(db)
    decisions = AuthzService(
        snapshots=snapshots,
        log=log,
        watch=watch,
        subjects=subjects,
        listing=Listing(snapshots, subjects, pages, clock),
        shadow=shadow,
        clock=clock,
    )
    assignments = AssignmentService(Assignments(db, snapshots, holder, clock), pages)
    replication = ReplicationService(
        snapshots=snapshots, watch=watch, published=lambda: holder.in_force, clock=clock
    )
    services: Services = (
        (decisions, authz_pb2.DESCRIPTOR.services_by_name["AuthzService"]),
        (assignments, assignment_pb2.DESCRIPTOR.services_by_name["AssignmentService"]),
        (replication, replication_pb2.DESCRIPTOR.services_by_name["ReplicationService"]),
        *approval_services(db=db, snapshots=snapshots, pages=pages, clock=clock, notify=notify),
    )
    runs: ShadowRuns | None = None
    if publishing is not None and policy_keys is not None:
        runs = ShadowRuns(db, shadow, publishing.candidates, clock)
        services += policy_services(
            db=db,
            keys=policy_keys,
            holder=holder,
            publishing=publishing,
            snapshots=snapshots,
            pages=pages,
            clock=clock,
            shadow=runs,
        )
    return Authz(
        services,
        LocalAccess(snapshots, clock),
        holder,
        snapshots,
        log,
        publishing,
        runs,
        replication,
    )
