"""The audit log in PostgreSQL: reading. Writing is ``argy.trail.records``, for every service."""

from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

from argy.audit.domain import Event, Filters
from argy.base.errors import NotFound
from argy.store.database import Tx
from argy.store.queries import Queries

_Q: Final = Queries.load(__package__)


async def find(tx: Tx, event_id: UUID) -> Event:
    """Return an event that the transaction's org may see.

    Raises:
        NotFound: ``EVENT_UNKNOWN``.
    """
    row = await tx.fetchrow(_Q.find_event, tx.tenant_id, event_id, tx.org_id)
    if row is None:
        raise NotFound("No such event", reason="EVENT_UNKNOWN", field="event_id")
    return _event(row)


async def list_page(tx: Tx, filters: Filters, *, limit: int) -> Sequence[Event]:
    """Return events that the transaction's org may see, newest first."""
    rows = await tx.fetch(
        _query_for(filters),
        tx.tenant_id,
        filters.first,
        filters.end,
        tx.org_id,
        filters.actor,
        filters.action,
        filters.resource,
        filters.outcome,
        filters.request_id,
        filters.subject,
        limit,
    )
    return [_event(row) for row in rows]


def _query_for(filters: Filters) -> str:
    """The query whose index narrows most."""
    if filters.request_id:
        return _Q.list_events_of_request
    if filters.resource:
        return _Q.list_events_of_resource
    if filters.actor:
        return _Q.list_events_of_actor
    return _Q.list_events


def _event(row: Any) -> Event:
    return Event(**dict(row.items()))
