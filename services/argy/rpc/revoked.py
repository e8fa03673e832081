"""A tenant's list of tokens and keys that were ended before their time."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from argy.base.errors import Unauthenticated
from argy.rpc.claims import MAX_LIFETIME_S, Claims

_AHEAD_MS: Final = 5_000
"""By how much the clock that issued a token may be ahead of the one that ended its person."""


@dataclass(frozen=True, slots=True)
class Revoked:
    """What ended, by ``<kind>:<id>``, with the millisecond at which the entry may go.

    ``epoch`` names this list. A token carries the name of the list that stood when it was issued:
    after the list was lost nobody can say what had been on it, so that every token of before is
    refused and its person gets another. An empty epoch refuses all. ``run`` is the run of the
    server that keeps the list, also where none has begun: another may have lost what was on it.
    """

    epoch: str
    ends_ms: Mapping[str, int] = field(default_factory=dict)
    run: str = ""

    @property
    def name(self) -> tuple[str, str]:
        """Another one: something that was on the list may be missing."""
        return self.run, self.epoch

    def check(self, claims: Claims, epoch: str) -> None:
        """Refuse a token that was ended.

        Raises:
            Unauthenticated: ``TOKEN_REVOKED``, or ``TOKEN_REVOCATION_UNKNOWN``.
        """
        if not self.epoch or epoch != self.epoch:
            raise Unauthenticated(
                "the access token is refused: get another one, its revocation is not known",
                reason="TOKEN_REVOCATION_UNKNOWN",
                field="authorization",
            )
        ends = self.ends_ms
        if not ends:
            return
        before_ms = ends.get(user_entry(claims.subject))
        if (
            session_entry(claims.session_id) in ends
            or token_entry(claims.token_id) in ends
            or family_entry(claims.family_id) in ends
            # Whatever of this person was issued by then: the entry lasts as long as such a token.
            or (
                before_ms is not None
                and claims.issued_at_s * 1000 <= before_ms - MAX_LIFETIME_S * 1000 + _AHEAD_MS
            )
        ):
            raise Unauthenticated(
                "the access token is refused: it was ended",
                reason="TOKEN_REVOKED",
                field="authorization",
            )


def session_entry(session_id: str) -> str:
    """The entry that ends every token of a session."""
    return f"s:{session_id}"


def token_entry(token_id: str) -> str:
    """The entry that ends one token, by its ``jti``."""
    return f"j:{token_id}"


def family_entry(family_id: str) -> str:
    """The entry that ends the tokens of one family of refresh tokens."""
    return f"f:{family_id}"


def withdrawn_entry(kid: str) -> str:
    """The entry, of the platform's own list, that ends whatever a signing key signed."""
    return f"kid:{kid}"


def user_entry(subject: str) -> str:
    """The entry that ends what a person (``user:<id>``) was issued before it was made."""
    return f"u:{subject}"


def service_key_entry(credential_id: UUID) -> str:
    """The entry that ends every generation of a service key."""
    return f"k:{credential_id}"


def generation_entry(credential_id: UUID, generation: int) -> str:
    """The entry that ends one generation of a service key."""
    return f"k:{credential_id}:{generation}"
