"""Access tokens: signatures verified a second on one core, and what a call pays once it was."""

import asyncio
import time
from collections.abc import Callable, Mapping
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from table import Row

from argy.base.clock import SystemClock
from argy.base.ids import uuid7
from argy.rpc.claims import Claims, WireClaims
from argy.rpc.jwt import parse_token, sign_token
from argy.rpc.revoked import Revoked, session_entry
from argy.rpc.tokens import TokenVerifier

TENANT, KID = uuid7(), "k" * 43
URL = "https://edge.example.test"
ROUNDS = 5


class Keys:
    """The published key."""

    def __init__(self, key: RSAPublicKey) -> None:
        self._keys = {KID: key}

    def peek(self) -> Mapping[str, RSAPublicKey]:
        """The key."""
        return self._keys

    async def refreshed(self, kid: str) -> Mapping[str, RSAPublicKey]:
        """The key."""
        return self._keys

    async def confirmed(self) -> Mapping[str, RSAPublicKey]:
        """The key."""
        return self._keys


class Lists:
    """A deny list of a thousand sessions."""

    def __init__(self) -> None:
        self._revoked = Revoked("e1", {session_entry(str(uuid7())): 1 for _ in range(1000)})

    def peek(self, tenant_id: UUID) -> Revoked | None:
        """The list."""
        return self._revoked

    async def get(self, tenant_id: UUID) -> Revoked:
        """The list."""
        return self._revoked

    async def renewed(self, tenant_id: UUID) -> Revoked:
        """The list."""
        return self._revoked


def rates(count: int) -> list[Row]:
    """``count`` different tokens of each key size, seen for the first time and once more."""
    rows = []
    for bits in (2048, 3072):
        private = generate_private_key(65537, bits)
        now_s = int(time.time())
        said = [_claims(now_s) for _ in range(count)]
        began = time.perf_counter()
        tokens = [sign_token(one, kid=KID, key=private) for one in said]
        signed = count / (time.perf_counter() - began)
        bare = _best(count, lambda: _bare(tokens, private.public_key()))  # noqa: B023 - run at once
        first = _best(count, lambda: asyncio.run(_verify(tokens, private.public_key())))  # noqa: B023
        again = count / asyncio.run(_again(tokens, private.public_key()))
        rows += [
            Row(f"sign, RS256 {bits}", f"{signed:,.0f}/s", ""),
            Row(
                f"verify a token never seen, RS256 {bits}",
                f"{first:,.0f}/s",
                f"{first / bare:.2f} × the bare signature check ({bare:,.0f}/s)",
                "≥ 15 k/s" if bits == 2048 else "",
            ),
            Row(
                f"verify a token seen before, RS256 {bits}",
                f"{again:,.0f}/s",
                f"{again / first:.0f} × the first time; deny list of 1,000",
                "≥ 15 k/s" if bits == 2048 else "",
            ),
        ]
    return rows


def _claims(now_s: int) -> WireClaims:
    return WireClaims(
        iss=f"{URL}/acme",
        sub=f"user:{uuid7()}",
        aud="argy",
        tenant=str(TENANT),
        sid=str(uuid7()),
        client_id="edge",
        acr="urn:argy:acr:passkey",
        amr=["passkey"],
        auth_time=now_s,
        jti=str(uuid7()),
        epoch="e1",
        iat=now_s,
        exp=now_s + 600,
    )


def _best(count: int, run: Callable[[], float]) -> float:
    """Runs a second in the best of some rounds: others share the machine."""
    return count / min(run() for _ in range(ROUNDS))


def _bare(tokens: list[str], key: RSAPublicKey) -> float:
    parsed = [parse_token(token) for token in tokens]
    padding, digest = PKCS1v15(), SHA256()
    began = time.perf_counter()
    for one in parsed:
        key.verify(one.signature, one.signed, padding, digest)
    return time.perf_counter() - began


async def _verify(tokens: list[str], key: RSAPublicKey) -> float:
    verifier = _verifier(key)
    began = time.perf_counter()
    for token in tokens:
        found = verifier.verify(token, tenant_id=TENANT, slug="acme")
        if not isinstance(found, Claims):
            await found
    return time.perf_counter() - began


async def _again(tokens: list[str], key: RSAPublicKey) -> float:
    verifier = _verifier(key)
    for token in tokens:
        found = verifier.verify(token, tenant_id=TENANT, slug="acme")
        if not isinstance(found, Claims):
            await found
    began = time.perf_counter()
    for token in tokens:
        verifier.verify(token, tenant_id=TENANT, slug="acme")
    return time.perf_counter() - began


def _verifier(key: RSAPublicKey) -> TokenVerifier:
    return TokenVerifier(keys=Keys(key), revocations=Lists(), public_url=URL, clock=SystemClock())
