"""Who of a tenant gains or loses what: exact against brute force, and fast for many people."""

import itertools
import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from argy.base.errors import FailedPrecondition, InvalidArgument
from argy.policy import CompiledPolicy, compile_policy, parse_policy
from argy.policy.atoms import action_atoms, object_atoms
from argy.policy.compare.changes import AccessChange
from argy.policy.compare.impact import SubjectImpact, impact
from argy.policy.equivalence import model_text
from argy.policy.export import Held, TenantFacts, facts_text, read_facts
from argy.policy.globs import action_match, domain_match, glob_match
from argy.policy.model import Effect

ROLES = ("role:A", "role:B", "role:C")
SUBJECTS = ("user:a", "user:b", "agent:c", "group:g")
ORGS = ("", "x", "y")
NOW = 1_000_000
FACTS: tuple[dict[str, bool], ...] = ({}, {"a": True}, {"a": False})


def compiled(rows: Sequence[str], approvals: str = "") -> CompiledPolicy:
    files = {"model.conf": model_text(Effect.DENY_OVERRIDES), "services.csv": "\n".join(rows),
             "approvals/all.csv": approvals}  # fmt: skip
    return compile_policy(parse_policy(files))


def random_rows(rng: random.Random) -> list[str]:
    rows = [
        ", ".join(("p", rng.choice((*ROLES, "service:s")), rng.choice(("*", "acme", "acme/x", "b")),
                   rng.choice(("doc:*", "doc:1", "*", "key:*")), rng.choice(("read", "write", "*")),
                   rng.choice(("allow", "allow", "deny")), rng.choice(("true", "true", "ctx.a"))))
        for _ in range(rng.randint(1, 6))
    ]  # fmt: skip
    rows.append("p, role:A, other, doc:*, read, allow, true")
    rows += [f"p, {role}, other, none:1, none, allow, true" for role in ROLES]
    links = [f"g, {one}, {two}, {rng.choice(('*', 'acme/y'))}"
             for one, two in itertools.combinations(ROLES, 2) if rng.random() < 0.2]  # fmt: skip
    return list(dict.fromkeys(rows)) + links


def random_facts(rng: random.Random) -> TenantFacts:
    return TenantFacts(
        tenant="acme",
        assignments=[
            Held(rng.choice(SUBJECTS), rng.choice(ROLES), rng.choice(ORGS)) for _ in range(5)
        ],
        groups={"group:g": [who for who in SUBJECTS[:2] if rng.random() < 0.5]},
        disabled=[who for who in SUBJECTS if rng.random() < 0.15],
    )


def covers(change: AccessChange, domain: str, obj: str, act: str) -> bool:
    if not (glob_match(obj, change.resource) and action_match(act, change.action)):
        return False
    if not domain_match(domain, change.domain):
        return False
    for part in change.after.split("; ")[1:]:
        if part.startswith("except in "):
            if any(domain_match(domain, name) for name in part[10:].split(", ")):
                return False
            continue
        for told in part.removeprefix("except ").split(", "):
            action, on, resource = told.rpartition("on ")
            if glob_match(obj, resource if on else change.resource) and action_match(
                act, (action.strip() or change.action) if on else told
            ):
                return False
    return True


@settings(
    max_examples=120,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(rng=st.randoms(use_true_random=False))
def test_the_impact_is_what_brute_force_finds(rng: random.Random) -> None:
    rows = random_rows(rng)
    changed = [row for row in rows if row.endswith("none, allow, true") or rng.random() < 0.8]
    changed = list(dict.fromkeys((*(r for r in random_rows(rng)[:1] if r[0] == "p"), *changed)))
    asks = [", ".join(("a", rng.choice(("*", "acme/x")), "doc:*", "read", "1", "role:A", "require",
                       "1h", rng.choice(("true", "ctx.a"))))
            if rng.random() < 0.3 else "" for _ in range(2)]  # fmt: skip
    base, head = compiled(rows, asks[0]), compiled(changed, asks[1])
    facts = random_facts(rng)
    found = {item.subject: item for item in impact(base, head, facts, NOW)}
    assert not set(found) & {"group:g", *facts.disabled}
    snapshots = [facts.snapshot(policy) for policy in (base, head)]
    objects = object_atoms({line.obj for one in (base, head) for line in one.rules}, limit=100)
    actions = action_atoms({line.act for one in (base, head) for line in one.rules}, limit=100)
    real = set()
    for subject in ("user:a", "user:b", "agent:c", "user:stranger", "service:s"):
        changes = found[subject].changes if subject in found else ()
        for org, obj, act in itertools.product((*ORGS, "zz"), objects, actions):
            domain = f"acme/{org}" if org else "acme"
            before, after = (
                [(d.effect, d.approvals and d.approvals[0].condition)
                 for ctx in FACTS
                 for d in [one.check(subject, org, obj.witness, act.witness, ctx, NOW)]]
                for one in snapshots
            )  # fmt: skip
            told = [item for item in changes
                    if covers(item.change, domain, obj.witness, act.witness)]  # fmt: skip
            assert bool(told) is (before != after)
            real |= {(subject, item) for item in told}
            for item in told:
                assert item.path[:1] in ((), (subject,))
    assert real == {(s, item) for s, one in found.items() for item in one.changes}


def test_who_still_has_it_by_another_role_loses_nothing() -> None:
    rows = ["p, role:A, *, doc:*, read, allow, true", "p, role:B, *, doc:*, read, allow, true",
            "p, role:A, *, doc:*, write, allow, true"]  # fmt: skip
    facts = TenantFacts("acme", [Held("user:one", "role:A"), Held("user:both", "role:A"),
                                 Held("user:both", "role:B")])  # fmt: skip
    (one,) = impact(compiled(rows), compiled(rows[1:]), facts, NOW)
    assert one.subject == "user:one"
    assert one.changes[0].change.kind == "lost"
    assert one.changes[0].change.rules == ("services.csv:1",)
    assert one.changes[0].path == ("user:one", "role:A")


def test_ended_and_disabled_count_for_nothing_and_groups_pass_on(tmp_path: Path) -> None:
    file = tmp_path / "acme.json"
    file.write_text(
        """{"tenant": "acme", "assignments": [
            {"subject": "user:late", "role": "role:A", "expires": "1970-01-01T00:00:01Z"},
            {"subject": "user:off", "role": "role:A"},
            {"subject": "group:g", "role": "role:A", "org": "x"},
            {"subject": "group:off", "role": "role:A"}],
          "groups": {"group:g": ["user:m", "user:off"], "group:off": ["user:n"]},
          "disabled": ["user:off", "group:off"], "names": {"user:m": "Mia"}}"""
    )
    facts = read_facts(file)
    base = ["p, role:A, *, doc:*, read, allow, true"]
    (found,) = impact(compiled(base), compiled([*base, "p, role:A, *, key:*, use, allow, true"]),
                      facts, NOW)  # fmt: skip
    assert found.subject == "user:m"
    (item,) = found.changes
    assert (item.change.kind, item.change.domain) == ("gained", "acme/x")
    assert item.path == ("user:m", "group:g", "role:A")
    assert facts.named("user:m") == "Mia (user:m)"


def test_a_link_to_the_administrator_reaches_each_holder_and_escalates() -> None:
    rows = ["p, role:PLATFORM_ADMIN, *, *, *, allow, true", "p, role:A, *, a:1, read, allow, true"]
    facts = TenantFacts("acme", [Held("user:a", "role:A", "x"), Held("user:b", "role:B")])
    found = impact(compiled(rows), compiled([*rows, "g, role:A, role:PLATFORM_ADMIN, *"]), facts,
                   NOW)  # fmt: skip
    assert [item.subject for item in found] == ["user:a"]
    assert found[0].escalates
    assert found[0].changes[0].path == ("user:a", "role:A", "role:PLATFORM_ADMIN")


def test_an_approval_that_is_asked_for_reaches_who_is_allowed() -> None:
    rows = ["p, role:A, *, doc:*, read, allow, true", "p, role:B, *, key:*, read, allow, true"]
    facts = TenantFacts("acme", [Held("user:a", "role:A"), Held("user:b", "role:B")])
    asked = "a, *, doc:*, read, 2, role:B, require, 1h, true"
    (found,) = impact(compiled(rows), compiled(rows, asked), facts, NOW)
    (item,) = found.changes
    assert found.subject == "user:a"
    assert item.change.after.startswith("allowed, needs 2 approvals by role:B within 1h")
    assert item.change.rules == ("head:approvals/all.csv:1",)


def test_no_difference_reaches_nobody() -> None:
    rows = ["p, role:A, *, doc:*, read, allow, true"]
    facts = TenantFacts("acme", [Held("user:a", "role:A")])
    assert impact(compiled(rows), compiled(["# new", *rows]), facts, NOW) == ()


def test_a_model_on_pycasbin_is_refused() -> None:
    model = model_text(Effect.DENY_OVERRIDES).replace("m = ", "m = r.sub == r.sub && ")
    rows = "p, role:A, *, doc:*, read, allow, true"
    policy = compile_policy(parse_policy({"model.conf": model, "services.csv": rows}))
    with pytest.raises(FailedPrecondition) as caught:
        impact(policy, policy, TenantFacts("acme", []), NOW)
    assert caught.value.reason == "MODEL_NOT_COMPILED"


@pytest.mark.parametrize(
    "text",
    ['{"tenant": "acme"}', '{"tenant": "acme", "assignments": [{"subject": "user:a"}]}', "[", "",
     '{"tenant": "acme", "assignments": [], "extra": 1}'],
)  # fmt: skip
def test_a_file_that_is_no_export_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "facts.json"
    file.write_text(text)
    with pytest.raises(InvalidArgument) as caught:
        read_facts(file)
    assert caught.value.field == "assignments"


def test_what_is_written_is_read_back_and_sorted(tmp_path: Path) -> None:
    rng = random.Random(4)  # noqa: S311 - reproducible facts
    facts = random_facts(rng)
    file = tmp_path / "facts.json"
    file.write_text(facts_text(facts))
    again = read_facts(file)
    assert sorted(again.held(), key=str) == sorted(facts.held(), key=str)
    assert facts_text(again) == file.read_text()


def test_a_hundred_thousand_assignments_take_seconds(capsys: Any) -> None:
    rows = [f"p, role:R{number % 50}, {('*', 'acme', f'acme/o{number % 30}')[number % 3]}, "
            f"kind{number}:*, read, allow, true" for number in range(300)]  # fmt: skip
    facts = TenantFacts(
        "acme",
        [Held(f"user:{n // 2}", f"role:R{n % 50}", f"o{n % 60}" if n % 5 else "")
         for n in range(100_000)],
    )  # fmt: skip
    base, head = compiled(rows), compiled(rows[1:])
    started = time.perf_counter()
    found: tuple[SubjectImpact, ...] = impact(base, head, facts, NOW)
    with capsys.disabled():
        print(f"\n100,000 assignments: {time.perf_counter() - started:.2f} s, {len(found)} reached")
    assert len(found) == 2_000
