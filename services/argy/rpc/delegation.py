"""Authority that somebody hands on: what is derived ends no later than what it derives from."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from argy.base.errors import PermissionDenied

ENDLESS_MS: Final = 253_402_300_799_999
"""The last moment of 9999, for what has no end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delegation:
    """Permissions until ``ends_at_ms``, or whatever the members of a group hold by it."""

    permissions: Sequence[tuple[str, str]] = ()
    """Each ``type:action`` with the id of a resource, or ``-`` for the type as such."""
    ends_at_ms: int | None = None
    """Milliseconds since the Unix epoch; None for no end."""
    group_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class Missing:
    """What a giver doesn't hold for as long as it would be handed on."""

    name: str
    """A role, or a permission."""
    held_until_ms: int | None
    """When the giver's own ends; None if it isn't held at all."""

    def refusal(self, reason: str, *, field: str) -> PermissionDenied:
        """The error that says what is missing, and for how long it is held."""
        held = "you don't hold it"
        if self.held_until_ms is not None:
            ends = datetime.fromtimestamp(self.held_until_ms / 1000, UTC)
            held = f"you hold it until {ends:%Y-%m-%d %H:%M:%S} UTC"
        return PermissionDenied(
            f"To hand on {self.name} you must hold it in the same scope and for as long: {held}",
            reason=reason,
            field=field,
            metadata={"missing": self.name},
        )
