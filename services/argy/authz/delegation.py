"""Who may hand on what, and until when: the one place where that is decided. Pure.

Whoever hands on a role, a membership or a permission must hold it in the same scope now and at its
last moment: what ends can't be made to last. Roles are also given by who has the permission
``authz.role_assignment:grant_any`` for as long.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from uuid import UUID

from argy.authz.view import TenantView
from argy.rpc.access import ANY, GRANT_ANY
from argy.rpc.delegation import ENDLESS_MS, Delegation, Missing

Holds = Callable[[int], bool]


@dataclass(frozen=True, slots=True)
class Giver:
    """Who hands something on, as one view of their tenant sees them."""

    view: TenantView
    subject: str
    org: str
    """The slug of the call's org; empty for the tenant as a whole."""
    facts: Mapping[str, object] | None
    """What conditions see of how they signed in."""
    now_ms: int
    only_what_is_held: bool = False
    """Whether their credential excludes giving what they don't hold."""

    def may(self, permission: str, resource_id: str, at_ms: int) -> bool:
        """Whether they have a permission at a moment, without an approval."""
        kind, action = permission.rsplit(":", 1)
        return self.view.snapshot.check(
            self.subject, self.org, f"{kind}:{resource_id}", action, self.facts, at_ms
        ).allowed

    def may_give(self, role: str, org: str, at_ms: int) -> bool:
        """Whether they hold a role in an org at a moment, or may give any."""
        return role in roles_of(self.view, self.subject, org, at_ms) or (
            not self.only_what_is_held and self.may(GRANT_ANY, ANY, at_ms)
        )

    def missing(self, name: str, holds: Holds, last_ms: int) -> Missing | None:
        """Why ``holds`` fails at some moment from now to ``last_ms``; None if it doesn't."""
        if all(map(holds, {self.now_ms, max(self.now_ms, last_ms)})):
            return None
        if not holds(self.now_ms):
            return Missing(name, None)
        ends = sorted({end for (_, _, end), _ in self.view.snapshot.grants(self.subject) if end})
        over = [end for end in ends if end > self.now_ms and not holds(end)]
        return Missing(name, over[0] if over else None)


def roles_of(view: TenantView, subject: str, org: str, at_ms: int) -> frozenset[str]:
    """What a subject holds in an org at a moment, inherited and by groups; empty when disabled."""
    holding = view.snapshot.holding(subject, org, at_ms)
    return frozenset(holding.view.paths) if holding.fixed is None else frozenset()


def missing_role(giver: Giver, role: str, *, org: str, last_ms: int) -> Missing | None:
    """What a giver lacks to give a role in an org until ``last_ms``; None for nothing."""
    return giver.missing(role, lambda at_ms: giver.may_give(role, org, at_ms), last_ms)


def missing_of(giver: Giver, wanted: Delegation) -> Missing | None:
    """The first thing that a giver lacks; None for nothing."""
    last_ms = ENDLESS_MS if wanted.ends_at_ms is None else wanted.ends_at_ms - 1
    for permission, resource_id in wanted.permissions:
        found = giver.missing(permission, _permission(giver, permission, resource_id), last_ms)
        if found is not None:
            return found
    return None if wanted.group_id is None else _missing_membership(giver, wanted.group_id)


def _permission(giver: Giver, permission: str, resource_id: str) -> Holds:
    return lambda at_ms: giver.may(permission, resource_id, at_ms)


def _missing_membership(giver: Giver, group_id: UUID) -> Missing | None:
    """What a giver lacks of what a group gives its members, wherever and as long as it does."""
    group, snapshot = f"group:{group_id}", giver.view.snapshot
    grants = [grant for grant, _ in snapshot.grants(group)]
    orgs = {"", *(org for _, org, _ in grants)}
    if group in giver.view.policy.subjects:
        orgs |= giver.view.policy.orgs(snapshot.tenant)
    lasts = {ENDLESS_MS, *(end - 1 for _, _, end in grants if end and end > giver.now_ms)}
    for org in sorted(orgs):
        for last_ms in sorted(lasts):
            for role in sorted(roles_of(giver.view, group, org, last_ms)):
                found = missing_role(giver, role, org=org, last_ms=last_ms)
                if found is not None:
                    return found
    return None
