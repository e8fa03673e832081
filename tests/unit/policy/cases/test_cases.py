"""Suites of cases: how they are read, what they ask, and what a failure tells."""

import json
import random
from datetime import UTC, datetime
from pathlib import Path

import pytest

from argy.policy import PolicySource, compile_policy, parse_policy
from argy.policy.cases.answers import CaseResult, case_lines, main, run_cases
from argy.policy.cases.format import case_schema, schema_text
from argy.policy.cases.questions import MAX_QUESTIONS, Question, QuestionSet, read_cases
from argy.policy.cases.run import run_sets, selected
from argy.policy.equivalence import model_text
from argy.policy.errors import PolicyError
from argy.policy.model import Effect

SHIPPED = Path(__file__).parents[4] / "services" / "argy" / "policy" / "cases" / "schema.json"

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


def ask(text: str, rows: str = ROLES) -> list[CaseResult]:
    return list(run_cases(compile_policy(source_of(rows)), sets_of(text)))


def refused(text: str, shared: str = FIXTURES) -> str:
    with pytest.raises(PolicyError) as caught:
        sets_of(text, shared)
    return caught.value.message


def test_a_suite_without_anything_new_reads_as_before() -> None:
    (result,) = ask("""tenant: acme
assignments: [{subject: "user:a", role: "role:WRITER", org: x, expires: 2026-01-08T00:00:00Z}]
groups: {"group:g": ["user:b"]}
disabled: ["user:c"]
cases:
  - {ask: "user:a read doc:1", org: x, at: 2026-01-07T10:00:00Z, expect: ALLOW, rule: services.csv}
""")
    assert result.passed
    assert result.question.line == 6
    assert result.question.at_ms == datetime(2026, 1, 7, 10, tzinfo=UTC).timestamp() * 1000


def test_shared_and_own_fixtures_are_named_in_cases() -> None:
    results = ask("""tenant: acme
fixtures:
  guest: {subject: "agent:g", roles: [{role: "role:WRITER", org: x, expires: 2026-02-01T00:00:00Z}]}
  gone: {roles: ["role:WRITER"], disabled: true}
cases:
  - {ask: "writer read doc:1", expect: ALLOW}
  - {ask: "auditor read log:1", expect: ALLOW}
  - {ask: "guest read doc:1", expect: DENY}
  - {ask: "guest read doc:1", org: x, expect: ALLOW}
  - {ask: "guest read doc:1", org: x, at: 2026-02-01T00:00:00Z, expect: DENY}
  - {ask: "gone read doc:1", expect: DENY, reason: SUBJECT_DISABLED}
""")
    assert [result.failure for result in results] == [""] * 6
    assert [result.question.subject for result in results[:3]] == [
        "user:writer", "user:aud", "agent:g",
    ]  # fmt: skip


def test_a_misspelt_fixture_is_refused_not_denied() -> None:
    told = refused('tenant: acme\ncases:\n  - {ask: "writter read doc:1", expect: DENY}\n')
    assert "cases/one.yaml:3: case 1: 'writter' is neither a subject nor a fixture" in told


@pytest.mark.parametrize(
    ("fixtures", "told"),
    [
        ("fixtures: {writer: {}}", "writer is a fixture of cases/_fixtures.yaml too"),
        ('fixtures: {w: {subject: "user:writer"}}', "w is the same subject as writer"),
        ('fixtures: {w: {subject: "role:WRITER"}}', "'role:WRITER' is not a subject"),
        ("fixtures: {Writer: {}}", "'Writer' is no name of a fixture"),
    ],
)
def test_fixtures_that_would_mix_up_people_are_refused(fixtures: str, told: str) -> None:
    assert f"cases/one.yaml:2: {told}" in refused(f"tenant: acme\n{fixtures}\n")


def test_a_matrix_asks_every_cell_and_denies_what_it_does_not_list() -> None:
    results = ask("""tenant: acme
matrix:
  subjects: [writer, auditor]
  actions: [read, write]
  resources: ["doc:1", "log:1"]
  expect:
    ALLOW: [[writer, "*", "doc:1"], [auditor, read, "log:1"]]
""")
    assert len(results) == 8
    assert not [result for result in results if not result.passed]
    assert sum(result.question.expect == "ALLOW" for result in results) == 3
    assert results[0].question.label == "matrix 1, writer read doc:1"


def test_a_matrix_in_its_short_form_with_an_exception() -> None:
    (one, two) = ask("""tenant: acme
matrix:
  - subjects: [writer]
    actions: [read, erase]
    resources: ["doc:1"]
    expect: {ALLOW: {writer: ["*"]}, DENY: {writer: [erase]}}
""")
    assert (one.question.expect, two.question.expect) == ("ALLOW", "DENY")
    assert one.passed
    assert two.passed


@pytest.mark.parametrize(
    ("expect", "told"),
    [
        ("{ALLOW: [[writer, fly]]}", "'fly' in ['writer', 'fly'] is not in the matrix"),
        ("{ALLOW: [[auditor, read]]}", "'auditor' in ['auditor', 'read'] is not in the matrix"),
        ("{ALLOW: [[writer]]}", "['writer'] is not [subject, action, resource]"),
        (
            "{ALLOW: [[writer, read]], DENY: [[writer, read]]}",
            "writer read doc:1 is expected twice, differently",
        ),
    ],
)
def test_a_matrix_that_expects_nonsense_is_refused(expect: str, told: str) -> None:
    suite = 'tenant: a\nmatrix:\n  subjects: [writer]\n  actions: [read]\n  resources: ["doc:1"]\n'
    message = refused(f"{suite}  expect: {expect}\n")
    assert f"cases/one.yaml:3: matrix 1: {told}" in message


def test_a_matrix_is_bounded() -> None:
    many = ", ".join(f'"doc:{number}"' for number in range(201))
    verbs = ", ".join(f"v{number}" for number in range(100))
    told = refused(
        f"tenant: a\nmatrix: {{subjects: [writer], actions: [{verbs}], resources: [{many}]}}"
    )
    assert "20100 cells, more than 20000" in told
    assert MAX_QUESTIONS == 1_000_000


def test_the_suite_has_a_clock_and_a_case_may_have_its_own() -> None:
    rows = "p, role:WRITER, *, doc:*, read, allow, \"now < timestamp('2026-01-01T00:00:00Z')\"\n"
    results = ask(
        """tenant: acme
at: 2025-06-01T00:00:00Z
cases:
  - {ask: "writer read doc:1", expect: ALLOW}
  - {ask: "writer read doc:1", at: 2026-06-01T00:00:00, expect: DENY}
matrix:
  {subjects: [writer], actions: [read], resources: ["doc:1"], expect: {ALLOW: [[writer, read]]}}
""",
        rows,
    )
    assert [result.failure for result in results] == ["", "", ""]


def test_a_case_may_be_asked_in_another_tenant() -> None:
    (here, there) = ask("""tenant: acme
assignments: [{subject: "user:c", role: "role:CHIEF"}]
cases:
  - {ask: "user:c read doc:1", expect: ALLOW}
  - {ask: "user:c read doc:1", tenant: globex, expect: DENY}
""")
    assert here.passed
    assert there.passed
    assert there.question.domain == "globex"


def test_a_file_may_hold_several_suites() -> None:
    text = """tenant: acme
assignments: [{subject: "service:s", role: "role:WRITER"}]
cases: [{ask: "service:s read doc:1", expect: ALLOW}]
---
tenant: acme
cases: [{ask: "service:s read doc:1", expect: DENY}]
"""
    one, two = ask(text)
    assert (one.passed, two.passed) == (True, True)
    assert (one.question.line, two.question.line) == (3, 6)
    shared = "fixtures: {}\n---\nfixtures: {}\n"
    assert "cases/_fixtures.yaml:3: a second document" in refused(text, shared)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("tenant: [", "cases/one.yaml:"),
        (
            "tenant: acme\ncases:\n  - {ask: x, expect: ALLOW}\n",
            "cases/one.yaml:3: case 1: ask 'x'",
        ),
        (
            "tenant: acme\ncases:\n  - {ask: user:a b c:d, expect: MAYBE}\n",
            "cases/one.yaml:3: Invalid enum value 'MAYBE' (at cases[0].expect)",
        ),
        (
            "tenant: acme\ncases:\n  - ask: user:a b c:d\n    expect: DENY\n    orgs: x\n",
            "cases/one.yaml:3: Object contains unknown field `orgs` (at cases[0])",
        ),
        ("tenant: acme\ncases: []\ncases: []\n", "cases/one.yaml:3: the key 'cases' stands twice"),
        ("tenant: acme\ncases: &a [*a]\n", "an alias within its own anchor"),
        ("tenant: acme\nassignments: [{subject: a, role: b}]\n", "cases/one.yaml:2: 'a' is not a"),
        ('tenant: acme\ngroups:\n  "user:x": []\n', "cases/one.yaml:3: 'user:x' is no group"),
    ],
)
def test_what_is_wrong_is_told_with_file_line_and_case(text: str, told: str) -> None:
    assert told in refused(text)


def test_every_file_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(PolicyError) as caught:
        read_cases(
            {"cases/a.yaml": "x: 1", "cases/b.yaml": "tenant: [", "cases/_fixtures.yaml": "3"}
        )
    assert {problem.file for problem in caught.value.problems} == {
        "cases/a.yaml", "cases/b.yaml", "cases/_fixtures.yaml",
    }  # fmt: skip


def test_a_deep_document_is_refused_before_the_parser_falls_over() -> None:
    assert "deeper than 32 levels" in refused("tenant: " + "[" * 400_000)


def test_a_document_that_unfolds_without_end_is_refused() -> None:
    rows = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    rows += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    assert "more than 200000 values" in refused("\n".join(rows))


def test_what_is_no_yaml_never_ends_in_another_error() -> None:
    rng = random.Random(7)  # noqa: S311  (reproducible, not secret)
    pieces = [
        "tenant",
        ": ",
        "[",
        "]",
        "{",
        "}",
        "&a ",
        "*a",
        "- ",
        "\n",
        "  ",
        "!!x ",
        "'",
        '"',
        "?",
    ]
    for _ in range(500):
        text = "".join(rng.choice(pieces) for _ in range(rng.randint(1, 40)))
        with pytest.raises(PolicyError):
            sets_of(text)


def test_a_failed_case_tells_what_decided_and_the_nearest_miss() -> None:
    allowed, denied = ask("""tenant: acme
cases:
  - {ask: "writer read doc:1", expect: DENY, why: a mistake}
  - {ask: "auditor read doc:1", expect: ALLOW}
""")
    lines = list(case_lines([allowed, denied]))
    assert lines[1] == (
        "      cases/one.yaml:3 case 1 (a mistake): expected DENY, got ALLOW "
        "(ALLOWED_BY_RULE, services.csv:1)"
    )
    assert "decided by services.csv:1  p, role:WRITER, *, doc:*, read, allow, true" in lines[2]
    assert any("nearest miss services.csv:1: does not have role:WRITER" in line for line in lines)


def test_reason_rule_and_role_are_held_to_what_the_case_says() -> None:
    (result,) = ask("""tenant: acme
cases: [{ask: "writer read doc:1", expect: ALLOW, reason: X, rule: services.csv:9, role: "role:Y"}]
""")
    assert result.failure == (
        "expected reason X, got ALLOWED_BY_RULE; expected rule services.csv:9, got services.csv:1; "
        "expected role role:Y, got role:WRITER"
    )


def test_a_case_may_expect_that_approval_is_needed() -> None:
    approvals = "a, *, doc:*, write, 1, role:AUDITOR, require, 1h, true\n"
    text = """tenant: acme
cases:
  - {ask: "writer write doc:1", expect: NEEDS_APPROVAL}
  - {ask: "writer write doc:1", expect: ALLOW}
"""
    right, wrong = run_cases(compile_policy(source_of(ROLES, approvals)), sets_of(text))
    assert right.passed
    assert "expected ALLOW, got NEEDS_APPROVAL" in wrong.failure


def test_processes_change_nothing_in_the_results() -> None:
    verbs = ", ".join(["read", "write", *(f"v{number}" for number in range(98))])
    things = ", ".join(f'"doc:{number}"' for number in range(60))
    sets = sets_of(f"""tenant: acme
matrix:
  subjects: [writer, auditor]
  actions: [{verbs}]
  resources: [{things}]
  expect: {{ALLOW: {{writer: [read]}}}}
""")
    alone, together = run_sets(source_of(), sets, jobs=1), run_sets(source_of(), sets, jobs=2)
    assert alone == together
    assert len(alone.results) == 12_000
    assert len(alone.failed) == 60


def test_cases_are_chosen_by_a_part_of_their_text() -> None:
    sets = sets_of("""tenant: acme
cases:
  - {ask: "writer read doc:1", expect: ALLOW, why: the first}
  - {ask: "auditor read log:1", expect: ALLOW}
""")

    def chosen(pattern: str) -> list[Question]:
        return [question for one in selected(sets, pattern) for question in one.questions]

    assert [question.label for question in chosen("FIRST")] == ["case 1"]
    assert [question.label for question in chosen("read*log")] == ["case 2"]
    assert len(chosen("one.yaml")) == 2
    assert chosen("nothing like it") == []


def test_the_shipped_schema_is_the_one_of_the_types() -> None:
    assert SHIPPED.read_text() == schema_text()
    schema = json.loads(schema_text())
    assert schema == case_schema()
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["$defs"]["Case"]["additionalProperties"] is False
    assert set(schema["$defs"]) >= {"Suite", "SharedFixtures", "Matrix", "Fixture", "Case"}


def test_the_bare_runner_prints_a_table(
    policy_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(policy_root)]) == 0
    assert " cases, 0 failed" in capsys.readouterr().out
    assert main([]) == 2
    assert main([str(tmp_path / "missing")]) == 2
