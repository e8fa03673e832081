"""The only door to PostgreSQL: transactions bound to one tenant.

A login may do nothing by itself; each transaction takes the service's role and the tenant for its
own duration, and row-level security does the rest. The connection goes back to the pool wiped.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, Final
from uuid import UUID

import asyncpg

from argy.base.errors import FailedPrecondition, InvalidArgument, Unavailable
from argy.base.turns import Turns
from argy.store.errors import DRIVER_ERRORS, NO_ERRORS, ConstraintErrors, away, translate
from argy.store.listener import Listener
from argy.store.tx import Tx, enter_tenant, swallowed_failure

__all__ = ["Database", "Tx"]

_CLOSE_TIMEOUT_S: Final = 5.0
_ROLE: Final = re.compile(r"^argy_[a-z_]{1,50}$")

# asyncpg's own reset leaves SET ROLE and temporary tables behind; DISCARD ALL would drop the
# prepared statements.
_RESET: Final = "RESET SESSION AUTHORIZATION; RESET ROLE; DISCARD TEMP; RESET ALL"

_LOGIN_CHECK: Final = """
SELECT
  session_user::text AS login,
  l.rolsuper OR l.rolbypassrls OR l.rolcreaterole OR r.rolsuper OR r.rolbypassrls AS powerful,
  to_regrole('argy_owner') IS NOT NULL
    AND (pg_has_role(l.oid, to_regrole('argy_owner'), 'MEMBER')
      OR pg_has_role(r.oid, to_regrole('argy_owner'), 'MEMBER')) AS owner,
  EXISTS (SELECT FROM pg_class AS c WHERE c.relowner IN (l.oid, r.oid) AND c.relkind <> 't')
    AS owns,
  pg_has_role(l.oid, r.oid, 'MEMBER') AS member
FROM pg_roles AS l, pg_roles AS r
WHERE l.rolname = session_user AND r.rolname = $1
"""


class _Connection(asyncpg.Connection):
    """A pooled connection that knows whether its session was wiped since its last use."""

    __slots__ = ("wiped",)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.wiped = True

    def mark(self, *, wiped: bool) -> None:
        """Note that the session is in use, or clean again."""
        self.wiped = wiped


async def _wipe(connection: Any) -> None:
    if not connection.wiped:
        await connection.execute(_RESET)
        connection.wiped = True


class Database:
    """A pool of connections to one database, acting as one role."""

    __slots__ = ("_acquire_timeout_s", "_dsn", "_pool", "_role", "_turns")

    def __init__(
        self, pool: Any, *, dsn: str, role: str, size: int, acquire_timeout_s: float
    ) -> None:
        self._pool = pool
        self._turns = Turns(size)
        self._dsn = dsn
        self._role = role
        self._acquire_timeout_s = acquire_timeout_s

    @classmethod
    async def open(
        cls,
        dsn: str,
        *,
        role: str,
        min_size: int = 1,
        max_size: int = 10,
        statement_timeout_ms: int = 10_000,
        acquire_timeout_s: float = 5.0,
    ) -> "Database":
        """Connect, and prove that the login is as weak as it should be.

        Raises:
            InvalidArgument: ``DSN_MALFORMED``; nothing of it is in the message.
            FailedPrecondition: if the login or the role is a superuser, bypasses row-level
                security, owns anything, or the login may not act as ``role``.
            Unavailable: if the database can't be reached.
        """
        if not _ROLE.match(role):
            raise FailedPrecondition(f"{role!r} is not a role of Argy", reason="UNKNOWN_ROLE")
        try:
            pool = await asyncpg.create_pool(
                dsn,
                min_size=min_size,
                max_size=max_size,
                connection_class=_Connection,
                reset=_wipe,
                timeout=acquire_timeout_s,
                # Longer than the server's own limit, for a server that does not answer at all.
                command_timeout=statement_timeout_ms / 1000 + 5,
                server_settings={
                    "application_name": role,
                    "statement_timeout": str(statement_timeout_ms),
                    "lock_timeout": str(statement_timeout_ms),
                    "idle_in_transaction_session_timeout": str(statement_timeout_ms * 3),
                },
            )
        except TimeoutError as error:
            raise away() from error
        except ValueError:
            # Without what the driver says, which may be a part of the password.
            raise _malformed_dsn() from None
        except DRIVER_ERRORS as error:
            raise translate(error) from error
        db = cls(pool, dsn=dsn, role=role, size=max_size, acquire_timeout_s=acquire_timeout_s)
        try:
            await db._prove_weak()
        except BaseException:
            await db.close()
            raise
        return db

    async def _prove_weak(self) -> None:
        try:
            row = await self._pool.fetchrow(_LOGIN_CHECK, self._role)
        except DRIVER_ERRORS as error:
            raise translate(error) from error
        if row is None:
            raise FailedPrecondition(
                f"The database has no role {self._role}: run the migrations first",
                reason="DATABASE_NOT_MIGRATED",
            )
        if row["powerful"] or row["owner"] or row["owns"]:
            raise FailedPrecondition(
                f"The login {row['login']} could step around row-level security (superuser, "
                "BYPASSRLS, CREATEROLE or owner): give the service its own login with "
                "argy.store.migrate.provision_login",
                reason="DATABASE_LOGIN_TOO_POWERFUL",
            )
        if not row["member"]:
            raise FailedPrecondition(
                f"The login {row['login']} may not act as {self._role}: provision it with "
                "argy.store.migrate.provision_login",
                reason="DATABASE_LOGIN_NOT_MEMBER",
            )

    @property
    def role(self) -> str:
        """The database role that transactions act as."""
        return self._role

    @asynccontextmanager
    async def tenant(
        self,
        tenant_id: UUID,
        org_id: UUID | None = None,
        *,
        errors: ConstraintErrors = NO_ERRORS,
    ) -> AsyncIterator[Tx]:
        """Open a transaction that sees this tenant's rows only; commit at the end.

        ``errors`` maps constraint names to domain errors. Any exception rolls back.
        """
        try:
            async with asyncio.timeout(self._acquire_timeout_s):
                await self._turns.take(tenant_id)
        except TimeoutError as error:
            raise _busy() from error
        try:
            connection = await self._pool.acquire(timeout=self._acquire_timeout_s)
        except BaseException as error:
            self._turns.give(tenant_id)
            if isinstance(error, TimeoutError):
                raise _busy() from error
            if isinstance(error, DRIVER_ERRORS):
                raise translate(error) from error
            raise
        try:
            tx = Tx(connection, tenant_id, org_id, errors)
            connection.mark(wiped=False)
            entered = enter_tenant(tenant_id, org_id)
            try:
                await tx.run("execute", f"BEGIN; SET LOCAL ROLE {self._role}; {entered}")
                yield tx
                if tx.failed:
                    raise swallowed_failure()
                await tx.run("execute", f"COMMIT; {_RESET}")
            except BaseException:
                # Also of a caller who is cancelled while it begins or commits.
                await self._roll_back(connection)
                raise
            connection.mark(wiped=True)
        finally:
            # Wipes what is not wiped yet; a connection where that fails is closed, which is no
            # answer to the caller, and must not hide that the caller was cancelled.
            try:
                with suppress(*DRIVER_ERRORS):
                    await self._pool.release(connection, timeout=self._acquire_timeout_s)
            finally:
                self._turns.give(tenant_id)

    async def _roll_back(self, connection: Any) -> None:
        try:
            await connection.execute(f"ROLLBACK; {_RESET}", timeout=self._acquire_timeout_s)
        except DRIVER_ERRORS:
            # The server rolls back when its client goes; a lost connection left the pool already.
            with suppress(*DRIVER_ERRORS):
                connection.terminate()
        else:
            connection.mark(wiped=True)

    async def listen(
        self,
        callbacks: Mapping[str, Callable[[str], None]],
        *,
        on_lost: Callable[[], None],
        on_restored: Callable[[], None],
    ) -> Listener:
        """Call back with the payload of each NOTIFY, on a connection of its own that reconnects.

        ``callbacks`` are by channel; they are lost and restored together.
        """
        return await Listener.start(self._dsn, callbacks, on_lost=on_lost, on_restored=on_restored)

    async def close(self) -> None:
        """Close the pool, waiting for transactions at most five seconds."""
        try:
            await asyncio.wait_for(self._pool.close(), timeout=_CLOSE_TIMEOUT_S)
        except TimeoutError:
            self._pool.terminate()


def _busy() -> Unavailable:
    return Unavailable("Every database connection is busy", reason="DATABASE_BUSY")


def _malformed_dsn() -> InvalidArgument:
    return InvalidArgument(
        "the DSN is not postgresql://<user>:<password>@<host>[:<port>]/<database>: percent-encode "
        "what is special in its password",
        reason="DSN_MALFORMED",
        field="dsn",
    )
