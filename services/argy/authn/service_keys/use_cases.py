"""Service keys where they are kept: secrets are derived, standing is told, ends are announced.

No secret is stored: it follows from the root ring, the tenant, the credential, its generation and
the service. The row keeps its SHA-256, which says that this very secret was handed out; it signs
nothing.
"""

from collections.abc import Iterable
from typing import Final
from uuid import UUID

from argy.authn.credentials import store
from argy.authn.credentials.usage import LastUsed
from argy.authn.service_keys.domain import service_of
from argy.authn.tokens.revocation import RevocationList
from argy.base.clock import Clock
from argy.base.secret_token import token_of
from argy.rpc.pair_keys import RootKeys
from argy.rpc.revoked import generation_entry, service_key_entry
from argy.rpc.service_key_id import SVC, ServiceKeyId
from argy.rpc.service_keys import KeyStanding
from argy.store.database import Database

FIRST_GENERATION: Final = 1


class ServiceKeys:
    """Implements ``argy.rpc.service_keys.KeyStandings`` where authn is hosted."""

    __slots__ = ("_clock", "_db", "_revocations", "_roots", "_used")

    def __init__(
        self,
        *,
        db: Database,
        roots: RootKeys,
        revocations: RevocationList,
        used: LastUsed,
        clock: Clock,
    ) -> None:
        self._db = db
        self._roots = roots
        self._revocations = revocations
        self._used = used
        self._clock = clock

    def secret(
        self, tenant_id: UUID, credential_id: UUID, generation: int, subject: str
    ) -> tuple[str, str]:
        """The secret of a generation by the root key that signs now, and its key id."""
        key = ServiceKeyId(self._roots.signing, tenant_id, credential_id, generation)
        secret = self._roots.service_secret(key, service_of(subject))
        return token_of(SVC, secret), str(key)

    async def standing(self, key: ServiceKeyId, secret_hash: str) -> KeyStanding | None:
        """See ``KeyStandings``."""
        return await self.standing_of(key.tenant_id, key.credential_id, secret_hash)

    async def standing_of(
        self, tenant_id: UUID, credential_id: UUID, secret_hash: str
    ) -> KeyStanding | None:
        """What a secret is good for now; its use is noted.

        Raises:
            Unavailable: also ``REVOCATIONS_AWAY``: a key that could not be revoked is not good.
        """
        # Before the row is read: whatever ends it after that is on this list or on a later one.
        epoch = await self._revocations.epoch(tenant_id)
        now_ms = self._clock.now_ms()
        async with self._db.tenant(tenant_id) as tx:
            found = await store.find_service_secret(tx, credential_id, secret_hash, now_ms=now_ms)
        if found is None:
            return None
        scopes, expires_at_ms = found
        self._used.note(tenant_id, credential_id, now_ms)
        return KeyStanding(frozenset(scopes), expires_at_ms, epoch)

    async def announce(self, tenant_id: UUID, credential_id: UUID, ended: int) -> None:
        """Tell every server of the last generation of a key that ended, or with 0 of its end.

        Raises:
            Unavailable: perhaps it was not told; ``end_watch`` will repeat it.
        """
        await self._revocations.deny(tenant_id, _entries(credential_id, ended))


def ended_by_rotation(before: int, *, overlap: bool) -> int:
    """The last generation that a rotation ends at once; below ``FIRST_GENERATION`` for none.

    ``before`` is the generation until then, which alone may overlap.
    """
    return before - 1 if overlap else before


def _entries(credential_id: UUID, ended: int) -> Iterable[str]:
    if not ended:
        return [service_key_entry(credential_id)]
    # The one before it may have overlapped until then; what is older was told when it ended.
    return [
        generation_entry(credential_id, generation)
        for generation in (ended - 1, ended)
        if generation >= FIRST_GENERATION
    ]
