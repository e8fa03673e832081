"""Revision tokens: name a state of a tenant's assignments, of the policy in force, or of both.

``<tenant part>.<policy part>``; without a dot it is a tenant's part alone, and with nothing before
the dot a policy's, which is good in every tenant. Each part is base64url of four bytes that tell
what it belongs to, then a number, big-endian without leading zeros; so each state has one spelling.
Kept by clients for minutes at most; it may change between releases.
"""

import base64
import binascii
import hashlib
from dataclasses import dataclass
from functools import lru_cache
from typing import Final
from uuid import UUID

from argy.base.errors import InvalidArgument

MAX_REVISION: Final = (1 << 63) - 1
_CHECK_BYTES: Final = 4
_POLICY: Final = hashlib.sha256(b"argy.policy.sequence").digest()[:_CHECK_BYTES]


@dataclass(frozen=True, slots=True)
class Revision:
    """What a token asks for: at least this assignment revision, and this policy activation."""

    assignments: int = 0
    policy: int = 0


@lru_cache(maxsize=4096)
def _fingerprint(tenant_id: UUID) -> bytes:
    return hashlib.sha256(tenant_id.bytes).digest()[:_CHECK_BYTES]


def revision_token(tenant_id: UUID, revision: int, policy: int = 0) -> str:
    """Return the opaque text that names a tenant's assignment revision.

    ``policy`` is the sequence of the activation in force; 0 leaves the policy's part out.
    """
    return _part(_fingerprint(tenant_id), revision) + (policy_token(policy) if policy else "")


def policy_token(sequence: int) -> str:
    """Return the opaque text that names a policy's activation, in every tenant."""
    return "." + _part(_POLICY, sequence)


def parse_revision(tenant_id: UUID, token: str) -> Revision:
    """Return what a token names; nothing for the empty token.

    Raises:
        InvalidArgument: ``MALFORMED_REVISION``, for a token that this tenant was never given.
    """
    if not token:
        return Revision()
    assignments, dot, policy = token.partition(".")
    revision = Revision(_number(assignments), _number(policy))
    # One state has one spelling, and each tenant's part belongs to one tenant.
    spelled = revision_token(tenant_id, revision.assignments) if assignments or not dot else ""
    if dot:
        spelled += policy_token(revision.policy)
    if not (
        spelled == token
        and bool(revision.policy) == bool(dot)
        and max(revision.assignments, revision.policy) <= MAX_REVISION
    ):
        raise InvalidArgument(
            "at_least is not a revision token of this tenant",
            reason="MALFORMED_REVISION",
            field="at_least",
        )
    return revision


def parse_revision_token(tenant_id: UUID, token: str) -> int:
    """Return the assignment revision that a token names; raises as ``parse_revision``."""
    return parse_revision(tenant_id, token).assignments


def _part(check: bytes, number: int) -> str:
    raw = number.to_bytes((number.bit_length() + 7) // 8, "big")
    return base64.urlsafe_b64encode(check + raw).rstrip(b"=").decode()


def _number(part: str) -> int:
    try:
        raw = base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return 0
    return int.from_bytes(raw[_CHECK_BYTES:], "big")
