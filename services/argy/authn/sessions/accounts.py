"""The people of the directory, as far as signing in needs them."""

from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from argy.base.errors import FailedPrecondition, NotFound
from argy.store.database import Tx
from argy.store.queries import Queries

_Q: Final = Queries.load(__package__)


@dataclass(frozen=True, slots=True)
class Account:
    """One person."""

    user_id: UUID
    email: str
    display_name: str
    active: bool


def check_invitable(account: Account | None) -> Account:
    """Accept somebody who may be invited.

    Raises:
        NotFound: ``USER_UNKNOWN``.
        FailedPrecondition: ``USER_DISABLED``.
    """
    if account is None:
        raise NotFound("No such user", reason="USER_UNKNOWN", field="user_id")
    if not account.active:
        raise FailedPrecondition("The user is disabled", reason="USER_DISABLED", field="user_id")
    return account


async def find_account(tx: Tx, user_id: UUID) -> Account | None:
    """The person of an id."""
    return _account(await tx.fetchrow(_Q.find_account, tx.tenant_id, user_id))


async def find_account_by_email(tx: Tx, email: str) -> Account | None:
    """The person of an address, without regard to case."""
    return _account(await tx.fetchrow(_Q.find_account_by_email, tx.tenant_id, email))


def _account(row: Any) -> Account | None:
    if row is None:
        return None
    return Account(row["user_id"], row["email"], row["display_name"], row["state"] == "ACTIVE")
