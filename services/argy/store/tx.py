"""One transaction of one tenant, and what may be done in it."""

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast
from uuid import UUID

import asyncpg

from argy.base.errors import Aborted
from argy.store.errors import DRIVER_ERRORS, ConstraintErrors, translate


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
        return cast("Sequence[asyncpg.Record]", await self.run("fetch", query, *args))

    async def fetchrow(self, query: str, *args: object) -> asyncpg.Record | None:
        """Return the first row, or None."""
        return cast("asyncpg.Record | None", await self.run("fetchrow", query, *args))

    async def fetchval(self, query: str, *args: object) -> Any:
        """Return the first column of the first row, or None."""
        return await self.run("fetchval", query, *args)

    async def execute(self, query: str, *args: object) -> int:
        """Run a statement; return how many rows it touched."""
        status = str(await self.run("execute", query, *args))
        last = status.rpartition(" ")[2]
        return int(last) if last.isdigit() else 0

    async def executemany(self, query: str, rows: Iterable[Sequence[object]]) -> None:
        """Run a statement for each row of values, pipelined."""
        await self.run("executemany", query, rows)

    @asynccontextmanager
    async def savepoint(self) -> AsyncIterator[None]:
        """Undo only what happens inside, when it raises; the transaction goes on."""
        self._savepoints += 1
        name = f"sp_{self._savepoints}"
        before = (self.tenant_id, self.org_id)
        await self.run("execute", f"SAVEPOINT {name}")
        try:
            yield
        except BaseException:
            await self._undo(name, *before)
            raise
        if self._failed:
            await self._undo(name, *before)
            raise swallowed_failure()
        await self.run("execute", f"RELEASE SAVEPOINT {name}")

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
        await self.run("execute", enter_tenant(tenant_id, org_id))
        self.tenant_id, self.org_id = tenant_id, org_id

    async def _undo(self, savepoint: str, tenant_id: UUID, org_id: UUID | None) -> None:
        # Rolling back also restores the tenant that was set when the savepoint was made.
        self._failed = False
        self.tenant_id, self.org_id = tenant_id, org_id
        await self.run("execute", f"ROLLBACK TO SAVEPOINT {savepoint}")

    async def run(self, method: str, query: str, *args: object) -> object:
        """Call a method of the connection; what the driver raises stops here."""
        try:
            return await getattr(self._connection, method)(query, *args)
        except DRIVER_ERRORS as error:
            self._failed = True
            raise translate(error, self._errors) from error

    @property
    def failed(self) -> bool:
        """Whether a statement failed, so that nothing but a rollback is possible."""
        return self._failed


def swallowed_failure() -> Aborted:
    """Return the error of a transaction whose failure the caller hid."""
    # COMMIT of a failed transaction is a silent ROLLBACK; never report that as success.
    return Aborted("The transaction had failed and was rolled back", reason="TRANSACTION_FAILED")


def enter_tenant(tenant_id: UUID, org_id: UUID | None) -> str:
    """Return the statements that bind a transaction to a tenant and an org."""
    # Formatted, so that it shares a round trip with BEGIN: a UUID's text is hex and dashes only.
    org = "" if org_id is None else str(UUID(int=org_id.int))
    return f"SET LOCAL app.tenant_id = '{UUID(int=tenant_id.int)}'; SET LOCAL app.org_id = '{org}'"
