"""The links by which people hold roles, in PostgreSQL."""

from collections.abc import Collection
from typing import Any, Final
from uuid import UUID

import msgspec

from argy.authz.provenance.domain import ANYBODY, Link, Path
from argy.store.database import Tx
from argy.store.queries import Queries
from argy.store.times import to_ms, to_time

_Q: Final = Queries.load(__package__)
_OWES: Final = msgspec.json.Decoder(dict[str, int])
_USER: Final = "user:"


async def list_paths(tx: Tx, subjects: Collection[str], *, now_ms: int) -> list[Path]:
    """Return every way by which the subjects hold roles now."""
    users = []
    for subject in subjects:
        if subject.startswith(_USER):
            try:
                users.append(UUID(subject.removeprefix(_USER)))
            except ValueError:
                continue  # no directory lists them, so no group has them
    rows = await tx.fetch(_Q.list_paths, tx.tenant_id, list(subjects), users, to_time(now_ms))
    return [_path(row) for row in rows]


def _path(row: Any) -> Path:
    links = [Link(row["created_by"], to_ms(row["created_at"]), _OWES.decode(row["owes"]))]
    if row["let_in_at"] is not None:
        giver = row["let_in_by"] or ANYBODY
        links.append(Link(giver, to_ms(row["let_in_at"]), _OWES.decode(row["member_owes"])))
    return Path(
        subject=row["subject"],
        role=row["role"],
        org=row["org"],
        expires_at_ms=row["expires_at_ms"],
        links=tuple(links),
    )
