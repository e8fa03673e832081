import gc
import tracemalloc
from typing import Any

import pytest

from argy.base.errors import InvalidArgument
from argy.policy import Assignment, Membership, TenantSnapshot
from argy.policy.explain import explain

ROWS = """
p, role:READER, *, doc:*, read, allow, true
p, role:WRITER, *, doc:*, write, allow, true
p, role:WRITER, *, doc:locked-*, write, deny, true
p, role:LOCAL, acme/x, doc:*, erase, allow, true
p, role:READER, acme, doc:secret, *, deny, true
g, role:WRITER, role:READER, *
g, service:bot, role:WRITER, acme/x
p, service:bot, *, doc:*, count, allow, true
"""


def allowed(snapshot: TenantSnapshot, subject: str, act: str, obj: str = "doc:1", org: str = "",
            now_ms: int = 0) -> bool:  # fmt: skip
    return snapshot.check(subject, org, obj, act, None, now_ms).allowed


def test_a_role_in_the_tenant_counts_in_each_org_and_one_in_an_org_only_there(
    make_snapshot: Any,
) -> None:
    s = make_snapshot(ROWS, ("user:t", "role:WRITER"), ("user:o", "role:WRITER", "x"))
    assert [allowed(s, "user:t", "write", org=o) for o in ("", "x", "y")] == [True] * 3
    assert [allowed(s, "user:o", "write", org=o) for o in ("", "x", "y")] == [False, True, False]


def test_a_rule_for_one_org_holds_there_and_one_for_the_tenant_in_every_org(
    make_snapshot: Any,
) -> None:
    s = make_snapshot(ROWS, ("user:l", "role:LOCAL"), ("user:r", "role:READER"))
    assert [allowed(s, "user:l", "erase", org=o) for o in ("", "x", "y")] == [False, True, False]
    denied = [s.check("user:r", o, "doc:secret", "read", None, 0) for o in ("", "x", "new")]
    assert {d.reason for d in denied} == {"DENIED_BY_RULE"}


def test_inheritance_and_its_path(make_snapshot: Any) -> None:
    s = make_snapshot(ROWS, ("user:w", "role:WRITER"))
    decision = s.check("user:w", "", "doc:1", "read", None, 0)
    assert decision.allowed
    assert decision.role_path == ("user:w", "role:WRITER", "role:READER")
    assert (decision.rule.file, decision.rule.line) == ("services.csv", 2)


def test_a_group_passes_its_roles_on(make_snapshot: Any) -> None:
    s = make_snapshot(
        ROWS,
        ("group:g", "role:WRITER", "x"),
        members=(("group:g", "user:m"), ("group:off", "user:m")),
    )
    decision = s.check("user:m", "x", "doc:1", "read", None, 0)
    assert decision.role_path == ("user:m", "group:g", "role:WRITER", "role:READER")
    assert not allowed(s, "user:m", "read")
    assert allowed(s, "group:g", "read", org="x")


def test_a_disabled_group_passes_nothing_on(make_snapshot: Any) -> None:
    s = make_snapshot(
        ROWS, ("group:g", "role:WRITER"), members=(("group:g", "user:m"),), disabled=("group:g",)
    )
    assert s.check("user:m", "", "doc:1", "read", None, 0).reason == "NO_MATCHING_RULE"
    assert s.check("group:g", "", "doc:1", "read", None, 0).reason == "SUBJECT_DISABLED"


def test_a_disabled_subject_is_told_so_and_may_nothing(make_snapshot: Any) -> None:
    s = make_snapshot(ROWS, ("user:w", "role:WRITER"), disabled=("user:w", "service:bot"))
    for subject in ("user:w", "service:bot"):
        assert s.check(subject, "x", "doc:1", "read", None, 0).reason == "SUBJECT_DISABLED"
        assert s.list_permissions(subject, "x", 0) == []
        assert explain(s, subject, "x", "doc:1", "read", None, 0).matches == ()


def test_an_expiry_is_closed_and_follows_the_given_clock(make_snapshot: Any) -> None:
    s = make_snapshot(
        ROWS, ("user:e", "role:WRITER", "", 1_000), ("user:e", "role:READER", "", 500)
    )
    answers = {ms: allowed(s, "user:e", "write", now_ms=ms) for ms in (0, 999, 1_000, 1_001)}
    assert answers == {0: True, 999: True, 1_000: False, 1_001: False}
    assert allowed(s, "user:e", "write", now_ms=999), "the clock of a replay goes back"
    assert allowed(s, "user:e", "read", now_ms=750), "READER by WRITER"
    assert not allowed(s, "user:e", "read", now_ms=1_000)


def test_an_expiry_at_the_epoch_is_an_expiry(make_snapshot: Any) -> None:
    s = make_snapshot(ROWS, ("user:e", "role:WRITER", "", 0))
    assert allowed(s, "user:e", "write", now_ms=-1)
    assert not allowed(s, "user:e", "write", now_ms=0)


def test_services_that_the_policy_names(make_snapshot: Any) -> None:
    s = make_snapshot(ROWS)
    decision = s.check("service:bot", "", "doc:1", "count", None, 0)
    assert decision.role_path == ("service:bot",)
    inherited = s.check("service:bot", "x", "doc:1", "read", None, 0)
    assert inherited.role_path == ("service:bot", "role:WRITER", "role:READER")
    assert not allowed(s, "service:bot", "read", org="y")


def test_the_first_rule_explains(make_snapshot: Any) -> None:
    rows = """
p, role:A, *, doc:*, read, allow, true
p, role:A, *, *, read, allow, true
p, role:B, *, doc:*, write, allow, true
p, role:A, *, doc:*, write, deny, true
p, role:B, *, *, write, deny, true
"""
    s = make_snapshot(rows, ("user:a", "role:A"), ("user:a", "role:B"))
    assert s.check("user:a", "", "doc:1", "read", None, 0).rule.line == 2
    assert s.check("user:a", "", "doc:1", "write", None, 0).rule.line == 5


def test_the_same_answer_is_the_same_object(make_snapshot: Any) -> None:
    s = make_snapshot(ROWS, ("user:w", "role:WRITER"))
    first = s.check("user:w", "", "doc:1", "write", None, 0)
    assert s.check("user:w", "", "doc:2", "write", {"a": 1}, 5) is first
    denied = s.check("user:w", "", "doc:locked-1", "write", None, 0)
    assert s.check("user:w", "", "doc:locked-2", "write", None, 0) is denied
    nobody = s.check("user:x", "", "doc:1", "write", None, 0)
    assert s.check("user:y", "", "doc:1", "write", None, 0) is nobody


@pytest.mark.parametrize(
    ("first", "second", "reason", "line"),
    [
        ("allow, ctx.ok", "allow, true", "CONDITION_ERROR", 1),
        ("allow, true", "allow, ctx.ok", "CONDITION_ERROR", 2),
        ("allow, true", "deny, ctx.ok", "CONDITION_ERROR", 2),
        ("allow, ctx.ok", "deny, true", "DENIED_BY_RULE", 2),
        ("deny, ctx.ok", "deny, has(ctx.no) || act == 'read'", "DENIED_BY_RULE", 2),
        ("allow, has(ctx.no)", "allow, true", "ALLOWED_BY_RULE", 2),
        ("deny, has(ctx.no)", "allow, true", "ALLOWED_BY_RULE", 2),
    ],
)
def test_an_error_in_a_condition_denies(
    make_snapshot: Any, first: str, second: str, reason: str, line: int
) -> None:
    rows = f"p, role:A, *, doc:*, read, {first}\np, role:A, *, doc:1, read, {second}"
    decision = make_snapshot(rows, ("user:a", "role:A")).check("user:a", "", "doc:1", "read", {}, 0)
    assert decision.allowed is (reason == "ALLOWED_BY_RULE")
    assert (decision.reason, decision.rule.line) == (reason, line)


def test_an_error_in_a_rule_of_somebody_else_changes_nothing(make_snapshot: Any) -> None:
    rows = "p, role:A, *, doc:*, read, allow, true\np, role:B, *, doc:*, read, deny, ctx.ok"
    s = make_snapshot(rows, ("user:a", "role:A"), ("user:b", "role:B"))
    assert allowed(s, "user:a", "read")


def test_listed_permissions_are_the_rules_that_apply(make_snapshot: Any) -> None:
    s = make_snapshot(ROWS, ("user:w", "role:WRITER"), ("user:l", "role:LOCAL", "x"))
    listed = s.list_permissions("user:w", "y", 0)
    assert [(p.obj, p.act, p.effect, p.rule.line) for p in listed] == [
        ("doc:*", "read", "allow", 2),
        ("doc:*", "write", "allow", 3),
        ("doc:locked-*", "write", "deny", 4),
        ("doc:secret", "*", "deny", 6),
    ]
    assert listed[0].role_path == ("user:w", "role:WRITER", "role:READER")
    assert [p.act for p in s.list_permissions("user:l", "x", 0)] == ["erase"]
    assert s.list_permissions("user:l", "y", 0) == []
    assert s.list_permissions("user:none", "", 0) == []


def test_listed_subjects_are_those_whom_a_check_allows(make_snapshot: Any) -> None:
    s = make_snapshot(
        ROWS,
        ("user:w", "role:WRITER"),
        ("user:e", "role:WRITER", "", 10),
        ("user:r", "role:READER"),
        ("group:g", "role:WRITER", "x"),
        members=(("group:g", "user:m"),),
        disabled=("user:off",),
    )
    assert s.list_subjects("", "doc:1", "write", None, 0) == ["user:e", "user:w"]
    everyone = ["group:g", "service:bot", "user:m", "user:w"]
    assert s.list_subjects("x", "doc:1", "write", None, 10) == everyone


@pytest.mark.parametrize("subject", ["role:READER", "READER", "", ":a"])
def test_an_assignment_needs_a_subject(make_policy: Any, subject: str) -> None:
    with pytest.raises(InvalidArgument):
        TenantSnapshot(make_policy(ROWS), "acme", [Assignment(subject, "role:READER")])


@pytest.mark.parametrize("pair", [("group:a", "group:b"), ("user:a", "user:b"), ("group:a", "x")])
def test_a_membership_is_a_subject_in_a_group(make_policy: Any, pair: tuple[str, str]) -> None:
    with pytest.raises(InvalidArgument):
        TenantSnapshot(make_policy(ROWS), "acme", [], [Membership(*pair)])


def test_questions_do_not_grow_memory(make_snapshot: Any) -> None:
    s = make_snapshot(ROWS, ("user:w", "role:WRITER"))

    def ask(start: int) -> None:
        for n in range(start, start + 20_000):
            s.check(f"user:{n}", f"org{n}", "doc:1", "read", None, 0)
            s.check("user:w", f"org{n}", f"type{n}:1", f"act{n}", None, 0)

    ask(0)
    gc.collect()
    tracemalloc.start()
    ask(20_000)
    gc.collect()
    grown, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert grown < 8_000_000, "what a view remembers is bounded"
    before = grown
    tracemalloc.start()
    for n in range(50_000, 70_000):
        s.check(f"user:{n}", f"org{n}", "doc:1", "read", None, 0)
    gc.collect()
    grown, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert grown < 20_000, f"unknown subjects and orgs leave no trace ({before})"
