"""What a replay found, as reviewers and programs read it."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, Final

from argy.policy.compare.replay import Example, Flips, Report
from argy.policy.markdown import code, escape, table

MAX_SHOWN: Final = 100
"""Groups of flips that text and comments list."""


def summary(report: Report) -> str:
    """The counts in words."""
    words = [f"{report.decisions:,} decisions", f"{report.flipped:,} flips"]
    words += [f"{count:,} {kind}" for kind, count in report.kinds().items()]
    if report.drifted:
        words.append(f"{report.drifted} differ already under the policy in force")
    undecidable = sum(report.undecidable.values())
    if undecidable:
        words.append(f"{undecidable} undecidable")
    return ", ".join(words)


def to_json(report: Report) -> dict[str, Any]:
    """One JSON document."""
    return {
        "decisions": report.decisions,
        "same": report.same,
        "drifted": report.drifted,
        "undecidable": report.undecidable,
        "flips": report.flipped,
        "kinds": report.kinds(),
        "groups": [asdict(group) for group in report.groups()],
        "untold": report.untold,
    }


def to_markdown(report: Report, proposed: str) -> str:
    """A section of a pull request's comment."""
    lines = [f"### Policy replay: {escape(summary(report))}", "", f"Under {code(proposed)}."]
    rows = [_row(group) for group in report.groups()[:MAX_SHOWN]]
    if rows:
        headings = ("count", "flip", "asked by", "about", "such as")
        lines += ["", table(headings, rows)]
    if len(report.flips) > MAX_SHOWN:
        lines += ["", f"… and {len(report.flips) - MAX_SHOWN} more."]
    for reason, count in report.undecidable.items():
        lines += ["", f"{count} undecidable: {escape(reason)}."]
    return "\n".join(lines) + "\n"


def _row(group: Flips) -> tuple[str, ...]:
    examples = "; ".join(code(told(example)) for example in group.examples)
    flip = f"{group.before} → {group.after}"
    return (str(group.count), flip, escape(group.actor), escape(group.subject), examples)


def told(example: Example) -> str:
    """One example in a line."""
    where = f" in {example.org}" if example.org else ""
    at = datetime.fromtimestamp(example.at_ms / 1000, UTC).isoformat(timespec="seconds")
    return f"{example.action} {example.resource}{where} at {at}: {example.before} → {example.after}"
