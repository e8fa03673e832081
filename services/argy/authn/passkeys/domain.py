"""Passkeys: what is kept of one, and what is refused. Pure.

The rules of this module, in the order of WebAuthn Level 3 §7.1 and §7.2:

- a ceremony happens on one of our own origins, in no frame of another site;
- the authenticator signs for our relying party, its user is present and was verified;
- the counter of a passkey that lives in one authenticator must rise: one that does not means that
  the authenticator was cloned, so the passkey is blocked and can only be removed. A synced passkey
  has no counter that means anything, as the standard says of multi-device credentials;
- whether a passkey can be synced never changes;
- a usable passkey is removed by whoever just proved one: neither a link nor a device's token takes
  another way in away. The last one goes only where links by mail are another way in.
"""

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal
from uuid import UUID

from argy.base.errors import (
    ArgyError,
    FailedPrecondition,
    InvalidArgument,
    PermissionDenied,
    ResourceExhausted,
    Unauthenticated,
)
from argy.base.foreign_text import name_of

Ceremony = Literal["register", "sign_in"]

MAX_PASSKEYS: Final = 20
"""Passkeys of a user, blocked ones among them."""
MAX_NAME: Final = 100
MAX_CREDENTIAL_ID: Final = 1_023
"""Bytes of a credential id (WebAuthn Level 3 §7.1, step 24)."""
MAX_PUBLIC_KEY: Final = 4_096
"""Bytes of a public key in COSE form: an RSA key of 16,384 bits and some more."""
HANDLE_BYTES: Final = 64
CHALLENGE_BYTES: Final = 32
CEREMONY_MS: Final = 300_000
"""How long a challenge is good, in milliseconds."""
TRANSPORTS: Final = frozenset({"usb", "nfc", "ble", "smart-card", "hybrid", "internal"})
_TYPES: Final[dict[Ceremony, str]] = {"register": "webauthn.create", "sign_in": "webauthn.get"}


@dataclass(frozen=True, slots=True, kw_only=True)
class RelyingParty:
    """Who we are to authenticators, as whoever runs the platform says."""

    rp_id: str
    name: str
    origins: Collection[str]

    def __post_init__(self) -> None:
        """Refuse a relying party without a name or without origins."""
        if not self.rp_id or not self.name or not self.origins:
            raise InvalidArgument("a relying party has an id, a name and origins", field="rp_id")


@dataclass(frozen=True, slots=True, kw_only=True)
class Passkey:
    """One credential. Times are milliseconds since the Unix epoch."""

    id: UUID
    user_id: UUID
    name: str
    credential_id: bytes
    public_key: bytes
    sign_count: int
    aaguid: UUID
    transports: tuple[str, ...]
    backup_eligible: bool
    backed_up: bool
    created_at_ms: int
    last_used_at_ms: int | None = None
    blocked_at_ms: int | None = None

    @property
    def blocked(self) -> bool:
        """Whether it was blocked, since its counter went back."""
        return self.blocked_at_ms is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Challenge:
    """A ceremony that has begun; kept for ``CEREMONY_MS`` and used once."""

    ceremony: Ceremony
    challenge: bytes
    expires_at_ms: int
    user_id: UUID | None = None
    """Who registers; nobody in particular signs in."""


@dataclass(frozen=True, slots=True)
class AuthenticatorFlags:
    """What an authenticator says of itself and of its user (WebAuthn Level 3 §6.1)."""

    rp_id_hash: bytes
    user_present: bool
    user_verified: bool
    backup_eligible: bool
    backed_up: bool


def check_challenge(
    found: Challenge | None, ceremony: Ceremony, *, user_id: UUID | None, now_ms: int
) -> Challenge:
    """The challenge of a ceremony that is under way, by whom it was begun.

    Raises:
        Unauthenticated: ``CEREMONY_OVER``, for one that is unknown, used, expired or another's.
    """
    if (
        found is None
        or found.ceremony != ceremony
        or found.user_id != user_id
        or now_ms >= found.expires_at_ms
    ):
        raise Unauthenticated(
            "This took too long, or was done already: begin again", reason="CEREMONY_OVER"
        )
    return found


def client_data_of(raw: bytes) -> Mapping[str, Any]:
    """The client data that a browser collected; raises InvalidArgument ``MALFORMED_CREDENTIAL``."""
    try:
        parsed = json.loads(raw)
    except (ValueError, RecursionError):
        parsed = None
    if not isinstance(parsed, dict):
        raise malformed()
    return parsed


def check_client_data(
    data: Mapping[str, Any], ceremony: Ceremony, *, challenge: str, origins: Collection[str]
) -> None:
    """Accept what a browser collected on a page of ours.

    ``challenge`` is in base64url without padding.

    Raises:
        Unauthenticated: ``WRONG_CEREMONY``, ``WRONG_CHALLENGE``, ``WRONG_ORIGIN`` or
            ``CROSS_ORIGIN``.
    """
    if data.get("type") != _TYPES[ceremony]:
        raise _refused("it is of another ceremony", "WRONG_CEREMONY")
    if data.get("challenge") != challenge:
        raise _refused("it answers another challenge", "WRONG_CHALLENGE")
    if data.get("origin") not in origins:
        raise _refused("it was made on another site", "WRONG_ORIGIN")
    # Absent means false (WebAuthn Level 3 §5.8.1); whatever is there must say so.
    if data.get("crossOrigin", False) is not False or data.get("topOrigin") is not None:
        raise _refused("it was made in a frame of another site", "CROSS_ORIGIN")


def check_flags(flags: AuthenticatorFlags, *, rp_id: str) -> None:
    """Accept an authenticator that signs for us with a verified user.

    Raises:
        Unauthenticated: ``WRONG_RELYING_PARTY``, ``USER_NOT_PRESENT``, ``USER_NOT_VERIFIED`` or
            ``BACKUP_FLAGS``.
    """
    if flags.rp_id_hash != hashlib.sha256(rp_id.encode()).digest():
        raise _refused("it is for another site", "WRONG_RELYING_PARTY")
    if not flags.user_present:
        raise _refused("nobody was there to use it", "USER_NOT_PRESENT")
    if not flags.user_verified:
        raise _refused("it did not verify its user", "USER_NOT_VERIFIED")
    if flags.backed_up and not flags.backup_eligible:
        raise _refused("it contradicts itself", "BACKUP_FLAGS")


def check_aaguid(aaguid: UUID, allowed: frozenset[UUID] | None) -> None:
    """Accept a model that the tenant allows; None allows any.

    Without attestation a model is what the authenticator says.

    Raises:
        PermissionDenied: ``AUTHENTICATOR_NOT_ALLOWED``.
    """
    if allowed is not None and aaguid not in allowed:
        raise PermissionDenied(
            "Your organization does not allow this kind of authenticator",
            reason="AUTHENTICATOR_NOT_ALLOWED",
            metadata={"aaguid": str(aaguid)},
        )


def check_room(held: Sequence[Passkey]) -> None:
    """Refuse one passkey too many; raises ResourceExhausted ``TOO_MANY_PASSKEYS``."""
    if len(held) >= MAX_PASSKEYS:
        raise ResourceExhausted(
            f"You have {MAX_PASSKEYS} passkeys: remove one first", reason="TOO_MANY_PASSKEYS"
        )


def check_usable(passkey: Passkey, flags: AuthenticatorFlags) -> None:
    """Refuse a blocked passkey, and one that changed its nature.

    Raises:
        Unauthenticated: ``PASSKEY_BLOCKED`` or ``BACKUP_FLAGS``.
    """
    if passkey.blocked:
        raise _refused("it is blocked; sign in another way and remove it", "PASSKEY_BLOCKED")
    if passkey.backup_eligible != flags.backup_eligible:
        raise _refused("it contradicts its registration", "BACKUP_FLAGS")


def counter_regressed(passkey: Passkey, sign_count: int) -> bool:
    """Whether a counter shows a clone: it did not rise, though the authenticator counts."""
    counts = sign_count > 0 or passkey.sign_count > 0
    return not passkey.backup_eligible and counts and sign_count <= passkey.sign_count


def regressed() -> ArgyError:
    """The error of a counter that went back."""
    return _refused("its counter went back, so it may have been copied", "COUNTER_REGRESSION")


def check_may_remove(
    target: Passkey, held: Sequence[Passkey], *, links: bool, proved_passkey: bool
) -> None:
    """Keep the last way in, and every way in from whoever proved no passkey.

    Blocked passkeys are no way in; ``links`` by mail are one. ``proved_passkey``: whoever asks
    proved, just now, a passkey of the same person.

    Raises:
        FailedPrecondition: ``LAST_WAY_IN``, or ``STEP_UP_REQUIRED``.
    """
    if target.blocked:
        return
    if not proved_passkey:
        raise FailedPrecondition(
            "Prove first who you are, with a passkey", reason="STEP_UP_REQUIRED"
        )
    others = [one for one in held if one.id != target.id and not one.blocked]
    if not others and not links:
        raise FailedPrecondition(
            "This is your last way in: register another passkey first", reason="LAST_WAY_IN"
        )


def checked_name(name: str, *, default: str = "") -> str:
    """A name on one line of 1 to ``MAX_NAME`` characters; raises InvalidArgument."""
    text = name_of(" ".join(name.split()) or default, most=MAX_NAME)
    if not text:
        raise InvalidArgument(
            f"name must be 1 to {MAX_NAME} printable characters",
            reason="INVALID_NAME",
            field="name",
        )
    return text


def malformed() -> InvalidArgument:
    """The error of what is no credential at all."""
    return InvalidArgument(
        "This is not what a browser's WebAuthn gives",
        reason="MALFORMED_CREDENTIAL",
        field="credential_json",
    )


def _refused(why: str, reason: str) -> Unauthenticated:
    return Unauthenticated(f"The passkey was not accepted: {why}", reason=reason)
