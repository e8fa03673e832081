"""The hazards of pycasbin, shown where that is cheap, and what this engine does instead."""

import asyncio
import gc
import sys
import threading
import tracemalloc
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import casbin
import pytest

from argy.policy import (
    Assignment,
    PolicyError,
    TenantSnapshot,
    compile_policy,
    load_policy,
    parse_policy,
)
from argy.policy.conditions import Facts, compile_condition
from argy.policy.equivalence import model_text
from argy.policy.interpreted import register_functions
from argy.policy.model import Effect, parse_model
from argy.policy.oracle import DIVERGENCES

MODEL = model_text(Effect.DENY_OVERRIDES)
RULE = "p, role:A, *, doc:*, read, allow, true"


def condition(text: str, *request: Any) -> bool:
    """The plain function that another Casbin user would register."""
    compiled = compile_condition(text)
    return compiled is None or compiled.holds(request[-1])


def pycasbin(rows: Iterable[list[str]], links: Iterable[list[str]] = (), model: str = MODEL) -> Any:
    loaded = casbin.Model()
    loaded.load_model_from_text(model)
    for effect in Effect:
        if loaded["e"]["e"].value == effect.value.replace("p.eft", "p_eft"):
            loaded["e"]["e"].value = SPELLED[effect]
    enforcer = casbin.Enforcer(loaded)
    register_functions(enforcer, condition)
    enforcer.add_policies(list(rows))
    enforcer.add_grouping_policies(list(links))
    return enforcer


SPELLED = {
    Effect.DENY_OVERRIDES: "some(where (p_eft == allow)) && !some(where (p_eft == deny))",
    Effect.ALLOW_OVERRIDES: "some(where (p_eft == allow))",
    Effect.DENY_ONLY: "!some(where (p_eft == deny))",
    Effect.PRIORITY: "priority(p_eft) || deny",
}


def ask(enforcer: Any, sub: str, obj: str, act: str, ctx: Any = None) -> Any:
    facts = Facts(sub, "acme", "", obj, act, ctx, 0)
    return enforcer.enforce_ex(sub, "acme", obj, act, facts)


def refused(*rows: str) -> str:
    with pytest.raises(PolicyError) as caught:
        parse_policy({"model.conf": MODEL, "roles/a.csv": "\n".join(rows)})
    return str(caught.value)


def snapshot_of(rows: str, *assignments: Assignment, effect: Effect = Effect.DENY_OVERRIDES) -> Any:
    policy = compile_policy(parse_policy({"model.conf": model_text(effect), "services.csv": rows}))
    return TenantSnapshot(policy, "acme", assignments)


@pytest.mark.parametrize("effect", Effect)
@pytest.mark.parametrize("eft", ["allow", "deny"])
def test_no_wildcard_acts_for_anybody_or_denies_it(effect: Effect, eft: str) -> None:
    for wildcard, also in (("*", "read"), ("act_*", "act_x"), ("*_for", "x_for")):
        row = ["role:A", "*", "*", wildcard, eft, "true"]
        ours = snapshot_of(f"p, {', '.join(row)}", Assignment("user:u", "role:A"), effect=effect)
        theirs = pycasbin([row], [["user:u", "role:A", "acme"]], model_text(effect))
        for act in ("act_for", also):
            decision = ours.check("user:u", "", "authz.subject:user/v", act, None, 0)
            assert (decision.rule is not None) is (act == also)
            assert decision.allowed is ask(theirs, "user:u", "authz.subject:user/v", act)[0]


def test_our_files_load_unmodified_in_pycasbin(policy_root: Path) -> None:
    enforcer = casbin.Enforcer(str(policy_root / "model.conf"), str(policy_root / "roles/user.csv"))
    register_functions(enforcer, condition)
    enforcer.add_grouping_policy("user:u", "role:PLATFORM_USER", "acme")
    assert ask(enforcer, "user:u", "run:1", "start")[0]
    assert ask(enforcer, "user:u", "run:1", "cancel", {"owner": "user:u"})[0]
    assert not ask(enforcer, "user:u", "run:1", "cancel", {"owner": "user:v"})[0]
    rules = load_policy(policy_root).rules
    assert len(enforcer.get_policy()) == sum(rule.file == "roles/user.csv" for rule in rules)


def test_01_a_reload_under_load_gives_no_false_answer() -> None:
    policy = compile_policy(parse_policy({"model.conf": MODEL, "roles/a.csv": RULE}))
    current = [TenantSnapshot(policy, "acme", [Assignment("user:a", "role:A")])]
    stop = threading.Event()
    wrong: list[object] = []
    asked = [0, 0, 0]

    def work(number: int) -> None:
        while not stop.is_set():
            snapshot = current[0]
            yes = snapshot.check("user:a", "", "doc:1", "read", None, 0)
            no = snapshot.check("user:b", "", "doc:1", "read", None, 0)
            asked[number] += 2
            if not yes.allowed or no.allowed:
                wrong.append((yes, no))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for thread in threads:
            thread.start()
        for number in range(300):
            rows = RULE + f"\np, role:B, *, doc:{number}, write, allow, true"
            fresh = compile_policy(parse_policy({"model.conf": MODEL, "roles/a.csv": rows}))
            grants = [Assignment("user:a", "role:A"), Assignment(f"user:{number}", "role:A")]
            current[0] = TenantSnapshot(fresh, "acme", grants)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
        sys.setswitchinterval(interval)
    assert not wrong
    assert min(asked) > 0


async def test_01_a_reload_between_awaits_gives_no_false_answer() -> None:
    grants = [Assignment("user:a", "role:A")]
    current = [snapshot_of(RULE, *grants)]
    answers: list[bool] = []

    async def work() -> None:
        for _ in range(500):
            answers.append(current[0].check("user:a", "", "doc:1", "read", None, 0).allowed)
            await asyncio.sleep(0)

    async def reload() -> None:
        for _ in range(100):
            current[0] = snapshot_of(RULE, *grants)
            await asyncio.sleep(0)

    await asyncio.gather(work(), work(), reload())
    assert len(answers) == 1_000
    assert all(answers)


def test_02_an_expired_role_stays_expired_after_a_reload() -> None:
    for _ in range(2):
        snapshot = snapshot_of(RULE, Assignment("user:a", "role:A", expires_at_ms=10))
        assert snapshot.check("user:a", "", "doc:1", "read", None, 9).allowed
        assert not snapshot.check("user:a", "", "doc:1", "read", None, 10).allowed


def test_03_an_effect_in_the_wrong_case_is_refused() -> None:
    rows = [["role:A", "*", "doc:*", "read", "allow", ""], ["role:A", "*", "*", "read", "Deny", ""]]
    theirs = pycasbin(rows, [["user:a", "role:A", "acme"]])
    assert ask(theirs, "user:a", "doc:1", "read")[0], "pycasbin ignores Deny"
    assert "write deny" in refused(RULE, "p, role:A, *, *, read, Deny, true")


def test_04_unknown_rows_and_short_rows_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("x, role:A, *, doc:*, read, deny,\np, role:A, *, doc:*\n")
    model = tmp_path / "model.conf"
    model.write_text(MODEL.replace(Effect.DENY_OVERRIDES.value, SPELLED[Effect.DENY_OVERRIDES]))
    theirs = casbin.Enforcer(str(model), str(file))
    register_functions(theirs, condition)
    assert len(theirs.get_policy()) == 1, "pycasbin drops the unknown row"
    with pytest.raises(RuntimeError, match="invalid policy size"):
        ask(theirs, "user:a", "doc:1", "read")
    assert "unknown row type 'x'" in refused("x, role:A, *, doc:*, read, deny, true")
    assert "too short" in refused("p, role:A, *, doc:*")


@pytest.mark.parametrize("effect", list(Effect))
def test_05_no_rules_and_empty_requests_are_refused(effect: Effect) -> None:
    empty = snapshot_of("", effect=effect)
    for question in (("", "", ""), ("user:a", "doc:1", "read"), ("user:a", "", "")):
        sub, obj, act = question
        assert empty.check(sub, "", obj, act, None, 0).reason == "NO_MATCHING_RULE"
    if effect is Effect.DENY_OVERRIDES:
        facts = Facts("", "", "", "", "", None, 0)
        assert pycasbin([]).enforce("", "", "", "", facts), "pycasbin allows nothing to nobody"


def test_05_an_object_without_a_type_matches_nothing() -> None:
    theirs = pycasbin([["role:A", "*", "*", "*", "allow", ""]], [["user:a", "role:A", "acme"]])
    ours = snapshot_of("p, role:A, *, *, *, allow, true", Assignment("user:a", "role:A"))
    for obj in ("doc", ""):
        assert ask(theirs, "user:a", obj, "read")[0]
        assert not ours.check("user:a", "", obj, "read", None, 0).allowed
    assert not ours.check("user:a", "", "doc:1", "", None, 0).allowed


def test_06_a_subject_named_like_a_role_has_none_of_its_rights() -> None:
    theirs = pycasbin([["role:A", "*", "doc:*", "read", "allow", ""]])
    assert ask(theirs, "role:A", "doc:1", "read")[0], "pycasbin takes the name for the role"
    ours = snapshot_of(RULE)
    for subject in ("role:A", "A", "user:role:A", "user:A"):
        assert not ours.check(subject, "", "doc:1", "read", None, 0).allowed
    assert "has no kind" in refused("p, PLATFORM_ADMIN, *, doc:*, read, allow, true")


def test_07_unknown_subjects_and_domains_leave_no_trace() -> None:
    theirs = pycasbin([["role:A", "*", "doc:*", "read", "allow", ""]], [["u", "role:A", "acme"]])
    manager = theirs.get_role_manager()
    theirs.enforce("u", "acme", "doc:1", "read", None)
    before = len(manager.rm_map)
    for number in range(20):
        theirs.enforce("user:x", f"tenant{number}", "doc:1", "read", None)
    assert len(manager.rm_map) > before, "pycasbin keeps a link graph for each domain asked"

    ours = snapshot_of(RULE, Assignment("user:a", "role:A"))
    ours.check("user:0", "o", "doc:1", "read", None, 0)
    gc.collect()
    tracemalloc.start()
    for number in range(5_000):
        ours.check(f"user:{number}", f"org{number}", "doc:1", "read", None, 0)
    gc.collect()
    grown, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert grown < 20_000


def test_08_ten_links_inherit_and_eleven_are_refused() -> None:
    rows = ["p, role:R10, *, doc:*, read, allow, true"]
    rows += [f"g, role:R{n}, role:R{n + 1}, *" for n in range(10)]
    ours = snapshot_of("\n".join(rows), Assignment("user:a", "role:R0"))
    assert ours.check("user:a", "", "doc:1", "read", None, 0).allowed
    links = [[f"role:R{n}", f"role:R{n + 1}", "acme"] for n in range(10)]
    theirs = pycasbin([["role:R10", "*", "doc:*", "read", "allow", ""]], links)
    assert not ask(theirs, "role:R0", "doc:1", "read")[0], "pycasbin drops the tenth link"
    assert ask(theirs, "role:R1", "doc:1", "read")[0]
    assert "more than 10 links" in refused(*rows, "g, role:R10, role:R11, *", RULE,
                                           "p, role:R11, *, doc:*, read, allow, true")  # fmt: skip
    assert "inherits itself" in refused(*rows, "g, role:R10, role:R0, *")


def test_09_a_rules_text_cannot_leave_its_matcher() -> None:
    with pytest.raises(PolicyError, match="eval"):
        parse_model(MODEL.replace("m = g(", "m = eval(p.cond) && g("))
    for text in ("true) || (true", "true) || g(r.sub, p.sub", "__import__('os')", "p.eft == 'x'"):
        assert "bad condition" in refused(f'p, role:A, *, doc:*, read, allow, "{text}"')


def test_10_globs_are_anchored_and_a_dot_is_a_dot() -> None:
    rows = "p, role:A, *, audit.event:log, read, allow, true"
    ours = snapshot_of(rows, Assignment("user:a", "role:A"))
    answers = {
        obj: ours.check("user:a", "", obj, "read", None, 0).allowed
        for obj in ("audit.event:log", "auditxevent:log", "audit.event:log2", "xaudit.event:log")
    }
    assert [obj for obj, allowed in answers.items() if allowed] == ["audit.event:log"]


def test_11_operators_inside_a_literal_stay_text() -> None:
    rows = "p, role:A, *, doc:*, read, allow, ctx.t == 'a || b && !c'"
    ours = snapshot_of(rows, Assignment("user:a", "role:A"))
    assert ours.check("user:a", "", "doc:1", "read", {"t": "a || b && !c"}, 0).allowed
    assert not ours.check("user:a", "", "doc:1", "read", {"t": "a or b and not c"}, 0).allowed


def test_12_the_first_rule_has_priority_whatever_the_hash_seed() -> None:
    rows = [
        "p, role:B, *, doc:*, read, deny, true",
        "p, role:A, *, *, read, allow, true",
        "p, role:A, *, doc:*, *, deny, true",
    ]
    grants = [Assignment("user:a", "role:A"), Assignment("user:a", "role:B")]
    ours = snapshot_of("\n".join(rows), *grants, effect=Effect.PRIORITY)
    assert ours.check("user:a", "", "doc:1", "read", None, 0).rule.line == 1
    other = snapshot_of("\n".join(reversed(rows[1:])), *grants, effect=Effect.PRIORITY)
    assert other.check("user:a", "", "doc:1", "read", None, 0).reason == "DENIED_BY_RULE"
    first = snapshot_of("\n".join(rows[1:]), *grants, effect=Effect.PRIORITY)
    assert first.check("user:a", "", "doc:1", "read", None, 0).reason == "ALLOWED_BY_RULE"


def test_13_a_quoted_comma_belongs_to_its_column() -> None:
    rows = """p, role:A, *, doc:*, read, allow, "ctx.t in ['a,b', ""c""]" """
    ours = snapshot_of(rows, Assignment("user:a", "role:A"))
    assert ours.check("user:a", "", "doc:1", "read", {"t": "a,b"}, 0).allowed
    assert not ours.check("user:a", "", "doc:1", "read", {"t": "a"}, 0).allowed


def test_divergence_the_first_allow_explains() -> None:
    rows = [["role:A", "*", "doc:*", "read", "allow", ""], ["role:A", "*", "*", "*", "allow", ""]]
    theirs = pycasbin(rows, [["user:a", "role:A", "acme"]])
    assert ask(theirs, "user:a", "doc:1", "read")[1] == rows[1], "pycasbin names the last"
    ours = snapshot_of(RULE + "\np, role:A, *, *, *, allow, true", Assignment("user:a", "role:A"))
    assert ours.check("user:a", "", "doc:1", "read", None, 0).rule.line == 1


def test_divergence_a_condition_without_an_answer_denies() -> None:
    theirs = pycasbin([["role:A", "*", "doc:*", "read", "allow", "ctx.ok"]],
                      [["user:a", "role:A", "acme"]])  # fmt: skip
    with pytest.raises(Exception, match="Key not found"):
        ask(theirs, "user:a", "doc:1", "read", {})
    ours = snapshot_of("p, role:A, *, doc:*, read, allow, ctx.ok", Assignment("user:a", "role:A"))
    assert ours.check("user:a", "", "doc:1", "read", {}, 0).reason == "CONDITION_ERROR"


def test_the_table_of_divergences_is_told_once_each() -> None:
    assert len({what for what, _, _ in DIVERGENCES}) == len(DIVERGENCES) == 10
