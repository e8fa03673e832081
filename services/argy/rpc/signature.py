"""Request signatures between services: HMAC-SHA256 over one unambiguous record of the call.

The record is a sequence of fields, each prefixed by its length in four bytes, big-endian:

    version, kind, key id, method path, source, destination, tenant, org,
    timestamp (8 bytes, ms), nonce (16 bytes), metadata digest (32), SHA-256 of the body (32)

so no two calls share a record. The metadata digest covers ``authorization`` and every ``x-``
header but the signature itself, sorted: a header that is added, changed or dropped on the way
breaks it. The key is that of the pair of services
(``argy.rpc.pair_keys``).

On the wire the signature is one header, ``x-argy-signature``:
``1.<key id>.<source>.<timestamp ms>.<nonce>.<mac>``, the last two in unpadded base64url. The key id
is that of a root key, or of a service key (``argy.rpc.service_key_id``), whose dots are its own.
"""

import hashlib
import hmac
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from argy.base.errors import InvalidArgument, Unauthenticated
from argy.rpc.pair_keys import PairKeys, length_prefixed
from argy.rpc.service_key_id import FORM, START, ServiceKeyId, parse_key_id

VERSION: Final = "1"
HEADER: Final = "x-argy-signature"
NONCE_BYTES: Final = 16

MAX_AGE_MS: Final = 30_000
"""How old a signature may be."""
MAX_AHEAD_MS: Final = 5_000
"""How far ahead of the server's clock a signature may be."""
NONCE_MARGIN_MS: Final = 5_000
"""How much longer than its signature is valid a nonce is remembered, for clocks that differ."""

_UUID_CHARS: Final = 36
_MAX_REMEMBERED_PAIRS: Final = 4
_MAX_REMEMBERED_CHARS: Final = 128
_HEADER_FORM: Final = re.compile(
    rf"1\.([a-z0-9][a-z0-9_-]{{0,31}}|{FORM})\.([a-z][a-z0-9-]{{0,62}})\.([0-9]{{13}})"
    r"\.([A-Za-z0-9_-]{21}[AQgw])\.([A-Za-z0-9_-]{43})"
)


@dataclass(frozen=True, slots=True)
class Subject:
    """Everything of a call that its signature covers, but time, nonce and body."""

    method: str
    source: str
    destination: str
    tenant: str
    org: str
    metadata: tuple[tuple[str, str], ...]
    """What ``covered`` selects."""
    streams: bool = False


class Signature:
    """A verified signature: who signed, when, and the nonce that must not be seen again.

    With a ``service_key`` it says no more than that somebody has its secret: whether the key is
    still good, and for what, is asked by the caller.
    """

    __slots__ = ("nonce", "nonce_expires_ms", "service_key", "source", "timestamp_ms")

    def __init__(
        self, source: str, timestamp_ms: int, nonce: bytes, service_key: ServiceKeyId | None
    ) -> None:
        self.source = source
        self.service_key = service_key
        self.timestamp_ms = timestamp_ms
        self.nonce = nonce
        # By the signature's own time, not by receipt: a signature from ahead lives longer.
        self.nonce_expires_ms = timestamp_ms + MAX_AGE_MS + NONCE_MARGIN_MS


def covered(metadata: Iterable[tuple[str, str | bytes]]) -> tuple[tuple[str, str], ...]:
    """The security-relevant part of a call's metadata, sorted; see ``split``."""
    return split(metadata)[0]


def split(metadata: Iterable[tuple[str, str | bytes]]) -> tuple[tuple[tuple[str, str], ...], str]:
    """What a signature covers of a call's metadata, sorted, and the signature itself ("" if none).

    Raises:
        InvalidArgument: with ``METADATA_DUPLICATED`` when a covered header is there twice, and
            ``METADATA_BINARY`` when it is binary: neither has one reading.
    """
    pairs: dict[str, str] = {}
    for key, value in metadata:
        if key[:2] != "x-" and key != "authorization":
            continue
        if key in pairs:
            raise InvalidArgument(f"{key} is there twice", reason="METADATA_DUPLICATED", field=key)
        if not isinstance(value, str):
            raise InvalidArgument(f"{key} must be text", reason="METADATA_BINARY", field=key)
        pairs[key] = value
    header = pairs.pop(HEADER, "")
    # Most calls have one such header, and a tuple of one is sorted.
    return tuple(sorted(pairs.items()) if len(pairs) > 1 else pairs.items()), header


def sign(subject: Subject, body: bytes, *, keys: PairKeys, now_ms: int, nonce: bytes) -> str:
    """The value of the signature header for the exact bytes ``body``."""
    key_id = keys.signing
    key = keys.pair_key(key_id, subject.source, subject.destination)
    head = _head(
        key_id,
        subject.method,
        subject.source,
        subject.destination,
        subject.tenant,
        subject.org,
        subject.streams,
    )
    mac = _mac(key, head, subject.metadata, now_ms, nonce, body)
    return (
        f"{VERSION}.{key_id}.{subject.source}.{now_ms}"
        f".{urlsafe_b64encode(nonce)[:22].decode()}.{urlsafe_b64encode(mac)[:43].decode()}"
    )


def verify(
    header: str,
    body: bytes,
    *,
    method: str,
    destination: str,
    tenant: str,
    org: str,
    metadata: tuple[tuple[str, str], ...],
    streams: bool,
    keys: PairKeys,
    now_ms: int,
) -> Signature:
    """Verify a signature header against the call as it arrived; see ``Subject`` for its parts.

    1. The header is well-formed. 2. Its key is live. 3. The MAC is that of this very call, compared
    in constant time. 4. The timestamp is within −30 s/+5 s. Whether the nonce is fresh is asked by
    the caller, who has the replay cache.

    Raises:
        Unauthenticated: SIGNATURE_MALFORMED, KEY_UNKNOWN, SIGNATURE_INVALID, TIMESTAMP_EXPIRED or
            TIMESTAMP_IN_FUTURE.
    """
    match = _HEADER_FORM.fullmatch(header)
    if match is None or len(tenant) > _UUID_CHARS or len(org) > _UUID_CHARS:
        raise _malformed()
    key_id, source, timestamp, nonce_text, mac_text = match.groups()
    timestamp_ms = int(timestamp)
    nonce = urlsafe_b64decode(nonce_text + "==")
    key = keys.pair_key(key_id, source, destination)
    head = _head(key_id, method, source, destination, tenant, org, streams)
    expected = urlsafe_b64encode(_mac(key, head, metadata, timestamp_ms, nonce, body))[:43]
    # Compared as text, so that one MAC has one spelling; the last character carries unused bits.
    if not hmac.compare_digest(expected, mac_text.encode()):
        raise Unauthenticated(
            "the signature is not that of this call: was it changed on the way, or signed with "
            "another service's key?",
            reason="SIGNATURE_INVALID",
        )
    if now_ms - timestamp_ms > MAX_AGE_MS:
        raise Unauthenticated(
            "the signature is older than 30 s: sign again, and check this machine's clock",
            reason="TIMESTAMP_EXPIRED",
        )
    if timestamp_ms - now_ms > MAX_AHEAD_MS:
        raise Unauthenticated(
            "the signature is from the future: check this machine's clock",
            reason="TIMESTAMP_IN_FUTURE",
        )
    service_key = parse_key_id(key_id) if key_id.startswith(START) else None
    return Signature(source, timestamp_ms, nonce, service_key)


def _mac(
    key: bytes,
    head: bytes,
    metadata: tuple[tuple[str, str], ...],
    now_ms: int,
    nonce: bytes,
    body: bytes,
) -> bytes:
    record = b"".join(
        (
            head,
            b"\x00\x00\x00\x08",
            now_ms.to_bytes(8, "big"),
            b"\x00\x00\x00\x10",
            nonce,
            b"\x00\x00\x00\x20",
            _metadata_digest(metadata),
            b"\x00\x00\x00\x20",
            hashlib.sha256(body).digest(),
        )
    )
    return hmac.digest(key, record, "sha256")


@lru_cache(maxsize=8192)
def _head(
    key_id: str,
    method: str,
    source: str,
    destination: str,
    tenant: str,
    org: str,
    streams: bool,
) -> bytes:
    kind = "unary_stream" if streams else "unary_unary"
    values = (VERSION, kind, key_id, method, source, destination, tenant, org)
    return length_prefixed(*(value.encode() for value in values))


def _metadata_digest(pairs: tuple[tuple[str, str], ...]) -> bytes:
    # Anybody can send headers, signed or not: what is remembered of them is small.
    if len(pairs) <= _MAX_REMEMBERED_PAIRS and all(
        len(name) + len(value) <= _MAX_REMEMBERED_CHARS for name, value in pairs
    ):
        return _remembered_digest(pairs)
    return _digest_of(pairs)


def _digest_of(pairs: tuple[tuple[str, str], ...]) -> bytes:
    return hashlib.sha256(
        length_prefixed(*(text.encode() for pair in pairs for text in pair))
    ).digest()


_remembered_digest = lru_cache(maxsize=4096)(_digest_of)


def _malformed() -> Unauthenticated:
    return Unauthenticated(
        f"{HEADER} is not a signature of version {VERSION}",
        reason="SIGNATURE_MALFORMED",
    )
