"""Records what callers were refused, on the asynchronous lane: a stranger costs nothing that lasts.

Whoever proved to be somebody leaves a record for each refusal, up to a rate. All else is counted,
by the calling service and the reason, into one record an interval. What a stranger says of a
tenant is not believed, so those records are the platform's.
"""

import asyncio
import logging
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from argy.base.clock import Clock
from argy.base.errors import ArgyError, ResourceExhausted
from argy.base.ids import PLATFORM_TENANT_ID
from argy.rpc.call import Call
from argy.trail.lane import AuditLane
from argy.trail.records import AuditRecord

_LOG: Final = logging.getLogger("argy.refusals")
INTERVAL_S: Final = 60.0
"""Seconds that a record of counted refusals covers."""
EVERY_MS: Final = 1_000
"""In the long run each tenant gets one record of its own a reason in so many milliseconds."""
BURST: Final = 60
"""Records of a tenant and a reason at once; what comes faster is counted."""
_MAX_COUNTED: Final = 1_000
"""Combinations that are counted apart; the rest are counted together."""

_Key = tuple[UUID, str, str]
"""Tenant of the record, calling service, reason."""


@dataclass(slots=True)
class _Counted:
    count: int
    first_ms: int
    last_ms: int
    method: str
    request_id: str


class RefusalLog:
    """The audit stage's sink; ``start`` begins the intervals, ``close`` writes what is counted."""

    def __init__(self, lane: AuditLane, clock: Clock) -> None:
        self._lane = lane
        self._clock = clock
        self._counted: dict[_Key, _Counted] = {}
        self._next_ms: dict[tuple[UUID, str], int] = {}
        """When the next record would come at exactly the allowed rate (GCRA)."""
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin the intervals."""
        self._task = asyncio.create_task(self._run(), name="refusals")

    async def close(self) -> None:
        """End them, and write what was counted."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        self.flush()

    def refused(self, call: Call, error: ArgyError) -> None:
        """Record the refusal; the call is refused whether or not the lane has room."""
        if not _is_proved(call):
            self._count((PLATFORM_TENANT_ID, call.source, error.reason), call)
        elif not self._has_room(call.tenant_id, error.reason):
            self._count((call.tenant_id, call.source, error.reason), call)
        else:
            self._put(
                call.tenant_id,
                AuditRecord.of(
                    call,
                    "rpc.call.refuse",
                    f"rpc.method:{call.method.name}",
                    # Before its caller is known, the key that signed is all that is.
                    actor=call.actor if call.caller else f"service:{call.source}",
                    outcome="DENIED",
                    reason=error.reason,
                    org_id=call.org_id if call.caller else None,
                    occurred_at_ms=call.received_ms,
                ),
            )

    def flush(self) -> None:
        """Write what was counted since the last time."""
        counted, self._counted = self._counted, {}
        for (tenant_id, source, reason), found in counted.items():
            self._put(
                tenant_id,
                AuditRecord(
                    actor=f"service:{source}",
                    action="rpc.call.refuse",
                    resource=f"rpc.method:{found.method}",
                    outcome="DENIED",
                    reason=reason,
                    request_id=found.request_id,
                    detail={
                        "count": found.count,
                        "first_ms": found.first_ms,
                        "last_ms": found.last_ms,
                    },
                    occurred_at_ms=found.last_ms,
                ),
            )
        now_ms = self._clock.now_ms()
        self._next_ms = {name: at for name, at in self._next_ms.items() if at > now_ms}

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(INTERVAL_S)
            self.flush()

    def _has_room(self, tenant_id: UUID, reason: str) -> bool:
        name, now_ms = (tenant_id, reason), self._clock.now_ms()
        next_ms = max(self._next_ms.get(name, now_ms), now_ms)
        if next_ms - now_ms >= EVERY_MS * BURST:
            return False
        self._next_ms[name] = next_ms + EVERY_MS
        return True

    def _count(self, key: _Key, call: Call) -> None:
        if key not in self._counted and len(self._counted) >= _MAX_COUNTED:
            key = (PLATFORM_TENANT_ID, "-", "REFUSED")
        found = self._counted.get(key)
        if found is None:
            self._counted[key] = _Counted(
                1, call.received_ms, call.received_ms, call.method.name, call.request_id
            )
            return
        found.count += 1
        found.last_ms = max(found.last_ms, call.received_ms)

    def _put(self, tenant_id: UUID, rec: AuditRecord) -> None:
        try:
            self._lane.put(tenant_id, rec)
        except ResourceExhausted:
            # The lane counts the loss, and the audit log will tell of it.
            _LOG.warning("a refusal was not recorded", extra={"reason": rec.reason})


def _is_proved(call: Call) -> bool:
    """Whether the tenant and who calls are known, and not merely said.

    The caller stage comes after the tenant's, and names nobody whose credential is not good. A
    service key is of a tenant, whatever the call says.
    """
    key = call.service_key
    return bool(call.caller) or (key is not None and key.tenant_id == call.tenant_id)
