"""The diff as reviewers and code scanning read it."""

import re
from typing import Any

import pytest

from argy.policy.compare.changes import AccessChange, PolicyDiff
from argy.policy.compare.diff_report import findings, nearest_line, summary, to_json, to_markdown

NAMES = ("main", "working tree")


def change(number: int = 0, **more: Any) -> AccessChange:
    values: dict[str, Any] = {
        "kind": "gained", "role": "role:A", "domain": "*", "resource": f"doc:{number}",
        "action": "read", "before": "denied", "after": "allowed",
        "rules": (f"roles/a.csv:{number + 1}",), "escalation": False, **more,
    }  # fmt: skip
    return AccessChange(**values)


def test_no_change_is_one_line() -> None:
    assert to_markdown(PolicyDiff(), NAMES).startswith("### Policy diff: no change of meaning\n")
    assert "digest" not in to_markdown(PolicyDiff(), NAMES)


def test_escalations_stand_first_wherever_they_sort() -> None:
    diff = PolicyDiff((change(1), change(2, role="role:Z", escalation=True)))
    text = to_markdown(diff, NAMES, "policy/")
    assert summary(diff) == "2 gained, 1 escalation"
    assert text.index("role:Z") < text.index("role:A")
    assert "`policy/roles/a.csv:3`" in text
    assert [c["escalation"] for c in to_json(diff, NAMES)["changes"]] == [True, False]


def test_long_diffs_are_folded_and_cut_and_fit_a_comment() -> None:
    diff = PolicyDiff(tuple(change(number, after="allowed" + "; except x" * 90)
                            for number in range(1_000)))  # fmt: skip
    text = to_markdown(diff, NAMES)
    assert re.search(r"<details><summary>role:A \(\d+\)</summary>", text)
    assert re.search(r"… and \d+ more: `argy policy diff`", text)
    assert 10_000 < len(text) < 65_536


def test_what_authors_write_is_no_markup() -> None:
    hostile = "allowed if ctx.a == '</details><img src=x> | @everyone [x](http://y)'"
    text = to_markdown(PolicyDiff((change(after=hostile),)), NAMES)
    row = next(line for line in text.splitlines() if "everyone" in line)
    assert not re.search(r"(?<!\\)<", row)
    assert "@everyone" not in row
    assert len(re.findall(r"(?<!\\)\|", row)) == 7


BASE = "# rules\np, a\np, b\np, c\n"


@pytest.mark.parametrize(
    ("head", "line", "expected"),
    [
        ("# rules\np, b\np, c\n", 2, 2),
        ("# rules\np, b\np, c\n", 3, 2),
        ("# rules\np, a\np, b\n", 4, 3),
        ("x\n# rules\np, a\np, b\np, c\n", 4, 5),
        ("", 3, 1),
        (BASE, 3, 3),
    ],
)
def test_the_nearest_line_of_head(head: str, line: int, expected: int) -> None:
    assert nearest_line(BASE, head, line) == expected


def test_findings_stand_on_heads_lines() -> None:
    base = {"roles/a.csv": BASE, "roles/gone.csv": BASE, "model.conf": ""}
    head = {"roles/a.csv": "# rules\np, b\np, c\n", "model.conf": ""}
    diff = PolicyDiff(
        (
            change(0, rules=("roles/a.csv:3",)),
            change(1, kind="lost", rules=("roles/a.csv:2",)),
            change(2, kind="lost", rules=("head:roles/a.csv:2", "roles/a.csv:4")),
            change(3, kind="lost", rules=("roles/gone.csv:2",)),
            change(4, rules=("base:roles/a.csv:4",), escalation=True),
            change(5, rules=("model.conf",)),
        )
    )
    told = {(f.rule_id, f.file, f.line) for f in findings(diff, base, head)}
    assert told == {
        ("diff-gained", "roles/a.csv", 3),
        ("diff-lost", "roles/a.csv", 2),
        ("diff-lost", "model.conf", 1),
        ("diff-escalation", "roles/a.csv", 3),
        ("diff-gained", "model.conf", 1),
    }


def test_a_commit_is_named_by_as_much_as_tells_it_from_others() -> None:
    shown = to_markdown(PolicyDiff(), ("0123456789ab" + "c" * 28, "release-0123456789abcdef"))
    assert "`0123456789ab` → `release-0123456789abcdef`" in shown
