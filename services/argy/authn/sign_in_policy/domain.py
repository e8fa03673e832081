"""How people of a tenant sign in: what a policy may say, and what follows from it. Pure.

A tenant decides for its own people: whether links in mails sign in, which models of authenticators
may be registered and whether they must prove to be one (WebAuthn Level 3 §6.5), and how long
sessions last, within what the platform allows. Passkeys that exist are not touched by it.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final, Literal
from uuid import UUID

from argy.authn.sessions.domain import Limits
from argy.base.errors import Aborted, FailedPrecondition, FieldViolation, InvalidArgument

Links = Literal["ON", "OFF"]
Attestation = Literal["NONE", "REQUIRED"]

MAX_MODELS: Final = 100
MAX_ROOTS: Final = 20
_MINUTE_S: Final = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class SignInPolicy:
    """What decides how people sign in; its defaults hold where a tenant set nothing."""

    links: Links = "ON"
    models: frozenset[UUID] = frozenset()
    """Models (AAGUIDs) that may be registered; empty for any."""
    attestation: Attestation = "NONE"
    session_idle_minutes: int = 0
    """Minutes that a session may rest; 0 for the platform's."""
    session_max_minutes: int = 0
    """Minutes that a session lasts at most; 0 for the platform's."""


@dataclass(frozen=True, slots=True)
class Version:
    """A policy, the certificates that vouch for models, each in PEM, and which version it is."""

    policy: SignInPolicy = SignInPolicy()
    roots: tuple[str, ...] = ()
    revision: int = 0
    """How often it was changed; 0 for the defaults of a tenant that never set one."""

    @property
    def etag(self) -> str:
        """The version's name."""
        return str(self.revision)


def links_on(policy: SignInPolicy) -> bool:
    """Whether people of a tenant sign in, recover and are invited by links in mails.

    The one place that decides it.
    """
    return policy.links == "ON"


def check_links_on(policy: SignInPolicy) -> None:
    """Hold a tenant's links to its policy; asks nothing of whose address or which link it is.

    Raises:
        FailedPrecondition: ``LINKS_OFF``.
    """
    if not links_on(policy):
        raise FailedPrecondition(
            "Your organization signs in another way: links are off", reason="LINKS_OFF"
        )


def allowed_models(policy: SignInPolicy) -> frozenset[UUID] | None:
    """The models that may be registered; None for any."""
    return policy.models or None


def attested_by(version: Version) -> tuple[str, ...] | None:
    """The certificates that must vouch for a new passkey, in PEM; None where nothing must."""
    return version.roots if version.policy.attestation == "REQUIRED" else None


def session_limits(policy: SignInPolicy, platform: Limits) -> Limits:
    """How long a tenant's sessions last: never longer than the platform's, whatever was stored.

    Devices keep the platform's limit, which is that of their refresh tokens.
    """
    return Limits(
        idle_s=_within(policy.session_idle_minutes, platform.idle_s),
        absolute_s=_within(policy.session_max_minutes, platform.absolute_s),
        device_s=platform.device_s,
    )


def check_policy(
    policy: SignInPolicy, *, roots: Collection[str], platform: Limits, found: list[FieldViolation]
) -> None:
    """Accept a policy that can hold; ``found`` are violations that the caller knows of already.

    Raises:
        InvalidArgument: ``INVALID_SIGN_IN_POLICY``, with every field at fault.
    """
    wrong = [*found, *_models(policy, roots), *_minutes(policy, platform)]
    if wrong:
        raise InvalidArgument(
            f"{wrong[0].field} {wrong[0].description}",
            reason="INVALID_SIGN_IN_POLICY",
            violations=wrong,
        )


def check_etag(held: Version, etag: str) -> None:
    """Accept a change of the version that is held.

    Raises:
        Aborted: ``ETAG_MISMATCH``.
    """
    if etag != held.etag:
        raise etag_mismatch()


def etag_mismatch() -> Aborted:
    """The error of a change of a version that is held no more."""
    return Aborted(
        "Somebody changed the policy meanwhile: read it again, then change it",
        reason="ETAG_MISMATCH",
    )


def check_not_locked_out(held: SignInPolicy, wanted: SignInPolicy, *, own_passkeys: int) -> None:
    """Keep whoever turns links off able to sign in; ``own_passkeys`` are their usable ones.

    Raises:
        FailedPrecondition: ``WOULD_LOCK_OUT``.
    """
    if links_on(held) and not links_on(wanted) and not own_passkeys:
        raise FailedPrecondition(
            "Without links you could not sign in yourself: register a passkey first",
            reason="WOULD_LOCK_OUT",
            field="policy.links",
        )


def told(version: Version) -> Mapping[str, Any]:
    """A version as the audit log keeps it: certificates by the SHA-256 of their PEM."""
    policy = version.policy
    return {
        "links": policy.links,
        "passkey_aaguids": sorted(map(str, policy.models)),
        "passkey_attestation": policy.attestation,
        "passkey_attestation_roots": [sha256(root.encode()).hexdigest() for root in version.roots],
        "session_idle_minutes": policy.session_idle_minutes,
        "session_max_minutes": policy.session_max_minutes,
        "etag": version.etag,
    }


def _within(minutes: int, platform_s: int) -> int:
    return min(minutes * _MINUTE_S, platform_s) if minutes else platform_s


def _models(policy: SignInPolicy, roots: Collection[str]) -> list[FieldViolation]:
    wrong = []
    if len(policy.models) > MAX_MODELS:
        wrong.append(_wrong("passkey_aaguids", f"must have at most {MAX_MODELS} items"))
    if len(roots) > MAX_ROOTS:
        wrong.append(_wrong("passkey_attestation_roots", f"must have at most {MAX_ROOTS} items"))
    if policy.attestation == "REQUIRED":
        if not policy.models:
            wrong.append(_wrong("passkey_aaguids", "must name the models that are attested"))
        if not roots:
            wrong.append(
                _wrong("passkey_attestation_roots", "must name the authorities of those models")
            )
    return wrong


def _minutes(policy: SignInPolicy, platform: Limits) -> list[FieldViolation]:
    idle, most = policy.session_idle_minutes, policy.session_max_minutes
    wrong = []
    for field, minutes, limit_s in (
        ("session_idle_minutes", idle, platform.idle_s),
        ("session_max_minutes", most, platform.absolute_s),
    ):
        limit = limit_s // _MINUTE_S
        if not 0 <= minutes <= limit:
            wrong.append(_wrong(field, f"must be 0 to {limit}, the platform's limit"))
    if idle and most and idle > most:
        wrong.append(_wrong("session_idle_minutes", "must be no more than session_max_minutes"))
    return wrong


def _wrong(field: str, description: str) -> FieldViolation:
    return FieldViolation(f"policy.{field}", description)
