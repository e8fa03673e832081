"""The revision token: names a state of a tenant's assignments and memberships."""

import base64
import binascii
import hashlib
from functools import lru_cache
from typing import Final
from uuid import UUID

from argy.base.errors import InvalidArgument

MAX_REVISION: Final = (1 << 63) - 1
_CHECK_BYTES: Final = 4


@lru_cache(maxsize=4096)
def _fingerprint(tenant_id: UUID) -> bytes:
    return hashlib.sha256(tenant_id.bytes).digest()[:_CHECK_BYTES]


def revision_token(tenant_id: UUID, revision: int) -> str:
    """Return the opaque text that names a tenant's assignment revision.

    Base64url of four bytes that bind it to the tenant, then the revision, big-endian without
    leading zeros. Kept by clients for minutes at most; it may change between releases.
    """
    number = revision.to_bytes((revision.bit_length() + 7) // 8, "big")
    return base64.urlsafe_b64encode(_fingerprint(tenant_id) + number).rstrip(b"=").decode()


def parse_revision_token(tenant_id: UUID, token: str) -> int:
    """Return the revision that a token names; 0 for the empty token.

    Raises:
        InvalidArgument: ``MALFORMED_REVISION``, for a token that this tenant was never given.
    """
    if not token:
        return 0
    try:
        raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    revision = int.from_bytes(raw[_CHECK_BYTES:], "big")
    # One revision has one spelling, and each token belongs to one tenant.
    if revision > MAX_REVISION or revision_token(tenant_id, revision) != token:
        raise InvalidArgument(
            "at_least is not a revision token of this tenant",
            reason="MALFORMED_REVISION",
            field="at_least",
        )
    return revision
