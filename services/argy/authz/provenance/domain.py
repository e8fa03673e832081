"""Who counts as somebody else than the asker, by where their power comes from. Pure.

Power is handed on by links: a role that is given, a membership that is made. Each link keeps who
made it, and to whom that giver owed the power to make it (``authz.upstream_of``). A way to hold a
role stands on an asker's giving when one of its links does; whoever holds what they need by such
ways alone is no other.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from argy.authz.domain import ASSIGNMENT_RESOURCE
from argy.base.errors import PermissionDenied
from argy.policy import Assignment, TenantSnapshot

WINDOW_MS: Final = 30 * 86_400_000
"""Milliseconds before the asking from which on what an asker gave makes its receiver no other."""
ANYBODY: Final = "*"
"""The giver of a link of which nobody said who made it."""
APPOINTED_BY_ASKER: Final = "APPOINTED_BY_ASKER"
_GRANT_ANY: Final = "grant_any"
_GRANT: Final = "grant"


@dataclass(frozen=True, slots=True)
class Link:
    """One giving. ``owes``: upstream givers, each with the time of theirs, Unix milliseconds."""

    giver: str
    made_at_ms: int
    owes: Mapping[str, int]

    def stands_on(self, askers: Collection[str], since_ms: int) -> bool:
        """Whether an asker, or one who may have been an asker, gave it or the power to give it."""
        by = {ANYBODY, *askers}
        return (self.giver in by and self.made_at_ms >= since_ms) or any(
            giver in by and given_ms >= since_ms for giver, given_ms in self.owes.items()
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Path:
    """One way to hold a role: an assignment, or a membership with the group's assignment.

    ``org`` is a slug, empty for the whole tenant.
    """

    subject: str
    role: str
    org: str
    expires_at_ms: int | None
    links: tuple[Link, ...]


def since(asked_at_ms: int) -> int:
    """From when on an asker's giving matters: what follows the asking matters in any case."""
    return asked_at_ms - WINDOW_MS


def independent(
    paths: Iterable[Path], askers: Collection[str], *, since_ms: int
) -> tuple[Path, ...]:
    """The paths of which no link stands on the giving of any of the askers."""
    return tuple(
        path for path in paths if not any(link.stands_on(askers, since_ms) for link in path.links)
    )


def assignments(paths: Iterable[Path]) -> tuple[Assignment, ...]:
    """What paths give, as if each role had been given to its subject itself."""
    return tuple(
        Assignment(
            subject=path.subject, role=path.role, org=path.org, expires_at_ms=path.expires_at_ms
        )
        for path in paths
    )


def may_grant(snapshot: TenantSnapshot, asker: str, org: str, role: str, now_ms: int) -> bool:
    """Whether an asker could give a role in an org, without asking anybody."""
    if not snapshot.check(asker, org, ASSIGNMENT_RESOURCE, _GRANT, None, now_ms).allowed:
        return False
    held = snapshot.holding(asker, org, now_ms)
    return (held.fixed is None and role in held.view.paths) or snapshot.check(
        asker, org, ASSIGNMENT_RESOURCE, _GRANT_ANY, None, now_ms
    ).allowed


def appointed(reason: str = APPOINTED_BY_ASKER) -> PermissionDenied:
    """The refusal of somebody who owes the power to act to whoever asks."""
    return PermissionDenied(
        "You hold what this takes only because somebody who asks for it gave it within "
        f"{WINDOW_MS // 86_400_000} days, to you or to whoever gave it to you: somebody else must "
        "do it",
        reason=reason,
    )
