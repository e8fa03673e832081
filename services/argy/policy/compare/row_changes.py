"""Changes that don't depend on what a role holds: of approvals, and of rows without a meaning."""

from collections.abc import Iterator
from dataclasses import replace

from argy.policy.access import gating, requirement
from argy.policy.budget import spender
from argy.policy.compare.changes import EVERYBODY, AccessChange
from argy.policy.compare.differences import Line, differences, relevant
from argy.policy.compare.sides import merge_domains, rule_line
from argy.policy.compiled import CompiledPolicy
from argy.policy.globs import domain_match


def approval_changes(
    base: CompiledPolicy, head: CompiledPolicy, parts: list[str]
) -> Iterator[AccessChange]:
    """What needs approval that didn't, or no longer does, or from others.

    Where a change is told "in parts", the exact ones go to ``parts``.
    """
    sides = [
        [(rule, Line(rule.obj, rule.act, requirement(rule)))
         for rule in policy.approvals if rule.mode != "off"]
        for policy in (base, head)
    ]  # fmt: skip
    domains = sorted({"*"} | {rule.dom for side in sides for rule, _ in side})
    found: dict[AccessChange, dict[str, tuple[str, ...]]] = {}
    spend = spender()
    for domain in domains:
        spend()
        scope = "" if domain == "*" else domain
        here = [[pair for pair in side if domain_match(scope, pair[0].dom)] for side in sides]
        one, other = ([line for _, line in side] for side in here)
        differing = set(one) ^ set(other)
        if not differing:
            continue
        compared = (relevant(one, differing), gating), (relevant(other, differing), gating)
        for item in differences(*compared, differing):
            rules = tuple(
                f"{prefix}{rule.file}:{rule.line}"
                for prefix, side in zip(("head:", "base:"), reversed(here), strict=True)
                for rule, line in side
                if line in item.lines
            )
            # A requirement that goes, or asks fewer or others, is two people's to approve.
            weaker = not set(item.before.requires) <= set(item.after.requires)
            told = AccessChange("changed", EVERYBODY, "", item.region.resource, item.region.action,
                                str(item.before), item.told_after(), (),
                                escalation=weaker)  # fmt: skip
            found.setdefault(told, {})[domain] = rules
            if item.parts:
                parts.append(f"* {domain} {item.before} {item.after} {item.parts}")
    for told, blames in found.items():
        for domain, limits in merge_domains(blames, domains):
            spend()
            yield replace(told, domain=domain, rules=blames[domain], after=told.after + limits)


def row_changes(base: CompiledPolicy, head: CompiledPolicy) -> Iterator[AccessChange]:
    """The rows that only one policy has, where a model's meaning is not known."""
    sides = (("base", base, head), ("head", head, base))
    for side, policy, other in sides:
        there = {(rule.role, rule.dom, *rule_line(rule)) for rule in other.rules}
        for rule in policy.rules:
            if (rule.role, rule.dom, *rule_line(rule)) in there:
                continue
            gained = (rule.effect == "allow") is (side == "head")
            row = f"row: {rule.effect}{f' if {rule.condition}' if rule.condition else ''}"
            before, after = ("no row", row) if side == "head" else (row, "no row")
            yield AccessChange("gained" if gained else "lost", rule.role, rule.dom, rule.obj,
                               rule.act, before, after, (f"{side}:{rule.file}:{rule.line}",),
                               escalation=True)  # fmt: skip
        links = {(link.child, link.parent, link.dom) for link in other.links}
        for link in policy.links:
            if (link.child, link.parent, link.dom) in links:
                continue
            before, after = ("no link", f"inherits {link.parent}")
            if side == "base":
                before, after = after, before
            yield AccessChange("gained" if side == "head" else "lost", link.child, link.dom, "*",
                               "*", before, after, (f"{side}:{link.file}:{link.line}",),
                               escalation=True)  # fmt: skip
