"""Mutants: which mistakes there are, which the cases notice, and the case that is missing."""

import pytest

from argy.base.errors import FailedPrecondition, InvalidArgument
from argy.policy import PolicySource, compile_policy, parse_policy
from argy.policy.cases.answers import run_cases
from argy.policy.cases.facts import suite_text
from argy.policy.cases.questions import QuestionSet, read_cases
from argy.policy.coverage import changed_keys
from argy.policy.equivalence import model_text
from argy.policy.model import Effect
from argy.policy.mutation.judge import Score, Verdict, chosen_mutants, judge_mutants
from argy.policy.mutation.mutants import Mutant, mutants

READ = "p, role:A, *, doc:*, read, allow, true\n"


def source_of(
    rows: str, approvals: str = "", effect: Effect = Effect.DENY_OVERRIDES
) -> PolicySource:
    files = {"model.conf": model_text(effect), "services.csv": rows}
    return parse_policy({**files, "approvals/all.csv": approvals})


def sets_of(*cases: str, tenant: str = "globex") -> list[QuestionSet]:
    grants = "".join(
        f'  - {{subject: "user:{role.lower()}", role: "role:{role}"}}\n' for role in "ABC"
    )
    asked = "".join(f"  - {{{case}}}\n" for case in cases)
    text = f"tenant: {tenant}\nassignments:\n{grants}cases:{asked and chr(10)}{asked or ' []'}\n"
    return read_cases({"cases/one.yaml": text})


def judged(source: PolicySource, *cases: str, jobs: int = 1) -> dict[str, Verdict]:
    verdicts = judge_mutants(source, sets_of(*cases), list(mutants(source)), jobs=jobs)
    return {f"{verdict.mutant.place} {verdict.mutant.what}": verdict for verdict in verdicts}


def outcomes(source: PolicySource, *cases: str) -> dict[str, str]:
    return {what: verdict.outcome for what, verdict in judged(source, *cases).items()}


def holds(source: PolicySource, text: str) -> bool:
    """Whether a written suite passes against a policy."""
    results = list(run_cases(compile_policy(source), read_cases({"cases/x.yaml": text})))
    return bool(results) and all(result.passed for result in results)


def assert_would_notice(source: PolicySource, verdict: Verdict) -> None:
    """The missing case loads, passes against the policy and fails against the mutant."""
    assert verdict.missing is not None
    text = suite_text([verdict.missing], "missing")
    assert holds(source, text)
    assert not holds(verdict.mutant.applied(source), text)


def test_every_kind_of_mistake_is_made() -> None:
    source = source_of(
        "p, role:A, acme/x, doc:a-*, read, allow, ctx.ok\ng, role:B, role:A, acme\n",
        "a, *, doc:*, read, 1, role:A, require, 1h, ctx.big\n",
    )
    assert [mutant.what for mutant in mutants(source)] == [
        "the rule is dropped",
        "effect allow becomes deny",
        "object doc:a-* becomes doc:*",
        "object doc:a-* becomes *",
        "action read becomes *",
        "domain acme/x becomes acme",
        "the condition is dropped",
        "the condition is negated",
        "the link is dropped",
        "domain acme becomes *",
        "the approval is dropped",
        "the condition is dropped",
    ]


def test_a_mutant_replaces_one_row_and_leaves_the_policy_alone() -> None:
    source = source_of(READ + "p, role:A, *, doc:*, write, allow, true\n")
    (flipped,) = [m for m in mutants(source) if m.index == 1 and m.what.startswith("effect")]
    changed = flipped.applied(source)
    assert [rule.effect for rule in changed.rules] == ["allow", "deny"]
    assert [rule.effect for rule in source.rules] == ["allow", "allow"]
    assert changed.links is source.links


def test_cases_kill_what_they_notice_and_a_survivor_is_named_with_a_case() -> None:
    source = source_of(READ)
    case = 'ask: "user:a read doc:1", expect: ALLOW'
    found = judged(source, case)
    assert {what: verdict.outcome for what, verdict in found.items()} == {
        "services.csv:1 the rule is dropped": "killed",
        "services.csv:1 effect allow becomes deny": "killed",
        "services.csv:1 object doc:* becomes *": "survived",
        "services.csv:1 action read becomes *": "survived",
    }
    assert found["services.csv:1 the rule is dropped"].by == "cases/one.yaml:7 case 1"
    for verdict in found.values():
        if verdict.outcome == "survived":
            assert_would_notice(source, verdict)
    score = Score(4, tuple(found.values()))
    assert score.percent == 50.0


def test_the_missing_cases_kill_the_survivors() -> None:
    rows = (
        READ + "p, role:B, *, doc:secret-*, *, deny, true\n"
        "p, role:A, acme, log:*, read, allow, has(ctx.owner) && ctx.owner == sub\n"
        "g, role:C, role:A, acme/x\n"
    )
    source = source_of(rows)
    survivors = [v for v in judged(source).values() if v.outcome == "survived"]
    assert len(survivors) >= 12
    written = [verdict.missing for verdict in survivors if verdict.missing]
    assert len(written) == len(survivors)
    sets = read_cases({"cases/new.yaml": suite_text(written, "new")})
    again = list(judge_mutants(source, sets, list(mutants(source))))
    assert {verdict.outcome for verdict in again} == {"killed"}


def test_a_dropped_denial_needs_a_second_role_to_be_noticed() -> None:
    source = source_of(READ + "p, role:B, *, doc:secret-*, *, deny, true\n")
    verdict = judged(source)["services.csv:2 the rule is dropped"]
    assert_would_notice(source, verdict)
    assert verdict.missing is not None
    assert verdict.missing.cell.names == {"role:A", "role:B"}


@pytest.mark.parametrize(
    "condition",
    [
        "has(ctx.owner) && ctx.owner == sub",
        "\"ctx.env in ['dev', 'stage']\"",
        "ctx.amount > 100",
        "ctx.level == 1",
        '"now.getDayOfWeek() in [0, 6]"',
        "ctx.name.startsWith('INC-')",
        "!has(ctx.core) || ctx.core",
    ],
)
def test_facts_are_found_for_conditions(condition: str) -> None:
    source = source_of(f"p, role:A, *, doc:*, read, allow, {condition}\n")
    found = judged(source)
    for what in ("the rule is dropped", "the condition is dropped", "the condition is negated"):
        assert_would_notice(source, found[f"services.csv:1 {what}"])


def test_a_condition_without_known_facts_survives_and_says_so() -> None:
    source = source_of("p, role:A, *, doc:*, read, allow, size(ctx.list) == 3 && ctx.list[2] > 7\n")
    verdict = judged(source)["services.csv:1 the rule is dropped"]
    assert (verdict.outcome, verdict.missing) == ("survived", None)
    assert verdict.note == "no facts were found that show it"


def test_the_facts_of_the_cases_themselves_are_tried() -> None:
    source = source_of("p, role:A, *, doc:*, read, allow, size(ctx.list) == 3 && ctx.list[2] > 7\n")
    case = 'ask: "user:b read doc:1", context: {list: [1, 2, 8]}, expect: DENY'
    assert_would_notice(source, judged(source, case)["services.csv:1 the rule is dropped"])


def test_equivalent_mutants_are_told_apart_and_not_counted() -> None:
    wide = "p, role:A, *, doc:*, *, allow, true\n"
    source = source_of(wide + "p, role:A, *, doc:1, read, allow, true\n")
    found = outcomes(source)
    assert found["services.csv:2 the rule is dropped"] == "equivalent"
    assert found["services.csv:2 object doc:1 becomes doc:*"] == "equivalent"
    assert found["services.csv:2 effect allow becomes deny"] == "survived"
    assert found["services.csv:2 object doc:1 becomes *"] == "survived"
    equivalent = [v for v in judged(source).values() if v.outcome == "equivalent"]
    assert Score(1, tuple(equivalent)).percent == 100.0


def test_a_conditional_rule_under_a_wider_one_is_equivalent_whatever_the_facts() -> None:
    source = source_of(READ + "p, role:A, *, doc:*, read, allow, size(ctx.list) == 3\n")
    # An error in a condition denies, so the second row does matter: it must not be called equal.
    found = judged(source)
    assert_would_notice(source, found["services.csv:2 the rule is dropped"])


def test_links_and_approvals_are_mutated_too() -> None:
    source = source_of(
        READ + "g, role:B, role:A, acme\n", "a, *, doc:*, read, 1, role:B, require, 1h, true\n"
    )
    found = judged(source)
    for what in (
        "services.csv:2 the link is dropped",
        "services.csv:2 domain acme becomes *",
        "approvals/all.csv:1 the approval is dropped",
    ):
        assert_would_notice(source, found[what])


def test_cases_that_fail_already_are_refused() -> None:
    with pytest.raises(FailedPrecondition, match=r"cases/one\.yaml:7 case 1 fails"):
        judged(source_of(READ), 'ask: "user:a read doc:1", expect: DENY')


def test_a_model_that_does_not_compile_is_refused() -> None:
    text = model_text(Effect.DENY_OVERRIDES).replace("actMatch(r.act, p.act)", "r.act == p.act")
    source = parse_policy({"model.conf": text, "services.csv": READ})
    with pytest.raises(InvalidArgument, match="not one that compiles"):
        list(judge_mutants(source, [], list(mutants(source))))


@pytest.mark.parametrize("effect", list(Effect))
def test_under_every_effect_a_missing_case_is_right(effect: Effect) -> None:
    rows = READ + "p, role:B, *, doc:*, read, deny, true\np, role:B, *, log:*, *, allow, true\n"
    source = source_of(rows, effect=effect)
    found = judged(source)
    assert any(verdict.outcome == "survived" for verdict in found.values())
    for verdict in found.values():
        if verdict.outcome == "survived":
            assert_would_notice(source, verdict)


def test_only_changed_rows_are_mutated_against_a_base() -> None:
    base, head = source_of(READ), source_of(READ + "p, role:B, *, doc:*, write, allow, true\n")
    among = changed_keys(base, head)
    assert {mutant.place for mutant in mutants(head, among)} == {"services.csv:2"}


def test_a_maximum_is_spread_over_the_policy() -> None:
    source = source_of("".join(f"p, role:A, *, d{n}:*, read, allow, true\n" for n in range(50)))
    total, tried = chosen_mutants(source, None, 10)
    assert (total, len(tried)) == (200, 10)
    assert len({mutant.place for mutant in tried}) == 10
    assert len(chosen_mutants(source, None, 0)[1]) == 200


def test_processes_change_nothing_in_the_verdicts() -> None:
    source = source_of(READ + "p, role:B, *, doc:secret-*, *, deny, true\n")
    case = 'ask: "user:a read doc:1", expect: ALLOW'
    assert judged(source, case) == judged(source, case, jobs=2)


def test_a_mutant_tells_its_row_as_written() -> None:
    source = source_of(READ + "g, role:B, role:A, acme\n")
    found: list[Mutant] = list(mutants(source))
    assert found[0].text == READ.strip()
    assert found[-1].text == "g, role:B, role:A, acme"
