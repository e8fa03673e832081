"""Each rule of the linter: what it must report, and the nearest thing that it must not."""

import pytest

from argy.base.errors import NotFound
from argy.policy.equivalence import model_text
from argy.policy.findings import Finding
from argy.policy.lint import RULES, explained, lint
from argy.policy.model import Effect

MODEL = model_text(Effect.DENY_OVERRIDES)


def p(words: str) -> str:
    """A rule without a condition: role, domain, object, action, effect."""
    return "p, role:{}, {}, {}, {}, {}, true".format(*words.split())


A = p("A * doc:* read allow")
B = p("B * doc:* read allow")
CASES = """
tenant: acme
assignments: [{subject: "user:ada", role: "role:A"}]
cases:
  - {ask: "user:ada read doc:1", expect: ALLOW}
  - {ask: "user:ada write doc:1", expect: DENY}
  - {ask: "user:ada write doc:2", expect: DENY}
"""
ADMIN = "# lint: allow P301, P302 – as in a test\np, role:PLATFORM_ADMIN, *, *, *, allow, true\n"
SERVICES = "services.csv"
X = "roles/x.csv"
ACME = "tenants/acme/a.csv"
GLOBEX = "tenants/globex/a.csv"
LINES = "approvals/x.csv"
LINE = "a, *, doc:*, read, 1, role:A, require, 1h, true"
CASE = "cases/a.yaml"

Files = dict[str, str]


def rows(*lines: str) -> Files:
    return {X: "\n".join(lines) + "\n"}


def model(old: str, new: str) -> Files:
    assert old in MODEL
    return {"model.conf": MODEL.replace(old, new), X: A}


def effect(of: Effect) -> Files:
    return {"model.conf": model_text(of), X: A}


def cond(condition: str, eft: str = "allow") -> Files:
    """A rule with a condition, beside a role that allows what a denial would take away."""
    return rows(A, f'p, role:B, *, doc:*, read, {eft}, "{condition}"')


# rule, files that must be reported, file:line of the report, files that must not be reported
TABLE: list[tuple[str, Files, str, Files]] = [
    ("P001", rows(A, "p, role:A, *, doc:*, write, Allow, true"), f"{X}:2", rows(A)),
    ("P001", rows("z, 1, 2"), f"{X}:1", rows(A)),
    ("P001", rows('p, role:A, *, doc:*, read, allow, "ctx.a =="'), f"{X}:1", rows(A)),
    ("P002", {CASE: "a: [1\nb: }"}, f"{CASE}:2", {CASE: CASES}),
    ("P101", rows("g, role:A, role:B, *"), f"{X}:1", rows(A, "g, role:C, role:A, *")),
    (
        "P101",
        {CASE: CASES.replace("role:A", "role:Z"), **rows(A)},
        f"{CASE}:3",
        {CASE: CASES, **rows(A)},
    ),
    ("P102", rows(A), f"{X}:1", {CASE: CASES, **rows(A)}),
    ("P102", rows(A), f"{X}:1", {SERVICES: "g, service:s, role:A, *", **rows(A)}),
    (
        "P103",
        rows(A, p("B * doc:* read deny")),
        f"{X}:2",
        rows(A, p("B * doc:* read deny"), "g, role:B, role:A, *"),
    ),
    ("P104", rows(A, B, p("A * doc:* raed allow")), f"{X}:3", rows(A, B)),
    (
        "P104",
        {CASE: CASES + '  - {ask: "user:ada wriet doc:1", expect: DENY}\n', **rows(A)},
        f"{CASE}:8",
        {CASE: CASES + '  - {ask: "user:ada burn doc:1", expect: DENY}\n', **rows(A)},
    ),
    ("P105", rows(A, B, p("A * dco:* read allow")), f"{X}:3", rows(A, p("A * doc:* write allow"))),
    ("P201", rows(A, A), f"{X}:2", rows(A, B)),
    (
        "P202",
        rows(A, p("A acme doc:a-* read allow")),
        f"{X}:2",
        rows(A, p("A acme doc:a-* write allow")),
    ),
    (
        "P202",
        rows(A, p("B * doc:1 read allow"), "g, role:B, role:A, *"),
        f"{X}:2",
        rows(A, p("B * doc:1 read allow"), "g, role:B, role:A, acme"),
    ),
    (
        "P202",
        rows(A, "p, role:A, *, doc:1, read, allow, has(ctx.x)"),
        f"{X}:2",
        rows(
            "p, role:A, *, doc:*, read, allow, has(ctx.y)",
            "p, role:A, *, doc:1, read, allow, has(ctx.x)",
        ),
    ),
    (
        "P202",
        rows(p("A * * read allow"), p("A * *:* read allow")),
        f"{X}:2",
        rows(p("A * *:a read allow"), p("A * *:b read allow")),
    ),
    (
        "P202",
        rows(p("A * doc:* * deny"), p("A * doc:1 read deny"), ADMIN),
        f"{X}:2",
        rows(p("B * doc:* * deny"), p("A * doc:1 read deny"), ADMIN),
    ),
    (
        "P203",
        rows(A, p("A * *:* * deny")),
        f"{X}:1",
        rows(A, "p, role:A, *, *:*, *, deny, has(ctx.x)"),
    ),
    (
        "P203",
        rows(A, "g, role:A, role:B, *", p("B * doc:* * deny")),
        f"{X}:1",
        rows(A, "g, role:B, role:A, *", p("B * doc:* * deny")),
    ),
    (
        "P203",
        rows(A, p("A acme doc:* read deny"), p("A * doc:* read deny")),
        f"{X}:1",
        rows(A, p("A acme doc:* read deny")),
    ),
    ("P204", rows(A, p("B * docs:* read deny")), f"{X}:2", rows(A, p("B * d*:x read deny"))),
    (
        "P205",
        rows(A, "g, role:B, role:A, *", "g, role:B, role:A, acme"),
        f"{X}:3",
        rows(A, "g, role:B, role:A, globex", "g, role:B, role:A, acme"),
    ),
    (
        "P205",
        rows(A, "g, role:C, role:B, *", "g, role:B, role:A, *", "g, role:C, role:A, acme"),
        f"{X}:4",
        rows(A, "g, role:C, role:B, *", "g, role:B, role:A, acme", "g, role:C, role:A, *"),
    ),
    ("P301", rows(p("A * secret:* * allow")), f"{X}:1", rows(p("A * secret:* * deny"))),
    ("P301", rows(p("A * policy:* ap* allow")), f"{X}:1", rows(p("A * doc:* * allow"))),
    ("P302", rows(p("A * * read allow")), f"{X}:1", rows(p("A * secret:* read allow"))),
    (
        "P302",
        rows(p("A * authz.*:* read allow")),
        f"{X}:1",
        rows(p("A * directory.*:* read allow")),
    ),
    (
        "P303",
        rows(p("A * directory.group:* add_member allow")),
        f"{X}:1",
        rows(p("A * directory.group:* read allow")),
    ),
    (
        "P303",
        rows(p("A * authz.role_assignment:* grant allow")),
        f"{X}:1",
        rows(p("A * authz.role_assignment:* grant allow"), p("A * authz.*:* grant deny")),
    ),
    (
        "P303",
        rows(p("A * authz.role:B elevate allow")),
        f"{X}:1",
        {
            LINES: "a, *, authz.role:*, elevate, 1, role:A, require, 1h, true",
            **rows(p("A * authz.role:B elevate allow")),
        },
    ),
    (
        "P303",
        {SERVICES: "g, service:x, role:PLATFORM_ADMIN, *", **rows(ADMIN)},
        f"{SERVICES}:1",
        rows(ADMIN),
    ),
    (
        "P304",
        rows(
            p("A * policy:* propose allow"), p("B * policy:* approve allow"), "g, role:A, role:B, *"
        ),
        f"{X}:3",
        rows(p("A * policy:* propose allow"), p("B * policy:* approve allow")),
    ),
    (
        "P304",
        rows(p("A * * p* allow"), p("A * policy:* approve allow")),
        f"{X}:2",
        rows(p("A * * p* allow"), p("A * policy:* approve allow"), p("A * policy:* propose deny")),
    ),
    ("P401", cond("false"), f"{X}:2", cond("true")),
    ("P401", cond("1 + 1 == 2"), f"{X}:2", cond("sub == obj")),
    (
        "P401",
        cond("has(ctx.a) || true"),
        f"{X}:2",
        cond("has(ctx.a) && ctx.a == true || has(ctx.b)"),
    ),
    ("P401", cond("'sub' == 'ctx.a'"), f"{X}:2", cond("sub == 'true || false'")),
    (
        "P305",
        rows(p("A * authz.subject:* * deny"), p("B * authz.subject:* act_for allow")),
        f"{X}:1",
        rows(p("A * authz.subject:* act_for deny"), p("B * authz.subject:* act_for allow")),
    ),
    (
        "P305",
        rows(p("A * *:* act_* deny"), p("B * authz.subject:* act_for allow")),
        f"{X}:1",
        rows(p("A * doc:* act_* deny"), p("B * authz.subject:* act_for allow")),
    ),
    (
        "P305",
        rows(p("A * authz.subject:user/* * allow")),
        f"{X}:1",
        rows(p("A * * * allow")),
    ),
    (
        "P305",
        {LINES: "a, *, authz.*:*, *, 1, role:A, require, 1h, true", **rows(A)},
        f"{LINES}:1",
        {LINES: "a, *, authz.*:*, act_for, 1, role:A, require, 1h, true", **rows(A)},
    ),
    ("P402", cond("ctx.a == sub"), f"{X}:2", cond("has(ctx.a) && ctx.a == sub")),
    (
        "P402",
        cond("org == 'x' && ctx['a'] == 1"),
        f"{X}:2",
        cond("org == 'x' && 'a' in ctx && ctx['a'] == 1"),
    ),
    ("P402", cond("has(ctx.a.b)"), f"{X}:2", cond("has(ctx.a) && has(ctx.a.b)")),
    ("P402", cond("int(org) == 1"), f"{X}:2", cond("sub == 'ctx.a'")),
    ("P403", cond("ctx.a", "deny"), f"{X}:2", cond("!has(ctx.a) || ctx.a", "deny")),
    (
        "P501",
        {
            LINES: f"{LINE}\na, acme, doc:1, read, 2, role:A, auto, 1h, true",
            **rows(A),
        },
        f"{LINES}:2",
        {
            LINES: f"{LINE}\na, acme, doc:1, read, 2, role:A, off, 1h, true",
            **rows(A),
        },
    ),
    (
        "P502",
        {LINES: "a, *, docs:*, read, 1, role:A, require, 1h, true", **rows(A)},
        f"{LINES}:1",
        {LINES: LINE, **rows(A)},
    ),
    ("P601", rows(p("A acme doc:* read allow")), f"{X}:1", {ACME: p("A acme doc:* read allow")}),
    (
        "P602",
        {ACME: p("Z acme doc:* read allow"), GLOBEX: "g, role:Y, role:Z, globex"},
        f"{GLOBEX}:1",
        {**rows(p("Z * doc:* read allow")), GLOBEX: "g, role:Y, role:Z, globex"},
    ),
    ("P701", model("objMatch(r.obj, p.obj)", "r.obj == p.obj"), "model.conf:10", rows(A)),
    ("P702", effect(Effect.ALLOW_OVERRIDES), "model.conf:8", rows(A)),
    ("P703", effect(Effect.DENY_ONLY), "model.conf:8", rows(A)),
    ("P704", effect(Effect.PRIORITY), "model.conf:8", rows(A)),
    ("P705", model("objMatch(r.obj, p.obj)", "regexMatch(r.obj, p.obj)"), "model.conf:10", rows(A)),
    (
        "P706",
        {
            "model.conf": MODEL.replace("objMatch(r.obj, p.obj)", "r.obj == p.obj"),
            X: p("A * data1 read allow"),
        },
        f"{X}:1",
        {"model.conf": MODEL.replace("objMatch(r.obj, p.obj)", "r.obj == p.obj"), X: A},
    ),
    (
        "P706",
        {
            "model.conf": MODEL.replace("objMatch(r.obj, p.obj)", "r.obj == p.obj"),
            X: A.replace("role:A", "alice"),
        },
        f"{X}:1",
        {
            "model.conf": MODEL.replace("objMatch(r.obj, p.obj)", "r.obj == p.obj"),
            X: A.replace("role:A", "writer") + "\ng, role:A, writer, *",
        },
    ),
    (
        "P706",
        model("objMatch(r.obj, p.obj)", 'r.sub == "root" || objMatch(r.obj, p.obj)'),
        "model.conf:10",
        model("objMatch(r.obj, p.obj)", 'r.sub == "user:root" || objMatch(r.obj, p.obj)'),
    ),
    (
        "P801",
        rows("# lint: allow P301", p("A * secret:* * allow")),
        f"{X}:1",
        rows("# lint: allow P301 – a vault of its own", p("A * secret:* * allow")),
    ),
    (
        "P801",
        rows("# lint: allow P999 – there is no such rule", A),
        f"{X}:1",
        rows("# a comment", A),
    ),
    (
        "P801",
        rows("# lint: allow P001 – can't be silenced", A),
        f"{X}:1",
        rows("# lint is a tool", A),
    ),
    (
        "P801",
        rows(A, "# lint: allow P301 – and no row follows", "", p("A * doc:* x allow")),
        f"{X}:2",
        rows(A),
    ),
    (
        "P802",
        rows("# lint: allow P301 – nothing to silence here", A),
        f"{X}:1",
        rows("# lint: allow P102, P104: long enough a reason", p("A * secret:* x allow")),
    ),
]


def findings(files: Files, name: str) -> list[Finding]:
    found = lint({"model.conf": MODEL, **files})
    return [finding for finding in found if finding.rule_id.startswith(f"{name}-")]


@pytest.mark.parametrize(("name", "bad", "where", "good"), TABLE)
def test_a_rule_reports_what_it_must_with_its_line(
    name: str, bad: Files, where: str, good: Files
) -> None:
    assert [f"{finding.file}:{finding.line}" for finding in findings(bad, name)] == [where]
    assert findings(good, name) == []


def test_every_rule_is_in_the_table() -> None:
    assert {name for name, *_ in TABLE} == {rule.id.partition("-")[0] for rule in RULES}


def test_every_rule_can_be_explained() -> None:
    for rule in RULES:
        assert explained(rule.id) is explained(rule.id.partition("-")[0].lower()) is rule
        assert all((rule.summary, rule.why, rule.example, rule.fix))
    assert len({rule.id for rule in RULES}) == len(RULES)
    with pytest.raises(NotFound, match="P301-wildcard-action"):
        explained("P999")


def test_it_tells_what_may_have_been_meant() -> None:
    (finding,) = findings(rows(A, B, p("A * doc:* raed allow")), "P104")
    assert finding.fix == "did you mean 'read'?"
    (finding,) = findings(
        {
            CASE: CASES.replace("role:A", "role:PLATFROM_USER"),
            **rows(A.replace("role:A", "role:PLATFORM_USER")),
        },
        "P101",
    )
    assert finding.fix == "did you mean 'role:PLATFORM_USER'?"


def test_an_escalation_shows_its_path() -> None:
    (link, rule) = findings(
        rows(
            "g, role:A, role:B, *",
            "g, role:B, role:C, acme",
            p("D * doc:* read allow"),
            p("C * authz.subject:* act_for allow"),
            "g, role:D, role:B, globex",
        ),
        "P303",
    )[:2]
    assert link.message == (f"role:A can act for other subjects: role:A → role:B → role:C → {X}:4")
    assert rule.message.startswith("role:B can act for other subjects: role:B → role:C")


def test_no_path_leads_through_links_that_hold_in_no_common_domain() -> None:
    found = findings(
        rows(
            "g, role:A, role:B, globex",
            "g, role:B, role:C, acme",
            p("C * authz.subject:* act_for allow"),
        ),
        "P303",
    )
    assert [finding.message.partition(" ")[0] for finding in found] == ["role:B", "role:C"]


def test_a_model_that_cannot_be_read_is_refused_with_everything_that_is_wrong() -> None:
    found = lint({"model.conf": "[x]\n", X: A})
    assert {finding.rule_id for finding in found} == {"P001-refused"}
    assert ("model.conf", 1) in {(finding.file, finding.line) for finding in found}


def test_rules_of_another_effect_are_not_called_unreachable() -> None:
    files = {**effect(Effect.PRIORITY), X: "p, role:A, *, doc:*, read, deny, true\n" + A}
    assert findings(files, "P203") == []


def test_yaml_cannot_exhaust_the_linter() -> None:
    bomb = "a: &a [x, x]\n" + "".join(
        f"{chr(98 + n)}: &{chr(98 + n)} [*{chr(97 + n)}, *{chr(97 + n)}]\n" for n in range(24)
    )
    assert lint({"model.conf": MODEL, CASE: bomb}) == []
    deep = lint({"model.conf": MODEL, CASE: "[" * 100_000})
    assert [finding.rule_id for finding in deep] == ["P002-unreadable-yaml"]


def test_a_role_that_nobody_tries_may_be_a_misspelt_one() -> None:
    row = "p, role:{}, *, doc:*, read, allow, true"
    files = {"roles/a.csv": "\n".join(map(row.format, ("PLATFORM_PM", "PLATFORM_PN")))}
    cases = CASES.replace("role:A", "role:PLATFORM_PM")
    found = lint({"model.conf": MODEL, CASE: cases, **files})
    (untried,) = (one for one in found if one.rule_id.startswith("P102"))
    assert (untried.line, untried.fix) == (2, "did you mean 'role:PLATFORM_PM'?")
