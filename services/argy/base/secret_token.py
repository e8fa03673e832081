"""Bearer secrets that people and secret scanners recognise: ``argy_<kind>_<secret>_<checksum>``.

The secret is 256 random bits in base62, 43 characters; the checksum is the CRC-32 of everything
before its underscore, 6 characters. The checksum tells a mistyped or made-up token from one of ours
without asking anybody; it protects nothing. What is kept of a token is its SHA-256: of 256 random
bits no slower hash is needed.
"""

import hashlib
import re
import secrets
import zlib
from typing import Final

from argy.base.errors import InvalidArgument

_DIGITS: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_SECRET_BYTES: Final = 32
_SECRET_CHARS: Final = 43
_CRC_CHARS: Final = 6
_SHAPE: Final = re.compile(r"(argy_([a-z]{2,8})_[0-9A-Za-z]{43})_([0-9A-Za-z]{6})")


def new_token(kind: str) -> str:
    """A fresh token of a kind such as ``pep``."""
    return token_of(kind, secrets.token_bytes(_SECRET_BYTES))


def token_of(kind: str, secret: bytes) -> str:
    """The token of a kind that holds these 32 bytes."""
    body = f"argy_{kind}_{_base62(int.from_bytes(secret, 'big'), _SECRET_CHARS)}"
    return f"{body}_{_checksum(body)}"


def secret_of(token: str, *, kind: str) -> bytes:
    """The 32 bytes that a token of ``kind`` holds.

    Raises:
        InvalidArgument: ``NO_TOKEN``, by its form or checksum; the message has nothing of it.
    """
    if not is_token(token, kind=kind):
        raise InvalidArgument(f"this is no argy_{kind}_ token: was it cut?", reason="NO_TOKEN")
    value = 0
    for char in token.split("_")[2]:
        value = value * 62 + _DIGITS.index(char)
    if value >> (8 * _SECRET_BYTES):
        raise InvalidArgument(f"this is no argy_{kind}_ token: was it cut?", reason="NO_TOKEN")
    return value.to_bytes(_SECRET_BYTES, "big")


def is_token(text: str, *, kind: str) -> bool:
    """Whether ``text`` has the form and the checksum of a token of ``kind``."""
    found = _SHAPE.fullmatch(text)
    return found is not None and found[2] == kind and _checksum(found[1]) == found[3]


def token_digest(token: str) -> str:
    """What is kept of a token: its SHA-256, 64 hexadecimal digits."""
    return hashlib.sha256(token.encode()).hexdigest()


def _checksum(body: str) -> str:
    return _base62(zlib.crc32(body.encode()), _CRC_CHARS)


def _base62(value: int, width: int) -> str:
    digits = []
    for _ in range(width):
        value, digit = divmod(value, 62)
        digits.append(_DIGITS[digit])
    return "".join(reversed(digits))
