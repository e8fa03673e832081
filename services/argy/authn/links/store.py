"""Links in PostgreSQL."""

from typing import Any, Final
from uuid import UUID

from argy.authn.links.domain import Link
from argy.authn.sessions.domain import DeviceInfo
from argy.store.database import Tx
from argy.store.queries import Queries
from argy.store.times import to_ms, to_time

_Q: Final = Queries.load(__package__)
_KEPT_MS: Final = 86_400_000
"""How long a link is kept after its end, for whoever looks into one."""


async def insert(tx: Tx, made: Link, *, digest: str) -> None:
    """Keep a link, and forget some old ones."""
    await tx.execute(_Q.purge_links, tx.tenant_id, to_time(made.created_at_ms - _KEPT_MS))
    await tx.execute(
        _Q.insert_link,
        tx.tenant_id,
        made.id,
        made.user_id,
        made.purpose,
        digest,
        made.browser_digest,
        made.device.ip,
        made.device.user_agent,
        to_time(made.created_at_ms),
        to_time(made.expires_at_ms),
    )


async def find(tx: Tx, digest: str) -> Link | None:
    """The link of a secret's digest."""
    row = await tx.fetchrow(_Q.find_link, tx.tenant_id, digest)
    return None if row is None else _link(row)


async def use(tx: Tx, link: Link, *, digest: str, now_ms: int) -> bool:
    """Use a link in one atomic write, and with it its person's others; whether this call did."""
    used = await tx.fetchval(_Q.use_link, tx.tenant_id, digest, to_time(now_ms))
    if used is None:
        return False
    if link.user_id is not None:
        await retire(tx, link.user_id, now_ms=now_ms)
    return True


async def retire(tx: Tx, user_id: UUID, *, now_ms: int) -> None:
    """Have no link of a person work any more."""
    await tx.execute(_Q.retire_links, tx.tenant_id, user_id, to_time(now_ms))


def _link(row: Any) -> Link:
    return Link(
        id=row["id"],
        user_id=row["user_id"],
        purpose=row["purpose"],
        browser_digest=row["browser_digest"],
        device=DeviceInfo(row["ip"], row["user_agent"]),
        created_at_ms=to_ms(row["created_at"]),
        expires_at_ms=to_ms(row["expires_at"]),
        used=row["used_at"] is not None,
    )
