"""Access tokens of people: JWTs (RFC 7519, RFC 9068) signed with RS256, and nothing else.

Of what RFC 8725 warns of nothing is negotiated: the algorithm, the type and the members of the
header are fixed, a key is found by its id among those that the platform published, and a header
that says anything more (``jku``, ``x5u``, ``jwk``, ``crit``) is refused. A verified token is
remembered by its digest until it ends; what may change meanwhile, revocation, is asked each time.

Written against ``cryptography`` itself: general JWT libraries verify at half its rate or less. The
tests hold it to PyJWT.
"""

import hashlib
from collections.abc import Awaitable
from typing import Final, Protocol
from uuid import UUID

from argy.base.clock import Clock
from argy.rpc.call import Claims
from argy.rpc.jwt import (
    PublicKeys,
    Unverified,
    check_claims,
    parse_token,
    refused,
    verify_signature,
)
from argy.rpc.revoked import Revoked

_MAX_TOKENS: Final = 50_000


class KeySource(Protocol):
    """The public keys that verify, by ``kid``."""

    def peek(self) -> PublicKeys:
        """The keys that are known now; no I/O."""
        ...

    async def refreshed(self, kid: str) -> PublicKeys:
        """The keys, asked for again if ``kid`` is not among them; bounded in how often.

        Raises:
            Unavailable: when nobody can say.
        """
        ...


class Revocations(Protocol):
    """Which tokens were ended before their time."""

    def peek(self, tenant_id: UUID) -> Revoked | None:
        """The tenant's list if a copy is here that is fresh enough to be believed; no I/O."""
        ...

    async def get(self, tenant_id: UUID) -> Revoked:
        """The tenant's list; raises Unavailable when it can't be had."""
        ...

    async def renewed(self, tenant_id: UUID) -> Revoked:
        """The tenant's list, read after this was called; raises Unavailable."""
        ...


class TokenVerifier:
    """Verifies access tokens of one platform, whose issuers are ``<public url>/<tenant slug>``."""

    __slots__ = ("_clock", "_keys", "_public_url", "_revocations", "_seen")

    def __init__(
        self, *, keys: KeySource, revocations: Revocations, public_url: str, clock: Clock
    ) -> None:
        self._keys = keys
        self._revocations = revocations
        self._public_url = public_url.rstrip("/")
        self._clock = clock
        self._seen: dict[bytes, tuple[Claims, str, str, str]] = {}

    def verify(self, token: str, *, tenant_id: UUID, slug: str) -> Claims | Awaitable[Claims]:
        """What a token of this tenant says, at once when nothing has to be asked.

        Raises (or the awaitable does):
            Unauthenticated: with a reason that starts with ``TOKEN_``.
            Unavailable: when the keys or the revocations can't be had; never a yes.
        """
        digest = hashlib.sha256(token.encode()).digest()
        seen = self._seen.get(digest)
        revoked = self._revocations.peek(tenant_id)
        if (
            seen is None
            or revoked is None
            or seen[1] != revoked.epoch
            or seen[2] not in self._keys.peek()
        ):
            return self._ask(token, digest, tenant_id, slug)
        return self._admit(seen, revoked, tenant_id, slug)

    async def verify_now(self, token: str, *, tenant_id: UUID, slug: str) -> Claims:
        """As ``verify``, by the deny list of this very moment rather than a copy of it."""
        seen = await self._verified(token, tenant_id, slug)
        return self._admit(seen, await self._revocations.renewed(tenant_id), tenant_id, slug)

    async def _ask(self, token: str, digest: bytes, tenant_id: UUID, slug: str) -> Claims:
        seen = self._seen.get(digest)
        if seen is None:
            seen = await self._verified(token, tenant_id, slug)
            self._remember(digest, seen)
        elif seen[2] not in self._keys.peek():
            # Withdrawn, or not confirmed for too long.
            await self._keys.refreshed(seen[2])
        revoked = self._revocations.peek(tenant_id) or await self._revocations.get(tenant_id)
        if seen[1] != revoked.epoch:
            # Perhaps of a list that began since the copy was read.
            revoked = await self._revocations.renewed(tenant_id)
        return self._admit(seen, revoked, tenant_id, slug)

    async def _verified(
        self, token: str, tenant_id: UUID, slug: str
    ) -> tuple[Claims, str, str, str]:
        parsed = parse_token(token)
        keys = self._keys.peek()
        if parsed.kid not in keys:
            keys = await self._keys.refreshed(parsed.kid)
        verify_signature(parsed, keys)
        return self._read(parsed, tenant_id, slug)

    def _read(self, parsed: Unverified, tenant_id: UUID, slug: str) -> tuple[Claims, str, str, str]:
        issuer = f"{self._public_url}/{slug}"
        claims, epoch = check_claims(
            parsed.payload, issuer=issuer, tenant_id=tenant_id, now_ms=self._clock.now_ms()
        )
        return claims, epoch, parsed.kid, issuer

    def _admit(
        self, seen: tuple[Claims, str, str, str], revoked: Revoked, tenant_id: UUID, slug: str
    ) -> Claims:
        claims, epoch, kid, issuer = seen
        if claims.tenant_id != tenant_id or issuer != f"{self._public_url}/{slug}":
            raise refused("it is of another tenant", "TOKEN_OF_ANOTHER_TENANT")
        if kid not in self._keys.peek():
            raise refused("its key is no longer good", "TOKEN_KEY_UNKNOWN")
        if claims.expires_at_s * 1000 <= self._clock.now_ms():
            raise refused("it has ended", "TOKEN_EXPIRED")
        revoked.check(claims, epoch)
        return claims

    def _remember(self, digest: bytes, seen: tuple[Claims, str, str, str]) -> None:
        if len(self._seen) >= _MAX_TOKENS:
            now_s = self._clock.now_ms() // 1000
            self._seen = {d: s for d, s in self._seen.items() if s[0].expires_at_s > now_s}
        if len(self._seen) >= _MAX_TOKENS:
            # A tenth at a time, the oldest first: a full memory is not gone through each time.
            for old in list(self._seen)[: _MAX_TOKENS // 10]:
                del self._seen[old]
        self._seen[digest] = seen
