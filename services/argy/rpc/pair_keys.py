"""Keys of pairs of services, so that no service can sign as another, or to another.

HKDF-SHA256(root, salt = key id, info = "argy-s2s-v1" ‖ source ‖ destination), each length-prefixed.

The secret of a service key (``argy.rpc.service_key_id``) stands in for the root:
HKDF-SHA256(root, salt = root key id, info = "argy-service-key-v1" ‖ tenant ‖ credential ‖
generation ‖ service). So servers need nobody to verify its signature, and nothing stored signs.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, Protocol

from argy.base.crypto import (
    KEY_BYTES,
    KeyRing,
    decode_key,
    encode_key,
    hkdf_sha256,
    read_secret_json,
)
from argy.base.errors import InvalidArgument, Unauthenticated
from argy.rpc.service_key_id import START, ServiceKeyId, parse_key_id

_INFO: Final = b"argy-s2s-v1"
_SERVICE_KEY_INFO: Final = b"argy-service-key-v1"
_MAX_DERIVED: Final = 4096


class PairKeys(Protocol):
    """Keys by (key id, source, destination)."""

    @property
    def signing(self) -> str:
        """The id of the key that signs."""
        ...

    def pair_key(self, key_id: str, source: str, destination: str) -> bytes:
        """The 32-byte key; raises Unauthenticated with ``KEY_UNKNOWN`` when there is none."""
        ...


class RootKeys:
    """Derives every pair's keys from the root keys; only the platform itself holds these."""

    __slots__ = ("_derived", "_ring")

    def __init__(self, ring: KeyRing) -> None:
        self._ring = ring
        self._derived: dict[tuple[str, str, str], bytes] = {}

    @property
    def signing(self) -> str:
        """The id of the key that signs."""
        return self._ring.signing

    def pair_key(self, key_id: str, source: str, destination: str) -> bytes:
        """See ``PairKeys``."""
        pair = (key_id, source, destination)
        key = self._derived.get(pair)
        if key is None:
            root = (
                self.service_secret(parse_key_id(key_id), source)
                if key_id.startswith(START)
                else self._root(key_id)
            )
            key = derive_pair_key(root, key_id=key_id, source=source, destination=destination)
            # Sources are the caller's word until the MAC is verified: keep the cache bounded.
            if len(self._derived) >= _MAX_DERIVED:
                self._derived.clear()
            self._derived[pair] = key
        return key

    def service_secret(self, key: ServiceKeyId, service: str) -> bytes:
        """The 32-byte secret of a service key; whether it is good is another question.

        Raises:
            Unauthenticated: ``KEY_UNKNOWN`` when its root key is not live.
        """
        return derive_service_secret(self._root(key.root_id), key, service)

    def issue(self, source: str, destinations: Iterable[str]) -> "IssuedKeys":
        """The keys that ``source`` needs to call ``destinations``, under every live key id."""
        names = tuple(destinations)
        return IssuedKeys(
            source=source,
            signing=self.signing,
            keys={
                key_id: {name: self.pair_key(key_id, source, name) for name in names}
                for key_id in self._ring.keys
            },
        )

    def _root(self, key_id: str) -> bytes:
        root = self._ring.keys.get(key_id)
        if root is None:
            raise _unknown_key(key_id)
        return root


class IssuedKeys:
    """The pair keys of one service: what a client holds instead of the root."""

    __slots__ = ("_keys", "signing", "source")

    def __init__(self, *, source: str, signing: str, keys: dict[str, dict[str, bytes]]) -> None:
        self.source = source
        self.signing = signing
        self._keys = keys

    @classmethod
    def load(cls, path: Path) -> "IssuedKeys":
        """Read the file that ``to_json`` describes; it must be readable by its owner alone."""
        return cls.from_json(read_secret_json(path), origin=str(path))

    @classmethod
    def from_json(cls, value: Mapping[str, Any], *, origin: str) -> "IssuedKeys":
        """The keys that ``to_json`` describes; raises InvalidArgument, naming ``origin``."""
        try:
            keys = {
                str(key_id): {str(name): decode_key(text) for name, text in pairs.items()}
                for key_id, pairs in value["keys"].items()
            }
            issued = cls(source=str(value["source"]), signing=str(value["signing"]), keys=keys)
        except (KeyError, AttributeError, TypeError, ValueError) as error:
            raise InvalidArgument(f"{origin} does not hold issued keys: {error}") from error
        if any(len(key) != KEY_BYTES for pairs in keys.values() for key in pairs.values()):
            raise InvalidArgument(f"{origin} holds a key that is not of {KEY_BYTES} bytes")
        if issued.signing not in keys:
            raise InvalidArgument(f"{origin} signs with a key that it does not hold")
        return issued

    def to_json(self) -> dict[str, object]:
        """``{"source", "signing", "keys": {key id: {destination: base64}}}``: secret."""
        keys = {
            key_id: {name: encode_key(key) for name, key in pairs.items()}
            for key_id, pairs in self._keys.items()
        }
        return {"source": self.source, "signing": self.signing, "keys": keys}

    def pair_key(self, key_id: str, source: str, destination: str) -> bytes:
        """See ``PairKeys``."""
        key = self._keys.get(key_id, {}).get(destination) if source == self.source else None
        if key is None:
            raise Unauthenticated(
                f"no key to call '{destination}' as '{source}': have one issued",
                reason="KEY_UNKNOWN",
            )
        return key


def derive_pair_key(root: bytes, *, key_id: str, source: str, destination: str) -> bytes:
    """The 32-byte key that ``source`` signs its calls to ``destination`` with (RFC 5869)."""
    info = length_prefixed(_INFO, source.encode(), destination.encode())
    return hkdf_sha256(root, salt=key_id.encode(), info=info)


def derive_service_secret(root: bytes, key: ServiceKeyId, service: str) -> bytes:
    """The 32-byte secret of a service key: of this tenant, credential, generation and service."""
    info = length_prefixed(
        _SERVICE_KEY_INFO,
        key.tenant_id.bytes,
        key.credential_id.bytes,
        str(key.generation).encode(),
        service.encode(),
    )
    return hkdf_sha256(root, salt=key.root_id.encode(), info=info)


def length_prefixed(*values: bytes) -> bytes:
    """The values one after the other, each after its length in four bytes, big-endian."""
    return b"".join(len(value).to_bytes(4, "big") + value for value in values)


def _unknown_key(key_id: str) -> Unauthenticated:
    return Unauthenticated(
        f"key '{key_id}' is not live here: have keys issued again", reason="KEY_UNKNOWN"
    )
