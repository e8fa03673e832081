"""The keys that sign access tokens, known to every replica.

Private keys lie in the database under the envelope, and leave the process never.
"""

import asyncio
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_der_private_key

from argy.authn.tokens.key_rotation import (
    DELAY_S,
    KEY_BITS,
    OVERLAP_S,
    TABLE,
    KeyRotation,
    Rotation,
    thumbprint,
)
from argy.authn.tokens.revocation import RevocationList
from argy.base.clock import Clock
from argy.base.envelope import Kms, open_sealed
from argy.base.errors import ArgyError, FailedPrecondition
from argy.base.ids import PLATFORM_TENANT_ID
from argy.rpc.call import Call
from argy.rpc.claims import WireClaims
from argy.rpc.jwt import TRUST_S, public_jwk, sign_token
from argy.store.database import Database
from argy.store.listener import Listener
from argy.store.queries import Queries
from argy.store.times import to_time

CHANNEL: Final = "authn_signing_key"
_MIN_RELOAD_S: Final = 0.5
_RELOAD_S: Final = 60.0
_LOG: Final = logging.getLogger("argy.authn")
_Q: Final = Queries.load(__package__, "signing_queries.sql")


@dataclass(frozen=True, slots=True)
class SigningKey:
    """One key."""

    kid: str
    created_at_ms: int
    private: RSAPrivateKey = field(repr=False)


class SigningKeys:
    """Signs with the present key, and tells which keys verify (a ``KeySource``)."""

    def __init__(self, db: Database, kek: Kms, clock: Clock, *, bits: int = KEY_BITS[0]) -> None:
        self._rotation = KeyRotation(db, kek, clock, bits=bits)
        self._db = db
        self._kek = kek
        self._clock = clock
        self._keys: tuple[SigningKey, ...] = ()
        self._publics: dict[str, RSAPublicKey] = {}
        self._loaded_at_s = self._told_at_s = float("-inf")
        self._loading = asyncio.Lock()
        self._listener: Listener | None = None
        self._ticker: asyncio.Task[None] | None = None
        self._heard = asyncio.Event()

    async def start(self) -> None:
        """Make the first key if there is none, and follow rotations.

        Raises:
            FailedPrecondition: when a key does not open with the key-encryption keys given.
        """
        if not await self._rows():
            await self._rotation.make_first()
        await self._load()
        self._listener = await self._db.listen(
            {CHANNEL: lambda _: self._heard.set()},
            on_lost=lambda: None,
            on_restored=self._heard.set,
        )
        self._ticker = asyncio.create_task(self._follow(), name="signing-keys")

    async def close(self) -> None:
        """Stop following."""
        if self._listener is not None:
            await self._listener.close()
        if self._ticker is not None:
            self._ticker.cancel()
            await asyncio.gather(self._ticker, return_exceptions=True)

    def sign(self, claims: WireClaims) -> str:
        """The token of ``claims``; about a millisecond with 2048 bits."""
        key = signer_at(self._keys, self._clock.now_ms())
        return sign_token(claims, kid=key.kid, key=key.private)

    def peek(self) -> Mapping[str, RSAPublicKey]:
        """See ``KeySource``."""
        silent_s = asyncio.get_running_loop().time() - self._told_at_s
        return self._publics if silent_s <= TRUST_S else {}

    async def refreshed(self, kid: str) -> Mapping[str, RSAPublicKey]:
        """See ``KeySource``; the database is asked twice a second at most."""
        if kid not in self.peek():
            await self._load()
        return self.peek()

    async def confirmed(self) -> Mapping[str, RSAPublicKey]:
        """See ``KeySource``."""
        await self._load(anew=True)
        return self._publics

    async def jwks(self) -> str:
        """The JWK Set of the keys that verify (RFC 7517 §5), half a second old at most."""
        await self._load()
        keys = [public_jwk(public, kid) for kid, public in self._publics.items()]
        return json.dumps({"keys": keys}, separators=(",", ":"))

    async def rotate(self, call: Call) -> Rotation:
        """See ``KeyRotation``."""
        made = await self._rotation.rotate(call)
        await self._try_load()
        return made

    async def withdraw(self, call: Call, revocations: RevocationList) -> Rotation:
        """See ``KeyRotation``."""
        made = await self._rotation.withdraw(call, revocations)
        await self._try_load()
        return made

    async def _rows(self) -> Sequence[Any]:
        async with self._db.tenant(PLATFORM_TENANT_ID) as tx:
            return await tx.fetch(_Q.list_signing_keys, tx.tenant_id, self._oldest())

    def _oldest(self) -> datetime:
        return to_time(self._clock.now_ms()) - timedelta(seconds=OVERLAP_S)

    async def _load(self, *, anew: bool = False) -> None:
        """Read the keys, unless that was done within the last half second or must be done anew."""
        loop = asyncio.get_running_loop()
        async with self._loading:
            if not anew and loop.time() - self._loaded_at_s < _MIN_RELOAD_S:
                return
            began_s = loop.time()
            rows = await self._rows()
            held = {key.kid: key for key in self._keys}
            keys = [await self._key(row, held.get(row["kid"])) for row in rows]
            if not keys:
                raise FailedPrecondition("there is no signing key", reason="SIGNING_KEY_MISSING")
            self._keys = tuple(keys)
            self._publics = {key.kid: key.private.public_key() for key in keys}
            self._loaded_at_s = self._told_at_s = began_s

    async def _key(self, row: Any, held: SigningKey | None) -> SigningKey:
        private = held.private if held else await asyncio.to_thread(self._unsealed, row)
        return SigningKey(
            kid=row["kid"],
            created_at_ms=int(row["created_at"].timestamp() * 1000),
            private=private,
        )

    def _unsealed(self, row: Any) -> RSAPrivateKey:
        der = open_sealed(
            bytes(row["sealed_private"]),
            kek=self._kek,
            tenant_id=PLATFORM_TENANT_ID,
            table=TABLE,
            row=row["kid"],
        )
        key = load_der_private_key(der, None)
        if not isinstance(key, RSAPrivateKey) or thumbprint(key.public_key()) != row["kid"]:
            raise FailedPrecondition(
                "a signing key is not the one that its id names", reason="SIGNING_KEY_WRONG"
            )
        return key

    async def _follow(self) -> None:
        while True:
            try:
                async with asyncio.timeout(_RELOAD_S):
                    await self._heard.wait()
            except TimeoutError:
                pass  # keys whose last token has ended are forgotten
            self._heard.clear()
            await self._try_load()

    async def _try_load(self) -> None:
        try:
            await self._load(anew=True)
        except ArgyError as error:
            _LOG.warning("signing keys can't be read anew: %s", error.message)


def signer_at(keys: Sequence[SigningKey], now_ms: int) -> SigningKey:
    """The key that signs: the newest one that everybody can know; the first one from the start on.

    ``keys`` are sorted by when they were made.
    """
    known = [key for key in keys if key.created_at_ms + DELAY_S * 1000 <= now_ms]
    return known[-1] if known else keys[0]
