"""Makes the keys that sign access tokens, and ends them: in time, or at once when one leaked.

A key that takes another's turn signs ``DELAY_S`` after it was made, when every copy of the
published keys has it; the one before it verifies until the last token that it signed has ended.
A withdrawal waits for nobody: the keys of before are gone, and an entry of the platform's deny list
ends them wherever a copy is left (``argy.rpc.standing_keys``).
"""

import asyncio
import hashlib
import json
import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.rsa import (
    RSAPrivateKey,
    RSAPublicKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from argy.authn.tokens.revocation import RevocationList
from argy.base.clock import Clock
from argy.base.envelope import Kms, seal
from argy.base.errors import InvalidArgument
from argy.base.ids import PLATFORM_TENANT_ID
from argy.rpc.call import Call
from argy.rpc.claims import MAX_LIFETIME_S
from argy.rpc.jwt import PUBLISHED_AGE_S, b64, public_jwk
from argy.rpc.revoked import withdrawn_entry
from argy.store.database import Database, Tx
from argy.store.queries import Queries
from argy.store.times import to_time
from argy.trail.records import AuditRecord, record

TABLE: Final = "authn.signing_key"
DELAY_S: Final = PUBLISHED_AGE_S + 30
OVERLAP_S: Final = MAX_LIFETIME_S + DELAY_S + 60
KEY_BITS: Final = (2048, 3072)
_EXPONENT: Final = 65_537
_LOG: Final = logging.getLogger("argy.authn")
_Q: Final = Queries.load(__package__, "signing_queries.sql")


@dataclass(frozen=True, slots=True)
class Rotation:
    """A key that was made, when it begins to sign, and the keys that were withdrawn for it."""

    kid: str
    signs_at_ms: int
    withdrawn: tuple[str, ...] = ()


class KeyRotation:
    """Writes signing keys; ``db`` acts as argy_authn."""

    __slots__ = ("_bits", "_clock", "_db", "_kek")

    def __init__(self, db: Database, kek: Kms, clock: Clock, *, bits: int) -> None:
        if bits not in KEY_BITS:
            raise InvalidArgument(
                f"a signing key has {' or '.join(map(str, KEY_BITS))} bits", field="bits"
            )
        self._db = db
        self._kek = kek
        self._clock = clock
        self._bits = bits

    async def make_first(self) -> None:
        """Make a key if there is none; of many at once one does."""
        made = await self._generate()
        async with self._db.tenant(PLATFORM_TENANT_ID) as tx:
            await tx.execute(_Q.lock_signing_keys)
            now = to_time(self._clock.now_ms())
            # Whoever waited for the lock finds what its holder made.
            oldest = now - timedelta(seconds=OVERLAP_S)
            if await tx.fetch(_Q.list_signing_keys, tx.tenant_id, oldest):
                return
            kid = await self._insert(tx, made, now)
            await self._record(tx, None, "create", kid)

    async def rotate(self, call: Call) -> Rotation:
        """Make the key that signs when everybody can know it."""
        made = await self._generate()
        async with self._db.tenant(PLATFORM_TENANT_ID) as tx:
            await tx.execute(_Q.lock_signing_keys)
            now_ms = self._clock.now_ms()
            now = to_time(now_ms)
            await tx.execute(_Q.retire_signing_keys, tx.tenant_id, now)
            await tx.execute(
                _Q.forget_signing_keys, tx.tenant_id, now - timedelta(seconds=OVERLAP_S)
            )
            kid = await self._insert(tx, made, now)
            await self._record(tx, call, "rotate", kid)
        return Rotation(kid, now_ms + DELAY_S * 1000)

    async def withdraw(self, call: Call, revocations: RevocationList) -> Rotation:
        """Make the key that signs at once, and end all others with what they signed.

        Raises:
            Unavailable: ``REVOCATIONS_AWAY``: nothing was changed, and no token is taken meanwhile.
        """
        made = await self._generate()
        async with self._db.tenant(PLATFORM_TENANT_ID) as tx:
            await tx.execute(_Q.lock_signing_keys)
            now_ms = self._clock.now_ms()
            rows = await tx.fetch(_Q.withdraw_signing_keys, tx.tenant_id)
            withdrawn = tuple(sorted(row["kid"] for row in rows))
            kid = await self._insert(tx, made, to_time(now_ms))
            await self._record(tx, call, "withdraw", kid, withdrawn)
            # Inside: a key that is gone from the table but not denied could not be denied again.
            await revocations.deny(tx.tenant_id, map(withdrawn_entry, withdrawn))
        _LOG.warning(
            "signing keys %s were withdrawn by %s: every token that they signed is refused",
            ", ".join(withdrawn),
            call.caller,
        )
        return Rotation(kid, now_ms, withdrawn)

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

    async def _record(
        self, tx: Tx, call: Call | None, done: str, kid: str, withdrawn: tuple[str, ...] = ()
    ) -> None:
        detail: dict[str, object] = {"bits": self._bits}
        if withdrawn:
            detail["withdrawn"] = list(withdrawn)
        action, resource = f"authn.signing_key.{done}", f"authn.signing_key:{kid}"
        about: Any = {"detail": detail, "occurred_at_ms": self._clock.now_ms()}
        if call is None:
            rec = AuditRecord(actor="service:authn", action=action, resource=resource, **about)
        else:
            rec = AuditRecord.of(call, action, resource, org_id=None, **about)
        await record(tx, rec, call)


def thumbprint(key: RSAPublicKey) -> str:
    """The JWK thumbprint of a public key with SHA-256 (RFC 7638): 43 characters of base64url."""
    jwk = public_jwk(key, "")
    canonical = json.dumps(
        {name: jwk[name] for name in ("e", "kty", "n")}, separators=(",", ":"), sort_keys=True
    )
    return b64(hashlib.sha256(canonical.encode()).digest())
