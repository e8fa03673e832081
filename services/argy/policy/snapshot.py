"""Who holds what in one tenant, and the decisions that follow.

A snapshot never changes: a new revision of the policy or of the assignments makes a new
snapshot, and the holder swaps one reference. A decision is three look-ups: the subject (what it
holds now), the object's type with the action (the verdict), and the verdict (the decision object
with its path).

Memory: a million assignments are a million dict entries whose values are shared; what is
remembered of asked subjects is bounded, and a subject that holds nothing leaves no trace.
"""

from collections.abc import Iterable, Iterator, Mapping

from argy.base.errors import InvalidArgument
from argy.policy.compiled import CompiledPolicy
from argy.policy.conditions import Facts
from argy.policy.rules import (
    NO_MATCHING_RULE,
    SUBJECT_DISABLED,
    Assignment,
    Decision,
    Membership,
    PermissionEntry,
)
from argy.policy.view import Verdict, View

SUBJECT_KINDS = ("user:", "service:", "agent:", "group:")
_MAX_HELD = 50_000
"""Asked subjects that a snapshot remembers before it starts anew."""
_MAX_DECISIONS = 10_000
"""Distinct answers that are remembered for a subject: facts choose among lines of approvals."""
_ALWAYS = (-(1 << 63), 1 << 63)
_DISABLED = Decision(False, SUBJECT_DISABLED)
_NOTHING = Decision(False, NO_MATCHING_RULE)

Grant = tuple[str, str, int | None]
"""Role, org (empty for the whole tenant), end in milliseconds or ``None``."""


class Held:
    """What one subject holds in one org, from ``since`` until just before ``until`` (ms)."""

    __slots__ = ("decisions", "fixed", "since", "table", "until", "view")

    def __init__(self, view: View, since: int, until: int, fixed: Decision | None) -> None:
        self.view, self.table = view, view.table
        self.since, self.until = since, until
        self.fixed = fixed
        """The answer to every question, for a subject that is disabled or none at all."""
        self.decisions: dict[Verdict, Decision] = {}


class TenantSnapshot:
    """The decisions of one tenant under one policy and one revision of its assignments."""

    def __init__(
        self,
        policy: CompiledPolicy,
        tenant: str,
        assignments: Iterable[Assignment],
        memberships: Iterable[Membership] = (),
        *,
        revision: int = 0,
        disabled: Iterable[str] = (),
    ) -> None:
        """Take the tenant's slug, its role assignments, group memberships and disabled subjects.

        Raises:
            InvalidArgument: for a subject without a kind, or a group within a group.
        """
        self.policy = policy
        self.tenant = tenant
        self.revision = revision
        self.disabled = frozenset(disabled)
        self._grants = _grants(assignments)
        self._groups = _groups(memberships)
        named = {org for held in self._grants.values() for _, org, _ in held}
        self._orgs = (named | policy.orgs(tenant)) - {""}
        self._everywhere: dict[str, Held] = {}
        self._held: dict[str, dict[str, Held]] = {org: {} for org in self._orgs}
        self._remembered = 0
        self._strangers: dict[tuple[str, Decision | None], Held] = {}

    def check(
        self,
        subject: str,
        org: str,
        obj: str,
        act: str,
        ctx: Mapping[str, object] | None,
        now_ms: int,
    ) -> Decision:
        """Decide whether ``subject`` may do ``act`` to ``obj``; ``org`` is a slug, or empty."""
        held = self._held.get(org, self._everywhere).get(subject)
        if held is None or not held.since <= now_ms < held.until:
            held = self._hold(subject, org, now_ms)
        if held.fixed is not None:
            return held.fixed
        colon = obj.find(":")
        if colon < 1 or not act:
            return _NOTHING
        kind = obj[:colon]
        verdict = held.table.get((kind, act))
        if verdict is None:
            verdict = held.view.find(kind, act)
        if not isinstance(verdict, Verdict):
            verdict = verdict.settled(obj) or verdict.decide(
                Facts(subject, self.tenant, org, obj, act, ctx, now_ms)
            )
        decision = held.decisions.get(verdict)
        if decision is None:
            decision = self._decision(held, verdict, subject, org, now_ms)
        return decision

    def list_permissions(self, subject: str, org: str, now_ms: int) -> list[PermissionEntry]:
        """Every rule that applies to ``subject``, in the policy's order; none when disabled."""
        held = self._hold(subject, org, now_ms)
        if held.fixed is not None:
            return []
        return [
            PermissionEntry(
                rule.obj,
                rule.act,
                rule.effect,
                rule.condition,
                rule,
                self.path(subject, org, held.view.paths[rule.role], now_ms),
            )
            for rule in self.policy.applicable(held.view.paths, held.view.domain)
        ]

    def list_subjects(
        self, org: str, obj: str, act: str, ctx: Mapping[str, object] | None, now_ms: int
    ) -> list[str]:
        """Who may do ``act`` to ``obj``: users, services, agents and groups, sorted."""
        known = {*self._grants, *self._groups, *self.policy.subjects}
        return sorted(
            subject for subject in known if self.check(subject, org, obj, act, ctx, now_ms).allowed
        )

    def knows(self, subject: str) -> bool:
        """Whether an assignment, a membership or a rule names a subject."""
        named = (
            subject in self._grants or subject in self._groups or subject in self.policy.subjects
        )
        return named and is_subject(subject)

    def holding(self, subject: str, org: str, now_ms: int) -> Held:
        """What ``subject`` holds in ``org`` now."""
        return self._hold(subject, org, now_ms)

    def grants(self, subject: str) -> Iterator[tuple[Grant, str]]:
        """The grants of ``subject`` in any org, ended or not, each with the group it comes by."""
        for grant in self._grants.get(subject, ()):
            yield grant, ""
        for group in self._groups.get(subject, ()):
            if group not in self.disabled:
                for grant in self._grants.get(group, ()):
                    yield grant, group

    def path(self, subject: str, org: str, chain: tuple[str, ...], now_ms: int) -> tuple[str, ...]:
        """The way from ``subject`` to the end of ``chain``, which begins with what it holds."""
        if not chain:
            return ()
        if chain[0] == subject:
            return chain
        for (role, where, end), group in self.grants(subject):
            if role == chain[0] and where in ("", org) and (end is None or now_ms < end):
                return (subject, group, *chain) if group else (subject, *chain)
        return chain

    def _hold(self, subject: str, org: str, now_ms: int) -> Held:
        if org not in self._held:
            org = ""
        since, until = _ALWAYS
        roles: set[str] = set()
        fixed: Decision | None = None
        if subject in self.disabled:
            fixed = _DISABLED
        elif not is_subject(subject):
            fixed = _NOTHING
        else:
            for (role, where, end), _ in self.grants(subject):
                if where not in ("", org):
                    continue
                if end is None or now_ms < end:
                    roles.add(role)
                    until = until if end is None else min(until, end)
                else:
                    since = max(since, end)
            if subject in self.policy.subjects:
                roles.add(subject)
        if not roles:
            return self._stranger(org, fixed)
        view = self.policy.view(self.policy.scope(self.tenant, org), frozenset(roles))
        held = Held(view, since, until, None)
        if self._remembered >= _MAX_HELD:
            self._everywhere.clear()
            for by_subject in self._held.values():
                by_subject.clear()
            self._remembered = 0
        self._held.get(org, self._everywhere)[subject] = held
        self._remembered += 1
        return held

    def _stranger(self, org: str, fixed: Decision | None) -> Held:
        """What everybody who holds nothing shares."""
        key = (org, fixed)
        held = self._strangers.get(key)
        if held is None:
            view = self.policy.view(self.policy.scope(self.tenant, org), frozenset())
            held = self._strangers.setdefault(key, Held(view, *_ALWAYS, fixed))
        return held

    def _decision(
        self, held: Held, verdict: Verdict, subject: str, org: str, now_ms: int
    ) -> Decision:
        path = self.path(subject, org, verdict.chain, now_ms)
        decision = Decision(verdict.allowed, verdict.reason, verdict.rule, path, verdict.approvals)
        if len(held.decisions) >= _MAX_DECISIONS:
            held.decisions.clear()
        return held.decisions.setdefault(verdict, decision)


def _grants(assignments: Iterable[Assignment]) -> dict[str, tuple[Grant, ...]]:
    """Grants by subject. Subjects with the same grants share one tuple."""
    found: dict[str, list[Grant]] = {}
    grants: dict[Grant, Grant] = {}
    for item in assignments:
        _check_kind(item.subject)
        grant = (item.role, item.org, item.expires_at_ms)
        found.setdefault(item.subject, []).append(grants.setdefault(grant, grant))
    shared: dict[tuple[Grant, ...], tuple[Grant, ...]] = {}
    result: dict[str, tuple[Grant, ...]] = {}
    for subject, held in found.items():
        key = tuple(sorted(held, key=_grant_order))
        result[subject] = shared.setdefault(key, key)
    return result


def _grant_order(grant: Grant) -> tuple[str, str, int]:
    role, org, end = grant
    return org, role, -1 if end is None else end


def _groups(memberships: Iterable[Membership]) -> dict[str, tuple[str, ...]]:
    found: dict[str, set[str]] = {}
    for item in memberships:
        _check_kind(item.member)
        if not item.group.startswith("group:") or item.member.startswith("group:"):
            raise InvalidArgument(
                "a group has users, services and agents as members", field="member"
            )
        found.setdefault(item.member, set()).add(item.group)
    return {member: tuple(sorted(groups)) for member, groups in found.items()}


def is_subject(name: str) -> bool:
    """Whether a name is one of subjects: ``type:id`` of any type but ``role``."""
    kind, colon, _ = name.partition(":")
    return bool(colon) and kind not in ("", "role")


def _check_kind(subject: str) -> None:
    if not is_subject(subject):
        raise InvalidArgument(f"{subject!r} is not a subject", field="subject")
