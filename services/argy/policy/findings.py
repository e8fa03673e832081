"""Findings about a policy, and what programs and reviewers read of them.

A finding points at a file under the policy's folder. Renderers take a ``prefix``, the way from the
repository's root to that folder (``policy/``), because code hosts show a finding beside its line
only when the path starts at the root.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal
from urllib.parse import quote

from argy.policy.errors import Problem
from argy.policy.markdown import code, escape, table

Level = Literal["error", "warning", "note"]
LEVELS: Final[tuple[Level, ...]] = ("error", "warning", "note")
MAX_MARKDOWN_ROWS: Final = 50
"""Findings that a comment shows; GitHub refuses comments of more than 65,536 characters."""

_SARIF_SCHEMA: Final = "https://json.schemastore.org/sarif-2.1.0.json"
_FINGERPRINT: Final = "primaryLocationLineHash"
"""The one fingerprint that GitHub's code scanning reads."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to tell about a policy."""

    rule_id: str
    level: Level
    message: str
    file: str
    """Relative to the policy's folder."""
    line: int = 0
    """Counts from 1; 0 means the file as a whole."""
    fix: str = ""
    text: str = ""
    """The row as written. It makes the fingerprint, so that moving a row is no new finding."""


@dataclass(frozen=True, slots=True)
class FindingRule:
    """What there is to know about the findings of one id."""

    id: str
    level: Level
    summary: str
    why: str
    example: str
    """What is reported, as it stands in a file."""
    fix: str


def order(finding: Finding) -> tuple[str, int, int, str, str]:
    """Sorts findings by place; in one place the worst first."""
    return (
        finding.file,
        finding.line,
        LEVELS.index(finding.level),
        finding.rule_id,
        finding.message,
    )


def of_problem(problem: Problem, rule_id: str) -> Finding:
    """What the loader refuses, as a finding of level error."""
    return Finding(rule_id, "error", problem.message, problem.file, problem.line, problem.fix)


def count(findings: Iterable[Finding]) -> dict[str, int]:
    """How many findings there are of each level."""
    levels = [finding.level for finding in findings]
    return {level: levels.count(level) for level in LEVELS}


def told(findings: Iterable[Finding]) -> str:
    """The counts in words: ``2 errors, 1 warning``; ``nothing to report``."""
    words = [
        f"{number} {level}{'' if number == 1 else 's'}"
        for level, number in count(findings).items()
        if number
    ]
    return ", ".join(words) or "nothing to report"


def place(finding: Finding, prefix: str = "") -> str:
    """Where it is: ``policy/roles/admin.csv:3``."""
    where = f"{prefix}{finding.file}" if finding.file else prefix.rstrip("/") or "policy"
    return f"{where}:{finding.line}" if finding.line else where


def to_json(findings: Sequence[Finding], prefix: str = "") -> dict[str, Any]:
    """One JSON document: the counts, and every finding with its path from the root."""
    listed = [
        {**asdict(finding), "file": f"{prefix}{finding.file}"}
        for finding in sorted(findings, key=order)
    ]
    return {"counts": count(findings), "findings": listed}


def to_markdown(findings: Sequence[Finding], title: str, prefix: str = "") -> str:
    """A section of a pull request's comment. What others wrote is escaped."""
    lines = [f"### {escape(title)}: {told(findings)}"]
    shown = sorted(findings, key=lambda item: (LEVELS.index(item.level), order(item)))
    rows = [
        (
            finding.level,
            code(place(finding, prefix)),
            f"**{escape(finding.rule_id)}** {escape(finding.message)}",
            escape(finding.fix),
        )
        for finding in shown[:MAX_MARKDOWN_ROWS]
    ]
    if rows:
        lines += ["", table(("level", "where", "what", "how to mend it"), rows)]
    if len(shown) > MAX_MARKDOWN_ROWS:
        lines += ["", f"… and {len(shown) - MAX_MARKDOWN_ROWS} more."]
    return "\n".join(lines) + "\n"


def to_sarif(
    findings: Sequence[Finding], rules: Sequence[FindingRule], category: str, prefix: str = ""
) -> dict[str, Any]:
    """A SARIF 2.1.0 log of one run, with what GitHub's code scanning asks for.

    Args:
        findings: What was found; an id that ``rules`` doesn't describe stands without help.
        rules: The descriptions, shown beside each finding.
        category: Tells runs of different commands over one commit apart: ``policy-lint``.
        prefix: From the repository's root to the policy's folder, ends in ``/``.
    """
    numbers = {rule.id: number for number, rule in enumerate(rules)}
    seen: dict[str, int] = {}
    results = []
    for finding in sorted(findings, key=order):
        digest = _digest(finding)
        seen[digest] = seen.get(digest, 0) + 1
        result: dict[str, Any] = {
            "ruleId": finding.rule_id,
            "level": finding.level,
            "message": {"text": _sentence(finding)},
            "locations": [
                {
                    "physicalLocation": {
                        "artifactLocation": {
                            "uri": quote(f"{prefix}{finding.file}"),
                            "uriBaseId": "%SRCROOT%",
                        },
                        "region": {"startLine": max(finding.line, 1)},
                    }
                }
            ],
            "partialFingerprints": {_FINGERPRINT: f"{digest}:{seen[digest]}"},
        }
        if finding.rule_id in numbers:
            result["ruleIndex"] = numbers[finding.rule_id]
        results.append(result)
    driver = {
        "name": "argy policy",
        "rules": [_described(rule) for rule in rules],
    }
    run = {
        "tool": {"driver": driver},
        "automationDetails": {"id": f"{category}/"},
        "columnKind": "unicodeCodePoints",
        "originalUriBaseIds": {
            "%SRCROOT%": {"description": {"text": "The root of the repository."}}
        },
        "results": results,
    }
    return {"$schema": _SARIF_SCHEMA, "version": "2.1.0", "runs": [run]}


def _sentence(finding: Finding) -> str:
    return f"{finding.message}; {finding.fix}" if finding.fix else finding.message


def _digest(finding: Finding) -> str:
    """Says which finding this is, wherever its row has moved to."""
    parts = (finding.rule_id, finding.file, finding.text or finding.message)
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:16]


def _described(rule: FindingRule) -> dict[str, Any]:
    text = f"{rule.why}\n\nReported:\n\n{rule.example}\n\n{rule.fix}"
    example = "\n".join(f"    {line}" for line in rule.example.splitlines())
    return {
        "id": rule.id,
        "name": "".join(part.capitalize() for part in rule.id.split("-")[1:]) or rule.id,
        "shortDescription": {"text": rule.summary},
        "fullDescription": {"text": rule.why},
        "defaultConfiguration": {"level": rule.level},
        "help": {
            "text": text,
            "markdown": f"{rule.why}\n\n**Reported**\n\n{example}\n\n**Mend it** {rule.fix}",
        },
        "properties": {"tags": ["security", "policy"]},
    }
