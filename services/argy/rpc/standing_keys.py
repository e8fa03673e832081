"""The platform's public keys without those that were withdrawn, however old a copy of them is.

A signing key that leaked is withdrawn by an entry of the platform's own deny list
(``withdrawn_entry``), which every server reads anew twice a second. The entry outlasts every copy
of the keys (``argy.rpc.jwks.TRUST_S``). When the list itself was lost, or another server keeps it,
the copy is not believed until the keys were asked for again.
"""

import asyncio

from argy.base.ids import PLATFORM_TENANT_ID
from argy.rpc.jwt import PublicKeys
from argy.rpc.revoked import Revoked, withdrawn_entry
from argy.rpc.token_sources import KeySource, Revocations


class StandingKeys:
    """A ``KeySource`` over another one."""

    __slots__ = ("_derived_from", "_keys", "_renewing", "_revocations", "_standing", "_stands_on")

    def __init__(self, keys: KeySource, revocations: Revocations) -> None:
        self._keys = keys
        self._revocations = revocations
        self._renewing = asyncio.Lock()
        self._stands_on: tuple[str, str] | None = None
        """The list that was read before the keys were asked for."""
        self._derived_from: tuple[PublicKeys, Revoked] | None = None
        self._standing: PublicKeys = {}

    def peek(self) -> PublicKeys:
        """See ``KeySource``; none while the list has to be read first."""
        revoked = self._revocations.peek(PLATFORM_TENANT_ID)
        if revoked is None or revoked.name != self._stands_on:
            return {}
        return self._without_withdrawn(self._keys.peek(), revoked)

    async def refreshed(self, kid: str) -> PublicKeys:
        """See ``KeySource``; raises Unavailable also when the list can't be read."""
        revoked = await self._current()
        known = self._keys.peek()
        if kid not in known:
            known = await self._keys.refreshed(kid)
        if kid not in known:
            # One may have been withdrawn this moment, and this one signs already.
            revoked = await self._revocations.renewed(PLATFORM_TENANT_ID)
            if len(self._without_withdrawn(known, revoked)) < len(known):
                known = await self._keys.confirmed()
        return self._without_withdrawn(known, revoked)

    async def confirmed(self) -> PublicKeys:
        """See ``KeySource``; the list is read anew too."""
        revoked = await self._revocations.renewed(PLATFORM_TENANT_ID)
        known = await self._keys.confirmed()
        self._stands_on = revoked.name
        return self._without_withdrawn(known, revoked)

    async def _current(self) -> Revoked:
        """The platform's list, with the keys asked for after it began."""
        revoked = await self._list()
        if revoked.name == self._stands_on:
            return revoked
        async with self._renewing:
            revoked = await self._list()
            if revoked.name != self._stands_on:
                await self._keys.confirmed()
                self._stands_on = revoked.name
        return revoked

    async def _list(self) -> Revoked:
        copy = self._revocations.peek(PLATFORM_TENANT_ID)
        return copy or await self._revocations.get(PLATFORM_TENANT_ID)

    def _without_withdrawn(self, known: PublicKeys, revoked: Revoked) -> PublicKeys:
        was = self._derived_from
        if was is None or was[0] is not known or was[1] is not revoked:
            ended = revoked.ends_ms
            self._standing = {k: v for k, v in known.items() if withdrawn_entry(k) not in ended}
            self._derived_from = (known, revoked)
        return self._standing
