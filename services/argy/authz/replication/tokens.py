"""What replicas verify access tokens with: the tenant's issuer, the keys, and what was ended."""

import asyncio
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Protocol
from uuid import UUID

from argy.api.authz.v1 import replication_pb2 as pb
from argy.base.errors import ArgyError
from argy.rpc.jwt import PublicKeys, public_jwk
from argy.rpc.revoked import Revoked, user_entry
from argy.rpc.token_sources import KeySource, Revocations

PART_ENTRIES: Final = 5_000
"""Entries in one message; about 300 kB."""
_PATIENCE_S: Final = 0.25
"""How long a stream waits for this; roles must not wait for tokens."""
_KEYS_AGE_S: Final = 2.0
"""From this age on keys are asked for again, long before a new one signs."""


@dataclass(frozen=True, slots=True)
class TokenFacts:
    """What verifies one tenant's tokens at one moment."""

    issuer: str
    jwks: str
    """A JWK Set (RFC 7517 §5)."""
    revoked: Revoked


class TokenSource(Protocol):
    """Where a stream has that from."""

    async def now(self, tenant_id: UUID, slug: str) -> TokenFacts | None:
        """What is so now, half a second old at most; None when nobody can say."""
        ...


class ReplicatedTokens:
    """A ``TokenSource`` that stands on what this server verifies its own callers with."""

    def __init__(self, *, keys: KeySource, revocations: Revocations, public_url: str) -> None:
        self._keys = keys
        self._revocations = revocations
        self._public_url = public_url.rstrip("/")
        self._asked_at_s = float("-inf")
        self._kids: tuple[str, ...] = ()
        self._jwks = ""

    async def now(self, tenant_id: UUID, slug: str) -> TokenFacts | None:
        """See ``TokenSource``."""
        try:
            async with asyncio.timeout(_PATIENCE_S):
                keys = await self._current_keys()
                revoked = self._revocations.peek(tenant_id)
                revoked = revoked or await self._revocations.get(tenant_id)
        except (ArgyError, TimeoutError):
            return None
        if not keys:
            return None
        return TokenFacts(f"{self._public_url}/{slug}", self._jwks_of(keys), revoked)

    async def _current_keys(self) -> PublicKeys:
        known = self._keys.peek()
        now_s = asyncio.get_running_loop().time()
        if known and now_s - self._asked_at_s < _KEYS_AGE_S:
            return known
        self._asked_at_s = now_s
        try:
            # No key has this id, so that it asks; those that went are forgotten by it too.
            return await self._keys.refreshed("")
        except ArgyError:
            if known:
                return known
            raise

    def _jwks_of(self, keys: PublicKeys) -> str:
        # An id is the thumbprint of its key: the same ids are the same keys.
        if tuple(keys) != self._kids:
            entries = [public_jwk(key, kid) for kid, key in keys.items()]
            self._jwks = json.dumps({"keys": entries}, separators=(",", ":"))
            self._kids = tuple(keys)
        return self._jwks


def revocations_between(old: TokenFacts | None, new: TokenFacts) -> Iterator[pb.TenantRevocations]:
    """The messages that take a replica from ``old`` to ``new``; everything when ``old`` is None.

    Entries that went are not told: they outlast every token that they end, so that a replica may
    drop them by its own clock. Another epoch or issuer begins anew, and so does a list in which one
    entry stands for many of one person's.
    """
    begun = None
    if (
        old is not None
        and (old.issuer, old.revoked.epoch) == (new.issuer, new.revoked.epoch)
        and not _gathered(old.revoked.ends_ms, new.revoked.ends_ms)
    ):
        begun = old
    had = begun.revoked.ends_ms if begun is not None else {}
    ended = [
        pb.EndedEntry(entry=entry, ends_at_ms=end_ms)
        for entry, end_ms in new.revoked.ends_ms.items()
        if had.get(entry) != end_ms
    ]
    starts = range(0, max(len(ended), 1), PART_ENTRIES)
    for start in starts:
        first = start == 0
        yield pb.TenantRevocations(
            reset=begun is None and first,
            epoch=new.revoked.epoch,
            issuer=new.issuer,
            jwks_json=new.jwks if first and (begun is None or begun.jwks != new.jwks) else "",
            ended=ended[start : start + PART_ENTRIES],
            complete=start == starts[-1],
        )


def _gathered(old: Mapping[str, int], new: Mapping[str, int]) -> bool:
    """Whether a person's entry may stand for some that went before their time."""
    people = (entry for entry in new if entry.startswith(user_entry("")))
    return any(old.get(entry) != new[entry] for entry in people) and not old.keys() <= new.keys()
