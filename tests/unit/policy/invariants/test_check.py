"""Invariants: what is checked, what a counterexample tells, and that it fails as a case."""

from dataclasses import replace
from pathlib import Path

import pytest

from argy.base.errors import InvalidArgument
from argy.policy import PolicySource, compile_policy, parse_policy
from argy.policy.cases.answers import run_cases
from argy.policy.cases.facts import suite_text
from argy.policy.cases.questions import read_cases
from argy.policy.equivalence import model_text
from argy.policy.errors import PolicyError
from argy.policy.files import read_folder
from argy.policy.invariants.check import Checker
from argy.policy.invariants.format import invariant_schema, read_invariants
from argy.policy.invariants.violations import MAX_CELLS, Violation
from argy.policy.model import Effect
from argy.policy.space import TooLarge

ROWS = """p, role:ADMIN, *, *, *, allow, true
p, role:ADMIN, *, log:*, delete, deny, true
p, role:WRITER, *, policy:*, propose, allow, true
p, role:APPROVER, *, policy:*, approve, allow, has(ctx.author) && ctx.author != sub
p, role:APPROVER, *, policy:*, propose, deny, true
p, role:ADMIN, *, policy:*, approve, deny, true
p, service:bot, *, doc:*, read, allow, true
"""


def source_of(rows: str = ROWS, **tenants: str) -> PolicySource:
    files = {f"tenants/{name}/x.csv": text for name, text in tenants.items()}
    model = model_text(Effect.DENY_OVERRIDES)
    return parse_policy({"model.conf": model, "services.csv": rows, **files})


def violations(statement: str, source: PolicySource) -> list[Violation]:
    text = f"invariants:\n  - {{name: it, {statement}}}\n"
    checker = Checker(source, read_invariants({"invariants/x.yaml": text}))
    (checked,) = checker.check()
    assert_they_fail_as_cases(checker, checked.violations, source)
    return list(checked.violations)


def assert_they_fail_as_cases(
    checker: Checker, found: tuple[Violation, ...], source: PolicySource
) -> None:
    """Written counterexamples load, and each fails against the policy they were found in."""
    written = [checker.written(violation) for violation in found]
    cases = [case for case in written if case is not None]
    assert len(cases) == len(found)
    sets = read_cases({"cases/found.yaml": suite_text(cases, "found")})
    results = list(run_cases(compile_policy(source), sets))
    assert len(results) == len(cases)
    assert not any(result.passed for result in results)


def told(statement: str, source: PolicySource | None = None) -> list[str]:
    found = violations(statement, source_of() if source is None else source)
    return [f"{violation.place} {violation.told}" for violation in found]


def test_never_holds_for_every_role_or_names_who_breaks_it_and_by_which_row() -> None:
    assert told('never: {action: delete, resource: "log:*"}') == []
    worse = source_of(ROWS + "p, role:WRITER, acme/x, log:*, *, allow, true\n")
    (line,) = told('never: {action: delete, resource: "log:*"}', worse)
    assert line == "services.csv:8 role:WRITER in acme/x: delete log:x"


def test_never_looks_at_one_role_and_combined_at_it_with_any_other() -> None:
    statement = 'never: {roles: ["role:WRITER"], action: read, resource: "doc:*"}'
    assert told(statement) == []
    found = told(f"{statement}, combined: true")
    assert [line.split(" in ")[0] for line in found] == [
        "services.csv:1 role:ADMIN with role:WRITER",
        "services.csv:7 role:WRITER with service:bot",
    ]


def test_roles_may_be_globs_and_others_excepted() -> None:
    assert told('never: {roles: ["service:*"], action: approve, resource: "*"}') == []
    linked = source_of(ROWS + "g, service:cli, role:ADMIN, *\n")
    statement = (
        'never: {roles: ["service:*"], not_roles: ["role:ADMIN"], action: grant, resource: "*"}'
    )
    assert told(statement, linked) == []
    assert told('never: {roles: ["service:*"], action: grant, resource: "*"}', linked) != []


def test_a_condition_is_possibly_true_unless_conditional_ways_are_tolerated() -> None:
    statement = 'never: {{action: approve, resource: "policy:*"{}}}'
    (line,) = told(statement.format(""))
    assert line == (
        "services.csv:4 role:APPROVER in another-tenant: approve policy:x, "
        "when (has(ctx.author) && ctx.author != sub)"
    )
    assert told(statement.format(", unless: conditional")) == []


def test_a_condition_on_a_denial_is_possibly_false() -> None:
    rows = "p, role:A, *, doc:*, *, allow, true\np, role:A, *, doc:*, delete, deny, ctx.core\n"
    statement = 'never: {{action: delete, resource: "doc:*"{}}}'
    (line,) = told(statement.format(""), source_of(rows))
    assert line.endswith("when not (ctx.core)")
    assert told(statement.format(", unless: conditional"), source_of(rows)) == []


def test_only_lets_nobody_else_not_even_a_subject_without_roles() -> None:
    statement = 'only: {roles: ["role:ADMIN"], action: grant, resource: "role_assignment:*"}'
    assert told(statement) == []
    inherits = source_of(ROWS + "g, role:CHIEF, role:ADMIN, *\n")
    assert told(statement, inherits) == []
    here_only = source_of(ROWS + "g, role:CHIEF, role:ADMIN, acme\n")
    assert told(statement, here_only) == []
    leaks = source_of(ROWS + "p, role:WRITER, *, role_*:*, gr*, allow, true\n")
    (line,) = told(statement, leaks)
    assert line.startswith("services.csv:8 role:WRITER in another-tenant: grant role_assignment:")


def test_under_a_model_that_allows_by_default_a_stranger_breaks_it() -> None:
    text = model_text(Effect.DENY_ONLY)
    source = parse_policy({"model.conf": text, "services.csv": ROWS})
    found = told('only: {roles: ["role:ADMIN"], action: fly, resource: "kite:*"}', source)
    assert "no rule a subject without roles in another-tenant: fly kite:x" in found


def test_duties_are_separated_for_one_role_and_for_any_two() -> None:
    statement = 'separation: [["propose policy:*", "approve policy:*"]]'
    assert told(statement) == []
    assert told(f"{statement}, combined: true") == []
    without = source_of(ROWS.replace("p, role:APPROVER, *, policy:*, propose, deny, true\n", ""))
    assert told(statement, without) == []
    (line,) = told(f"{statement}, combined: true", without)
    assert line.startswith(
        "services.csv:4 role:APPROVER with role:WRITER in another-tenant: "
        "propose policy:x and approve policy:x, when"
    )


def test_duties_on_different_objects_may_meet_unless_that_is_forbidden_too() -> None:
    rows = "p, role:A, *, doc:a-*, write, allow, true\np, role:A, *, doc:b-*, check, allow, true\n"
    statement = 'separation: [["write doc:*", "check doc:*"]]'
    assert told(statement, source_of(rows)) == []
    (line,) = told(f"{statement}, same_object: false", source_of(rows))
    assert line.endswith("write doc:a- and check doc:b-")


def test_overlapping_globs_are_seen_exactly() -> None:
    rows = (
        "p, role:A, *, doc:*-draft, write, allow, true\np, role:A, *, doc:x*, check, allow, true\n"
    )
    (line,) = told('separation: [["write doc:*", "check doc:*"]]', source_of(rows))
    assert line.endswith("write doc:x-draft and check doc:x-draft")


def test_a_domain_narrows_an_invariant_even_one_that_the_policy_does_not_name() -> None:
    rows = ROWS + "p, role:WRITER, acme, log:*, delete, allow, true\n"
    statement = 'never: {{action: delete, resource: "log:*"}}, domain: {}'
    assert told(statement.format("globex"), source_of(rows)) == []
    assert told(statement.format("acme/hr"), source_of(rows)) != []
    everywhere = source_of(ROWS + "p, role:WRITER, *, log:*, delete, allow, true\n")
    (line,) = told(statement.format("globex/hr"), everywhere)
    assert "in globex/hr" in line


def test_tenants_are_isolated_and_a_row_that_reaches_out_is_named() -> None:
    acme = "p, role:GUEST, acme, doc:*, read, allow, true\ng, role:GUEST, role:WRITER, acme\n"
    source = source_of(acme=acme, globex="p, role:GUEST, globex/x, doc:*, write, allow, true\n")
    assert told("tenant_isolation: true", source) == []
    # The loader refuses such a row; here it is as if it had let one through.
    leaky = replace(
        source,
        rules=tuple(
            replace(rule, dom="*") if rule.file == "tenants/acme/x.csv" else rule
            for rule in source.rules
        ),
    )
    line, *others = told("tenant_isolation: true", leaky)
    assert [other.split(" in ")[0] for other in others] == [
        "tenants/acme/x.csv:1 role:APPROVER with role:GUEST",
        "tenants/acme/x.csv:1 role:GUEST with role:WRITER",
    ]
    assert line == "tenants/acme/x.csv:1 role:GUEST in another-tenant: read doc:x"
    linked = replace(source, links=tuple(replace(link, dom="*") for link in source.links))
    line, *_ = told("tenant_isolation: true", linked)
    assert line.startswith("tenants/acme/x.csv:2 role:GUEST in another-tenant: propose policy:")


def test_a_counterexample_names_everything_that_a_case_needs() -> None:
    (found,) = violations(
        'never: {roles: ["service:bot"], action: read, resource: "doc:*"}', source_of()
    )
    assert found.cell.names == {"service:bot"}
    assert (found.cell.tenant, found.cell.org) == ("another-tenant", "")
    assert (found.cell.act, found.cell.obj, found.place) == ("read", "doc:x", "services.csv:7")


def test_a_counterexample_without_known_facts_is_told_and_not_written() -> None:
    source = source_of("p, role:A, *, doc:*, read, allow, size(ctx.list) == 3 && ctx.list[2] > 7\n")
    text = 'invariants: [{name: it, never: {action: read, resource: "doc:*"}}]'
    checker = Checker(source, read_invariants({"invariants/x.yaml": text}))
    (checked,) = checker.check()
    assert [checker.written(violation) for violation in checked.violations] == [None]


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("why: nothing", "invariants/x.yaml:2: invariant 1: it states not exactly one thing"),
        ("tenant_isolation: true, separation: [[a b:c, d b:c]]", "not exactly one thing"),
        ("separation: [[propose, approve]]", "a duty is not 'action resource'"),
        ("separation: [[a b:c]]", "length >= 2"),
        ("never: {action: read, resource: doc}", "bad resource 'doc'"),
        ("never: {action: 'doc:x', resource: 'doc:*'}", "bad action 'doc:x'"),
        ("never: {action: [], resource: 'doc:*'}", "length >= 1"),
        ("never: {action: read, resource: 'doc:*', role: x}", "unknown field `role`"),
        ("tenant_isolation: true, domain: 'A b'", "bad domain 'A b'"),
    ],
)
def test_a_statement_that_says_nothing_clear_is_refused(statement: str, message: str) -> None:
    with pytest.raises(PolicyError) as caught:
        read_invariants({"invariants/x.yaml": f"invariants:\n  - {{name: it, {statement}}}\n"})
    assert message in caught.value.message


def test_two_invariants_of_one_name_are_refused() -> None:
    one = "  - {name: a, tenant_isolation: true}\n"
    text = f"invariants:\n{one}{one}"
    with pytest.raises(PolicyError, match=r"invariants/x\.yaml:3: 'a' is the name of"):
        read_invariants({"invariants/x.yaml": text})


def test_a_statement_about_nobody_is_refused_not_held() -> None:
    with pytest.raises(PolicyError, match="'role:WRITTER' is no role or service of the policy"):
        told('never: {roles: ["role:WRITTER"], action: read, resource: "doc:*"}')


def test_a_space_that_is_too_large_is_refused_not_sampled() -> None:
    rows = "".join(f"p, role:R{n}, *, d{n}:*, a{n}, allow, true\n" for n in range(80))
    with pytest.raises(TooLarge, match=f"more than {MAX_CELLS}"):
        told('never: {action: "*", resource: "*"}, combined: true', source_of(rows))


def test_a_model_that_does_not_compile_is_refused() -> None:
    text = model_text(Effect.DENY_OVERRIDES).replace("actMatch(r.act, p.act)", "r.act == p.act")
    source = parse_policy({"model.conf": text, "services.csv": ROWS})
    with pytest.raises(InvalidArgument, match="not one that compiles"):
        told("tenant_isolation: true", source)


def test_the_schema_describes_every_field() -> None:
    schema = invariant_schema()
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["$ref"] == "#/$defs/InvariantFile"
    assert set(schema["$defs"]["Invariant"]["properties"]) >= {
        "never", "only", "separation", "tenant_isolation", "combined", "same_object", "domain",
    }  # fmt: skip


def product_violations(root: Path, rows: str) -> dict[str, int]:
    """The product's invariants with rows added to its policy: violated ones, by name."""
    files = dict(read_folder(root).files)
    files["roles/zz.csv"] = rows
    checker = Checker(parse_policy(files), read_invariants(files))
    return {
        checked.placed.invariant.name: len(checked.violations)
        for checked in checker.check()
        if checked.violations
    }


@pytest.mark.parametrize(
    ("row", "broken"),
    [
        ("", set()),
        ("p, role:Z, *, audit.*:*, *, allow, true", {"evidence stays"}),
        ("p, role:Z, acme, policy:*, *, allow, true", {"who proposes policy does not approve it"}),
        ("p, role:Z, *, authz.role_*:*, gr*, allow, true",
         {"nobody grants roles but administrators"}),
        ("p, role:Z, *, authz.elevation:*, re*, allow, true",
         {"who takes a role for a while does not review it"}),
        ("p, role:Z, *, authz.role:*, elevate, allow, true",
         {"nobody becomes an approver for a while"}),
    ],
)  # fmt: skip
def test_the_products_invariants_hold_and_notice_a_bad_row(
    policy_root: Path, row: str, broken: set[str]
) -> None:
    assert set(product_violations(policy_root, f"{row}\n")) == broken
