"""Refresh tokens in Postgres."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from argy.authn.tokens.domain import Grant, RefreshToken
from argy.store.database import Tx
from argy.store.queries import Queries
from argy.store.times import to_time

_Q: Final = Queries.load(__package__)

_BEFORE_ALL: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class PersonEnd:
    """Somebody, of any tenant, who was disabled or deleted."""

    tenant_id: UUID
    user_id: UUID
    ended_at: datetime


async def find_subject(tx: Tx, user_id: UUID) -> tuple[bool, int] | None:
    """Whether a person is active, and the tenant's role revision (0 for none); None for nobody."""
    row = await tx.fetchrow(_Q.find_subject, tx.tenant_id, user_id)
    return None if row is None else (row["state"] == "ACTIVE", row["revision"])


async def insert(
    tx: Tx,
    grant: Grant,
    *,
    token_id: UUID,
    family_id: UUID,
    digest: str,
    now_ms: int,
    ends: datetime,
) -> None:
    """Keep a new token."""
    await tx.execute(
        _Q.insert_refresh_token,
        tx.tenant_id,
        token_id,
        family_id,
        digest,
        grant.user_id,
        grant.org_id,
        grant.session_id,
        grant.client_id,
        grant.scope,
        grant.acr,
        " ".join(grant.amr),
        to_time(grant.auth_time_ms),
        to_time(now_ms),
        ends,
    )


async def lock_holder(tx: Tx, digest: str) -> bool:
    """Lock whose token this is, as ``lock_owners`` does; whether there is such a token."""
    row = await tx.fetchrow(_Q.find_holder, tx.tenant_id, digest)
    if row is None:
        return False
    await lock_owners(tx, row["user_id"], row["org_id"])
    return True


async def lock_owners(tx: Tx, user_id: UUID, org_id: UUID | None) -> None:
    """Have nobody disable or delete whose tokens ``tx`` writes; before it locks a row of theirs."""
    await hold_person(tx, user_id, org_id)
    await lock_person(tx, user_id)


async def hold_person(tx: Tx, user_id: UUID, org_id: UUID | None = None) -> None:
    """Have nobody delete a person until ``tx`` ends; before it locks a row of theirs.

    All of sign-in takes locks in one order: the tenant, org and person (this), what changes how
    they get in (``passkeys.store.queue_up``), rows of passkeys, links and device codes, who issues
    and ends tokens (``lock_person``), rows of tokens and credentials. A deletion begins with the
    person and goes on to their rows; disabling begins with device codes (authn.end_person).
    """
    await tx.execute(_Q.hold_token_owners, tx.tenant_id, user_id, org_id)


async def lock_person(tx: Tx, user_id: UUID) -> None:
    """Have nobody disable a person until ``tx`` ends; before any of their tokens is written."""
    await tx.execute(_Q.lock_person, tx.tenant_id, user_id)


async def use(tx: Tx, digest: str, client_id: str, now_ms: int) -> RefreshToken | None:
    """Use a token up, in one write; None when it can't be."""
    row = await tx.fetchrow(_Q.use_refresh_token, tx.tenant_id, digest, client_id, to_time(now_ms))
    return _token(row)


async def find(tx: Tx, digest: str) -> RefreshToken | None:
    """A token in whatever state."""
    return _token(await tx.fetchrow(_Q.find_refresh_token, tx.tenant_id, digest))


async def revoke_family(tx: Tx, family_id: UUID, now_ms: int) -> int:
    """End a family; how many tokens that were."""
    return await _revoke(tx, _Q.revoke_family, family_id, now_ms)


async def revoke_session(tx: Tx, session_id: UUID, now_ms: int) -> int:
    """End the tokens of a session; how many they were."""
    return await _revoke(tx, _Q.revoke_session, session_id, now_ms)


async def live_sessions(tx: Tx, user_id: UUID, now_ms: int) -> list[UUID]:
    """The sessions of a person with a token that could still be traded."""
    rows = await tx.fetch(_Q.live_sessions, tx.tenant_id, user_id, to_time(now_ms))
    return [row["session_id"] for row in rows]


async def revoke_user(tx: Tx, user_id: UUID, now_ms: int) -> int:
    """End the tokens of a person; how many they were."""
    return await _revoke(tx, _Q.revoke_user, user_id, now_ms)


async def forget_ended(tx: Tx, user_id: UUID, now_ms: int) -> None:
    """Remove a person's tokens whose time is over."""
    await tx.execute(_Q.forget_ended, tx.tenant_id, user_id, to_time(now_ms))


async def person_ends(tx: Tx, after: datetime | None = None) -> list[PersonEnd]:
    """A hundred people at most whose end is not done, the first to go first.

    ``tx`` is of the platform tenant.
    """
    rows = await tx.fetch(_Q.list_person_ends, tx.tenant_id, after or _BEFORE_ALL)
    return [PersonEnd(row["person_tenant_id"], row["person_id"], row["ended_at"]) for row in rows]


async def forget_person_end(tx: Tx, end: PersonEnd) -> None:
    """Say that an end is done; ``tx`` is of the platform tenant."""
    await tx.execute(_Q.forget_person_end, tx.tenant_id, end.tenant_id, end.user_id, end.ended_at)


async def _revoke(tx: Tx, query: str, whose: UUID, now_ms: int) -> int:
    """Revoke until none is left: a trade that was under way has added one that no update saw.

    Each trade uses a token up first, and so waits for whoever has revoked it, or is waited for.
    """
    ended = 0
    while some := await tx.execute(query, tx.tenant_id, whose, to_time(now_ms)):
        ended += some
    return ended


def _token(row: Any) -> RefreshToken | None:
    if row is None:
        return None
    grant = Grant(
        user_id=row["user_id"],
        session_id=row["session_id"],
        client_id=row["client_id"],
        acr=row["acr"],
        amr=tuple(row["amr"].split()),
        auth_time_ms=int(row["auth_time"].timestamp() * 1000),
        scope=row["scope"],
        org_id=row["org_id"],
    )
    return RefreshToken(
        token_id=row["id"],
        family_id=row["family_id"],
        grant=grant,
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        used=row["used_at"] is not None,
        revoked=row["revoked_at"] is not None,
    )
