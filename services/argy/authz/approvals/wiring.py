"""Puts approvals and elevation together; decides nothing."""

from google.protobuf.descriptor import ServiceDescriptor

from argy.api.authz.v1 import approval_pb2
from argy.authz.approvals.service import ApprovalService
from argy.authz.approvals.use_cases import Approvals
from argy.authz.elevation.service import ElevationService
from argy.authz.elevation.use_cases import Elevations
from argy.authz.notifications.notifier import Notify
from argy.authz.snapshots import Snapshots
from argy.base.clock import Clock
from argy.rpc.page_token import PageTokens
from argy.store.database import Database


def approval_services(
    *, db: Database, snapshots: Snapshots, pages: PageTokens, clock: Clock, notify: Notify | None
) -> tuple[tuple[object, ServiceDescriptor], ...]:
    """Wire both services; without ``notify`` nobody is told, and the audit log still is."""
    tell = notify or (lambda _notification: None)
    approvals = Approvals(db, snapshots, clock, tell)
    elevations = Elevations(db, snapshots, clock, approvals, tell)
    described = approval_pb2.DESCRIPTOR.services_by_name
    return (
        (ApprovalService(approvals, pages, clock), described["ApprovalService"]),
        (ElevationService(elevations, pages), described["ElevationService"]),
    )
