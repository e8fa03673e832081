"""Identifiers: UUIDv7 (RFC 9562 §5.7) and the fixed ids of the platform itself."""

import os
import time
from typing import Final
from uuid import UUID

from argy.base.errors import InvalidArgument

PLATFORM_TENANT_ID: Final = UUID("00000000-0000-7000-8000-000000000001")
"""The tenant that owns platform-wide rows."""


def uuid7(now_ms: int | None = None) -> UUID:
    """Return a time-ordered UUID: 48 bits of Unix milliseconds, then 74 random bits."""
    millis = time.time_ns() // 1_000_000 if now_ms is None else now_ms
    rand = int.from_bytes(os.urandom(10), "big")
    value = (millis & 0xFFFF_FFFF_FFFF) << 80 | rand & ((1 << 80) - 1)
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return UUID(int=value)


def uuid7_millis(value: UUID) -> int:
    """Milliseconds since the Unix epoch at which a UUIDv7 was made."""
    return value.int >> 80


def parse_uuid(text: str, *, field: str) -> UUID:
    """Parse the canonical 36-character lower-case form only.

    Raises:
        InvalidArgument: naming ``field``, for any other spelling (one id, one spelling).
    """
    try:
        value: UUID | None = UUID(text)
    except ValueError:
        value = None
    if value is None or str(value) != text:
        raise InvalidArgument(
            f"{field} must be a UUID in its canonical lower-case form",
            reason="MALFORMED_ID",
            field=field,
        )
    return value
