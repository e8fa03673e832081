"""Elevations in PostgreSQL."""

from typing import Any, Final
from uuid import UUID

from argy.authz.elevation.domain import Elevation
from argy.base.errors import AlreadyExists, NotFound
from argy.store.database import Tx
from argy.store.errors import ConstraintErrors
from argy.store.queries import Queries
from argy.store.times import to_ms, to_time

_Q: Final = Queries.load(__package__)


def request_id_reused() -> AlreadyExists:
    """Return the error of an idempotency key that stands for another elevation."""
    return AlreadyExists(
        "request_id was used for another elevation", reason="REQUEST_ID_REUSED", field="request_id"
    )


ERRORS: Final[ConstraintErrors] = {"elevation_request_id_key": request_id_reused}


async def has_open_review(tx: Tx, subject: str) -> bool:
    """Whether the subject broke a glass that nobody has looked at."""
    return bool(await tx.fetchval(_Q.has_open_review, tx.tenant_id, subject))


async def find_by_request(tx: Tx, request_id: UUID) -> Elevation | None:
    """Return what an earlier call with this idempotency key gave."""
    row = await tx.fetchrow(_Q.find_elevation_by_request, tx.tenant_id, request_id)
    return None if row is None else _elevation(row)


async def insert(tx: Tx, made: Elevation, *, request_id: UUID | None) -> None:
    """Store an elevation."""
    await tx.execute(
        _Q.insert_elevation,
        tx.tenant_id,
        made.id,
        made.assignment_id,
        made.subject,
        made.role,
        made.org_id,
        made.reason,
        made.break_glass,
        to_time(made.created_at_ms),
        to_time(made.expires_at_ms),
        made.review,
        request_id,
        made.org_slug,
    )


async def lock(tx: Tx, elevation_id: UUID) -> Elevation:
    """Return an elevation that the transaction's org may see; nobody else changes it meanwhile.

    Raises:
        NotFound: ``ELEVATION_UNKNOWN``.
    """
    row = await tx.fetchrow(_Q.find_elevation, tx.tenant_id, elevation_id, tx.org_id)
    if row is None:
        raise NotFound("No such elevation", reason="ELEVATION_UNKNOWN", field="elevation_id")
    return _elevation(row)


async def end(tx: Tx, elevation_id: UUID, *, now_ms: int) -> None:
    """Note that the role was given back."""
    await tx.execute(_Q.end_elevation, tx.tenant_id, elevation_id, to_time(now_ms))


async def close_review(tx: Tx, reviewed: Elevation) -> None:
    """Store the outcome of a review."""
    await tx.execute(
        _Q.close_review,
        tx.tenant_id,
        reviewed.id,
        reviewed.review,
        reviewed.reviewed_by,
        reviewed.review_comment,
        reviewed.asker_may_grant,
    )


async def list_page(
    tx: Tx, *, review: str, own: str, after: UUID | None, limit: int
) -> list[Elevation]:
    """Return elevations that the transaction's org may see, newest first."""
    rows = await tx.fetch(_Q.list_elevations, tx.tenant_id, limit, tx.org_id, review, after, own)
    return [_elevation(row) for row in rows]


def _elevation(row: Any) -> Elevation:
    return Elevation(
        id=row["id"],
        assignment_id=row["assignment_id"],
        subject=row["subject"],
        role=row["role"],
        org_id=row["org_id"],
        reason=row["reason"],
        break_glass=row["break_glass"],
        created_at_ms=to_ms(row["created_at"]),
        expires_at_ms=to_ms(row["expires_at"]),
        ended_at_ms=None if row["ended_at"] is None else to_ms(row["ended_at"]),
        review=row["review"],
        reviewed_by=row["reviewed_by"],
        review_comment=row["review_comment"],
        asker_may_grant=row["asker_may_grant"],
        org_slug=row["org_slug"],
        org_gone=row["org_gone"],
    )
