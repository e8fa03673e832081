"""A policy diff as reviewers, programs and code scanning read it."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

from argy.policy.compare.changes import EVERYBODY, AccessChange, PolicyDiff
from argy.policy.findings import Finding, FindingRule
from argy.policy.markdown import code, escape, table

MAX_MARKDOWN_ROWS: Final = 200
"""Changes that a comment shows, fewer where they are long."""
_MAX_COMMENT: Final = 50_000
"""Characters; GitHub refuses comments of more than 65,536, and other sections want room."""
_OPEN_ROWS: Final = 15
"""Changes that a comment shows unfolded."""
_MAX_TEXT: Final = 200
_MAX_RULES: Final = 6
_KINDS: Final = ("gained", "lost", "changed")
_COMMIT: Final = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")

FINDING_RULES: Final = (
    FindingRule(
        "diff-escalation",
        "warning",
        "Power is gained.",
        "Who holds it can do everything somewhere, or give roles and approvals away. Two approvers "
        "must agree before it is in force.",
        "p, role:PLATFORM_USER, *, *, *, allow, true",
        "Name the object and the action.",
    ),
    FindingRule(
        "diff-gained",
        "note",
        "A role may do more.",
        "Who holds the role may do it from then on.",
        "p, role:PLATFORM_USER, *, project:*, delete, allow, true",
        "Check that it is meant.",
    ),
    FindingRule(
        "diff-lost",
        "note",
        "A role may do less.",
        "Who holds the role is refused from then on.",
        "p, role:PLATFORM_USER, *, project:*, read, deny, true",
        "Check that nobody needs it.",
    ),
    FindingRule(
        "diff-changed",
        "note",
        "A role may do it under other conditions.",
        "What decides about it is another condition or another approval than before.",
        "p, role:PLATFORM_USER, *, project:*, read, allow, ctx.mfa",
        "Check that it is meant.",
    ),
)


def order(change: AccessChange) -> tuple[bool, AccessChange]:
    """Sorts changes for people: escalations first."""
    return not change.escalation, change


def counts(changes: Iterable[AccessChange]) -> dict[str, int]:
    """How many changes there are of each kind, and how many escalate."""
    listed = list(changes)
    kinds = [change.kind for change in listed]
    return {
        **{kind: kinds.count(kind) for kind in _KINDS},
        "escalations": sum(change.escalation for change in listed),
    }


def summary(diff: PolicyDiff) -> str:
    """The counts in words."""
    number = counts(diff.changes)
    words = [f"{number[kind]} {kind}" for kind in _KINDS if number[kind]]
    if number["escalations"]:
        noun = "escalation" if number["escalations"] == 1 else "escalations"
        words.append(f"{number['escalations']} {noun}")
    words += [item for item in diff.other if not item.startswith("parts:")]
    return ", ".join(words) or "no change of meaning"


def to_json(diff: PolicyDiff, names: tuple[str, str]) -> dict[str, Any]:
    """One JSON document. ``names`` are those of base and head."""
    return {
        "base": names[0],
        "head": names[1],
        "counts": counts(diff.changes),
        "escalates": diff.escalates,
        "digest": diff.digest(),
        "changes": [asdict(change) for change in sorted(diff.changes, key=order)],
        "other": list(diff.other),
    }


def to_markdown(diff: PolicyDiff, names: tuple[str, str], prefix: str = "") -> str:
    """A pull request's comment: escalations first, then a table for each role."""
    return fitting(lambda rows: _markdown(diff, names, prefix, rows))


def fitting(render: Callable[[int], str]) -> str:
    """What ``render`` makes of the most rows that fit into a comment."""
    rows = MAX_MARKDOWN_ROWS
    while len(text := render(rows)) > _MAX_COMMENT and rows > 1:
        rows //= 2
    return text


def _markdown(diff: PolicyDiff, names: tuple[str, str], prefix: str, limit: int) -> str:
    lines = [
        f"### Policy diff: {escape(summary(diff))}",
        "",
        between(names),
    ]
    changes = sorted(diff.changes, key=order)
    escalations = [change for change in changes if change.escalation]
    if escalations:
        told = "**Power is gained.** Two approvers must agree before it is in force:"
        lines += ["", "> [!WARNING]", f"> {told}"]
        lines += [f"> - {_sentence(change, prefix)}" for change in escalations[:_OPEN_ROWS]]
        if len(escalations) > _OPEN_ROWS:
            lines.append(f"> - … and {len(escalations) - _OPEN_ROWS} more")
    lines += _tables(changes[:limit], prefix, fold=len(changes) > _OPEN_ROWS)
    if len(changes) > limit:
        lines += ["", f"… and {len(changes) - limit} more: `argy policy diff`"]
    if diff:
        lines += ["", f"Diff digest {code(diff.digest())}. Who inherits a role has its changes."]
    return "\n".join(lines) + "\n"


def _tables(changes: Sequence[AccessChange], prefix: str, *, fold: bool) -> list[str]:
    by_role: dict[str, list[AccessChange]] = {}
    for change in changes:
        by_role.setdefault(change.role, []).append(change)
    lines: list[str] = []
    for role, rows in by_role.items():
        title = f"{code(holder(role))} ({len(rows)})"
        listed = table(
            ("", "what", "where", "before", "after", "rules"),
            [_row(change, prefix) for change in rows],
        )
        if fold:
            name = escape(holder(role))
            lines += ["", f"<details><summary>{name} ({len(rows)})</summary>", "", listed, "",
                      "</details>"]  # fmt: skip
        else:
            lines += ["", f"**{title}**", "", listed]
    return lines


def _row(change: AccessChange, prefix: str) -> tuple[str, ...]:
    mark = "⚠️ " if change.escalation else ""
    return (
        f"{mark}{change.kind}",
        code(f"{change.action} {change.resource}"),
        escape(place(change.domain)),
        escape(_short(change.before)),
        escape(_short(change.after)),
        _rules(change.rules, prefix),
    )


def _sentence(change: AccessChange, prefix: str) -> str:
    what = code(f"{change.action} {change.resource}")
    before, after = escape(_short(change.before)), escape(_short(change.after))
    where = escape(place(change.domain))
    return (
        f"{code(holder(change.role))} {change.kind} {what} {where}: "
        f"{before} → {after} ({_rules(change.rules, prefix)})"
    )


def _rules(rules: Sequence[str], prefix: str) -> str:
    shown = [located(rule, prefix) for rule in rules[:_MAX_RULES]]
    told = [f"{side} {code(where)}".strip() for side, where in shown]
    if len(rules) > _MAX_RULES:
        told.append(f"… {len(rules) - _MAX_RULES} more")
    return ", ".join(told)


def located(rule: str, prefix: str) -> tuple[str, str]:
    """The side that a rule to blame is of (empty where it is clear), and its path from the root."""
    for side in ("base", "head"):
        if rule.startswith(f"{side}:"):
            return side, prefix + rule.removeprefix(f"{side}:")
    return "", prefix + rule


def place(domain: str) -> str:
    """A domain in words."""
    return "everywhere" if domain == "*" else f"in {domain}"


def between(names: tuple[str, str]) -> str:
    """Base and head in Markdown; of a commit's name as much as tells it from others."""
    short = [name[:12] if _COMMIT.fullmatch(name) else name for name in names]
    return f"{code(short[0])} → {code(short[1])}"


def holder(role: str) -> str:
    """Whom a change reaches, in words."""
    return "whoever is allowed" if role == EVERYBODY else role


def _short(text: str) -> str:
    return text if len(text) <= _MAX_TEXT else f"{text[:_MAX_TEXT]}…"


def findings(diff: PolicyDiff, base: Mapping[str, str], head: Mapping[str, str]) -> list[Finding]:
    """The changes as findings on head's lines; ``base`` and ``head`` are the files' texts.

    What only base's lines explain is told where head has its nearest line.
    """
    found = []
    for change in sorted(diff.changes, key=order):
        kind = "escalation" if change.escalation else change.kind
        file, line = _on_head(change, base, head)
        message = (
            f"{holder(change.role)} {change.kind} {change.action} {change.resource} "
            f"{place(change.domain)}: {change.before} → {change.after}"
        )
        rule = next(item for item in FINDING_RULES if item.id == f"diff-{kind}")
        found.append(Finding(rule.id, rule.level, message, file, line, rule.fix))
    return found


def _on_head(
    change: AccessChange, base: Mapping[str, str], head: Mapping[str, str]
) -> tuple[str, int]:
    """Where in head to tell of a change: at a line of its own to blame, or near base's."""
    of_head = [
        rule
        for rule in change.rules
        if rule.startswith("head:") or (not rule.startswith("base:") and change.kind != "lost")
    ]
    for rule in of_head or change.rules:
        _, where = located(rule, "")
        file, _, number = where.rpartition(":")
        if not file:
            return where, 1
        if of_head:
            return file, int(number)
        if file not in head:
            break  # code scanning shows nothing for a file that is gone
        return file, nearest_line(base.get(file, ""), head.get(file, ""), int(number))
    return "model.conf", 1


def nearest_line(base: str, head: str, line: int) -> int:
    """The line of ``head`` where line ``line`` of ``base`` is, or was; counted from 1."""
    old, new = base.splitlines(), head.splitlines()
    same = 0
    while same < min(len(old), len(new)) and old[same] == new[same]:
        same += 1
    if line <= same:
        return line
    if line <= len(old) and old[line - 1] in new:
        return new.index(old[line - 1]) + 1
    return max(1, min(line, len(new)))
