"""Secrets at rest: AES-256-GCM under a key of their own, which a key-encryption key wraps.

A sealed value is, one after the other:

    "AE" ‖ version (1 byte) ‖ length of the key id (1) ‖ key id
    ‖ length of the wrapped data key (2, big-endian) ‖ wrapped data key
    ‖ nonce (12) ‖ ciphertext and tag

Both layers authenticate the place where the value lies: version, tenant, table and row, each
length-prefixed. A value that is moved to another place does not open there. Rotating the
key-encryption key wraps the data key again and leaves the ciphertext alone.

Format 1 is kept readable for ever; a change makes format 2.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from argy.base.crypto import KEY_BYTES, KEY_ID, KeyRing
from argy.base.errors import FailedPrecondition, InvalidArgument

MAX_PLAIN: Final = 65_536
_MAGIC: Final = b"AE"
_VERSION: Final = 1
_NONCE_BYTES: Final = 12
_TAG_BYTES: Final = 16
_MAX_WRAPPED: Final = 4096
_LABEL: Final = b"argy-envelope"


class Kms(Protocol):
    """Wraps data keys with keys that it keeps to itself.

    A ``KeyRingKms`` holds them in memory. One that asks over a network blocks: call ``seal`` and
    its like in a thread.
    """

    @property
    def key_id(self) -> str:
        """The id of the key that wraps from now on: 1 to 32 of a-z 0-9 _ -."""
        ...

    def wrap(self, data_key: bytes, aad: bytes) -> bytes:
        """Wrap a 32-byte key with the key ``key_id``; ``aad`` must be given again to unwrap."""
        ...

    def unwrap(self, key_id: str, wrapped: bytes, aad: bytes) -> bytes:
        """The data key.

        Raises:
            FailedPrecondition: ``KEK_UNKNOWN``, or ``SEALED_VALUE_REFUSED`` when it does not open.
        """
        ...


class KeyRingKms:
    """Key-encryption keys of a ring; the ring's ``signing`` key is the one that wraps."""

    __slots__ = ("_ring",)

    def __init__(self, ring: KeyRing) -> None:
        self._ring = ring

    @classmethod
    def from_settings(cls, path: Path | None, text: str) -> "KeyRingKms":
        """Read the ring from a file (mode 0600), or from the text of an environment variable.

        Raises:
            InvalidArgument: unless exactly one is given, and a ring.
            FailedPrecondition: when others may read the file.
        """
        if (path is None) == (not text):
            raise InvalidArgument(
                "set ARGY_KEK_RING (a key ring file) or ARGY_KEK (its JSON), and not both",
                field="ARGY_KEK_RING",
            )
        if path is not None:
            return cls(KeyRing.load(path))
        try:
            value = json.loads(text)
        except ValueError as error:
            raise InvalidArgument("ARGY_KEK is not JSON", field="ARGY_KEK") from error
        if not isinstance(value, dict):
            raise InvalidArgument("ARGY_KEK is not a JSON object", field="ARGY_KEK")
        return cls(KeyRing.from_json(value, source="ARGY_KEK"))

    @property
    def key_id(self) -> str:
        """See ``Kms``."""
        return self._ring.signing

    def wrap(self, data_key: bytes, aad: bytes) -> bytes:
        """See ``Kms``. Random nonces allow 2³² wraps under one key (NIST SP 800-38D §8.3)."""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + AESGCM(self._ring.keys[self._ring.signing]).encrypt(nonce, data_key, aad)

    def unwrap(self, key_id: str, wrapped: bytes, aad: bytes) -> bytes:
        """See ``Kms``."""
        key = self._ring.keys.get(key_id)
        if key is None:
            raise FailedPrecondition(
                f"the value is sealed under key '{key_id}', which this ring does not hold",
                reason="KEK_UNKNOWN",
                metadata={"key_id": key_id},
            )
        return _opened(key, wrapped[:_NONCE_BYTES], wrapped[_NONCE_BYTES:], aad)


@dataclass(frozen=True, slots=True)
class _Parts:
    key_id: str
    wrapped: bytes
    nonce: bytes
    ciphertext: bytes


def seal(plain: bytes, *, kek: Kms, tenant_id: UUID, table: str, row: str) -> bytes:
    """Seal ``plain`` for one place: a tenant, a table (``schema.table``) and a row's key.

    Raises:
        InvalidArgument: for more than ``MAX_PLAIN`` bytes, or a place without a name.
    """
    if len(plain) > MAX_PLAIN:
        raise InvalidArgument(f"at most {MAX_PLAIN} bytes can be sealed", field="plain")
    place = _place(tenant_id, table, row)
    data_key, nonce, key_id = os.urandom(KEY_BYTES), os.urandom(_NONCE_BYTES), kek.key_id
    wrapped = kek.wrap(data_key, _key_aad(place, key_id))
    ciphertext = AESGCM(data_key).encrypt(nonce, plain, place)
    return _joined(_Parts(key_id, wrapped, nonce, ciphertext))


def open_sealed(sealed: bytes, *, kek: Kms, tenant_id: UUID, table: str, row: str) -> bytes:
    """The plain bytes of a value that was sealed for this very place.

    Raises:
        FailedPrecondition: ``SEALED_VALUE_REFUSED`` for a value that was changed, sealed for
            another place or is none; ``KEK_UNKNOWN`` for a key that is gone.
    """
    parts, place = _split(sealed), _place(tenant_id, table, row)
    data_key = kek.unwrap(parts.key_id, parts.wrapped, _key_aad(place, parts.key_id))
    return _opened(data_key, parts.nonce, parts.ciphertext, place)


def rewrap(sealed: bytes, *, kek: Kms, tenant_id: UUID, table: str, row: str) -> bytes:
    """The same value with its data key under the key that wraps now; itself when it is so already.

    Raises:
        FailedPrecondition: as ``open_sealed``; a value that would not open is not carried over.
    """
    parts, place = _split(sealed), _place(tenant_id, table, row)
    data_key = kek.unwrap(parts.key_id, parts.wrapped, _key_aad(place, parts.key_id))
    _opened(data_key, parts.nonce, parts.ciphertext, place)
    if parts.key_id == kek.key_id:
        return sealed
    wrapped = kek.wrap(data_key, _key_aad(place, kek.key_id))
    return _joined(_Parts(kek.key_id, wrapped, parts.nonce, parts.ciphertext))


def sealed_under(sealed: bytes) -> str:
    """The id of the key-encryption key of a sealed value."""
    return _split(sealed).key_id


def _place(tenant_id: UUID, table: str, row: str) -> bytes:
    if not table or not row:
        raise InvalidArgument("a sealed value needs its table and row", field="row")
    parts = (_LABEL, bytes([_VERSION]), tenant_id.bytes, table.encode(), row.encode())
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def _key_aad(place: bytes, key_id: str) -> bytes:
    return b"key" + len(key_id).to_bytes(4, "big") + key_id.encode() + place


def _joined(parts: _Parts) -> bytes:
    key_id = parts.key_id.encode()
    return b"".join(
        (
            _MAGIC,
            bytes([_VERSION, len(key_id)]),
            key_id,
            len(parts.wrapped).to_bytes(2, "big"),
            parts.wrapped,
            parts.nonce,
            parts.ciphertext,
        )
    )


def _split(sealed: bytes) -> _Parts:
    if sealed[:2] != _MAGIC or sealed[2:3] != bytes([_VERSION]) or len(sealed) < 4:
        raise _refused()
    start = 4 + sealed[3]
    key_id = sealed[4:start].decode("ascii", "replace")
    size = int.from_bytes(sealed[start : start + 2], "big")
    wrapped_end = start + 2 + size
    wrapped = sealed[start + 2 : wrapped_end]
    nonce = sealed[wrapped_end : wrapped_end + _NONCE_BYTES]
    ciphertext = sealed[wrapped_end + _NONCE_BYTES :]
    if not KEY_ID.fullmatch(key_id) or size > _MAX_WRAPPED or len(ciphertext) < _TAG_BYTES:
        raise _refused()
    return _Parts(key_id, wrapped, nonce, ciphertext)


def _opened(key: bytes, nonce: bytes, ciphertext: bytes, aad: bytes) -> bytes:
    try:
        return AESGCM(key).decrypt(nonce, ciphertext, aad)
    except (InvalidTag, ValueError) as error:
        raise _refused() from error


def _refused() -> FailedPrecondition:
    return FailedPrecondition(
        "the sealed value does not open here: it was changed, or belongs to another place",
        reason="SEALED_VALUE_REFUSED",
    )
