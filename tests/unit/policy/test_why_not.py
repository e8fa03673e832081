"""Why not: the smallest grant that would allow is found, and when there is none it is said."""

import random
from collections.abc import Sequence
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from argy.policy import Assignment, TenantSnapshot, compile_policy, parse_policy
from argy.policy.equivalence import model_text, random_question, random_world
from argy.policy.model import Effect
from argy.policy.why_not import WhyNot, why_not

NOW = 1_000


def ask(
    snapshot: TenantSnapshot, question: str, org: str = "", ctx: dict[str, object] | None = None
) -> WhyNot:
    subject, act, obj = question.split()
    return why_not(snapshot, subject, org, obj, act, ctx, NOW)


def roles(answer: WhyNot) -> list[tuple[str, ...]]:
    return [grant.roles for grant in answer.grants]


def test_the_least_powerful_role_comes_first(make_snapshot: Any) -> None:
    snapshot = make_snapshot(
        "p, role:ADMIN, *, *, *, allow, true\n"
        "p, role:EDITOR, *, doc:*, *, allow, true\n"
        "p, role:READER, *, doc:*, read, allow, true\n"
        "p, role:OTHER, *, key:*, read, allow, true"
    )
    answer = ask(snapshot, "user:a read doc:1", "x")
    assert answer.verdict == "grant"
    assert roles(answer) == [("role:READER",), ("role:EDITOR",), ("role:ADMIN",)]
    assert [grant.org for grant in answer.grants] == ["x"] * 3
    assert answer.grants[0].adds < answer.grants[1].adds < answer.grants[2].adds
    rule = answer.grants[0].rule
    assert rule is not None
    assert rule.line == 3


def test_what_is_allowed_needs_nothing(make_snapshot: Any) -> None:
    snapshot = make_snapshot("p, role:A, *, doc:*, read, allow, true", ("user:a", "role:A"))
    assert ask(snapshot, "user:a read doc:1").verdict == "allowed"


def test_what_only_lacks_an_approval_lacks_no_grant() -> None:
    files = {
        "model.conf": model_text(Effect.DENY_OVERRIDES),
        "services.csv": "p, role:A, *, doc:*, read, allow, true",
        "approvals/all.csv": "a, *, doc:*, read, 2, role:A, require, 1h, true",
    }
    policy = compile_policy(parse_policy(files))
    held = TenantSnapshot(policy, "acme", [Assignment("user:a", "role:A")])
    answer = ask(held, "user:a read doc:1")
    assert (answer.verdict, answer.grants) == ("approval", ())
    assert [match.rule.approvals for match in answer.explanation.approvals] == [2]
    assert [grant.effect for grant in ask(held, "user:b read doc:1").grants] == ["NEEDS_APPROVAL"]


def test_a_denial_that_no_grant_overrides_is_named(make_snapshot: Any) -> None:
    snapshot = make_snapshot(
        "p, role:A, *, doc:*, read, deny, true\np, role:B, *, *, *, allow, true",
        ("user:a", "role:A"),
    )
    answer = ask(snapshot, "user:a read doc:1")
    assert (answer.verdict, answer.grants) == ("denied", ())
    assert [(rule.file, rule.line) for rule in answer.denied_by] == [("services.csv", 1)]


def test_a_role_that_denies_too_is_not_suggested(make_snapshot: Any) -> None:
    snapshot = make_snapshot(
        "p, role:A, *, doc:*, read, allow, true\np, role:A, *, doc:1, read, deny, true\n"
        "p, role:B, *, doc:*, *, allow, true"
    )
    assert roles(ask(snapshot, "user:a read doc:1")) == [("role:B",)]
    assert roles(ask(snapshot, "user:a read doc:2")) == [("role:A",), ("role:B",)]


def test_a_fact_that_is_missing_is_named(make_snapshot: Any) -> None:
    snapshot = make_snapshot("p, role:A, *, doc:*, read, allow, ctx.mfa", ("user:a", "role:A"))
    answer = ask(snapshot, "user:a read doc:1", ctx={"mfa": False})
    assert answer.verdict == "condition"
    (item,) = answer.conditions
    assert (item.text, item.must_be, item.now) == ("ctx.mfa", True, "false")
    assert "mfa" in ask(snapshot, "user:a read doc:1").conditions[0].now


def test_a_condition_that_denies_must_be_false(make_snapshot: Any) -> None:
    snapshot = make_snapshot(
        "p, role:A, *, doc:*, read, allow, true\np, role:A, *, doc:*, read, deny, ctx.frozen",
        ("user:a", "role:A"),
    )
    (item,) = ask(snapshot, "user:a read doc:1", ctx={"frozen": True}).conditions
    assert (item.rule.line, item.must_be, item.now) == (2, False, "true")


def test_a_role_and_a_fact_together(make_snapshot: Any) -> None:
    snapshot = make_snapshot("p, role:A, *, doc:*, read, allow, ctx.mfa")
    answer = ask(snapshot, "user:a read doc:1")
    assert (answer.verdict, answer.grants[0].condition) == ("grant", "ctx.mfa")


def test_a_rule_for_another_tenant_is_no_help(make_snapshot: Any) -> None:
    snapshot = make_snapshot(
        "p, role:A, other, doc:*, read, allow, true\np, role:B, acme/x, doc:*, read, allow, true"
    )
    assert ask(snapshot, "user:a read doc:1").verdict == "impossible"
    assert roles(ask(snapshot, "user:a read doc:1", "x")) == [("role:B",)]


def test_the_disabled_need_more_than_a_grant(make_snapshot: Any) -> None:
    snapshot = make_snapshot("p, role:A, *, *, *, allow, true", disabled=("user:a",))
    assert ask(snapshot, "user:a read doc:1").verdict == "disabled"


def test_a_role_held_elsewhere_or_ended_is_among_the_misses(make_snapshot: Any) -> None:
    snapshot = make_snapshot(
        "p, role:A, *, doc:*, read, allow, true",
        ("user:a", "role:A", "y"), ("user:b", "role:A", "", 5),
    )  # fmt: skip
    details = [m.detail for m in ask(snapshot, "user:a read doc:1", "x").explanation.matches]
    assert details == ["has role:A in acme/y, not in acme/x"]
    details = [m.detail for m in ask(snapshot, "user:b read doc:1").explanation.matches]
    assert "expired" in details[0]


@settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(
    rng=st.randoms(use_true_random=False),
    effect=st.sampled_from((Effect.DENY_OVERRIDES, Effect.ALLOW_OVERRIDES, Effect.PRIORITY)),
)
def test_suggestions_are_complete_and_true(rng: random.Random, effect: Effect) -> None:
    source, assignments, members = random_world(rng, effect)
    policy = compile_policy(source)
    snapshot = TenantSnapshot(policy, "acme", assignments, members)
    for _ in range(4):
        subject, org, obj, act, ctx = random_question(rng)
        if snapshot.check(subject, org, obj, act, ctx, NOW).allowed:
            continue
        answer = why_not(snapshot, subject, org, obj, act, ctx, NOW)
        helpful = {
            names
            for count in (1, 2)
            for names in _subsets(sorted(policy.roles), count)
            if _with(snapshot, assignments, members, subject, org, names)
            .check(subject, org, obj, act, ctx, NOW)
            .allowed
        }
        single = {names for names in helpful if len(names) == 1}
        assert bool(helpful) is bool(single)
        plain = {grant.roles for grant in answer.grants if not grant.condition}
        assert plain == single
        if answer.verdict == "denied":
            assert answer.denied_by
        adds = [grant.adds for grant in answer.grants]
        assert adds == sorted(adds)


def _subsets(names: Sequence[str], count: int) -> list[tuple[str, ...]]:
    if count == 1:
        return [(name,) for name in names]
    return [(one, two) for at, one in enumerate(names) for two in names[at + 1 :]]


def _with(
    snapshot: TenantSnapshot,
    assignments: list[Assignment],
    members: Any,
    subject: str,
    org: str,
    names: Sequence[str],
) -> TenantSnapshot:
    more = [Assignment(subject, name, org) for name in names]
    return TenantSnapshot(snapshot.policy, "acme", [*assignments, *more], members)


def test_grants_are_found_on_pycasbin_too() -> None:
    model = model_text(Effect.DENY_OVERRIDES).replace("m = ", "m = r.sub == r.sub && ")
    rows = "p, role:A, *, doc:*, read, allow, true\np, role:B, *, key:*, read, allow, true"
    policy = compile_policy(parse_policy({"model.conf": model, "services.csv": rows}))
    answer = ask(TenantSnapshot(policy, "acme", []), "user:a read doc:1")
    assert (answer.verdict, roles(answer)) == ("grant", [("role:A",)])


def test_who_could_do_it_but_for_a_denial_is_told(make_snapshot: Any) -> None:
    snapshot = make_snapshot(
        "p, role:ADMIN, *, *, *, allow, true\np, role:ADMIN, *, log:*, delete, deny, true"
    )
    answer = ask(snapshot, "user:a delete log:1")
    assert answer.verdict == "impossible"
    assert [rule.line for rule in answer.denied_by] == [2]
