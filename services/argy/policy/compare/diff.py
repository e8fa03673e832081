"""What a change of policy changes: exactly, per role, and told in few words.

For each role (and each service that the policy names), in each domain that either policy names and
in all others, each class of objects × actions is decided under both policies, with inheritance,
with denials that override, and with conditions as symbols. Only roles are looked at whose own or
inherited rules differ, and only questions that a differing rule matches.

A denial also takes from those who hold a second role: where nothing else changes, it is told what
becomes of that role's leave. A link to a role that approves makes approvers; that is told too.

Approvals don't depend on roles; their changes are told for ``*``, whoever is allowed. Models that
run on pycasbin have no known meaning: their rows are compared instead, and each that differs
counts as an escalation.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import replace
from functools import partial
from typing import Final

from argy.policy.access import ALLOWED, Access, Matching, access
from argy.policy.budget import spender
from argy.policy.compare.changes import EVERYBODY, AccessChange, PolicyDiff
from argy.policy.compare.differences import MAX_REGIONS, Difference, differences, relevant
from argy.policy.compare.places import Blame, Place, escalates, kind_of
from argy.policy.compare.row_changes import approval_changes, row_changes
from argy.policy.compare.sides import Pair, RuleLine, merge_domains
from argy.policy.compiled import CompiledPolicy
from argy.policy.globs import NAMED_ONLY_ACTIONS, domain_match
from argy.policy.model import Effect

__all__ = ["AccessChange", "PolicyDiff", "diff_policies"]

_MODEL: Final = "model.conf"

_RoleDifference = Difference[Matching, Access]
_Beside = tuple[Access, Access]
"""What a role is allowed by itself, and beside another role that allows everything."""
_Lines = tuple[tuple[RuleLine, ...], tuple[RuleLine, ...]]
_Known = dict[_Lines, list[tuple[_RoleDifference, str]]]
_OTHERS: Final[Matching] = ("allow", "")
_IF_OTHERS: Final = "if another role allows it: "


def diff_policies(base: CompiledPolicy, head: CompiledPolicy) -> PolicyDiff:
    """Compare two policies by meaning; an empty diff means that every decision is the same.

    Raises:
        TooManyAtoms: when the globs overlap in too many ways to compare them all.
    """
    if not (base.compiled and head.compiled):
        return PolicyDiff(tuple(sorted(row_changes(base, head))), tuple(_models(base, head)))
    pair = Pair.of(base, head)
    known: _Known = {}
    parts: list[str] = []
    by_role = {name: _role_changes(pair, name, known, parts) for name in pair.concerned()}
    changes = [change for name in by_role for change in _own(pair, name, by_role)]
    changes += _strangers(base, head)
    changes += approval_changes(base, head, parts)
    other = list(_models(base, head))
    if parts:
        digest = hashlib.sha256("\n".join(sorted(parts)).encode()).hexdigest()
        other.append(f"parts: {digest}")
    return PolicyDiff(tuple(sorted(changes)), tuple(other))


def _models(base: CompiledPolicy, head: CompiledPolicy) -> Iterator[str]:
    """What differs beside the rules; the text of a model counts only where it isn't understood."""
    if base.effect is not head.effect:
        yield f"effect: {base.effect.name} to {head.effect.name}"
    texts = ["" if side.compiled else side.model.text for side in (base, head)]
    if texts[0] != texts[1]:
        digests = [hashlib.sha256(text.encode()).hexdigest() for text in texts]
        yield f"model: {digests[0]} to {digests[1]}"


def _strangers(base: CompiledPolicy, head: CompiledPolicy) -> Iterator[AccessChange]:
    """What subjects without any rule may do: everything, when only denials count."""
    before, after = access((), base.effect), access((), head.effect)
    if before != after:
        gained = after == ALLOWED
        for action in ("*", *sorted(NAMED_ONLY_ACTIONS)):
            yield AccessChange(kind_of(before, after), EVERYBODY, "*", "*", action, str(before),
                               str(after), (_MODEL,), gained)  # fmt: skip


def _role_changes(pair: Pair, name: str, known: _Known, parts: list[str]) -> list[AccessChange]:
    """The changes of one role or service, the domains put together.

    Where a change is told "in parts", the exact ones go to ``parts``.
    """
    above = pair.above(name)
    domains = sorted({"*"} | pair.base.domains(above) | pair.head.domains(above))
    found: dict[AccessChange, dict[str, Blame]] = {}
    spend = spender()
    for domain in domains:
        spend()
        place = Place.of(pair, (name,), domain)
        for item, given in _differences(pair, place, known):
            blame = place.blame(pair, item)
            escalation = escalates(item, item.before, item.after, through_admin=blame.through_admin)
            told = _change(name, item, given, escalation=escalation)
            found.setdefault(told, {})[domain] = blame
            if item.parts:
                parts.append(f"{name} {domain} {told.before} {told.after} {item.parts}")
        for told, blame in _approver_changes(pair, place, name):
            found.setdefault(told, {})[domain] = blame
    changes = []
    for told, blames in found.items():
        for domain, limits in merge_domains(blames, domains):
            spend()
            rules = blames[domain].told(told.kind) or (_MODEL,)
            changes.append(replace(told, domain=domain, rules=rules, after=told.after + limits))
    return list(_gathered(changes, parts))


def _gathered(changes: Iterable[AccessChange], parts: list[str]) -> Iterator[AccessChange]:
    """Tell once, "in parts", what many domains have alike but for where exactly.

    A rule for every tenant is cut otherwise in each that refines it; that is one change to people.
    """
    alike: dict[AccessChange, list[AccessChange]] = {}
    for change in changes:
        plain = replace(change, domain="", rules=(), after=change.after.split("; ", 1)[0])
        alike.setdefault(plain, []).append(change)
    for plain, same in alike.items():
        blamed = Counter(rule for change in same for rule in change.rules)
        # Where each has a rule of its own, each is a change that somebody wrote.
        if len(same) <= MAX_REGIONS or len(blamed) > len(same) // 2:
            yield from same
            continue
        parts.extend(sorted(repr(change) for change in same))
        tenants = {change.domain.partition("/")[0] for change in same}
        yield replace(
            plain,
            domain=tenants.pop() if len(tenants) == 1 else "*",
            after=f"{plain.after}; only in parts",
            rules=tuple(sorted(blamed)),
        )


def _change(name: str, item: _RoleDifference, given: str, *, escalation: bool) -> AccessChange:
    region = item.region
    return AccessChange(
        kind=kind_of(item.before, item.after),
        role=name,
        domain="",
        resource=region.resource,
        action=region.action,
        before=f"{given}{item.before}",
        after=f"{given}{item.told_after()}",
        rules=(),
        escalation=escalation,
    )


def _approver_changes(pair: Pair, place: Place, name: str) -> Iterator[tuple[AccessChange, Blame]]:
    """Who becomes an approver by a link, or is none any more; rules alone don't tell."""
    if place.base_paths.keys() == place.head_paths.keys():
        return
    policies = (pair.base.policy, pair.head.policy)
    approving = {role for policy in policies for rule in policy.approvals for role in rule.roles}
    held, holds = (paths.keys() & approving for paths in (place.base_paths, place.head_paths))
    for role in sorted(held ^ holds):
        gained = role in holds
        before, after = "no approver", f"approves as {role}"
        if not gained:
            before, after = after, before
        told = AccessChange("gained" if gained else "lost", name, "", "authz.approval:*", "approve",
                            before, after, (), escalation=gained)  # fmt: skip
        yield told, place.blame_links(pair, role)


def _differences(pair: Pair, place: Place, known: _Known) -> list[tuple[_RoleDifference, str]]:
    base, head = place.base, place.head
    differing = place.differing(pair)
    if not differing:
        return []
    key = (relevant(base, differing), relevant(head, differing))
    if key not in known:
        policies = (pair.base.policy, pair.head.policy)
        one, other = (partial(access, effect=policy.effect) for policy in policies)
        known[key] = [(item, "") for item in differences((key[0], one), (key[1], other), differing)]
        if denials := {line for line in differing if line.what[0] == "deny"}:
            known[key] += [(item, _IF_OTHERS) for item in _vetoes(pair, key, denials)]
    return known[key]


def _vetoes(pair: Pair, key: _Lines, denials: Set[RuleLine]) -> Iterator[_RoleDifference]:
    """Where a role's own access stays, and what a second role allows its holder does not."""
    policies = (pair.base.policy, pair.head.policy)
    one, other = (partial(_beside, effect=policy.effect) for policy in policies)
    for item in differences((key[0], one), (key[1], other), denials):
        if item.before[0] == item.after[0]:
            yield Difference(item.region, item.before[1], item.after[1], item.lines, item.parts)


def _beside(matching: tuple[Matching, ...], effect: Effect) -> _Beside:
    return access(matching, effect), access((*matching, _OTHERS), effect)


def _own(
    pair: Pair, name: str, by_role: Mapping[str, list[AccessChange]]
) -> Iterator[AccessChange]:
    """The changes of ``name`` that don't come from a role which it inherits before and after."""
    spend = spender()
    for change in by_role[name]:
        spend()
        scope = "" if change.domain == "*" else change.domain
        inherited = pair.base.paths((name,), scope).keys() & pair.head.paths((name,), scope).keys()
        if not any(
            domain_match(scope, other.domain) and _same(change, other)
            for role in inherited - {name}
            for other in by_role.get(role, ())
        ):
            yield change


def _same(one: AccessChange, other: AccessChange) -> bool:
    """Whether two changes say the same but for whom, where and by which rules."""
    return replace(one, role="", domain="", rules=()) == replace(
        other, role="", domain="", rules=()
    )
