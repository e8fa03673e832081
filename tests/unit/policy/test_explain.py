from typing import Any

from argy.policy.explain import explain

ROWS = """
p, role:PM, *, plan:*, approve, allow, true
p, role:ENGINEER, acme, project:*, deploy, allow, true
p, role:ENGINEER, acme, project:prod-*, deploy, deny, !has(ctx.incident)
p, role:ENGINEER, acme/x, project:*, erase, allow, true
p, role:LEAD, *, plan:*, read, allow, true
g, role:LEAD, role:PM, *
"""


def details(snapshot: Any, *question: str, ctx: Any = None, now_ms: int = 0) -> list[str]:
    subject, org, obj, act = question
    explanation = explain(snapshot, subject, org, obj, act, ctx, now_ms)
    return [match.detail for match in explanation.matches]


def test_every_matching_rule_is_told_with_its_path(make_snapshot: Any) -> None:
    s = make_snapshot(ROWS, ("group:g", "role:ENGINEER"), members=(("group:g", "user:e"),))
    told = explain(s, "user:e", "", "project:prod-1", "deploy", {}, 0)
    assert told.decision == s.check("user:e", "", "project:prod-1", "deploy", {}, 0)
    assert [(m.rule.line, m.effect, m.matched) for m in told.matches] == [
        (3, "allow", True),
        (4, "deny", True),
    ]
    assert told.matches[0].role_path == ("user:e", "group:g", "role:ENGINEER")
    assert told.roles == ("role:ENGINEER",)


def test_a_condition_that_is_false_or_has_no_answer(make_snapshot: Any) -> None:
    s = make_snapshot(ROWS, ("user:e", "role:ENGINEER"))
    told = explain(s, "user:e", "", "project:prod-1", "deploy", {"incident": 1}, 0)
    assert [(m.matched, m.detail) for m in told.matches] == [
        (True, "matches"),
        (False, "the condition is false: !has(ctx.incident)"),
    ]
    rows = "p, role:A, *, doc:*, read, allow, ctx.ok"
    s = make_snapshot(rows, ("user:a", "role:A"))
    (match,) = explain(s, "user:a", "", "doc:1", "read", {}, 0).matches
    assert not match.matched
    assert match.detail.startswith("the condition has no answer")


def test_the_role_is_held_elsewhere(make_snapshot: Any) -> None:
    s = make_snapshot(ROWS, ("user:p", "role:PM", "x"), ("user:l", "role:LEAD", "z"))
    assert details(s, "user:p", "y", "plan:1", "approve") == [
        "has role:PM in acme/x, not in acme/y"
    ]
    assert details(s, "user:l", "", "plan:1", "approve") == ["has role:PM in acme/z, not in acme"]


def test_the_assignment_ended(make_snapshot: Any) -> None:
    s = make_snapshot(ROWS, ("user:p", "role:PM", "", 1_767_787_200_000))
    assert details(s, "user:p", "", "plan:1", "approve", now_ms=1_767_787_200_000) == [
        "assignment of role:PM expired at 2026-01-07T12:00:00+00:00"
    ]


def test_what_differs(make_snapshot: Any) -> None:
    s = make_snapshot(ROWS, ("user:e", "role:ENGINEER"))
    assert details(s, "user:e", "y", "project:a", "erase") == [
        "holds in acme/x, not in acme/y",
        "action differs: the rule says deploy, asked was erase",
    ]
    rows = "p, role:A, *, doc:a-*, read, allow, true"
    s = make_snapshot(rows, ("user:a", "role:A"))
    assert details(s, "user:a", "", "doc:b-1", "read") == [
        "object differs: the rule says doc:a-*, asked was doc:b-1"
    ]
    assert details(s, "user:none", "", "doc:a-1", "read") == ["does not have role:A in acme"]
    assert details(s, "user:a", "", "key:a-1", "read") == []


def test_rules_of_another_tenant_are_not_told(make_snapshot: Any) -> None:
    rows = """
p, role:ENGINEER, globex, secret:merger-*, read, allow, true
p, role:ENGINEER, globex/board, secret:merger-*, read, allow, true
p, role:ENGINEER, acme/x, secret:merger-*, read, allow, true
"""
    s = make_snapshot(rows, ("user:e", "role:ENGINEER"))
    assert details(s, "user:e", "", "secret:merger-1", "read") == ["holds in acme/x, not in acme"]


def test_misses_are_few(make_snapshot: Any) -> None:
    rows = "\n".join(f"p, role:R{n}, *, doc:*, read, allow, true" for n in range(100))
    s = make_snapshot(rows)
    assert len(details(s, "user:a", "", "doc:1", "read")) == 10
