"""Sign-in policies in PostgreSQL: a row a tenant, read by every sign-in and cached nowhere."""

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from argy.authn.sign_in_policy.domain import SignInPolicy, Version
from argy.store.database import Tx
from argy.store.queries import Queries
from argy.store.times import to_time

_Q: Final = Queries.load(__package__)
_PEM: Final = re.compile(r"-----BEGIN .*?-----END [A-Z ]+-----\n", re.S)


@dataclass(frozen=True, slots=True)
class Standing:
    """Whom a policy leaves out."""

    users_without_passkey: int
    passkeys_outside_policy: int


async def find(tx: Tx) -> SignInPolicy:
    """What decides sign-ins of the transaction's tenant: one small row."""
    return _policy(await tx.fetchrow(_Q.find_policy, tx.tenant_id))


async def find_version(tx: Tx) -> Version:
    """The whole policy, for who reads or changes it, or needs its roots."""
    row = await tx.fetchrow(_Q.find_version, tx.tenant_id)
    if row is None:
        return Version()
    roots = tuple(_PEM.findall(row["passkey_attestation_roots"]))
    return Version(_policy(row), roots, row["revision"])


async def save(tx: Tx, version: Version, *, now_ms: int) -> bool:
    """Keep a version in the place of the one before it; False when another was in that place."""
    policy = version.policy
    saved = await tx.fetchval(
        _Q.save_policy,
        tx.tenant_id,
        version.revision,
        policy.links,
        " ".join(sorted(map(str, policy.models))),
        policy.attestation,
        "".join(version.roots),
        policy.session_idle_minutes,
        policy.session_max_minutes,
        to_time(now_ms),
    )
    return saved is not None


async def count(tx: Tx, models: Collection[UUID], *, attested: bool) -> Standing:
    """Whom a policy of these models leaves out; ``attested``, whether they must prove them."""
    return Standing(
        await tx.fetchval(_Q.count_users_without_passkey, tx.tenant_id),
        await tx.fetchval(_Q.count_passkeys_outside, tx.tenant_id, list(models), attested),
    )


def _policy(row: Any) -> SignInPolicy:
    if row is None:
        return SignInPolicy()
    return SignInPolicy(
        links=row["links"],
        models=frozenset(map(UUID, row["passkey_aaguids"].split())),
        attestation=row["passkey_attestation"],
        session_idle_minutes=row["session_idle_minutes"],
        session_max_minutes=row["session_max_minutes"],
    )
