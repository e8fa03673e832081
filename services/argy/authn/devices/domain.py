"""The device flow (RFC 8628) as pure rules: codes, and what a poll is answered."""

import hashlib
import re
import secrets
from dataclasses import dataclass
from typing import Final, Literal
from uuid import UUID

from argy.authn.tokens.domain import Tokens
from argy.base.errors import FailedPrecondition, InvalidArgument, NotFound

LIFETIME_S: Final = 600
INTERVAL_S: Final = 5
"""Seconds between polls at first, and what each poll that comes too soon adds (RFC 8628 §3.5)."""
MAX_INTERVAL_S: Final = 3_600
DEVICE_AMR: Final = ("device",)
"""The methods (RFC 8176) of a device's tokens."""

ALPHABET: Final = "BCDFGHJKLMNPQRSTVWXZ"
"""RFC 8628 §6.1: no vowels, so no words; no digits, and nothing that looks like another letter."""
_LENGTH: Final = 8
_IGNORED: Final = re.compile(r"[\s\-‐‑–—_.]+")
_DEVICE_CODE: Final = re.compile(r"[A-Za-z0-9_-]{43}")
_CLIENT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._~-]{0,63}")

State = Literal["PENDING", "APPROVED", "DENIED", "REDEEMED"]
Poll = Literal["GRANTED", "AUTHORIZATION_PENDING", "SLOW_DOWN", "ACCESS_DENIED", "EXPIRED"]


@dataclass(frozen=True, slots=True)
class DeviceCode:
    """One request of a device. Times are milliseconds since the Unix epoch."""

    id: UUID
    client_id: str
    scope: str
    ip: str
    user_agent: str
    state: State
    user_id: UUID | None
    session_id: str
    acr: str
    auth_time_s: int
    interval_s: int
    polled_at_ms: int | None
    created_at_ms: int
    expires_at_ms: int


@dataclass(frozen=True, slots=True)
class Polled:
    """How a poll ends, and the interval that holds from then on."""

    poll: Poll
    interval_s: int


@dataclass(frozen=True, slots=True)
class Begun:
    """The two codes of a request, told once."""

    device_code: str
    user_code: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a poll ended; tokens when it was granted."""

    poll: Poll
    interval_s: int
    tokens: Tokens | None = None


def new_device_code() -> str:
    """A device's code: 256 random bits in base64url, 43 characters."""
    return secrets.token_urlsafe(32)


def new_user_code() -> str:
    """A person's code: eight letters, one of 20^8."""
    return "".join(secrets.choice(ALPHABET) for _ in range(_LENGTH))


def shown(user_code: str) -> str:
    """A person's code as people read it: ``XXXX-XXXX``."""
    return f"{user_code[:4]}-{user_code[4:]}"


def normal_user_code(typed: str) -> str:
    """The code that somebody typed, in any case and with whatever between the letters.

    Raises:
        NotFound: ``USER_CODE_UNKNOWN`` when it can't be one, as for a wrong code.
    """
    letters = _IGNORED.sub("", typed)
    # Beyond ASCII there are letters whose upper case is two of ours.
    code = letters.upper() if letters.isascii() else ""
    if len(code) != _LENGTH or set(code) - set(ALPHABET):
        raise unknown_code()
    return code


def device_digest(device_code: str) -> str:
    """What is kept of a device's code: its SHA-256, 64 hexadecimal digits."""
    return hashlib.sha256(b"device:" + device_code.encode()).hexdigest()


def user_digest(tenant_id: UUID, user_code: str) -> str:
    """What is kept of a person's code; its ten minutes and the limit on tries protect it."""
    return hashlib.sha256(b"user:" + tenant_id.bytes + user_code.encode()).hexdigest()


def is_device_code(text: str) -> bool:
    """Whether the text could be a device's code."""
    return _DEVICE_CODE.fullmatch(text) is not None


def unknown_code() -> NotFound:
    """The one answer to a code that is wrong, too old, used, or another tenant's."""
    return NotFound(
        "This code is not good: look at the device again, or start there anew",
        reason="USER_CODE_UNKNOWN",
        field="user_code",
    )


def check_client(client_id: str) -> None:
    """Refuse what is no client's id; raises InvalidArgument."""
    if not _CLIENT.fullmatch(client_id):
        raise InvalidArgument("client_id must be 1 to 64 of A-Z a-z 0-9 . _ ~ -", field="client_id")


def check_decidable(found: DeviceCode | None, *, now_ms: int) -> DeviceCode:
    """The request that somebody may decide now.

    Raises:
        NotFound: ``USER_CODE_UNKNOWN`` when there is none, or it is too late.
        FailedPrecondition: ``DEVICE_CODE_DECIDED`` when it was decided before.
    """
    if found is None or found.expires_at_ms <= now_ms:
        raise unknown_code()
    if found.state != "PENDING":
        raise FailedPrecondition("This code was used before", reason="DEVICE_CODE_DECIDED")
    return found


def poll(found: DeviceCode | None, *, client_id: str, now_ms: int) -> Polled:
    """What a poll is answered (RFC 8628 §3.5).

    An unknown code, another client's, a used one and one that is too old are all EXPIRED: whoever
    guesses learns nothing. Too soon is SLOW_DOWN whatever the person has decided.
    """
    if found is None or found.client_id != client_id or found.state == "REDEEMED":
        return Polled("EXPIRED", 0 if found is None else found.interval_s)
    if found.expires_at_ms <= now_ms:
        return Polled("EXPIRED", found.interval_s)
    if found.polled_at_ms is not None and now_ms - found.polled_at_ms < found.interval_s * 1_000:
        return Polled("SLOW_DOWN", min(found.interval_s + INTERVAL_S, MAX_INTERVAL_S))
    if found.state == "DENIED":
        return Polled("ACCESS_DENIED", found.interval_s)
    if found.state == "PENDING":
        return Polled("AUTHORIZATION_PENDING", found.interval_s)
    return Polled("GRANTED", found.interval_s)
