import json

import pytest

from argy.policy.errors import Problem
from argy.policy.findings import (
    MAX_MARKDOWN_ROWS,
    Finding,
    FindingRule,
    of_problem,
    to_json,
    to_markdown,
    to_sarif,
    told,
)
from argy.policy.markdown import code, escape, table

RULE = FindingRule("T001-test", "warning", "A test.", "Because.", "p, a\np, b", "Write another.")
FINDINGS = [
    Finding("T001-test", "warning", "is odd", "roles/b c.csv", 7, "mend it", "p, row"),
    Finding("T002-other", "error", "is wrong", "model.conf"),
]


def test_json_counts_and_gives_paths_from_the_root() -> None:
    document = to_json(FINDINGS, "policy/")
    assert document["counts"] == {"error": 1, "warning": 1, "note": 0}
    assert [item["file"] for item in document["findings"]] == [
        "policy/model.conf",
        "policy/roles/b c.csv",
    ]


def test_sarif_points_at_the_line_from_the_root_of_the_repository() -> None:
    log = to_sarif(FINDINGS, [RULE], "policy-lint", "sub/policy/")
    assert (log["version"], len(log["runs"])) == ("2.1.0", 1)
    (run,) = log["runs"]
    first, second = run["results"]
    assert first["locations"][0]["physicalLocation"]["region"] == {"startLine": 1}
    place = second["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == "sub/policy/roles/b%20c.csv"
    assert place["region"]["startLine"] == 7
    assert run["tool"]["driver"]["rules"][second["ruleIndex"]]["help"]["markdown"]
    assert "ruleIndex" not in first
    assert json.loads(json.dumps(log)) == log


def fingerprints(*findings: Finding) -> list[str]:
    (run,) = to_sarif(findings, [RULE], "policy-lint")["runs"]
    return [next(iter(result["partialFingerprints"].values())) for result in run["results"]]


def test_a_fingerprint_stays_when_the_row_moves_and_differs_between_rows() -> None:
    def at(line: int, text: str = "p, row") -> Finding:
        return Finding("T001-test", "warning", f"like line {line - 1}", "a.csv", line, text=text)

    assert fingerprints(at(3)) == fingerprints(at(9))
    assert fingerprints(at(3)) != fingerprints(at(3, "p, changed"))
    twice = fingerprints(at(3), at(4))
    assert twice[0] != twice[1]
    assert twice[0] == fingerprints(at(3))[0]


def test_what_a_policy_says_is_no_markup_in_a_comment() -> None:
    evil = Finding(
        "T001-test",
        "error",
        "bad <img src=x> [click](http://evil) | cell @team",
        "a`|b.csv",
        1,
        "*x*\n# h",
    )
    text = to_markdown([evil], "policy lint")
    assert "<img" not in text.replace("\\<img", "")
    assert "[click]" not in text.replace("\\[click\\]", "")
    assert "@team" not in text
    assert "\n# h" not in text
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len(rows) == 3
    assert all(row.replace("\\|", "").count("|") == 5 for row in rows)


def test_a_comment_is_bounded_and_shows_the_worst_first() -> None:
    many = [Finding("T001-test", "note", "x", "a.csv", n) for n in range(1, MAX_MARKDOWN_ROWS + 6)]
    text = to_markdown([*many, Finding("T002-other", "error", "worst", "z.csv", 1)], "lint")
    assert text.splitlines()[4].startswith("| error |")
    assert "… and 6 more." in text


def test_told() -> None:
    assert told([]) == "nothing to report"
    assert told(FINDINGS) == "1 error, 1 warning"


def test_a_problem_of_the_loader_is_a_finding() -> None:
    assert of_problem(Problem("a.csv", 2, "bad", "mend"), "T002-other") == Finding(
        "T002-other", "error", "bad", "a.csv", 2, "mend"
    )


@pytest.mark.parametrize(
    ("text", "shown"),
    [("a", "`a`"), ("a`b", "``a`b``"), ("`a", "`` `a ``"), ("a\nb", "`a b`"), ("", "` `")],
)
def test_code_spans(text: str, shown: str) -> None:
    assert code(text) == shown


def test_tables_and_escapes() -> None:
    assert table(("a", "b"), [("x|y", "z")]) == "| a | b |\n| --- | --- |\n| x\\|y | z |"
    assert escape("role_NAME* \u202e@x") == "role\\_NAME\\*  &#64;x"
