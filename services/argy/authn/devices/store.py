"""Device codes in PostgreSQL."""

from typing import Any, Final
from uuid import UUID

from argy.authn.devices.domain import DeviceCode, State
from argy.store.database import Tx
from argy.store.queries import Queries
from argy.store.times import to_ms, to_time

_Q: Final = Queries.load(__package__)
_KEPT_MS: Final = 86_400_000
"""How long a request is kept after its end, for whoever looks into one."""


async def insert(tx: Tx, made: DeviceCode, *, device_hash: str, user_hash: str) -> None:
    """Store a request, and forget some old ones."""
    await tx.execute(_Q.purge, tx.tenant_id, to_time(made.created_at_ms - _KEPT_MS))
    await tx.execute(
        _Q.insert_device_code,
        tx.tenant_id,
        made.id,
        device_hash,
        user_hash,
        made.client_id,
        made.scope,
        made.ip,
        made.user_agent,
        to_time(made.created_at_ms),
        to_time(made.expires_at_ms),
    )


async def find_by_user(tx: Tx, user_hash: str) -> DeviceCode | None:
    """The request of a person's code."""
    row = await tx.fetchrow(_Q.find_by_user_hash, tx.tenant_id, user_hash)
    return None if row is None else _device_code(row)


async def find_approver(tx: Tx, device_hash: str) -> UUID | None:
    """Who approved the request of a device; None when nobody did."""
    approver: UUID | None = await tx.fetchval(_Q.find_approver, tx.tenant_id, device_hash)
    return approver


async def lock_by_device(tx: Tx, device_hash: str) -> DeviceCode | None:
    """The request of a device's code, for this transaction alone."""
    row = await tx.fetchrow(_Q.lock_by_device_hash, tx.tenant_id, device_hash)
    return None if row is None else _device_code(row)


async def decide(
    tx: Tx,
    code_id: UUID,
    state: State,
    *,
    user_id: UUID,
    session_id: str,
    acr: str,
    auth_time_s: int,
    now_ms: int,
) -> bool:
    """Decide a pending request, in one atomic write; whether this call did."""
    done = await tx.fetchval(
        _Q.decide,
        tx.tenant_id,
        code_id,
        state,
        user_id,
        session_id,
        acr,
        to_time(auth_time_s * 1_000),
        to_time(now_ms),
    )
    return done is not None


async def note_poll(tx: Tx, code_id: UUID, *, now_ms: int, interval_s: int) -> None:
    """Remember a poll and the interval that holds from then on."""
    await tx.execute(_Q.note_poll, tx.tenant_id, code_id, to_time(now_ms), interval_s)


async def redeem(tx: Tx, code_id: UUID, *, now_ms: int) -> bool:
    """Use an approved request, in one atomic write; whether this call did."""
    return await tx.fetchval(_Q.redeem, tx.tenant_id, code_id, to_time(now_ms)) is not None


async def deny_of_user(tx: Tx, user_id: UUID) -> None:
    """Have no device in any more that a person approved and that did not ask since."""
    await tx.execute(_Q.deny_of_user, tx.tenant_id, user_id)


def _device_code(row: Any) -> DeviceCode:
    return DeviceCode(
        id=row["id"],
        client_id=row["client_id"],
        scope=row["scope"],
        ip=row["ip"],
        user_agent=row["user_agent"],
        state=row["state"],
        user_id=row["user_id"],
        session_id=row["session_id"],
        acr=row["acr"],
        auth_time_s=0 if row["auth_time"] is None else to_ms(row["auth_time"]) // 1_000,
        interval_s=row["interval_s"],
        polled_at_ms=None if row["polled_at"] is None else to_ms(row["polled_at"]),
        created_at_ms=to_ms(row["created_at"]),
        expires_at_ms=to_ms(row["expires_at"]),
    )
