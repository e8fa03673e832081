"""What counts as covered, and that a changed row without a case is found."""

from xml.etree import ElementTree

import pytest

from argy.policy import PolicySource, parse_policy
from argy.policy.cases.questions import QuestionSet, read_cases
from argy.policy.cases.run import Run, run_sets
from argy.policy.coverage import Coverage, changed_keys, coverage
from argy.policy.equivalence import model_text
from argy.policy.junit import to_junit
from argy.policy.model import Effect

ROLES = """p, role:WRITER, *, doc:*, read, allow, true
p, role:WRITER, *, doc:*, write, allow, true
p, role:AUDITOR, *, log:*, read, allow, true
p, role:AUDITOR, *, doc:secret-*, *, deny, true
g, role:CHIEF, role:WRITER, acme
"""
FIXTURES = """fixtures:
  writer: {roles: ["role:WRITER"]}
  auditor: {subject: "user:aud", roles: ["role:AUDITOR"]}
"""


def source_of(rows: str = ROLES, approvals: str = "") -> PolicySource:
    files = {"model.conf": model_text(Effect.DENY_OVERRIDES), "services.csv": rows}
    return parse_policy({**files, "approvals/all.csv": approvals})


def sets_of(text: str, shared: str = FIXTURES) -> list[QuestionSet]:
    return read_cases({"cases/one.yaml": text, "cases/_fixtures.yaml": shared})


ALL = """tenant: acme
assignments: [{subject: "user:c", role: "role:CHIEF"}]
fixtures: {both: {roles: ["role:WRITER", "role:AUDITOR"]}}
cases:
  - {ask: "writer read doc:1", expect: ALLOW}
  - {ask: "writer write doc:1", expect: ALLOW}
  - {ask: "auditor read log:1", expect: ALLOW}
  - {ask: "both read doc:secret-1", expect: DENY}
  - {ask: "user:c read doc:1", expect: ALLOW}
"""


def covered(source: PolicySource, text: str, base: PolicySource | None = None) -> Coverage:
    changed = None if base is None else changed_keys(base, source)
    return coverage(source, run_sets(source, sets_of(text)).seen, changed)


def test_each_row_that_decides_a_case_is_covered() -> None:
    found = covered(source_of(), ALL)
    assert found.uncovered == []
    assert found.percent == 100.0
    assert not found.based


@pytest.mark.parametrize(
    ("dropped", "place", "missing"),
    [
        ("writer write", "services.csv:2", "no case matches it"),
        ("both read", "services.csv:4", "no case matches it"),
        ("user:c read", "services.csv:5", "no case is decided by what it passes on"),
    ],
)
def test_a_row_without_its_case_is_named(dropped: str, place: str, missing: str) -> None:
    text = "".join(line for line in ALL.splitlines(keepends=True) if dropped not in line)
    (row,) = covered(source_of(), text).uncovered
    assert (row.place, row.missing) == (place, missing)


def test_a_rule_that_matches_and_never_decides_is_not_covered() -> None:
    rows = "p, role:WRITER, *, doc:*, read, allow, true\np, role:WRITER, *, *, read, allow, true\n"
    text = 'tenant: acme\ncases: [{ask: "writer read doc:1", expect: ALLOW}]\n'
    (row,) = covered(source_of(rows), text).uncovered
    assert (row.place, row.missing) == ("services.csv:2", "matches cases, and decides none")


def test_a_condition_must_be_seen_true_and_false_and_an_error_is_neither() -> None:
    rows = "p, role:WRITER, *, doc:*, read, allow, ctx.mine\n"

    def missing(*contexts: str) -> list[str]:
        cases = "".join(
            f'  - {{ask: "writer read doc:1", context: {context}, expect: {expect}}}\n'
            for context, expect in (one.split(" ") for one in contexts)
        )
        found = covered(source_of(rows), f"tenant: acme\ncases:\n{cases}")
        return [row.missing for row in found.uncovered]

    error = "{} DENY"
    assert missing('{"mine":true} ALLOW', '{"mine":false} DENY') == []
    assert missing('{"mine":true} ALLOW') == ["no case has its condition false"]
    assert missing('{"mine":true} ALLOW', error) == ["no case has its condition false"]
    assert missing('{"mine":false} DENY', error) == ["no case matches it with its condition true"]


def test_a_link_counts_only_where_it_holds() -> None:
    rows = ROLES + "g, role:CHIEF, role:WRITER, globex\n"
    (row,) = covered(source_of(rows), ALL).uncovered
    assert (row.kind, row.place) == ("link", "services.csv:6")


def test_an_approval_is_covered_when_it_was_asked_for() -> None:
    approvals = "a, *, doc:*, write, 1, role:AUDITOR, require, 1h, true\n"
    source = source_of(ROLES, approvals)
    text = ALL.replace('write doc:1", expect: ALLOW', 'write doc:1", expect: NEEDS_APPROVAL')
    assert covered(source, text).uncovered == []
    less = "".join(line for line in text.splitlines(keepends=True) if "write" not in line)
    assert [row.kind for row in covered(source, less).uncovered] == ["approval", "rule"]


def test_a_changed_rule_that_no_case_covers_is_told_apart() -> None:
    head = source_of(ROLES + "p, role:WRITER, *, doc:*, erase, allow, true\n")
    found = covered(head, ALL.replace('  - {ask: "auditor read log:1", expect: ALLOW}\n', ""),
                    source_of())  # fmt: skip
    assert [row.place for row in found.uncovered_changes] == ["services.csv:6"]
    assert [row.place for row in found.uncovered] == ["services.csv:3", "services.csv:6"]
    assert found.based


def test_a_row_that_only_moved_has_not_changed() -> None:
    moved = source_of("# a comment\n\n" + ROLES.replace("p, role:WRITER", "p,   role:WRITER"))
    assert changed_keys(source_of(), moved) == frozenset()
    wider = source_of(
        ROLES.replace("g, role:CHIEF, role:WRITER, acme", "g, role:CHIEF, role:WRITER, *")
    )
    assert len(changed_keys(source_of(), wider)) == 1


def test_cells_are_roles_and_actions_that_cases_ask() -> None:
    found = covered(source_of(), ALL)
    assert ("role:WRITER", "write") in found.cells
    assert ("role:AUDITOR", "write") in found.uncovered_cells
    assert ("role:CHIEF", "read") not in found.uncovered_cells
    assert 0 < found.cell_percent < 100


def junit(text: str, base: PolicySource | None = None) -> tuple[str, Run]:
    source = source_of()
    run = run_sets(source, sets_of(text))
    changed = changed_keys(base, source) if base else None
    return to_junit(run.results, coverage(source, run.seen, changed), prefix="policy/"), run


def test_junit_is_well_formed_whatever_stands_in_a_case() -> None:
    evil = r'"user:\u0001\uFFFE<&\"]]>\u2028 read doc:1"'
    text, run = junit(f'tenant: acme\ncases: [{{ask: {evil}, expect: ALLOW, why: "\\0<b>"}}]\n')
    assert len(run.failed) == 1
    root = ElementTree.fromstring(text)  # noqa: S314  (made here)
    (case,) = root.iter("testcase")
    assert case.get("file") == "policy/cases/one.yaml"
    assert case.get("line") == "2"
    assert '<&"]]>' in str(case.get("name"))
    (failure,) = case.iter("failure")
    assert "expected ALLOW, got DENY" in str(failure.get("message"))


def test_junit_counts_and_names_the_changed_rule_that_no_case_covers() -> None:
    text, _ = junit(ALL.replace('  - {ask: "auditor read log:1", expect: ALLOW}\n', ""),
                    source_of("p, role:X, *, doc:*, read, allow, true\n"))  # fmt: skip
    root = ElementTree.fromstring(text)  # noqa: S314  (made here)
    assert (root.get("tests"), root.get("failures")) == ("5", "1")
    failed = [case for case in root.iter("testcase") if case.find("failure") is not None]
    assert [case.get("classname") for case in failed] == ["coverage"]
    assert str(failed[0].get("name")).startswith("services.csv:3 p, role:AUDITOR, *, log:*")
