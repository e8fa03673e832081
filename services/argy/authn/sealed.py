"""Every column that holds sealed values, and how they come under another key-encryption key."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from argy.authn.tokens.key_rotation import TABLE as SIGNING_KEYS
from argy.base.envelope import Kms, rewrap, sealed_under
from argy.base.ids import PLATFORM_TENANT_ID
from argy.store.database import Database
from argy.store.queries import Queries
from argy.trail.records import AuditRecord, record

_Q: Final = Queries.load("argy.authn.tokens", "signing_queries.sql")

Tell = Callable[[str, int, int], None]
"""Told of progress: the column, values done, values in all."""


@dataclass(frozen=True, slots=True)
class Rewrapped:
    """How a column stands."""

    column: str
    total: int
    changed: int


async def rewrap_all(db: Database, kek: Kms, tell: Tell) -> list[Rewrapped]:
    """Put every sealed value of sign-in under the key that wraps now; ``db`` acts as argy_authn.

    Each value is a transaction of its own, with its record, so that it can be stopped and begun
    again; what is under that key already stays as it is.

    Raises:
        FailedPrecondition: ``KEK_UNKNOWN`` or ``SEALED_VALUE_REFUSED``, at the first such value.
    """
    return [await _signing_keys(db, kek, tell)]


async def _signing_keys(db: Database, kek: Kms, tell: Tell) -> Rewrapped:
    column = f"{SIGNING_KEYS}.sealed_private"
    async with db.tenant(PLATFORM_TENANT_ID) as tx:
        rows = await tx.fetch(_Q.list_sealed_signing_keys, tx.tenant_id)
    changed = 0
    for done, row in enumerate(rows, start=1):
        changed += await _signing_key(db, kek, row["kid"], bytes(row["sealed_private"]))
        tell(column, done, len(rows))
    return Rewrapped(column, len(rows), changed)


async def _signing_key(db: Database, kek: Kms, kid: str, sealed: bytes) -> int:
    fresh = await asyncio.to_thread(
        rewrap, sealed, kek=kek, tenant_id=PLATFORM_TENANT_ID, table=SIGNING_KEYS, row=kid
    )
    if fresh == sealed:
        return 0
    async with db.tenant(PLATFORM_TENANT_ID) as tx:
        changed = await tx.execute(_Q.rewrap_signing_key, tx.tenant_id, kid, sealed, fresh)
        if changed:
            await record(
                tx,
                AuditRecord(
                    actor="service:authn",
                    action="authn.signing_key.rewrap",
                    resource=f"authn.signing_key:{kid}",
                    detail={"from": sealed_under(sealed), "to": kek.key_id},
                ),
            )
    return changed
