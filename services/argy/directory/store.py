"""The directory in PostgreSQL: rows in, values of the domain out."""

from collections.abc import Callable, Iterable
from typing import Any, Final, TypeVar

from argy.base.errors import AlreadyExists, ArgyError, FailedPrecondition, NotFound
from argy.directory.domain import Group, Org, Tenant, User
from argy.store.database import Tx
from argy.store.errors import ConstraintErrors
from argy.store.queries import Queries
from argy.store.times import to_ms

Q: Final = Queries.load(__package__)

Item = TypeVar("Item", Tenant, Org, User, Group)


def _taken(field: str, what: str) -> Callable[[], ArgyError]:
    return lambda: AlreadyExists(
        f"Another {what} has this {field}", reason=f"{field.upper()}_TAKEN", field=field
    )


def _retired(what: str) -> Callable[[], ArgyError]:
    return lambda: AlreadyExists(
        f"A deleted {what} had this slug, and slugs are not given twice",
        reason="SLUG_RETIRED",
        field="slug",
    )


def request_id_reused() -> AlreadyExists:
    """The error of an idempotency key that stands for another request."""
    return AlreadyExists(
        "request_id was used for another request", reason="REQUEST_ID_REUSED", field="request_id"
    )


def not_found(what: str, field: str) -> NotFound:
    """The error of an id that this tenant does not have."""
    return NotFound(f"No such {what}", reason=f"{what.upper()}_UNKNOWN", field=field)


ERRORS: Final[ConstraintErrors] = {
    "tenant_slug_key": _taken("slug", "tenant"),
    "tenant_slug_retired": _retired("tenant"),
    "tenant_request_id_key": request_id_reused,
    "tenant_platform_active": lambda: FailedPrecondition(
        "The platform's own tenant can be neither suspended nor deleted", reason="PLATFORM_TENANT"
    ),
    "org_slug_key": _taken("slug", "org"),
    "org_slug_retired": _retired("org"),
    "org_request_id_key": request_id_reused,
    "user_account_email_key": _taken("email", "user"),
    "user_account_external_id_key": _taken("external_id", "user"),
    "user_account_request_id_key": request_id_reused,
    "user_group_slug_key": _taken("slug", "group"),
    "user_group_request_id_key": request_id_reused,
    "group_member_group_fkey": lambda: not_found("group", "group_id"),
    "group_member_user_fkey": lambda: not_found("user", "user_id"),
}
"""What the violated constraints mean."""


async def one(tx: Tx, kind: type[Item], query: str, *args: object) -> Item | None:
    """The first row of a query as a value of ``kind``; None when there is none."""
    row = await tx.fetchrow(query, *args)
    return None if row is None else value_of(kind, row.items())


async def page(tx: Tx, kind: type[Item], query: str, *args: object) -> list[Item]:
    """Every row of a query as values of ``kind``."""
    return [value_of(kind, row.items()) for row in await tx.fetch(query, *args)]


def value_of(kind: type[Item], row: Iterable[tuple[str, Any]]) -> Item:
    """The columns of a row as a value of ``kind``."""
    values = dict(row)
    values["created_at_ms"] = to_ms(values.pop("created_at"))
    return kind(**values)


async def revision_after(tx: Tx, query: str, *args: object) -> int:
    """Run one of the functions that raise the tenant's revision; return the revision.

    Changes that touch who may do what raise it before anything else: they come one after the other,
    so that no role or membership is given to whom another transaction deletes.
    """
    return int(await tx.fetchval(query, tx.tenant_id, *args))
