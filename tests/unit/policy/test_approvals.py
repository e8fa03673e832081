"""Lines that ask for approval: read strictly; they only ever make an answer stricter."""

from itertools import product

import pytest

from argy.policy import (
    ALLOWED_BY_DEFAULT,
    AUTO_APPROVED,
    NEEDS_APPROVAL,
    Assignment,
    Decision,
    PolicyError,
    Problem,
    TenantSnapshot,
    compile_policy,
    parse_policy,
)
from argy.policy.approval_columns import MAX_ROLES
from argy.policy.equivalence import model_text
from argy.policy.explain import explain
from argy.policy.model import Effect

ROLES = """\
p, role:ENGINEER, *, thing:*, *, allow, true
p, role:ENGINEER, *, thing:*, erase, deny, true
p, role:ENGINEER, *, thing:*, ponder, allow, ctx.sure
p, role:LEAD, *, plan:*, read, allow, true
p, role:CHIEF, *, plan:*, read, allow, true
"""
SOUND = "a, *, thing:prod-*, ship, 2, role:LEAD|role:CHIEF, require, 24h, true"
# A matcher of a shape that doesn't compile: every decision runs on pycasbin.
INTERPRETED = model_text(Effect.DENY_OVERRIDES).replace(
    "&& condition(", "&& r.act != p.sub && condition("
)


def snapshot(
    lines: str,
    *,
    roles: str = ROLES,
    model: str = "",
    effect: Effect = Effect.DENY_OVERRIDES,
    disabled: tuple[str, ...] = (),
) -> TenantSnapshot:
    source = parse_policy(
        {
            "model.conf": model or model_text(effect),
            "roles/a.csv": roles,
            "approvals/a.csv": lines,
        }
    )
    grants = [Assignment("user:e", "role:ENGINEER"), Assignment("user:l", "role:LEAD")]
    return TenantSnapshot(compile_policy(source), "acme", grants, disabled=disabled)


def ask(
    s: TenantSnapshot,
    obj: str = "thing:prod-1",
    act: str = "ship",
    *,
    subject: str = "user:e",
    org: str = "",
    ctx: dict[str, object] | None = None,
) -> Decision:
    return s.check(subject, org, obj, act, ctx, 0)


def problem_of(row: str, file: str = "approvals/a.csv") -> Problem:
    with pytest.raises(PolicyError) as caught:
        parse_policy(
            {"model.conf": model_text(Effect.DENY_OVERRIDES), "roles/a.csv": ROLES, file: row}
        )
    (problem,) = caught.value.problems
    return problem


def test_what_is_allowed_and_matches_needs_approval() -> None:
    decision = ask(snapshot(f"# shipping\n{SOUND}"))
    assert (decision.allowed, decision.reason) == (False, NEEDS_APPROVAL)
    assert decision.effect == "NEEDS_APPROVAL"
    assert decision.rule is not None
    assert (decision.rule.line, decision.role_path) == (1, ("user:e", "role:ENGINEER"))
    (line,) = decision.approvals
    assert (line.file, line.line, line.text) == ("approvals/a.csv", 2, SOUND)
    assert (line.approvals, line.roles, line.expires_s) == (2, ("role:LEAD", "role:CHIEF"), 86_400)


@pytest.mark.parametrize(
    ("obj", "act", "subject", "effect"),
    [
        ("thing:stage-1", "ship", "user:e", "ALLOW"),
        ("thing:prod-1", "look", "user:e", "ALLOW"),
        ("thing:-", "ship", "user:e", "ALLOW"),
        ("thing:prod-1", "ship", "user:l", "DENY"),
        ("thing:prod-1", "ship", "user:nobody", "DENY"),
        ("thing:prod-1", "ship", "role:ENGINEER", "DENY"),
    ],
)
def test_a_line_changes_nothing_else(obj: str, act: str, subject: str, effect: str) -> None:
    decision = ask(snapshot(SOUND), obj, act, subject=subject)
    assert decision.effect == effect
    assert decision.approvals == ()


def test_what_is_denied_stays_denied() -> None:
    s = snapshot("a, *, *, *, 1, role:LEAD, require, 1h, true")
    assert ask(s, act="erase").reason == "DENIED_BY_RULE"
    assert ask(s, act="ponder").reason == "CONDITION_ERROR"
    assert ask(s, act="ponder", ctx={"sure": True}).reason == NEEDS_APPROVAL
    disabled = snapshot("a, *, *, *, 1, role:LEAD, require, 1h, true", disabled=("user:e",))
    assert ask(disabled).reason == "SUBJECT_DISABLED"


def test_every_matching_line_is_asked_for() -> None:
    s = snapshot(
        f"{SOUND}\n"
        "a, *, thing:*, *, 1, role:CHIEF, require, 1h, true\n"
        "a, *, plan:*, *, 1, role:CHIEF, require, 1h, true"
    )
    assert [line.line for line in ask(s).approvals] == [1, 2]
    assert [line.line for line in ask(s, "thing:stage-1").approvals] == [2]


def test_a_condition_selects_and_its_error_asks() -> None:
    s = snapshot("a, *, thing:*, ship, 1, role:LEAD, require, 1h, ctx.size > 10.0")
    assert ask(s, ctx={"size": 11.0}).reason == NEEDS_APPROVAL
    assert ask(s, ctx={"size": 9.0}).effect == "ALLOW"
    assert ask(s, ctx={}).reason == NEEDS_APPROVAL, "nobody gets around it by leaving a fact out"
    assert ask(s, ctx={"size": "small"}).reason == NEEDS_APPROVAL


def test_auto_is_allowed_and_says_so() -> None:
    s = snapshot("a, *, thing:pre-*, ship, 1, role:LEAD, auto, 1h, true")
    decision = ask(s, "thing:pre-1")
    assert (decision.allowed, decision.reason) == (True, AUTO_APPROVED)
    assert decision.approvals == ()
    assert ask(s, "thing:stage-1").reason == "ALLOWED_BY_RULE"
    assert ask(s, "thing:pre-1", "erase").effect == "DENY"


def test_auto_claims_nothing_on_a_condition_without_an_answer() -> None:
    s = snapshot("a, *, thing:*, ship, 1, role:LEAD, auto, 1h, ctx.small")
    assert ask(s, ctx={}).reason == "ALLOWED_BY_RULE"
    assert ask(s, ctx={"small": True}).reason == AUTO_APPROVED


def test_require_beats_auto_in_either_order() -> None:
    auto = "a, *, thing:*, ship, 1, role:LEAD, auto, 1h, true"
    for lines in (f"{auto}\n{SOUND}", f"{SOUND}\n{auto}"):
        decision = ask(snapshot(lines))
        assert decision.reason == NEEDS_APPROVAL
        assert [line.mode for line in decision.approvals] == ["require"]


def test_off_is_read_and_has_no_effect() -> None:
    off = SOUND.replace("require", "off")
    assert ask(snapshot(off)).reason == "ALLOWED_BY_RULE"
    assert problem_of(off.replace("role:LEAD", "role:NOBODY")).message == "unknown role role:NOBODY"


def test_a_line_holds_in_its_domain_only() -> None:
    s = snapshot(
        "a, acme/x, thing:*, ship, 1, role:LEAD, require, 1h, true\n"
        "a, other, thing:*, *, 1, role:LEAD, require, 1h, true\n"
        "a, acme, thing:*, sell, 1, role:LEAD, require, 1h, true"
    )
    assert ask(s, org="x").reason == NEEDS_APPROVAL
    assert ask(s, org="y").effect == ask(s).effect == "ALLOW"
    assert {ask(s, act="sell", org=org).reason for org in ("", "x", "y")} == {NEEDS_APPROVAL}
    assert ask(s, act="look", org="x").effect == "ALLOW"


def test_the_interpreter_stands_behind_the_same_gates() -> None:
    lines = (
        f"{SOUND}\n"
        "a, *, thing:pre-*, ship, 1, role:LEAD, auto, 1h, true\n"
        "a, acme/x, thing:*, ship, 1, role:LEAD, require, 1h, !has(ctx.small)"
    )
    compiled, interpreted = snapshot(lines), snapshot(lines, model=INTERPRETED)
    assert compiled.policy.compiled
    assert not interpreted.policy.compiled
    asked = product(
        ("thing:prod-1", "thing:pre-1", "thing:a"),
        ("ship", "erase"),
        ("", "x"),
        (None, {"small": 1}),
    )
    for obj, act, org, ctx in asked:
        answers = [s.check("user:e", org, obj, act, ctx, 0) for s in (compiled, interpreted)]
        assert answers[0] == answers[1], (obj, act, org, ctx)


def test_what_is_allowed_by_default_is_gated_too() -> None:
    s = snapshot("a, *, thing:*, ship, 1, role:LEAD, require, 1h, true", effect=Effect.DENY_ONLY)
    assert ask(s, subject="user:nobody").reason == NEEDS_APPROVAL
    assert ask(s, subject="user:nobody").rule is None
    assert ask(s, act="look", subject="user:nobody").reason == ALLOWED_BY_DEFAULT


def test_the_same_answer_is_the_same_object() -> None:
    s = snapshot("a, *, thing:*, ship, 1, role:LEAD, require, 1h, has(ctx.a)")
    assert ask(s, ctx={"a": 1}) is ask(s, ctx={"a": 2})
    assert ask(s, act="ship", ctx={"a": 1}) is not ask(s, ctx={})


def test_only_what_lines_speak_about_pays_for_them() -> None:
    s = snapshot(SOUND)
    ask(s, act="look"), ask(s, "thing:prod-1", "ship")
    table = s.holding("user:e", "", 0).view.table
    assert type(table["thing", "look"]).__name__ == "Verdict"
    assert type(table["thing", "ship"]).__name__ == "Gated"
    unconditional = snapshot("a, *, thing:*, ship, 1, role:LEAD, require, 1h, true")
    ask(unconditional)
    table = unconditional.holding("user:e", "", 0).view.table
    assert type(table["thing", "ship"]).__name__ == "Verdict"


def test_the_lines_are_part_of_the_revision() -> None:
    other = SOUND.replace(", 2,", ", 3,")
    assert snapshot(SOUND).policy.revision != snapshot(other).policy.revision


def test_subjects_and_permissions_list_what_is_allowed() -> None:
    s = snapshot(SOUND)
    assert s.list_subjects("", "thing:prod-1", "ship", None, 0) == []
    assert s.list_subjects("", "thing:stage-1", "ship", None, 0) == ["user:e"]
    assert len(s.list_permissions("user:e", "", 0)) == 3


def test_explain_tells_the_lines() -> None:
    s = snapshot(
        f"{SOUND}\n"
        "a, *, thing:*, ship, 1, role:CHIEF, require, 1h, ctx.big\n"
        "a, *, thing:*, ship, 1, role:CHIEF, off, 1h, true\n"
        "a, *, thing:*, ship, 1, role:CHIEF, auto, 1h, ctx.small\n"
        "a, other, thing:*, ship, 1, role:CHIEF, require, 1h, true"
    )
    told = explain(s, "user:e", "", "thing:prod-1", "ship", {"big": False}, 0)
    assert told.decision.reason == NEEDS_APPROVAL
    assert [(m.rule.line, m.matched) for m in told.approvals] == [
        (1, True),
        (2, False),
        (3, False),
        (4, False),
    ]
    assert told.approvals[0].detail == "needs 2 of role:LEAD or role:CHIEF"
    assert "the condition is false: ctx.big" in told.approvals[1].detail
    assert [(m.rule.line, m.matched) for m in told.matches] == [(1, True)]
    told = explain(s, "user:e", "", "thing:prod-1", "ship", {}, 0)
    assert told.approvals[1].matched
    assert "no answer" in told.approvals[1].detail
    assert explain(s, "user:e", "", "thing:prod-1", "erase", {}, 0).approvals == ()
    assert explain(s, "user:l", "", "thing:prod-1", "ship", {}, 0).approvals == ()


@pytest.mark.parametrize(
    ("row", "message", "fix"),
    [
        (SOUND.replace(", 2,", ", 0,"), "bad number of approvals '0'", "write 1 to 10"),
        (SOUND.replace(", 2,", ", 11,"), "bad number of approvals '11'", "write 1 to 10"),
        (SOUND.replace(", 2,", ", two,"), "bad number of approvals 'two'", "write 1 to 10"),
        (SOUND.replace(", 2,", ", \u0662,"), "bad number of approvals '\u0662'", "write 1 to 10"),
        (SOUND.replace("require", "Require"), "unknown mode 'Require'", "write require"),
        (SOUND.replace("require", "maybe"), "unknown mode 'maybe'", "write require, auto or off"),
        (
            SOUND.replace("24h", "30s"),
            "bad expiry '30s'",
            "write 1m to 30d, such as 30m, 24h or 7d",
        ),
        (
            SOUND.replace("24h", "31d"),
            "bad expiry '31d'",
            "write 1m to 30d, such as 30m, 24h or 7d",
        ),
        (SOUND.replace("24h", "0m"), "bad expiry '0m'", "write 1m to 30d, such as 30m, 24h or 7d"),
        (
            SOUND.replace("role:CHIEF", "role:BOSS"),
            "unknown role role:BOSS",
            "name a role that has a rule",
        ),
        (SOUND.replace("role:LEAD|role:CHIEF", ""), "unknown role ", "name a role that has a rule"),
        (
            SOUND.replace("role:LEAD|", "user:l|"),
            "unknown role user:l",
            "name a role that has a rule",
        ),
        (
            SOUND.replace("role:LEAD", "role:CHIEF"),
            "'role:CHIEF|role:CHIEF' names a role twice",
            "name each role once",
        ),
        (
            SOUND.replace("role:LEAD", "|".join(f"role:R{n}" for n in range(MAX_ROLES))),
            "more than 16 roles",
            "make a role that these inherit",
        ),
        (
            SOUND.replace("*, thing:prod-*", "Acme, thing:prod-*"),
            "bad domain 'Acme'",
            "write *, tenant or tenant/org",
        ),
        (
            SOUND.replace("thing:prod-*", "thing"),
            "bad glob 'thing' in obj",
            "write type:id, type:*, type:prefix-* or *; * is the only wildcard",
        ),
        (
            SOUND.replace("ship", "SH**IP"),
            "bad glob 'SH**IP' in act",
            "write a verb, or *; * is the only wildcard",
        ),
        (
            SOUND.replace("true", "1 + 1"),
            "bad condition: the condition gives INT, not true or false",
            "write a CEL expression that is true or false",
        ),
        (
            SOUND.replace(", true", ""),
            "the row is too short: 7 values after a, not 8",
            "write a, dom, obj, act, approvals, roles, mode, expires, cond (true for no condition)",
        ),
        (
            "p, role:LEAD, *, *, *, allow, true",
            "unknown row type 'p'",
            "start the row with a (an approval); rules and links stand in roles/*.csv",
        ),
        (
            "g, role:LEAD, role:CHIEF, *",
            "unknown row type 'g'",
            "start the row with a (an approval); rules and links stand in roles/*.csv",
        ),
    ],
)
def test_a_bad_row_is_refused_with_its_line_and_remedy(row: str, message: str, fix: str) -> None:
    assert problem_of(f"# a comment\n{row}") == Problem("approvals/a.csv", 2, message, fix)


@pytest.mark.parametrize("file", ["roles/b.csv", "services.csv", "tenants/acme/b.csv"])
def test_approvals_stand_in_their_own_files(file: str) -> None:
    problem = problem_of(SOUND, file)
    assert (problem.message, problem.fix) == (
        "unknown row type 'a'",
        "move the row to approvals/*.csv",
    )


@pytest.mark.parametrize("file", ["approvals/deep/a.csv", "approvals.csv", "approvals/a.txt"])
def test_unknown_places_are_refused(file: str) -> None:
    assert problem_of(SOUND, file).message == "no rules are read from here"


def test_lines_that_differ_only_in_number_are_refused() -> None:
    problem = problem_of(f"{SOUND}\n{SOUND.replace(', 2,', ', 1,')}")
    assert (problem.line, problem.message) == (2, "asks the same as approvals/a.csv:1")


def test_ids_are_stable_and_distinct() -> None:
    ids = {
        snapshot(text).policy.approvals[0].id
        for text in (
            SOUND,
            f"# moved\n\n{SOUND}",
            SOUND.replace("LEAD|role:CHIEF", "CHIEF|role:LEAD"),
        )
    }
    assert len(ids) == 1
    assert snapshot(SOUND.replace(", 2,", ", 3,")).policy.approvals[0].id not in ids
