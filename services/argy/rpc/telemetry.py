"""Counts and times every call, and logs those that failed on our side."""

import logging
import time
from dataclasses import dataclass, field

from argy.base.errors import ArgyError
from argy.rpc.call import Call

_LOG = logging.getLogger("argy.rpc")


@dataclass(slots=True)
class MethodStats:
    """One method's calls since the server started."""

    calls: int = 0
    errors: int = 0
    seconds: float = 0.0
    reasons: dict[str, int] = field(default_factory=dict)
    """Errors by reason; reasons are our own constants, so they are few."""


class Telemetry:
    """Counters by method; only registered methods have any, so a caller can't add one."""

    __slots__ = ("_stats",)

    def __init__(self) -> None:
        self._stats: dict[str, MethodStats] = {}

    def stats(self, path: str) -> MethodStats:
        """The counters of one method, made when it is registered."""
        return self._stats.setdefault(path, MethodStats())

    def snapshot(self) -> dict[str, MethodStats]:
        """All counters by method path."""
        return dict(self._stats)


def finish(stats: MethodStats, call: Call, started_s: float, error: ArgyError | None) -> None:
    """Count one finished call; ``started_s`` is of ``time.perf_counter``."""
    stats.calls += 1
    stats.seconds += time.perf_counter() - started_s
    if error is None:
        return
    stats.errors += 1
    stats.reasons[error.reason] = stats.reasons.get(error.reason, 0) + 1
    if error.reason.startswith("INTERNAL"):
        _LOG.error(
            "call failed",
            exc_info=error.__cause__,
            extra={
                "method": call.method.name,
                "source": call.source,
                "request_id": call.request_id,
                "trace_id": call.trace_id,
                "reason": error.reason,
                "incident": error.metadata.get("incident", ""),
            },
        )
