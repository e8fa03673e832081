"""Credentials in PostgreSQL."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from argy.authn.credentials.domain import Credential, Kind
from argy.base.errors import NotFound
from argy.store.database import Tx
from argy.store.errors import ConstraintErrors
from argy.store.queries import Queries
from argy.store.times import to_ms, to_time

_Q: Final = Queries.load(__package__)

_BEFORE_ALL: Final = datetime(2000, 1, 1, tzinfo=UTC)
ERRORS: Final[ConstraintErrors] = {
    "credential_user_fkey": lambda: NotFound("No such user", reason="USER_UNKNOWN"),
}


@dataclass(frozen=True, slots=True)
class KeyEnd:
    """The end of a service key of any tenant, which servers may not know of yet."""

    tenant_id: UUID
    key_id: UUID
    generation: int
    """The last one that ended; 0 for the key as a whole."""
    ended_at: datetime


async def lock_subject(tx: Tx, subject: str) -> None:
    """Let changes to a subject's credentials come one after the other."""
    await tx.execute(_Q.lock_subject, str(tx.tenant_id), subject)


async def count_live(tx: Tx, subject: str, kind: Kind, *, now_ms: int) -> int:
    """How many live credentials of a kind a subject has."""
    return int(await tx.fetchval(_Q.count_live, tx.tenant_id, subject, kind, to_time(now_ms)))


async def insert(tx: Tx, made: Credential, *, user_id: UUID | None, secret_hash: str) -> None:
    """Store a credential; raises NotFound ``USER_UNKNOWN``."""
    await tx.execute(
        _Q.insert_credential,
        tx.tenant_id,
        made.id,
        made.kind,
        made.subject,
        user_id,
        made.name,
        made.prefix,
        " ".join(made.scopes),
        secret_hash,
        made.lifetime_days,
        made.created_by,
        to_time(made.created_at_ms),
        to_time(made.expires_at_ms),
        made.generation or None,
    )


async def find(tx: Tx, credential_id: UUID, *, lock: bool) -> Credential | None:
    """One credential; with ``lock`` for this transaction alone."""
    query = _Q.lock_credential if lock else _Q.find_credential
    row = await tx.fetchrow(query, tx.tenant_id, credential_id)
    return None if row is None else _credential(row)


async def list_page(
    tx: Tx, subject: str, *, after: UUID | None, limit: int, now_ms: int
) -> Sequence[Credential]:
    """A subject's live credentials, newest first."""
    rows = await tx.fetch(_Q.list_credentials, tx.tenant_id, subject, to_time(now_ms), after, limit)
    return [_credential(row) for row in rows]


async def keys_made_by(tx: Tx, subject: str, *, now_ms: int) -> Sequence[Credential]:
    """Live keys of agents and services that ``subject`` made, newest first; 100 at most."""
    rows = await tx.fetch(_Q.list_keys_made_by, tx.tenant_id, subject, to_time(now_ms))
    return [_credential(row) for row in rows]


async def find_by_secret(tx: Tx, secret_hash: str, *, now_ms: int) -> Credential | None:
    """The credential that a secret is good for now."""
    row = await tx.fetchrow(_Q.find_by_secret, tx.tenant_id, secret_hash, to_time(now_ms))
    return None if row is None else _credential(row)


async def find_service_secret(
    tx: Tx, credential_id: UUID, secret_hash: str, *, now_ms: int
) -> tuple[tuple[str, ...], int] | None:
    """The scopes of a service key by one of its secrets, and when that secret ends."""
    row = await tx.fetchrow(
        _Q.find_service_secret, tx.tenant_id, credential_id, secret_hash, to_time(now_ms)
    )
    return None if row is None else (tuple(row["scope"].split()), to_ms(row["good_until"]))


async def rotate(
    tx: Tx,
    credential_id: UUID,
    *,
    prefix: str,
    secret_hash: str,
    expires_at_ms: int,
    overlap_until_ms: int | None,
    generation: int,
    now_ms: int,
) -> bool:
    """Give a live credential a new secret; whether it was live."""
    done = await tx.fetchval(
        _Q.rotate,
        tx.tenant_id,
        credential_id,
        prefix,
        secret_hash,
        to_time(expires_at_ms),
        None if overlap_until_ms is None else to_time(overlap_until_ms),
        to_time(now_ms),
        generation or None,
    )
    return done is not None


async def revoke(tx: Tx, credential_id: UUID, *, now_ms: int) -> bool:
    """End a credential; whether this call did."""
    return await tx.fetchval(_Q.revoke, tx.tenant_id, credential_id, to_time(now_ms)) is not None


async def revoke_of_user(tx: Tx, user_id: UUID, *, now_ms: int) -> int:
    """End every personal access token of somebody; how many were live."""
    return len(await tx.fetch(_Q.revoke_of_user, tx.tenant_id, user_id, to_time(now_ms)))


async def note_used(tx: Tx, used_ms: Mapping[UUID, int]) -> None:
    """Remember when credentials were last used."""
    times = [to_time(ms) for ms in used_ms.values()]
    await tx.execute(_Q.note_used, tx.tenant_id, list(used_ms), times)


async def key_ends(tx: Tx, after: datetime | None = None) -> list[KeyEnd]:
    """A hundred ends of service keys at most that are not told yet, the first to go first.

    ``tx`` is of the platform tenant.
    """
    rows = await tx.fetch(_Q.list_key_ends, tx.tenant_id, after or _BEFORE_ALL)
    return [
        KeyEnd(row["key_tenant_id"], row["key_id"], row["generation"], row["ended_at"])
        for row in rows
    ]


async def forget_key_end(tx: Tx, end: KeyEnd) -> None:
    """Say that an end is told; ``tx`` is of the platform tenant."""
    await tx.execute(
        _Q.forget_key_end, tx.tenant_id, end.tenant_id, end.key_id, end.generation, end.ended_at
    )


def _credential(row: Any) -> Credential:
    used, revoked = row["last_used_at"], row["revoked_at"]
    return Credential(
        id=row["id"],
        kind=row["kind"],
        subject=row["subject"],
        name=row["name"],
        prefix=row["prefix"],
        scopes=tuple(row["scope"].split()),
        lifetime_days=row["lifetime_days"],
        created_by=row["created_by"],
        created_at_ms=to_ms(row["created_at"]),
        expires_at_ms=to_ms(row["expires_at"]),
        last_used_at_ms=None if used is None else to_ms(used),
        revoked_at_ms=None if revoked is None else to_ms(revoked),
        generation=row["generation"] or 0,
    )
