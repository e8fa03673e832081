"""Where driver errors stop: PostgreSQL's become domain errors, once."""

import asyncio
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

import asyncpg

from argy.base.errors import (
    Aborted,
    AlreadyExists,
    ArgyError,
    DeadlineExceeded,
    FailedPrecondition,
    InvalidArgument,
    PermissionDenied,
    Unavailable,
)

ConstraintErrors = Mapping[str, Callable[[], ArgyError]]
"""Constraint name → the domain error that its violation means."""

NO_ERRORS: Final[ConstraintErrors] = MappingProxyType({})

DRIVER_ERRORS: Final = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    # A connection that was lost between two steps of the protocol.
    asyncpg.InternalClientError,
    OSError,
    asyncio.TimeoutError,
)
"""What asyncpg raises; nothing else is translated."""

_CONFLICTS: Final = (
    asyncpg.SerializationError,
    asyncpg.DeadlockDetectedError,
    asyncpg.LockNotAvailableError,
)
_AWAY: Final = (
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.TooManyConnectionsError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    # A demoted primary: the pool reconnects to the new one.
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    OSError,
)


def away(message: str = "The database is away") -> Unavailable:
    """Return the error of a database that can't be reached."""
    return Unavailable(message, reason="DATABASE_AWAY")


def translate(error: BaseException, constraints: ConstraintErrors = NO_ERRORS) -> ArgyError:
    """Return the domain error of a driver error.

    A violated constraint that ``constraints`` names becomes that error. The caller raises the
    result ``from error``, so that the cause reaches the log and not the client.
    """
    if isinstance(error, asyncpg.IntegrityConstraintViolationError):
        return _integrity(error, constraints)
    if isinstance(error, _CONFLICTS):
        return Aborted("A concurrent change won; try again", reason="CONCURRENT_CHANGE")
    if isinstance(error, asyncpg.QueryCanceledError | asyncio.TimeoutError):
        return DeadlineExceeded("The database took too long", reason="DATABASE_TIMEOUT")
    if isinstance(error, asyncpg.InsufficientPrivilegeError):
        return PermissionDenied(
            "The database refused access to these rows", reason="DATABASE_REFUSED"
        )
    state = getattr(error, "sqlstate", None) or ""
    if state.startswith("22") or (
        isinstance(error, asyncpg.InterfaceError) and isinstance(error, ValueError)
    ):
        # Class 22 (data exception), such as U+0000 in jsonb, and values that can't be encoded.
        return InvalidArgument("A value can't be stored", reason="UNSTORABLE_VALUE")
    if isinstance(error, _AWAY):
        return away()
    return ArgyError("The database could not do that", reason="DATABASE_ERROR")


def _integrity(
    error: asyncpg.IntegrityConstraintViolationError, constraints: ConstraintErrors
) -> ArgyError:
    named = constraints.get(error.constraint_name or "")
    if named is not None:
        return named()
    if isinstance(error, asyncpg.UniqueViolationError | asyncpg.ExclusionViolationError):
        return AlreadyExists("It exists already")
    if isinstance(error, asyncpg.ForeignKeyViolationError | asyncpg.RestrictViolationError):
        return FailedPrecondition("What it refers to does not exist", reason="UNKNOWN_REFERENCE")
    return InvalidArgument("A value is outside its limits", reason="CONSTRAINT_VIOLATED")
