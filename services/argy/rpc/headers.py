"""What the headers of a call say besides who signed it."""

import re
from collections.abc import Iterable
from typing import Any, Final
from uuid import UUID

from argy.base.errors import InvalidArgument
from argy.base.ids import parse_uuid

_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,128}")
_TRACEPARENT: Final = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")


def tenant_header(text: str) -> UUID:
    """The tenant of ``x-tenant-id``; raises InvalidArgument without one."""
    if not text:
        raise InvalidArgument(
            "x-tenant-id is required on every call",
            reason="TENANT_REQUIRED",
            field="x-tenant-id",
        )
    return parse_uuid(text, field="x-tenant-id")


def request_id_of(metadata: dict[str, str], nonce: bytes) -> str:
    """The caller's id of the request; without one the nonce serves, which is as unique."""
    given = metadata.get("x-request-id")
    if given is None:
        return nonce.hex()
    if not _REQUEST_ID.fullmatch(given):
        raise InvalidArgument(
            "x-request-id must be 1 to 128 letters, digits and . _ -",
            reason="MALFORMED_ID",
            field="x-request-id",
        )
    return given


def trace_id_of(metadata: Iterable[tuple[str, Any]]) -> str:
    """The W3C trace id; empty for a malformed header, which the standard says to ignore."""
    for name, value in metadata:
        if name == "traceparent" and isinstance(value, str):
            match = _TRACEPARENT.fullmatch(value)
            return match[1] if match else ""
    return ""
