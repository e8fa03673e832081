"""Keep the audit log's monthly partitions ahead of time."""

from typing import Final

import asyncpg

from argy.store.errors import DRIVER_ERRORS, translate

MONTHS_AHEAD: Final = 2


async def ensure_partitions(dsn: str, *, months_ahead: int = MONTHS_AHEAD) -> int:
    """Make the missing partitions from last month to ``months_ahead``; return how many.

    ``dsn`` is the login of ``argy_audit_keeper`` (or of whoever may act as it). Run at start and
    daily: without a partition for its month an event is refused.

    Raises:
        Unavailable: if the database can't be reached.
    """
    try:
        connection = await asyncpg.connect(dsn, timeout=10, command_timeout=60)
        try:
            async with connection.transaction():
                await connection.execute("SET LOCAL ROLE argy_audit_keeper")
                return int(
                    await connection.fetchval("SELECT audit.ensure_partitions($1)", months_ahead)
                )
        finally:
            await connection.close()
    except DRIVER_ERRORS as error:
        raise translate(error) from error
