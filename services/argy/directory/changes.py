"""What every change does besides changing: leave its record, and answer twice alike."""

from collections.abc import Awaitable, Callable
from typing import TypeVar
from uuid import UUID

from argy.base.clock import Clock
from argy.base.errors import AlreadyExists
from argy.directory.store import request_id_reused
from argy.rpc.call import Call
from argy.store.database import Tx
from argy.trail.records import AuditRecord, record

Item = TypeVar("Item")


class Recorder:
    """Writes the audit record of a change in the change's own transaction."""

    __slots__ = ("_clock",)

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    async def __call__(
        self, tx: Tx, call: Call, action: str, resource: str, **detail: object
    ) -> None:
        """Record ``action`` on ``resource`` by the call's caller; counts as the call's audit."""
        await record(
            tx,
            AuditRecord.of(
                call,
                action,
                resource,
                reason=str(detail.pop("reason", "")),
                subject=str(detail.pop("subject", "")),
                detail=detail or None,
                occurred_at_ms=self._clock.now_ms(),
            ),
            call,
        )


async def once(
    call: Call,
    request_id: UUID | None,
    find: Callable[[UUID], Awaitable[Item | None]],
    same: Callable[[Item], bool],
    make: Callable[[], Awaitable[Item]],
) -> Item:
    """Make something, or find what the same request made before (AIP-155).

    Each of the callables opens its own transaction.

    Raises:
        AlreadyExists: ``REQUEST_ID_REUSED``, when the key stands for another request.
    """

    async def earlier() -> Item | None:
        if request_id is None:
            return None
        found = await find(request_id)
        if found is not None:
            if not same(found):
                raise request_id_reused()
            call.changed_nothing()  # it was recorded when it was made
        return found

    if (found := await earlier()) is not None:
        return found
    try:
        return await make()
    except AlreadyExists:
        # Perhaps by the same request at the same moment on another connection.
        if (found := await earlier()) is not None:
            return found
        raise


def request_uuid(text: str) -> UUID | None:
    """An idempotency key; None when there is none."""
    return UUID(text) if text else None
