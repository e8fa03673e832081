"""Security notices in PostgreSQL."""

from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

from argy.authn.security_notices.domain import (
    KEPT_MS,
    KEPT_OF_KIND,
    NoticeKind,
    SecurityNotice,
    check_not_reset,
)
from argy.authn.sessions.domain import DeviceInfo
from argy.base.ids import uuid7
from argy.store.database import Tx
from argy.store.queries import Queries
from argy.store.times import to_ms, to_time

_Q: Final = Queries.load(__package__)


async def note(
    tx: Tx,
    user_id: UUID,
    kind: NoticeKind,
    device: DeviceInfo,
    *,
    now_ms: int,
    name: str = "",
    session_id: str = "",
    notice_id: UUID | None = None,
) -> None:
    """Tell a person of an event in its own transaction, and forget what is too old.

    ``session_id`` is that of the person's own session that it comes from, if it does.
    """
    made = notice_id or uuid7(now_ms)
    await tx.execute(
        _Q.insert_notice,
        tx.tenant_id,
        made,
        user_id,
        kind,
        name,
        device.ip,
        device.user_agent,
        session_id,
        to_time(now_ms),
    )
    oldest = to_time(now_ms - KEPT_MS)
    await tx.execute(_Q.prune_notices, tx.tenant_id, user_id, kind, oldest, KEPT_OF_KIND)


async def made_session(tx: Tx, notice_id: UUID, session_id: UUID) -> None:
    """Tell which session came of an event."""
    await tx.execute(_Q.note_made_session, tx.tenant_id, notice_id, str(session_id))


async def list_of(tx: Tx, user_id: UUID, *, now_ms: int) -> list[SecurityNotice]:
    """A person's notices, newest first."""
    since = to_time(now_ms - KEPT_MS)
    return [_notice(row) for row in await tx.fetch(_Q.list_notices, tx.tenant_id, user_id, since)]


async def acknowledge(
    tx: Tx,
    user_id: UUID,
    notice_ids: Sequence[UUID],
    *,
    session_id: str,
    since_ms: int,
    now_ms: int,
) -> list[UUID]:
    """Note that a person saw notices, by a proof that exists since; which of them this call did."""
    rows = await tx.fetch(
        _Q.acknowledge_notices,
        tx.tenant_id,
        user_id,
        list(notice_ids),
        session_id,
        to_time(now_ms),
        to_time(since_ms),
    )
    return [row["id"] for row in rows]


async def require_not_reset(tx: Tx, user_id: UUID, proof_ms: int) -> None:
    """Refuse what goes back to a sign-in from before the person's last reset.

    Raises:
        Unauthenticated: ``SESSION_OVER``.
    """
    found = await tx.fetchval(_Q.find_last_reset, tx.tenant_id, user_id)
    check_not_reset(None if found is None else to_ms(found), proof_ms)


def _notice(row: Any) -> SecurityNotice:
    return SecurityNotice(
        id=row["id"],
        kind=row["kind"],
        name=row["name"],
        device=DeviceInfo(row["ip"], row["user_agent"]),
        session_id=row["session_id"],
        made_session_id=row["made_session_id"],
        created_at_ms=to_ms(row["created_at"]),
        seen_at_ms=None if row["seen_at"] is None else to_ms(row["seen_at"]),
        seen_since_ms=0 if row["seen_since"] is None else to_ms(row["seen_since"]),
    )
