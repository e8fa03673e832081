"""The compiled engine and pycasbin give the same decision and name the same rule."""

import random
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from argy.policy import Assignment, Membership, TenantSnapshot, compile_policy, load_policy
from argy.policy.equivalence import (
    ORGS,
    Tally,
    compare,
    exhaustive_part,
    main,
    random_part,
    random_question,
    random_world,
)
from argy.policy.model import Effect
from argy.policy.oracle import Oracle


@settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(rng=st.randoms(use_true_random=False), effect=st.sampled_from(Effect))
def test_random_worlds(rng: random.Random, effect: Effect) -> None:
    tally = Tally()
    compare(random_world(rng, effect), [random_question(rng) for _ in range(8)], tally)
    assert tally.mismatches == []


def test_seeded_worlds_of_every_effect() -> None:
    tally = Tally()
    assert list(random_part(1_200, 7, tally))[-1] == 1_200
    assert tally.mismatches == []
    assert set(tally.reasons) >= {"ALLOWED_BY_RULE", "DENIED_BY_RULE", "CONDITION_ERROR",
                                  "NO_MATCHING_RULE", "ALLOWED_BY_DEFAULT"}  # fmt: skip


def test_every_policy_of_one_rule() -> None:
    tally = Tally()
    assert list(exhaustive_part(tally, rules=1))[-1] == 48 * len(Effect) * 18
    assert tally.mismatches == []


def test_the_products_policy(policy_root: Path) -> None:
    source = load_policy(policy_root)
    assignments = [
        Assignment("user:e", "role:PLATFORM_ENGINEER"),
        Assignment("user:r", "role:ACME_RELEASE_MANAGER", "payments"),
        Assignment("group:g", "role:PLATFORM_PM"),
        Assignment("user:c", "role:COMPLIANCE_APPROVER", "research"),
    ]
    members = [Membership("group:g", "user:e")]
    oracle = Oracle(source, "acme", ("payments", "research"), assignments, members)
    snapshot = TenantSnapshot(compile_policy(source), "acme", assignments, members)
    differing = [
        (question, ours)
        for subject in ("user:e", "user:r", "user:c", "service:cli", "service:edge")
        for org in ("", "payments", "research")
        for obj in ("project:prod-1", "secret:db", "audit.event:-", "policy:1", "run:gpu-1")
        for act in ("read", "deploy", "approve", "start")
        for ctx in ({}, {"author": "user:x", "incident": 5})
        for question in [(subject, org, obj, act, ctx)]
        for ours in [snapshot.check(*question, 0)]
        if (ours.reason, ours.rule) != oracle.ask(*question, 0)
    ]
    assert differing == []


def test_a_difference_would_be_seen(make_policy: Any) -> None:
    rng = random.Random(3)  # noqa: S311 - a reproducible world
    source, _, _ = random_world(rng, Effect.DENY_OVERRIDES)
    more = [Assignment("user:a", role) for role in ("role:A", "role:B", "role:C", "role:D")]
    oracle = Oracle(source, "acme", ORGS[1:], more)
    snapshot = TenantSnapshot(compile_policy(source), "acme", [])
    questions = [random_question(rng) for _ in range(200)]
    assert any(oracle.ask(*q, 0)[0] != snapshot.check(*q, 0).reason for q in questions)


def test_the_report(capsys: Any) -> None:
    assert main(["--random", "40", "--seed", "5", "--exhaustive-rules", "1"]) == 0
    text = capsys.readouterr().out
    assert "seed 5" in text
    assert "0 mismatches" in text
    assert "deliberate divergences" in text
    assert main(["--random", "40", "--exhaustive-rules", "1", "--json"]) == 0
    assert '"mismatches": []' in capsys.readouterr().out
