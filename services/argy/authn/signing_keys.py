"""The keys that sign access tokens: made, rotated, known to every replica.

A rotated key signs ``DELAY_S`` after it was made, when every verifier can have heard of it; the one
before it verifies until the last token that it signed has ended. Private keys lie in the database
under the envelope, and leave the process never.
"""

import asyncio
import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.rsa import (
    RSAPrivateKey,
    RSAPublicKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)

from argy.authn.token_store import moment
from argy.base.clock import Clock
from argy.base.envelope import Kms, open_sealed, seal
from argy.base.errors import ArgyError, FailedPrecondition, InvalidArgument
from argy.base.ids import PLATFORM_TENANT_ID
from argy.rpc.call import Call
from argy.rpc.jwt import WireClaims, b64, public_jwk, sign_token
from argy.rpc.revoked import MAX_LIFETIME_S
from argy.store.audit import AuditRecord, record
from argy.store.database import Database, Tx
from argy.store.listener import Listener
from argy.store.queries import Queries

TABLE: Final = "authn.signing_key"
CHANNEL: Final = "authn_signing_key"
DELAY_S: Final = 5
OVERLAP_S: Final = MAX_LIFETIME_S + DELAY_S + 60
KEY_BITS: Final = (2048, 3072)
_MIN_RELOAD_S: Final = 0.5
_RELOAD_S: Final = 60.0
_LOG: Final = logging.getLogger("argy.authn")
_EXPONENT: Final = 65_537
_Q: Final = Queries.load(__package__, "signing_queries.sql")


@dataclass(frozen=True, slots=True)
class SigningKey:
    """One key."""

    kid: str
    created_at_ms: int
    private: RSAPrivateKey = field(repr=False)


class SigningKeys:
    """Signs with the present key, and tells which keys verify (``argy.rpc.tokens.KeySource``)."""

    def __init__(self, db: Database, kek: Kms, clock: Clock, *, bits: int = KEY_BITS[0]) -> None:
        if bits not in KEY_BITS:
            raise InvalidArgument(
                f"a signing key has {' or '.join(map(str, KEY_BITS))} bits", field="bits"
            )
        self._db = db
        self._kek = kek
        self._clock = clock
        self._bits = bits
        self._keys: tuple[SigningKey, ...] = ()
        self._publics: dict[str, RSAPublicKey] = {}
        self._loaded_at_s = float("-inf")
        self._loading = asyncio.Lock()
        self._listener: Listener | None = None
        self._ticker: asyncio.Task[None] | None = None
        self._heard = asyncio.Event()

    async def start(self) -> None:
        """Make the first key if there is none, and follow rotations.

        Raises:
            FailedPrecondition: when a key does not open with the key-encryption keys given.
        """
        await self._ensure_first()
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
        return self._publics

    async def refreshed(self, kid: str) -> Mapping[str, RSAPublicKey]:
        """See ``KeySource``; the database is asked twice a second at most."""
        if kid not in self._publics:
            await self._load()
        return self._publics

    async def jwks(self) -> str:
        """The JWK Set of the keys that verify (RFC 7517 §5), half a second old at most."""
        await self._load()
        keys = [public_jwk(public, kid) for kid, public in self._publics.items()]
        return json.dumps({"keys": keys}, separators=(",", ":"))

    async def rotate(self, call: Call) -> str:
        """Make the key that signs in a moment; returns its id."""
        made = await self._generate()
        async with self._db.tenant(PLATFORM_TENANT_ID) as tx:
            await tx.execute(_Q.lock_signing_keys)
            now = moment(self._clock.now_ms())
            await tx.execute(_Q.retire_signing_keys, tx.tenant_id, now)
            await tx.execute(
                _Q.forget_signing_keys, tx.tenant_id, now - timedelta(seconds=OVERLAP_S)
            )
            kid = await self._insert(tx, made, now)
            await record(
                tx,
                AuditRecord(
                    actor=call.caller,
                    action="authn.signing_key.rotate",
                    resource=f"authn.signing_key:{kid}",
                    request_id=call.request_id,
                    trace_id=call.trace_id,
                    detail={"bits": self._bits, **({"via": call.source} if call.acts_for else {})},
                    occurred_at_ms=self._clock.now_ms(),
                ),
            )
        call.mark_audited()
        self._loaded_at_s = float("-inf")
        await self._load()
        return kid

    async def _ensure_first(self) -> None:
        if await self._rows():
            return
        made = await self._generate()
        async with self._db.tenant(PLATFORM_TENANT_ID) as tx:
            await tx.execute(_Q.lock_signing_keys)
            # Whoever waited for the lock finds what its holder made.
            if await tx.fetch(_Q.list_signing_keys, tx.tenant_id, self._oldest()):
                return
            now_ms = self._clock.now_ms()
            kid = await self._insert(tx, made, moment(now_ms))
            await record(
                tx,
                AuditRecord(
                    actor="service:authn",
                    action="authn.signing_key.create",
                    resource=f"authn.signing_key:{kid}",
                    detail={"bits": self._bits},
                    occurred_at_ms=now_ms,
                ),
            )

    async def _generate(self) -> RSAPrivateKey:
        return await asyncio.to_thread(generate_private_key, _EXPONENT, self._bits)

    async def _insert(self, tx: Tx, key: RSAPrivateKey, now: datetime) -> str:
        kid = thumbprint(key.public_key())
        der = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        sealed = await asyncio.to_thread(
            seal, der, kek=self._kek, tenant_id=tx.tenant_id, table=TABLE, row=kid
        )
        jwk = json.dumps(public_jwk(key.public_key(), kid), separators=(",", ":"))
        await tx.execute(_Q.insert_signing_key, tx.tenant_id, kid, jwk, sealed, now)
        await tx.execute(_Q.announce_signing_keys, kid)
        return kid

    async def _rows(self) -> Sequence[Any]:
        async with self._db.tenant(PLATFORM_TENANT_ID) as tx:
            return await tx.fetch(_Q.list_signing_keys, tx.tenant_id, self._oldest())

    def _oldest(self) -> datetime:
        return moment(self._clock.now_ms()) - timedelta(seconds=OVERLAP_S)

    async def _load(self) -> None:
        """Read the keys, unless that was done within the last half second."""
        loop = asyncio.get_running_loop()
        async with self._loading:
            if loop.time() - self._loaded_at_s < _MIN_RELOAD_S:
                return
            began_s = loop.time()
            rows = await self._rows()
            held = {key.kid: key for key in self._keys}
            keys = [await self._key(row, held.get(row["kid"])) for row in rows]
            if not keys:
                raise FailedPrecondition("there is no signing key", reason="SIGNING_KEY_MISSING")
            self._keys = tuple(keys)
            self._publics = {key.kid: key.private.public_key() for key in keys}
            self._loaded_at_s = began_s

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
            self._loaded_at_s = float("-inf")
            await self._try_load()

    async def _try_load(self) -> None:
        try:
            await self._load()
        except ArgyError as error:
            _LOG.warning("signing keys can't be read anew: %s", error.message)


def signer_at(keys: Sequence[SigningKey], now_ms: int) -> SigningKey:
    """The key that signs: the newest one that everybody can know; the first one from the start on.

    ``keys`` are sorted by when they were made.
    """
    known = [key for key in keys if key.created_at_ms + DELAY_S * 1000 <= now_ms]
    return known[-1] if known else keys[0]


def thumbprint(key: RSAPublicKey) -> str:
    """The JWK thumbprint of a public key with SHA-256 (RFC 7638): 43 characters of base64url."""
    jwk = public_jwk(key, "")
    canonical = json.dumps(
        {name: jwk[name] for name in ("e", "kty", "n")}, separators=(",", ":"), sort_keys=True
    )
    return b64(hashlib.sha256(canonical.encode()).digest())
