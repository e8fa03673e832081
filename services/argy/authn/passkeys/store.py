"""Passkeys and user handles in PostgreSQL."""

import secrets
from typing import Any, Final
from uuid import UUID

from argy.authn.passkeys.domain import HANDLE_BYTES, Passkey
from argy.authn.tokens.store import hold_person
from argy.base.errors import AlreadyExists
from argy.store.database import Tx
from argy.store.errors import ConstraintErrors
from argy.store.queries import Queries
from argy.store.times import to_ms, to_time

_Q: Final = Queries.load(__package__)


def _already() -> AlreadyExists:
    return AlreadyExists("This passkey is registered already", reason="PASSKEY_EXISTS")


ERRORS: Final[ConstraintErrors] = {"passkey_credential_id_key": _already}


async def handle_of(tx: Tx, user_id: UUID) -> bytes:
    """The handle of a user, made when it is first asked for: 64 random bytes."""
    fresh = secrets.token_bytes(HANDLE_BYTES)
    await tx.execute(_Q.insert_handle, tx.tenant_id, user_id, fresh)
    return bytes(await tx.fetchval(_Q.find_handle, tx.tenant_id, user_id))


async def find_handle(tx: Tx, user_id: UUID) -> bytes:
    """The handle of a user; empty for who never began to register a passkey."""
    return bytes(await tx.fetchval(_Q.find_handle, tx.tenant_id, user_id) or b"")


async def is_handle(tx: Tx, handle: bytes) -> bool:
    """Whether somebody of this tenant has a handle."""
    return bool(await tx.fetchval(_Q.is_handle, tx.tenant_id, handle))


async def insert(tx: Tx, made: Passkey, *, attested: bool) -> None:
    """Keep a new passkey, and whether its model was proved.

    Raises:
        AlreadyExists: ``PASSKEY_EXISTS``, where ``ERRORS`` are mapped.
    """
    await tx.execute(
        _Q.insert_passkey,
        tx.tenant_id,
        made.id,
        made.user_id,
        made.name,
        made.credential_id,
        made.public_key,
        made.sign_count,
        made.aaguid,
        ",".join(made.transports),
        made.backup_eligible,
        made.backed_up,
        to_time(made.created_at_ms),
        attested,
    )


async def find(tx: Tx, credential_id: bytes) -> tuple[Passkey, bytes] | None:
    """The passkey of a credential id with its user's handle."""
    row = await tx.fetchrow(_Q.find_by_credential, tx.tenant_id, credential_id)
    return None if row is None else (_passkey(row), bytes(row["handle"]))


async def lock(tx: Tx, passkey_id: UUID) -> Passkey | None:
    """A passkey that nobody else changes meanwhile; None when it was removed."""
    row = await tx.fetchrow(_Q.lock_passkey, tx.tenant_id, passkey_id)
    return None if row is None else _passkey(row)


async def queue_up(tx: Tx, user_id: UUID) -> None:
    """Wait for every other transaction that changes how a user gets in; others wait for this.

    Nobody deletes the user meanwhile either (``argy.authn.tokens.store.hold_person``).
    """
    await hold_person(tx, user_id)
    await tx.execute(_Q.queue_up, tx.tenant_id, user_id)


async def list_of(tx: Tx, user_id: UUID, *, alone: bool = False) -> list[Passkey]:
    """A user's passkeys, oldest first; ``alone``, no other transaction that asks so goes on."""
    if alone:
        await queue_up(tx, user_id)
    return [_passkey(row) for row in await tx.fetch(_Q.list_passkeys, tx.tenant_id, user_id)]


async def note_use(
    tx: Tx, passkey_id: UUID, *, sign_count: int, backed_up: bool, now_ms: int
) -> None:
    """Keep what a sign-in told."""
    when = to_time(now_ms)
    await tx.execute(_Q.note_use, tx.tenant_id, passkey_id, sign_count, backed_up, when)


async def block(tx: Tx, passkey_id: UUID, *, now_ms: int) -> None:
    """Note that a passkey is good no more."""
    await tx.execute(_Q.block_passkey, tx.tenant_id, passkey_id, to_time(now_ms))


async def rename(tx: Tx, user_id: UUID, passkey_id: UUID, name: str) -> Passkey | None:
    """Name a passkey; None when it is not the user's."""
    row = await tx.fetchrow(_Q.rename_passkey, tx.tenant_id, passkey_id, user_id, name)
    return None if row is None else _passkey(row)


async def delete(tx: Tx, user_id: UUID, passkey_id: UUID) -> None:
    """Forget a passkey of a user."""
    await tx.execute(_Q.delete_passkey, tx.tenant_id, passkey_id, user_id)


async def delete_all(tx: Tx, user_id: UUID) -> int:
    """Forget every passkey of a user; how many they were."""
    return len(await tx.fetch(_Q.delete_passkeys, tx.tenant_id, user_id))


async def has_usable(tx: Tx, user_id: UUID) -> bool:
    """Whether a user can sign in with a passkey."""
    return bool(await tx.fetchval(_Q.has_usable_passkey, tx.tenant_id, user_id))


def _passkey(row: Any) -> Passkey:
    return Passkey(
        id=row["id"],
        user_id=row["user_id"],
        name=row["name"],
        credential_id=bytes(row["credential_id"]),
        public_key=bytes(row["public_key"]),
        sign_count=row["sign_count"],
        aaguid=row["aaguid"],
        transports=tuple(filter(None, row["transports"].split(","))),
        backup_eligible=row["backup_eligible"],
        backed_up=row["backed_up"],
        created_at_ms=to_ms(row["created_at"]),
        last_used_at_ms=None if row["last_used_at"] is None else to_ms(row["last_used_at"]),
        blocked_at_ms=None if row["blocked_at"] is None else to_ms(row["blocked_at"]),
    )
