"""Prepares a database for the services: made, migrated, one login a role."""

import asyncio
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from argy.base.errors import Unavailable
from argy.local.areas import ROLES
from argy.local.files import private_folder, write_private
from argy.store import migrate
from argy.trail.partitions import ensure_partitions

NAME: Final = "argy"


async def make(dsn: str) -> str:
    """Make the database ``argy`` on an administrator's server if it is missing; returns its DSN."""
    try:
        connection = await asyncpg.connect(dsn, timeout=10)
    except (OSError, asyncpg.PostgresError, TimeoutError) as error:
        raise Unavailable("Postgres can't be reached", reason="POSTGRES_AWAY") from error
    try:
        if not await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", NAME):
            await connection.execute(f"CREATE DATABASE {NAME}")
    finally:
        await connection.close()
    return urlunsplit(urlsplit(dsn)._replace(path=f"/{NAME}"))


async def prepare(dsn: str, passwords: Mapping[str, str]) -> dict[str, str]:
    """Migrate, and give every role of ``ROLES`` its login; returns the DSN of each.

    Raises:
        MigrationFailed: with what dbmate said as its cause.
        Unavailable: when the database can't be reached.
    """
    await migrate.apply(dsn)
    logins = await asyncio.gather(
        *(migrate.provision_login(dsn, role, passwords[role]) for role in ROLES)
    )
    dsns = dict(zip(ROLES, logins, strict=True))
    await ensure_partitions(dsns["argy_audit_keeper"])
    return dsns


async def apply_migrations(dsn: str) -> None:
    """Bring the schema to this version."""
    await migrate.apply(dsn)


async def write_logins(dsn: str, folder: Path) -> dict[str, Path]:
    """Give each role that has no file in ``folder`` its login; returns role → file of its DSN.

    A login whose file is there keeps its password; to change it, remove the file and call again.
    """
    private_folder(folder)
    files = {role: folder / f"{role.removeprefix('argy_')}_dsn" for role in ROLES}
    for role, file in files.items():
        if not file.exists():
            login = await migrate.provision_login(dsn, role, secrets.token_urlsafe(32))
            write_private(file, login.encode())
    return files
