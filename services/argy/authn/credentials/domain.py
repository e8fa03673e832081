"""Credentials as pure rules: their scopes, their lifetimes, and when one is good."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal
from uuid import UUID

from argy.base.errors import (
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
)
from argy.base.foreign_text import name_of

Kind = Literal["TOKEN", "KEY", "SERVICE"]
"""A person's token, an agent's key, or the key with which a service signs."""

MAX_NAME: Final = 100
MAX_LIVE_TOKENS: Final = 25
"""Live personal access tokens of one user."""
MAX_LIVE_KEYS: Final = 25
"""Live API keys of one agent."""
MAX_LIVE_SERVICE_KEYS: Final = 25
"""Live service keys of one service."""
MAX_SCOPES: Final = 50
MIN_TOKEN_DAYS: Final = 7
MAX_DAYS: Final = 366
STEP_UP_S: Final = 300
"""How long ago whoever makes a credential may have proved who they are."""
DAY_MS: Final = 86_400_000
HOUR_MS: Final = 3_600_000
MINUTE_MS: Final = 60_000

_MOST: Final[dict[Kind, int]] = {
    "TOKEN": MAX_LIVE_TOKENS,
    "KEY": MAX_LIVE_KEYS,
    "SERVICE": MAX_LIVE_SERVICE_KEYS,
}
_SCOPE: Final = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*:[a-z][a-z0-9_]*")
_MAX_SCOPE: Final = 128
_AGENT: Final = re.compile(r"agent:[A-Za-z0-9._@+-]{1,248}")
_PREFIX_CHARS: Final = 13


@dataclass(frozen=True, slots=True)
class Credential:
    """All of a credential but its secret. Times are milliseconds since the Unix epoch."""

    id: UUID
    kind: Kind
    subject: str
    name: str
    prefix: str
    scopes: tuple[str, ...]
    lifetime_days: int
    created_by: str
    created_at_ms: int
    expires_at_ms: int
    last_used_at_ms: int | None = None
    revoked_at_ms: int | None = None
    generation: int = 0
    """Counts a service key's secrets, from 1 on; 0 for other kinds."""

    @property
    def resource(self) -> str:
        """The name under which audit knows it."""
        return f"authn.credential:{self.id}"

    def live(self, now_ms: int) -> bool:
        """Whether it is good now."""
        return self.revoked_at_ms is None and now_ms < self.expires_at_ms


@dataclass(frozen=True, slots=True)
class Made:
    """A credential with its secret, which is told this once."""

    credential: Credential
    secret: str
    key_id: str = ""
    """What signatures name a service key's secret by."""

    def __repr__(self) -> str:
        """Without the secret, which must reach no log."""
        return f"Made({self.credential!r})"


def checked_scopes(scopes: Iterable[str]) -> tuple[str, ...]:
    """The scopes, sorted, each once: permissions as ``type:action``, without wildcards.

    Raises:
        InvalidArgument: for none, too many, or one that names no permission.
    """
    wanted = sorted(set(scopes))
    if not 1 <= len(wanted) <= MAX_SCOPES:
        raise InvalidArgument(f"give 1 to {MAX_SCOPES} scopes", field="scopes")
    for scope in wanted:
        if len(scope) > _MAX_SCOPE or not _SCOPE.fullmatch(scope):
            raise InvalidArgument("a scope is one permission, such as project:read", field="scopes")
    return tuple(wanted)


def checked_name(name: str) -> str:
    """What its owner calls it; raises InvalidArgument for nothing or for control characters."""
    trimmed = name_of(name, most=MAX_NAME)
    if not trimmed:
        raise InvalidArgument(
            f"the name must be 1 to {MAX_NAME} printable characters", field="name"
        )
    return trimmed


def check_days(kind: Kind, days: int) -> None:
    """Hold a lifetime to its limits; raises InvalidArgument."""
    least = MIN_TOKEN_DAYS if kind == "TOKEN" else 1
    if not least <= days <= MAX_DAYS:
        raise InvalidArgument(f"days must be {least} to {MAX_DAYS}", field="days")


def check_agent(subject: str) -> None:
    """Refuse a subject that is no agent; raises InvalidArgument."""
    if not _AGENT.fullmatch(subject):
        raise InvalidArgument("subject must be agent:<id>", field="subject")


def check_room(kind: Kind, live: int) -> None:
    """Whether there is room for one more beside ``live`` ones.

    Raises:
        ResourceExhausted: ``TOO_MANY_CREDENTIALS``.
    """
    most = _MOST[kind]
    if live >= most:
        raise ResourceExhausted(
            f"there are {most} live ones already: revoke one first",
            reason="TOO_MANY_CREDENTIALS",
            metadata={"limit": str(most)},
        )


def check_live(found: Credential | None, *, now_ms: int) -> Credential:
    """The credential, when it is good now.

    Raises:
        NotFound: ``CREDENTIAL_UNKNOWN``.
        FailedPrecondition: ``CREDENTIAL_OVER`` when it was revoked or has ended.
    """
    if found is None:
        raise unknown_credential()
    if not found.live(now_ms):
        raise FailedPrecondition("The credential is over", reason="CREDENTIAL_OVER")
    return found


def unknown_credential() -> NotFound:
    """The one answer to an id that is nobody's, and to another's that the caller may not touch."""
    return NotFound("No such credential", reason="CREDENTIAL_UNKNOWN", field="credential_id")


def beyond_rights(scope: str, subject: str) -> PermissionDenied:
    """The refusal of a scope that its owner, or whoever makes it, does not hold: ``subject``."""
    return PermissionDenied(
        f"The scope '{scope}' is beyond the rights of {subject}: grant a role that allows it first",
        reason="SCOPE_BEYOND_RIGHTS",
        metadata={"scope": scope, "subject": subject},
    )


def recognisable(secret: str) -> str:
    """The start of a secret by which its owner knows it: too little to guess the rest from."""
    return secret[:_PREFIX_CHARS]


def expiry(now_ms: int, days: int) -> int:
    """When a credential of so many days ends."""
    return now_ms + days * DAY_MS
