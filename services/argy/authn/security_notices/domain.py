"""What people are told of their ways in, and who counts as having seen it. Pure.

- Told is what gives somebody a way in, or takes one away.
- It is shown on sessions of its person until it is acknowledged: on any but the one that it came
  from (whoever did it there knows), and on none that is provisional (whoever reads a mailbox must
  not put away what warns of them).
- Only a proof that is older than the event can tell whether it was its person's doing: a passkey
  that was made by it, or after it, may be the thief's. It is neither asked nor heard.
- For the same reason an acknowledgement counts for proofs as old as its own and for younger ones:
  whoever signs in by an older one is asked still.
- One person has the newest notices of each kind, for some months.
"""

from dataclasses import dataclass
from typing import Final, Literal
from uuid import UUID

from argy.authn.sessions.domain import DeviceInfo
from argy.base.errors import Unauthenticated

NoticeKind = Literal[
    "recovery_used",
    "passkey_registered",
    "passkey_removed",
    "passkey_blocked",
    "token_made",
    "device_let_in",
    "sign_in_reset",
    "signed_out_everywhere",
]
KEPT_OF_KIND: Final = 10
KEPT_MS: Final = 90 * 86_400_000
_AHEAD_MS: Final = 5_000
"""By how much the clock that told of a proof may be ahead of the one that resets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SecurityNotice:
    """One event. Times are milliseconds since the Unix epoch."""

    id: UUID
    kind: NoticeKind
    name: str
    device: DeviceInfo
    session_id: str
    """The session that it came from; empty for none of the person's."""
    made_session_id: str
    """The session that it made, of a device that was let in; empty for none."""
    created_at_ms: int
    seen_at_ms: int | None
    """When it was first acknowledged."""
    seen_since_ms: int = 0
    """Since when the oldest proof exists that acknowledged it."""

    def own(self, session_id: str) -> bool:
        """Whether it came from this session, or made it."""
        return bool(session_id) and session_id in (self.session_id, self.made_session_id)

    def open_to(self, session_id: str, since_ms: int) -> bool:
        """Whether a session is to show it still, whose proof exists since ``since_ms``."""
        # A reset ends whatever is older: only who begins anew can hear of it.
        older = since_ms < self.created_at_ms or self.kind == "sign_in_reset"
        acknowledged = self.seen_at_ms is not None and self.seen_since_ms <= since_ms
        return older and not acknowledged and not self.own(session_id)


def check_not_reset(reset_at_ms: int | None, proof_ms: int) -> None:
    """Refuse what goes back to a sign-in from before a person's ways in were taken away.

    Tokens end with a reset too; this is for calls that were under way then.

    Raises:
        Unauthenticated: ``SESSION_OVER``.
    """
    if reset_at_ms is not None and proof_ms <= reset_at_ms + _AHEAD_MS:
        raise Unauthenticated("You are signed out: sign in again", reason="SESSION_OVER")
