"""Access tokens of people: JWTs (RFC 7519, RFC 9068) signed with RS256, and nothing else.

Of what RFC 8725 warns of nothing is negotiated: the algorithm, the type and the members of the
header are fixed, a key is found by its id among those that the platform published, and a header
that says anything more (``jku``, ``x5u``, ``jwk``, ``crit``) is refused. A verified token is
remembered by its digest until it ends; what may change meanwhile, revocation and whether its key
still stands, is asked each time.

Written against ``cryptography`` itself: general JWT libraries verify at half its rate or less. The
tests hold it to PyJWT.
"""

import hashlib
from collections.abc import Awaitable
from typing import Final
from uuid import UUID

from argy.base.clock import Clock
from argy.base.ids import PLATFORM_TENANT_ID
from argy.rpc.claims import Claims
from argy.rpc.jwt import (
    PublicKeys,
    Unverified,
    check_claims,
    parse_token,
    refused,
    verify_signature,
)
from argy.rpc.revoked import Revoked
from argy.rpc.standing_keys import StandingKeys
from argy.rpc.token_sources import KeySource, Revocations

_MAX_TOKENS: Final = 50_000
_Seen = tuple[Claims, str, str, str]
"""What a token says, the list that it stands on, its key and its issuer."""


class TokenVerifier:
    """Verifies access tokens of one platform, whose issuers are ``<public url>/<tenant slug>``."""

    __slots__ = ("_clock", "_keys", "_public_url", "_revocations", "_seen")

    def __init__(
        self, *, keys: KeySource, revocations: Revocations, public_url: str, clock: Clock
    ) -> None:
        self._keys = StandingKeys(keys, revocations)
        self._revocations = revocations
        self._public_url = public_url.rstrip("/")
        self._clock = clock
        self._seen: dict[bytes, _Seen] = {}

    def verify(self, token: str, *, tenant_id: UUID, slug: str) -> Claims | Awaitable[Claims]:
        """What a token of this tenant says, at once when nothing has to be asked.

        Raises (or the awaitable does):
            Unauthenticated: with a reason that starts with ``TOKEN_``.
            Unavailable: when the keys or the revocations can't be had; never a yes.
        """
        digest = hashlib.sha256(token.encode()).digest()
        seen = self._seen.get(digest)
        revoked = self._revocations.peek(tenant_id)
        keys = self._keys.peek()
        if (
            seen is None
            or revoked is None
            or seen[1] != revoked.epoch
            # Withdrawn, or not confirmed for too long.
            or seen[2] not in keys
        ):
            return self._ask(token, digest, tenant_id, slug)
        return self._admit(seen, keys, revoked, tenant_id, slug)

    async def verify_now(self, token: str, *, tenant_id: UUID, slug: str) -> Claims:
        """As ``verify``, by the lists of this very moment rather than copies of them."""
        parse_token(token)
        await self._revocations.renewed(PLATFORM_TENANT_ID)
        seen, keys = await self._verified(token, tenant_id, slug)
        revoked = await self._revocations.renewed(tenant_id)
        return self._admit(seen, keys, revoked, tenant_id, slug)

    async def _ask(self, token: str, digest: bytes, tenant_id: UUID, slug: str) -> Claims:
        seen = self._seen.get(digest)
        if seen is None:
            seen, keys = await self._verified(token, tenant_id, slug)
            self._remember(digest, seen)
        else:
            keys = await self._keys_with(seen[2])
        revoked = self._revocations.peek(tenant_id) or await self._revocations.get(tenant_id)
        if seen[1] != revoked.epoch:
            # Perhaps of a list that began since the copy was read.
            revoked = await self._revocations.renewed(tenant_id)
        return self._admit(seen, keys, revoked, tenant_id, slug)

    async def _verified(self, token: str, tenant_id: UUID, slug: str) -> tuple[_Seen, PublicKeys]:
        parsed = parse_token(token)
        keys = await self._keys_with(parsed.kid)
        verify_signature(parsed, keys)
        return self._read(parsed, tenant_id, slug), keys

    async def _keys_with(self, kid: str) -> PublicKeys:
        keys = self._keys.peek()
        return keys if kid in keys else await self._keys.refreshed(kid)

    def _read(self, parsed: Unverified, tenant_id: UUID, slug: str) -> _Seen:
        issuer = f"{self._public_url}/{slug}"
        claims, epoch = check_claims(
            parsed.payload, issuer=issuer, tenant_id=tenant_id, now_ms=self._clock.now_ms()
        )
        return claims, epoch, parsed.kid, issuer

    def _admit(
        self, seen: _Seen, keys: PublicKeys, revoked: Revoked, tenant_id: UUID, slug: str
    ) -> Claims:
        claims, epoch, kid, issuer = seen
        if claims.tenant_id != tenant_id or issuer != f"{self._public_url}/{slug}":
            raise refused("it is of another tenant", "TOKEN_OF_ANOTHER_TENANT")
        if kid not in keys:
            raise refused("its key is no longer good", "TOKEN_KEY_UNKNOWN")
        if claims.expires_at_s * 1000 <= self._clock.now_ms():
            raise refused("it has ended", "TOKEN_EXPIRED")
        revoked.check(claims, epoch)
        return claims

    def _remember(self, digest: bytes, seen: _Seen) -> None:
        if len(self._seen) >= _MAX_TOKENS:
            now_s = self._clock.now_ms() // 1000
            self._seen = {d: s for d, s in self._seen.items() if s[0].expires_at_s > now_s}
        if len(self._seen) >= _MAX_TOKENS:
            # A tenth at a time, the oldest first: a full memory is not gone through each time.
            for old in list(self._seen)[: _MAX_TOKENS // 10]:
                del self._seen[old]
        self._seen[digest] = seen
