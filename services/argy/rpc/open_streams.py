"""How many streams each tenant holds open in this process.

A stream may last for an hour, and is one of the calls that a server takes at a time: without a
share of its own a tenant, or whoever has one key of its services, could hold all of them, and the
replicas of every other tenant would grow stale and refuse.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final
from uuid import UUID

from argy.base.errors import ResourceExhausted

TENANT_STREAMS: Final = 100
"""A tenth of the calls that a process takes at a time."""


class OpenStreams:
    """Counts them; at most ``most`` a tenant."""

    __slots__ = ("_most", "_open")

    def __init__(self, most: int = TENANT_STREAMS) -> None:
        self._most = most
        self._open: Counter[UUID] = Counter()

    @contextmanager
    def one_of(self, tenant_id: UUID) -> Iterator[None]:
        """Hold a place for one stream of a tenant.

        Raises:
            ResourceExhausted: ``TOO_MANY_STREAMS``.
        """
        if self._open[tenant_id] >= self._most:
            raise ResourceExhausted(
                f"the tenant holds {self._most} streams open here: close some",
                reason="TOO_MANY_STREAMS",
                retry_after_ms=1000,
                metadata={"max_streams": str(self._most)},
            )
        self._open[tenant_id] += 1
        try:
            yield
        finally:
            self._open[tenant_id] -= 1
            if not self._open[tenant_id]:
                del self._open[tenant_id]
