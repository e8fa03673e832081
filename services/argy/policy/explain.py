"""Tells why: the rules that matched, the nearest misses, and what the subject lacks, for people."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime

from argy.policy.conditions import Facts
from argy.policy.globs import (
    NAMED_ONLY_ACTIONS,
    action_match,
    compiled_glob,
    domain_match,
    domain_of,
)
from argy.policy.rules import (
    NEEDS_APPROVAL,
    SUBJECT_DISABLED,
    ApprovalMatch,
    ApprovalRule,
    Decision,
    Explanation,
    Rule,
    RuleMatch,
)
from argy.policy.snapshot import TenantSnapshot

MAX_MISSES = 10
"""Nearest misses that an explanation lists."""
_CONDITION, _ROLE, _DOMAIN, _ACTION, _OBJECT = range(5)
"""Ways to miss, the nearest first."""


def explain(
    snapshot: TenantSnapshot,
    subject: str,
    org: str,
    obj: str,
    act: str,
    ctx: Mapping[str, object] | None,
    now_ms: int,
) -> Explanation:
    """Decide as ``check`` does; say which rules took part, and which would with one thing changed.

    Misses are listed when the answer is no: allow rules that fail in one respect only. For a model
    that runs on pycasbin the deciding rule stands alone.
    """
    decision = snapshot.check(subject, org, obj, act, ctx, now_ms)
    facts = Facts(subject, snapshot.tenant, org, obj, act, ctx, now_ms)
    if decision.reason == SUBJECT_DISABLED:
        return Explanation(decision)
    view = snapshot.holding(facts.sub, facts.org, now_ms).view
    roles = tuple(sorted(name for name in view.paths if name.startswith("role:")))
    approvals = tuple(_lines(snapshot, facts)) if _gated(decision) else ()
    if not snapshot.policy.compiled:
        rule = decision.rule
        found = (_match(rule, True, "decided by pycasbin", decision.role_path),) if rule else ()
        return Explanation(decision, found, roles, approvals)
    matches: list[RuleMatch] = []
    misses: list[tuple[int, RuleMatch]] = []
    for rule in snapshot.policy.rules:
        # What another tenant's rules say is nobody's business here, not even that they are there.
        if rule.dom.partition("/")[0] not in ("*", snapshot.tenant):
            continue
        failed = list(_failures(snapshot, rule, facts, view.paths))
        if not failed:
            path = snapshot.path(facts.sub, facts.org, view.paths[rule.role], now_ms)
            matches.append(_judge(snapshot, rule, facts, path))
        elif failed == [_OBJECT] and rule.obj.partition(":")[0] != facts.obj.partition(":")[0]:
            continue
        elif len(failed) == 1 and rule.effect == "allow" and not _gated(decision):
            detail = _detail(snapshot, rule, facts, failed[0], now_ms)
            misses.append((failed[0], _match(rule, False, detail)))
    misses.sort(key=lambda miss: miss[0])
    nearest = (miss for _, miss in misses[:MAX_MISSES])
    return Explanation(decision, (*matches, *nearest), roles, approvals)


def _gated(decision: Decision) -> bool:
    """Whether the rules allow it, so that approvals have a say."""
    return decision.allowed or decision.reason == NEEDS_APPROVAL


def _lines(snapshot: TenantSnapshot, facts: Facts) -> Iterator[ApprovalMatch]:
    """The approvals that speak about the question, in the policy's order."""
    here = domain_of(snapshot.tenant, facts.org)
    for rule in snapshot.policy.approvals:
        if (
            domain_match(here, rule.dom)
            and action_match(facts.act, rule.act)
            and compiled_glob(rule.obj).matches(facts.obj)
        ):
            yield _line(snapshot, rule, facts)


def _line(snapshot: TenantSnapshot, rule: ApprovalRule, facts: Facts) -> ApprovalMatch:
    if rule.mode == "off":
        return ApprovalMatch(rule, False, "is off: written down, without effect")
    told = (
        "approves by itself"
        if rule.mode == "auto"
        else f"needs {rule.approvals} of {' or '.join(rule.roles)}"
    )
    holds, state = snapshot.policy.judge(rule, facts)
    if not rule.condition:
        return ApprovalMatch(rule, True, told)
    if holds is None:
        asks = rule.mode == "require"
        detail = f"{told if asks else 'no'}: the condition has no answer: {state}"
        return ApprovalMatch(rule, asks, detail)
    return ApprovalMatch(rule, holds, f"{told}; the condition is {state}: {rule.condition}")


def _failures(
    snapshot: TenantSnapshot, rule: Rule, facts: Facts, held: Mapping[str, tuple[str, ...]]
) -> Iterator[int]:
    if rule.role not in held:
        yield _ROLE
    if not domain_match(domain_of(snapshot.tenant, facts.org), rule.dom):
        yield _DOMAIN
    if not action_match(facts.act, rule.act):
        yield _ACTION
    if not compiled_glob(rule.obj).matches(facts.obj):
        yield _OBJECT


def _judge(snapshot: TenantSnapshot, rule: Rule, facts: Facts, path: tuple[str, ...]) -> RuleMatch:
    """A rule that matches but for its condition."""
    holds, state = snapshot.policy.judge(rule, facts)
    if not rule.condition:
        return _match(rule, True, "matches", path)
    if holds is None:
        return _match(rule, False, f"the condition has no answer: {state}", path)
    return _match(rule, holds, f"the condition is {state}: {rule.condition}", path)


def _match(rule: Rule, matched: bool, detail: str, path: tuple[str, ...] = ()) -> RuleMatch:
    return RuleMatch(rule, rule.effect, matched, detail, path)


def _detail(snapshot: TenantSnapshot, rule: Rule, facts: Facts, failed: int, now_ms: int) -> str:
    here = domain_of(snapshot.tenant, facts.org)
    if failed == _DOMAIN:
        return f"holds in {rule.dom}, not in {here}"
    if failed == _ACTION:
        named = ", which only a rule that names it allows"
        told = named if facts.act in NAMED_ONLY_ACTIONS else ""
        return f"action differs: the rule says {rule.act}, asked was {facts.act}{told}"
    if failed == _OBJECT:
        return f"object differs: the rule says {rule.obj}, asked was {facts.obj}"
    return _missing_role(snapshot, rule.role, facts, now_ms)


def _missing_role(snapshot: TenantSnapshot, role: str, facts: Facts, now_ms: int) -> str:
    """Why ``role`` isn't held here: it ended, or is held elsewhere, or not at all."""
    here = domain_of(snapshot.tenant, facts.org)
    ended: list[int] = []
    elsewhere: list[str] = []
    for (name, org, end), _ in snapshot.grants(facts.sub):
        domain = domain_of(snapshot.tenant, org)
        if role not in snapshot.policy.inherited(name, domain):
            continue
        if end is not None and now_ms >= end:
            ended.append(end)
        else:
            elsewhere.append(domain)
    if elsewhere:
        return f"has {role} in {_join(elsewhere)}, not in {here}"
    if ended:
        return f"assignment of {role} expired at {_time(max(ended))}"
    return f"does not have {role} in {here}"


def _join(names: Iterable[str]) -> str:
    return ", ".join(sorted(set(names)))


def _time(ms: int) -> str:
    try:
        return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="seconds")
    except (OverflowError, ValueError, OSError):
        return f"{ms} ms"
