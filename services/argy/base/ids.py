"""Identifiers: UUIDv7 (RFC 9562 §5.7) and the fixed ids of the platform itself."""

import os
import time
from functools import lru_cache
from typing import Final
from uuid import UUID

from argy.base.errors import InvalidArgument

_UUID_CHARS: Final = 36
PLATFORM_TENANT_ID: Final = UUID("00000000-0000-7000-8000-000000000001")
"""The tenant that owns platform-wide rows."""


def uuid7(now_ms: int | None = None, *, order: int | None = None) -> UUID:
    """Return a time-ordered UUID: 48 bits of Unix milliseconds, 12 bits of order, 62 random bits.

    Ids of one millisecond sort by ``order`` (0 to 4095): without a given time the fraction of the
    millisecond, in steps of 244 ns (RFC 9562 §6.2, method 3); otherwise random.
    """
    if now_ms is None:
        now_ms, rest_ns = divmod(time.time_ns(), 1_000_000)
        order = (rest_ns << 12) // 1_000_000 if order is None else order
    rand = int.from_bytes(os.urandom(10), "big")
    order = rand >> 64 & 0xFFF if order is None else order
    value = (now_ms & 0xFFFF_FFFF_FFFF) << 80 | 0x7 << 76 | (order & 0xFFF) << 64
    return UUID(int=value | 0x2 << 62 | rand & ((1 << 62) - 1))


def uuid7_millis(value: UUID) -> int:
    """Milliseconds since the Unix epoch at which a UUIDv7 was made."""
    return value.int >> 80


def parse_uuid(text: str, *, field: str) -> UUID:
    """Parse the canonical 36-character lower-case form only.

    Raises:
        InvalidArgument: naming ``field``, for any other spelling (one id, one spelling).
    """
    value = _canonical(text) if len(text) == _UUID_CHARS else None
    if value is None:
        raise InvalidArgument(
            f"{field} must be a UUID in its canonical lower-case form",
            reason="MALFORMED_ID",
            field=field,
        )
    return value


@lru_cache(maxsize=4096)
def _canonical(text: str) -> UUID | None:
    try:
        value = UUID(text)
    except ValueError:
        return None
    return value if str(value) == text else None
