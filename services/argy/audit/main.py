"""Puts the audit service together; decides nothing."""

from google.protobuf.descriptor import ServiceDescriptor

from argy.api.audit.v1 import audit_pb2
from argy.audit.service import AuditService
from argy.base.clock import Clock
from argy.rpc.page_token import PageTokens
from argy.store.database import Database
from argy.trail.lane import AuditLane


def assemble(
    *, db: Database, lane: AuditLane, pages: PageTokens, clock: Clock
) -> tuple[tuple[object, ServiceDescriptor], ...]:
    """Wire the service; ``db`` acts as argy_audit, ``lane`` records who read the log."""
    service = AuditService(db, lane, pages, clock)
    return ((service, audit_pb2.DESCRIPTOR.services_by_name["AuditService"]),)
