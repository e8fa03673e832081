"""Puts the authz service together; decides nothing."""

from dataclasses import dataclass
from pathlib import Path

from google.protobuf.descriptor import ServiceDescriptor

from argy.api.authz.v1 import assignment_pb2, authz_pb2
from argy.authz.access import LocalAccess
from argy.authz.assignments import Assignments
from argy.authz.decision_log import DecisionLog, OnFull
from argy.authz.listing import Listing
from argy.authz.policy_holder import PolicyHolder
from argy.authz.policy_watcher import PolicyWatcher
from argy.authz.revision_watch import RevisionWatch
from argy.authz.service import AssignmentService, AuthzService
from argy.authz.snapshots import Snapshots
from argy.base.clock import Clock
from argy.policy import CompiledPolicy
from argy.rpc.page_token import PageTokens
from argy.store.database import Database
from argy.store.lane import AuditLane


@dataclass(frozen=True, slots=True)
class Authz:
    """The service's parts. ``start`` before the server, ``close`` after it, before the lane."""

    services: tuple[tuple[object, ServiceDescriptor], ...]
    access: LocalAccess
    holder: PolicyHolder
    snapshots: Snapshots
    log: DecisionLog
    watcher: PolicyWatcher | None
    """Follows the policy folder; its ``poke`` is for SIGHUP."""

    async def start(self) -> None:
        """Begin to listen for changes, to log decisions and to follow the policy folder."""
        await self.snapshots.start()
        await self.log.start()
        if self.watcher is not None:
            await self.watcher.start()

    async def close(self) -> None:
        """Stop all that, handing the last decisions to the lane."""
        if self.watcher is not None:
            await self.watcher.close()
        await self.snapshots.close()
        await self.log.close()


def assemble(
    *,
    db: Database,
    lane: AuditLane,
    pages: PageTokens,
    clock: Clock,
    policy: CompiledPolicy,
    policy_root: Path | None = None,
    on_log_full: OnFull = "reject",
    max_tenants: int = 20_000,
    max_rows: int = 2_000_000,
) -> Authz:
    """Wire the service; ``db`` acts as argy_authz, ``policy_root`` is followed when given."""
    holder = PolicyHolder(policy)
    snapshots = Snapshots(db, holder, clock, max_tenants=max_tenants, max_rows=max_rows)
    log = DecisionLog(lane, on_full=on_log_full)
    decisions = AuthzService(
        snapshots=snapshots,
        log=log,
        watch=RevisionWatch(snapshots),
        listing=Listing(snapshots, pages, clock),
        clock=clock,
    )
    assignments = AssignmentService(Assignments(db, snapshots, holder, clock), pages)
    services: tuple[tuple[object, ServiceDescriptor], ...] = (
        (decisions, authz_pb2.DESCRIPTOR.services_by_name["AuthzService"]),
        (assignments, assignment_pb2.DESCRIPTOR.services_by_name["AssignmentService"]),
    )
    watcher = None if policy_root is None else PolicyWatcher(policy_root, holder, lane)
    return Authz(services, LocalAccess(snapshots, clock), holder, snapshots, log, watcher)
