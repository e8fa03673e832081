"""The only door to PostgreSQL: transactions bound to one tenant.

A login may do nothing by itself; each transaction takes the service's role and the tenant for its
own duration, and row-level security does the rest. The connection goes back to the pool wiped.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, cast
from uuid import UUID

import asyncpg

from argy.base.errors import Aborted, FailedPrecondition, Unavailable
from argy.store.errors import DRIVER_ERRORS, NO_ERRORS, ConstraintErrors, translate
from argy.store.listener import Listener

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


class Tx:
    """One transaction of one tenant. Queries are literal SQL; values are always bound.

    Each method raises ``argy.base.errors``: a violated constraint as the store maps it,
    ``Aborted`` for a lost race, ``DeadlineExceeded`` for a timeout, ``Unavailable`` when the
    database is away. jsonb values go in and come out as JSON text.
    """

    __slots__ = ("_connection", "_errors", "_failed", "_savepoints", "org_id", "tenant_id")

    def __init__(
        self,
        connection: Any,
        tenant_id: UUID,
        org_id: UUID | None,
        errors: ConstraintErrors,
    ) -> None:
        self._connection = connection
        self._errors = errors
        self._failed = False
        self._savepoints = 0
        self.tenant_id = tenant_id
        self.org_id = org_id

    async def fetch(self, query: str, *args: object) -> Sequence[asyncpg.Record]:
        """Return every row."""
        return cast("Sequence[asyncpg.Record]", await self._run("fetch", query, *args))

    async def fetchrow(self, query: str, *args: object) -> asyncpg.Record | None:
        """Return the first row, or None."""
        return cast("asyncpg.Record | None", await self._run("fetchrow", query, *args))

    async def fetchval(self, query: str, *args: object) -> Any:
        """Return the first column of the first row, or None."""
        return await self._run("fetchval", query, *args)

    async def execute(self, query: str, *args: object) -> int:
        """Run a statement; return how many rows it touched."""
        status = str(await self._run("execute", query, *args))
        last = status.rpartition(" ")[2]
        return int(last) if last.isdigit() else 0

    async def executemany(self, query: str, rows: Iterable[Sequence[object]]) -> None:
        """Run a statement for each row of values, pipelined."""
        await self._run("executemany", query, rows)

    @asynccontextmanager
    async def savepoint(self) -> AsyncIterator[None]:
        """Undo only what happens inside, when it raises; the transaction goes on."""
        self._savepoints += 1
        name = f"sp_{self._savepoints}"
        await self._run("execute", f"SAVEPOINT {name}")
        try:
            yield
        except BaseException:
            await self._undo(name)
            raise
        if self._failed:
            await self._undo(name)
            raise _swallowed()
        await self._run("execute", f"RELEASE SAVEPOINT {name}")

    @asynccontextmanager
    async def unsafe_enter(self, tenant_id: UUID) -> AsyncIterator[None]:
        """Act in another tenant inside this transaction; for the platform's life-cycle code only.

        Leaving restores tenant and org. After a failed statement nothing is restored: the
        transaction is over and will be rolled back.
        """
        before = (self.tenant_id, self.org_id)
        await self._set_tenant(tenant_id, None)
        try:
            yield
        finally:
            if not self._failed:
                await self._set_tenant(*before)

    async def _set_tenant(self, tenant_id: UUID, org_id: UUID | None) -> None:
        await self._run("execute", _enter(tenant_id, org_id))
        self.tenant_id, self.org_id = tenant_id, org_id

    async def _undo(self, savepoint: str) -> None:
        # Rolling back also restores the tenant that was set when the savepoint was made.
        self._failed = False
        await self._run("execute", f"ROLLBACK TO SAVEPOINT {savepoint}")

    async def _run(self, method: str, query: str, *args: object) -> object:
        try:
            return await getattr(self._connection, method)(query, *args)
        except DRIVER_ERRORS as error:
            self._failed = True
            raise translate(error, self._errors) from error

    @property
    def failed(self) -> bool:
        """Whether a statement failed, so that nothing but a rollback is possible."""
        return self._failed


def _swallowed() -> Aborted:
    # COMMIT of a failed transaction is a silent ROLLBACK; never report that as success.
    return Aborted("The transaction had failed and was rolled back", reason="TRANSACTION_FAILED")


def _enter(tenant_id: UUID, org_id: UUID | None) -> str:
    # Formatted, so that it shares a round trip with BEGIN: a UUID's text is hex and dashes only.
    org = "" if org_id is None else str(UUID(int=org_id.int))
    return f"SET LOCAL app.tenant_id = '{UUID(int=tenant_id.int)}'; SET LOCAL app.org_id = '{org}'"


class Database:
    """A pool of connections to one database, acting as one role."""

    __slots__ = ("_acquire_timeout_s", "_dsn", "_pool", "_role")

    def __init__(self, pool: Any, *, dsn: str, role: str, acquire_timeout_s: float) -> None:
        self._pool = pool
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
        except DRIVER_ERRORS as error:
            raise translate(error) from error
        db = cls(pool, dsn=dsn, role=role, acquire_timeout_s=acquire_timeout_s)
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
            connection = await self._pool.acquire(timeout=self._acquire_timeout_s)
        except TimeoutError as error:
            raise Unavailable(
                "Every database connection is busy", reason="DATABASE_BUSY"
            ) from error
        except DRIVER_ERRORS as error:
            raise translate(error) from error
        try:
            tx = Tx(connection, tenant_id, org_id, errors)
            connection.mark(wiped=False)
            await tx._run(
                "execute", f"BEGIN; SET LOCAL ROLE {self._role}; {_enter(tenant_id, org_id)}"
            )
            try:
                yield tx
                if tx.failed:
                    raise _swallowed()
            except BaseException:
                await self._roll_back(connection)
                raise
            await tx._run("execute", f"COMMIT; {_RESET}")
            connection.mark(wiped=True)
        finally:
            # Wipes what is not wiped yet; a connection where that fails is closed.
            await self._pool.release(connection, timeout=self._acquire_timeout_s)

    async def _roll_back(self, connection: Any) -> None:
        try:
            await connection.execute(f"ROLLBACK; {_RESET}", timeout=self._acquire_timeout_s)
        except DRIVER_ERRORS:
            # The server rolls back when its client goes.
            connection.terminate()
        else:
            connection.mark(wiped=True)

    async def listen(
        self,
        channel: str,
        callback: Callable[[str], None],
        *,
        on_lost: Callable[[], None],
        on_restored: Callable[[], None],
    ) -> Listener:
        """Call back with the payload of each NOTIFY, on a connection of its own that reconnects."""
        return await Listener.start(
            self._dsn, channel, callback, on_lost=on_lost, on_restored=on_restored
        )

    async def close(self) -> None:
        """Close the pool, waiting for transactions at most five seconds."""
        try:
            await asyncio.wait_for(self._pool.close(), timeout=_CLOSE_TIMEOUT_S)
        except TimeoutError:
            self._pool.terminate()
