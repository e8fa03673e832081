"""Which real subjects of a tenant gain or lose what, from one policy to another.

Subjects that hold the same in the same orgs have the same impact: it is computed once for them.
What one role loses and another one that the same subject holds still gives is no loss to it, and
the other way round; so each combination of roles is compared as a whole, by classes as in
``argy.policy.compare.diff``.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, NamedTuple, Protocol

from argy.base.errors import FailedPrecondition
from argy.policy.access import UNGATED, Access, Gating, Matching, Requirement, access, gating
from argy.policy.access import requirement as requirement_of
from argy.policy.budget import spender
from argy.policy.compare.changes import EVERYBODY, AccessChange
from argy.policy.compare.differences import Difference, Line, differences, relevant
from argy.policy.compare.places import Place, escalates, kind_of
from argy.policy.compare.sides import Pair, merge_domains
from argy.policy.compiled import CompiledPolicy
from argy.policy.globs import domain_match
from argy.policy.model import Effect
from argy.policy.rules import ApprovalMode, ApprovalRule, Assignment, Membership

_SERVICE: Final = "service:"
_GROUP: Final = "group:"

_What = Matching | tuple[ApprovalMode, Requirement]
_Lines = Sequence[Line[_What]]


class TenantFactsLike(Protocol):
    """One tenant's facts: ``argy.policy.export.TenantFacts``, or a service's own."""

    @property
    def tenant(self) -> str:
        """Its slug."""
        ...

    @property
    def disabled(self) -> Iterable[str]:
        """Subjects that are refused everything, groups that pass nothing on."""
        ...

    def held(self) -> Iterable[Assignment]:
        """Every role assignment."""
        ...

    def members(self) -> Iterable[Membership]:
        """Every membership of a group."""
        ...


@dataclass(frozen=True, slots=True)
class SubjectChange:
    """One change that reaches a subject, and the way to the role that brings or brought it."""

    change: AccessChange
    """``role`` is the role of the rule to blame; ``domain`` the tenant or an org of it."""
    path: tuple[str, ...]
    """From the subject, through a group and roles, to that role."""


@dataclass(frozen=True, slots=True)
class SubjectImpact:
    """What one subject gains or loses."""

    subject: str
    changes: tuple[SubjectChange, ...]

    @property
    def escalates(self) -> bool:
        """Whether power is gained."""
        return any(item.change.escalation for item in self.changes)


class _Answered(NamedTuple):
    """What the rules and, where they allow, the approvals say."""

    access: Access
    gating: Gating

    def __str__(self) -> str:
        """For people."""
        if self.gating == UNGATED:
            return str(self.access)
        return f"{self.access}, {self.gating}"


_Grants = frozenset[tuple[str, str]]
"""Roles held, each with its org, empty for the whole tenant."""


def impact(
    base: CompiledPolicy, head: CompiledPolicy, facts: TenantFactsLike, now_ms: int
) -> tuple[SubjectImpact, ...]:
    """Who gains or loses what in one tenant, by subject; groups are told by their members.

    Assignments that ended, disabled subjects and disabled groups count for nothing.

    Raises:
        FailedPrecondition: when a model runs on pycasbin, whose meaning is not known.
        TooManyAtoms: when the globs overlap in too many ways to compare them all.
    """
    if not (base.compiled and head.compiled):
        raise FailedPrecondition(
            "impact needs a model that compiles; this one runs on pycasbin",
            reason="MODEL_NOT_COMPILED",
        )
    comparison = _Comparison(base, head, facts.tenant)
    found = []
    for subject, grants in sorted(_holdings(comparison, facts, now_ms).items()):
        changes = comparison.of(subject, frozenset(grants))
        if changes:
            told = tuple(
                SubjectChange(change, (subject, *_via(grants, path), *path))
                for change, path in changes
            )
            found.append(SubjectImpact(subject, told))
    return tuple(found)


_Held = dict[tuple[str, str], str]
"""Role and org, with the group that gives it; empty for an assignment of one's own."""


def _holdings(comparison: "_Comparison", facts: TenantFactsLike, now_ms: int) -> dict[str, _Held]:
    """What each subject holds now, groups passed on; services that the policy names hold none."""
    disabled = frozenset(facts.disabled)
    own: dict[str, _Held] = {name: {} for name in comparison.services}
    for item in facts.held():
        if item.expires_at_ms is None or now_ms < item.expires_at_ms:
            own.setdefault(item.subject, {})[item.role, item.org] = ""
    for member in facts.members():
        passed = own.get(member.group)
        if passed and member.group not in disabled:
            held = own.setdefault(member.member, {})
            for grant in passed:
                held.setdefault(grant, member.group)
    return {
        subject: held
        for subject, held in own.items()
        if subject not in disabled and not subject.startswith(_GROUP)
    }


def _via(grants: _Held, path: tuple[str, ...]) -> tuple[str, ...]:
    """The group through which the first role of a path is held, if by a group alone."""
    groups = [group for (role, _), group in grants.items() if path and role == path[0]]
    return () if not groups or "" in groups else (min(groups),)


_Told = list[tuple[AccessChange, tuple[str, ...]]]


class _Comparison:
    """Both policies in one tenant; combinations of roles are compared once."""

    def __init__(self, base: CompiledPolicy, head: CompiledPolicy, tenant: str) -> None:
        self._pair = Pair.of(base, head)
        self._tenant = tenant
        self._orgs = base.orgs(tenant) | head.orgs(tenant)
        self._named = {domain for p in (base, head) for domain in (p.scope(tenant, ""),) if domain}
        self._concerned = set(self._pair.concerned())
        named = base.subjects | head.subjects
        self.services = frozenset(name for name in named if name.startswith(_SERVICE))
        self._gates_differ = {requirement_key(a) for a in base.approvals} != {
            requirement_key(a) for a in head.approvals
        }
        self._by_grants: dict[tuple[str, _Grants], _Told] = {}
        self._by_names: dict[tuple[str, frozenset[str]], _Told] = {}

    def of(self, subject: str, grants: _Grants) -> _Told:
        """The changes for whoever holds ``grants``, each with the path from the role held."""
        itself = subject if subject in self.services else ""
        names = {role for role, _ in grants} | {itself}
        if not (names & self._concerned or self._gates_differ or self._pair.everything):
            return []
        key = (itself, grants)
        if key not in self._by_grants:
            self._by_grants[key] = list(self._compare(itself, grants))
        return self._by_grants[key]

    def _compare(
        self, itself: str, grants: _Grants
    ) -> Iterator[tuple[AccessChange, tuple[str, ...]]]:
        orgs = sorted({org for _, org in grants if org} | self._orgs)
        domains = [self._tenant, *(f"{self._tenant}/{org}" for org in orgs)]
        found: dict[tuple[AccessChange, tuple[str, ...]], dict[str, tuple[str, ...]]] = {}
        spend = spender()
        for org, domain in zip(("", *orgs), domains, strict=True):
            spend()
            names = {role for role, where in grants if where in ("", org)}
            held = frozenset((names | {itself}) - {""})
            scope = domain if org in self._orgs else self._tenant if self._named else "*"
            for change, path in self._differences(scope, held):
                key = (replace(change, rules=()), path)
                found.setdefault(key, {})[domain] = change.rules
        for (change, path), where in sorted(found.items(), key=lambda item: item[0]):
            for domain, limits in merge_domains(where, domains):
                yield (
                    replace(
                        change, domain=domain, rules=where[domain], after=change.after + limits
                    ),
                    path,
                )

    def _differences(self, scope: str, held: frozenset[str]) -> _Told:
        key = (scope, held)
        if key not in self._by_names:
            self._by_names[key] = list(self._found(scope, held))
        return self._by_names[key]

    def _found(
        self, scope: str, held: frozenset[str]
    ) -> Iterator[tuple[AccessChange, tuple[str, ...]]]:
        pair = self._pair
        place = Place.of(pair, sorted(held), scope)
        policies = (pair.base.policy, pair.head.policy)
        gates = [_gates(policy.approvals, place.domain) for policy in policies]
        differing: set[Line[_What]] = {*place.differing(pair)}
        differing |= gates[0].keys() ^ gates[1].keys()
        defaults = [access((), policy.effect) for policy in policies]
        if defaults[0] != defaults[1]:
            kind = kind_of(defaults[0], defaults[1])
            before, after = (f"{default} by default" for default in defaults)
            yield AccessChange(kind, EVERYBODY, "", "*", "*", before, after, ("model.conf",),
                               escalation=kind == "gained"), ()  # fmt: skip
        if not differing:
            return
        lines: list[_Lines] = [[*place.base, *gates[0]], [*place.head, *gates[1]]]
        compared = [
            (relevant(side, differing), partial(_conclude, effect=policy.effect))
            for side, policy in zip(lines, policies, strict=True)
        ]
        for item in differences(compared[0], compared[1], differing):
            yield _told(pair, place, item, gates)


def _told(
    pair: Pair,
    place: Place,
    item: Difference[_What, _Answered],
    gates: Sequence[dict[Line[_What], list[ApprovalRule]]],
) -> tuple[AccessChange, tuple[str, ...]]:
    blame = place.blame(pair, item)
    before, after = item.before.access, item.after.access
    kind = kind_of(before, after)
    asked = [
        f"{side}:{rule.file}:{rule.line}"
        for side, here, there in (("head", gates[1], gates[0]), ("base", gates[0], gates[1]))
        for line in sorted(item.lines)
        if line not in there
        for rule in here.get(line, ())
    ]
    change = AccessChange(
        kind=kind,
        role=blame.holder[-1] if blame.holder else EVERYBODY,
        domain="",
        resource=item.region.resource,
        action=item.region.action,
        before=str(item.before),
        after=item.told_after(),
        rules=(*blame.told(kind), *asked) or ("model.conf",),
        escalation=escalates(item, before, after, through_admin=blame.through_admin),
    )
    return change, blame.holder


def _conclude(matching: tuple[_What, ...], effect: Effect) -> _Answered:
    """Put the rules and approvals that match one question together."""
    rules: list[Matching] = []
    asked: list[tuple[ApprovalMode, Requirement]] = []
    for item in matching:
        if item[0] == "allow" or item[0] == "deny":
            rules.append(item)
        else:
            asked.append(item)
    entry = access(rules, effect)
    return _Answered(entry, UNGATED if entry.denied else gating(asked))


def requirement_key(rule: ApprovalRule) -> tuple[str, str, str, ApprovalMode, Requirement]:
    """What a line of the approvals says, without where in the files."""
    return (rule.dom, rule.obj, rule.act, *requirement_of(rule))


def _gates(approvals: Iterable[ApprovalRule], domain: str) -> dict[Line[_What], list[ApprovalRule]]:
    found: dict[Line[_What], list[ApprovalRule]] = {}
    for rule in approvals:
        if rule.mode != "off" and domain_match(domain, rule.dom):
            found.setdefault(Line(rule.obj, rule.act, requirement_of(rule)), []).append(rule)
    return found
