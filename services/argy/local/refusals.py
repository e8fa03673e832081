"""Records what verified callers were refused, on the asynchronous lane."""

import logging
from typing import Final

from argy.base.errors import ArgyError, ResourceExhausted
from argy.rpc.call import Call
from argy.store.audit import AuditRecord
from argy.store.lane import AuditLane

_LOG: Final = logging.getLogger("argy.refusals")


class RefusalLog:
    """The audit stage's sink: one ``DENIED`` event for each refused call of a verified caller."""

    __slots__ = ("_lane",)

    def __init__(self, lane: AuditLane) -> None:
        self._lane = lane

    def refused(self, call: Call, error: ArgyError) -> None:
        """Record the refusal; the call is refused whether or not the lane has room."""
        rec = AuditRecord.of(
            call,
            "rpc.call.refuse",
            f"rpc.method:{call.method.name}",
            # Nobody's, when the call was refused before its credential was.
            actor=call.actor if call.caller else f"service:{call.source}",
            outcome="DENIED",
            reason=error.reason,
            # Not verified to belong to the tenant when the tenant stage refused it.
            org_id=call.org_id if call.caller else None,
            occurred_at_ms=call.received_ms,
        )
        try:
            self._lane.put(call.tenant_id, rec)
        except ResourceExhausted:
            # The lane counts the loss, and the audit log will tell of it.
            _LOG.warning("a refusal was not recorded", extra={"reason": error.reason})
