"""The platform's public keys, for servers that don't host authn: asked for with GetJwks, kept."""

import asyncio
import binascii
import logging
from base64 import urlsafe_b64decode
from typing import Any, Final

import msgspec
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey, RSAPublicNumbers

from argy.api.authn.v1.token_pb2 import GetJwksRequest
from argy.api.authn.v1.token_pb2_grpc import TokenServiceStub
from argy.base.errors import ArgyError, Unavailable
from argy.rpc.client import SignedChannel
from argy.rpc.jwt import ALGORITHM, MIN_KEY_BITS, TRUST_S, PublicKeys

_MIN_AGE_S: Final = 0.5
"""Unknown key ids make it ask twice a second at most."""
_MAX_AGE_S: Final = 60.0
"""From this age on keys are asked for again, so that those that went are forgotten."""
_MAX_KEYS: Final = 16
_MAX_EXPONENT: Final = (1 << 32) - 1
_LOG: Final = logging.getLogger("argy.rpc")


class RemoteKeys:
    """Implements ``argy.rpc.token_sources.KeySource`` over a signed channel."""

    def __init__(
        self, channel: SignedChannel, *, timeout_s: float = 2.0, trust_s: float = TRUST_S
    ) -> None:
        self._stub: Any = TokenServiceStub(channel)
        self._timeout_s = timeout_s
        self._trust_s = trust_s
        self._keys: PublicKeys = {}
        self._asked_at_s = self._told_at_s = float("-inf")
        self._answered = True
        self._asking = asyncio.Lock()
        self._refresh: asyncio.Task[None] | None = None

    def peek(self) -> PublicKeys:
        """See ``KeySource``; keys that grow old are asked for again in the background."""
        now_s = asyncio.get_running_loop().time()
        if now_s - self._asked_at_s > _MAX_AGE_S and self._keys and self._refresh is None:
            self._refresh = asyncio.create_task(self._again(), name="jwks")
        return self._keys if now_s - self._told_at_s <= self._trust_s else {}

    async def refreshed(self, kid: str) -> PublicKeys:
        """See ``KeySource``."""
        if kid not in self.peek():
            await self._ask()
        return self._keys

    async def confirmed(self) -> PublicKeys:
        """See ``KeySource``; after a failure not asked again at once."""
        await self._ask(anew=True)
        return self._keys

    async def close(self) -> None:
        """End what runs."""
        if self._refresh is not None:
            self._refresh.cancel()
            await asyncio.gather(self._refresh, return_exceptions=True)

    async def _again(self) -> None:
        try:
            await self._ask()
        except ArgyError as error:
            _LOG.warning("public keys can't be asked for: %s", error.message)
        finally:
            self._refresh = None

    async def _ask(self, *, anew: bool = False) -> None:
        loop = asyncio.get_running_loop()
        async with self._asking:
            began_s = loop.time()
            if began_s - self._asked_at_s < _MIN_AGE_S:
                if not self._answered:
                    # Nobody knows yet that a key is unknown.
                    raise Unavailable("the platform's keys can't be asked for", reason="JWKS_AWAY")
                if not anew:
                    return
            self._asked_at_s, self._answered = began_s, False
            response = await self._stub.GetJwks(GetJwksRequest(), timeout=self._timeout_s)
            self._keys = read_jwks(response.jwks_json)
            self._told_at_s, self._answered = began_s, True


def read_jwks(text: str) -> PublicKeys:
    """The RS256 keys of a JWK Set, by kid; others and weak ones are passed over.

    Raises:
        Unavailable: ``JWKS_MALFORMED``.
    """
    try:
        entries = msgspec.json.decode(text)["keys"][:_MAX_KEYS]
        found = {str(entry["kid"]): _key(entry) for entry in entries if _usable(entry)}
    except (
        msgspec.DecodeError,
        KeyError,
        TypeError,
        ValueError,
        RecursionError,
        binascii.Error,
    ) as error:
        raise Unavailable("the platform's keys can't be read", reason="JWKS_MALFORMED") from error
    return {kid: key for kid, key in found.items() if key.key_size >= MIN_KEY_BITS}


def _usable(entry: Any) -> bool:
    wanted = {"kty": "RSA", "alg": ALGORITHM, "use": "sig"}
    return isinstance(entry, dict) and all(
        entry.get(name) == value for name, value in wanted.items()
    )


def _key(entry: Any) -> RSAPublicKey:
    n, e = _number(entry["n"]), _number(entry["e"])
    if e > _MAX_EXPONENT:
        raise ValueError("the exponent is too large")
    return RSAPublicNumbers(e, n).public_key()


def _number(text: str) -> int:
    return int.from_bytes(urlsafe_b64decode(text + "=" * (-len(text) % 4)), "big")
