"""Wildcards that reach what is sensitive, and ways to become more than one is."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from argy.policy.findings import Finding
from argy.policy.globs import covers, domain_covers, glob_match, overlaps
from argy.policy.lint import ids
from argy.policy.lint.scope import (
    Reached,
    Row,
    Scope,
    Target,
    at,
    covers_target,
    found,
    kind_of,
    meets,
    objects,
)
from argy.policy.rules import ApprovalRule, Rule

SENSITIVE: Final = (
    "audit.event",
    "authz.elevation",
    "authz.role",
    "authz.role_assignment",
    "authz.subject",
    "policy",
    "secret",
)
"""Object types of which no rule should allow more than it says."""
ADMINISTRATOR: Final = "role:PLATFORM_ADMIN"


@dataclass(frozen=True, slots=True)
class Power:
    """An action that makes its subject more than it is."""

    kind: str
    act: str
    gives: str

    @property
    def dom(self) -> str:
        """Everywhere."""
        return "*"

    @property
    def obj(self) -> str:
        """Every object of the type."""
        return f"{self.kind}:*"


POWERS: Final = (
    Power("authz.role_assignment", "grant", "grant roles"),
    Power("authz.role_assignment", "grant_any", "grant roles that it doesn't hold"),
    Power("directory.group", "add_member", "add members to groups, which hold roles"),
    Power("authz.subject", "act_for", "act for other subjects"),
    Power("authz.role", "elevate", "take a role for a while"),
    Power("authz.role", "break_glass", "take a role by breaking the glass"),
)
_ACT_FOR: Final = Power("authz.subject", "act_for", "")
_PROPOSE: Final = Power("policy", "propose", "propose policies")
_APPROVE: Final = Power("policy", "approve", "approve policies")


@dataclass(frozen=True, slots=True)
class _Exercise:
    """A rule that gives a power, narrowed to where and to what it does."""

    rule: Rule
    reached: Reached
    dom: str
    obj: str
    act: str


def check_wildcards(scope: Scope) -> Iterator[Finding]:
    """Allow rules whose action, or whose type, is a wildcard that reaches something sensitive."""
    for rule in scope.source.rules:
        if rule.effect != "allow":
            continue
        reached = [kind for kind in SENSITIVE if overlaps(objects(rule.obj), f"{kind}:*")]
        if not reached:
            continue
        told = ", ".join(reached)
        if "*" in rule.act:
            yield found(ids.WILD_ACTION, rule, f"action {rule.act!r} on {told}")
        if "*" in kind_of(rule.obj):
            yield found(ids.WILD_OBJECT, rule, f"object {rule.obj!r} reaches {told}")


def check_escalation(scope: Scope) -> Iterator[Finding]:
    """Roles and services, other than the administrator, that can become more than they are."""
    for name in scope.names:
        by_row: dict[tuple[str, int], tuple[Row, list[str], _Exercise]] = {}
        for power in POWERS if name != ADMINISTRATOR else ():
            for exercise in _exercises(scope, name, power):
                if _approved(scope, exercise):
                    continue
                row = _place(exercise)
                _, gives, _ = by_row.setdefault((row.file, row.line), (row, [], exercise))
                if power.gives not in gives:
                    gives.append(power.gives)
        for row, gives, exercise in by_row.values():
            yield found(
                ids.ESCALATION, row, f"{name} can {_listed(gives)}: {_path(name, exercise)}"
            )


def check_own_approval(scope: Scope) -> Iterator[Finding]:
    """Roles and services that both propose and approve policies."""
    for name in scope.names:
        proposes = next(_exercises(scope, name, _PROPOSE), None)
        approves = next(_exercises(scope, name, _APPROVE), None)
        if proposes is not None and approves is not None:
            paths = f"{_path(name, proposes)}; {_path(name, approves)}"
            message = f"{name} can propose policies and approve them: {paths}"
            yield found(ids.OWN_APPROVAL, _place(approves), message)


def check_named_only(scope: Scope) -> Iterator[Finding]:
    """Rows about subjects whose wildcard looks as if it matched ``act_for``, which none does.

    Denials and approvals that reach subjects at all; allows that are about nothing else.
    """
    rows: tuple[Rule | ApprovalRule, ...] = (*scope.source.rules, *scope.source.approvals)
    for row in rows:
        if "*" not in row.act or not glob_match(_ACT_FOR.act, row.act):
            continue
        allows = isinstance(row, Rule) and row.effect == "allow"
        if allows and kind_of(row.obj) != _ACT_FOR.kind:
            continue
        if not overlaps(objects(row.obj), _ACT_FOR.obj):
            continue
        does = "ask for approval of" if not isinstance(row, Rule) else row.effect
        message = f"action {row.act!r} doesn't {does} act_for, which is matched by its name only"
        yield found(ids.NAMED_ONLY, row, message)


def _exercises(scope: Scope, name: str, power: Power) -> Iterator[_Exercise]:
    """Where ``name`` may exercise a power: a rule allows it, and no denial takes it all away."""
    for reached in scope.reached(name):
        for rule in scope.rules_of(reached.name):
            here = _Exercise(rule, reached, reached.dom, power.obj, power.act)
            if rule.effect != "allow" or not meets(rule, here):
                continue
            dom = rule.dom if domain_covers(reached.dom, rule.dom) else reached.dom
            obj = power.obj if covers(objects(rule.obj), power.obj) else rule.obj
            exercise = _Exercise(rule, reached, dom, obj, power.act)
            if not _denied(scope, name, exercise):
                yield exercise


def _denied(scope: Scope, name: str, target: _Exercise) -> bool:
    names = scope.inherited(name, target.dom)
    return any(
        rule.effect == "deny" and not rule.condition for rule in scope.covering(names, target)
    )


def _approved(scope: Scope, target: Target) -> bool:
    """Whether approvers are asked in every case."""
    return any(
        line.mode == "require" and not line.condition and covers_target(line, target)
        for line in scope.source.approvals
    )


def _place(exercise: _Exercise) -> Row:
    """The row to look at: the rule of the role itself, or the link that makes it inherit."""
    return exercise.reached.links[0] if exercise.reached.links else exercise.rule


def _path(name: str, exercise: _Exercise) -> str:
    steps = [name, *(link.parent for link in exercise.reached.links), at(exercise.rule)]
    return " → ".join(steps)


def _listed(gives: Sequence[str]) -> str:
    return gives[0] if len(gives) == 1 else f"{', '.join(gives[:-1])} and {gives[-1]}"
