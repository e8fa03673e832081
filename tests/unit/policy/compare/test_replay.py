"""Recorded decisions under another policy: flips, what can't be decided, and the speed of it."""

import time
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import msgspec
import pytest

from argy.base.errors import InvalidArgument
from argy.policy import CompiledPolicy, TenantSnapshot, compile_policy, parse_policy
from argy.policy.compare.replay import CONTEXT, ORG, SCOPES, Event, Replay, read_event, replay
from argy.policy.equivalence import model_text
from argy.policy.export import Held, TenantFacts
from argy.policy.model import Effect

ROWS = ["p, role:A, *, doc:*, read, allow, true", "p, role:A, *, doc:*, write, allow, true",
        "p, role:A, *, run:*, start, allow, ctx.mfa"]  # fmt: skip
FACTS = TenantFacts("acme", [Held("user:a", "role:A"), Held("user:x", "role:A", "x")])
ORG_X = str(UUID(int=7))
ORGS = {ORG_X: "x"}


def compiled(rows: list[str], approvals: str = "") -> CompiledPolicy:
    files = {"model.conf": model_text(Effect.DENY_OVERRIDES), "services.csv": "\n".join(rows),
             "approvals/all.csv": approvals}  # fmt: skip
    return compile_policy(parse_policy(files))


def snapshot(rows: list[str], approvals: str = "") -> TenantSnapshot:
    return FACTS.snapshot(compiled(rows, approvals))


def event(*decisions: dict[str, Any], actor: str = "service:s", **more: Any) -> Event:
    value = {
        "actor": actor,
        "action": "authz.decision.check",
        "occur_time": "2026-01-07T10:00:00Z",
        "detail": {"decisions": decisions},
        **more,
    }
    made = read_event(msgspec.json.encode(value), 1)
    assert made is not None
    return made  # fmt: skip


def asked(
    act: str, obj: str = "doc:1", subject: str = "user:a", effect: str = "ALLOW", **more: Any
) -> dict[str, Any]:
    return {"subject": subject, "action": act, "resource": obj, "effect": effect,
            "reason": "ALLOWED_BY_RULE", "rule": "services.csv:2", **more}  # fmt: skip


def test_flips_are_counted_by_service_and_subject_with_examples() -> None:
    events = [event(asked("write", f"doc:{number % 2}"), asked("read")) for number in range(5)]
    events.append(event(asked("write", subject="user:x"), actor="service:t", org_id=ORG_X))
    report = replay(events, snapshot(ROWS[:1]), ORGS)
    assert (report.decisions, report.same, report.flipped) == (11, 5, 6)
    assert report.kinds() == {"ALLOW → DENY": 6}
    first, second = report.groups()
    assert (first.actor, first.subject, first.count) == ("service:s", "user:a", 5)
    assert [example.resource for example in first.examples] == ["doc:0", "doc:1"]
    assert first.examples[0].before == "ALLOWED_BY_RULE services.csv:2"
    assert first.examples[0].after == "NO_MATCHING_RULE"
    assert (second.actor, second.subject, second.examples[0].org) == ("service:t", "user:x", "x")


def test_a_denial_that_becomes_an_allow_and_an_approval_that_is_asked_for() -> None:
    events = [event(asked("read", effect="DENY")), event(asked("write"))]
    report = replay(events, snapshot(ROWS, "a, *, doc:*, write, 1, role:A, require, 1h, true"), {})
    assert report.kinds() == {"ALLOW → NEEDS_APPROVAL": 1, "DENY → ALLOW": 1}


def test_what_an_approver_had_allowed_is_no_flip() -> None:
    events = [event({**asked("write"), "reason": "APPROVED"})]
    report = replay(events, snapshot(ROWS, "a, *, doc:*, write, 1, role:A, require, 1h, true"), {})
    assert (report.same, report.flipped) == (1, 0)


def test_the_recorded_context_decides() -> None:
    events = [event(asked("start", "run:1", context={"mfa": mfa})) for mfa in (True, False)]
    report = replay(events, snapshot(ROWS), {})
    assert (report.same, report.kinds()) == (1, {"ALLOW → DENY": 1})


def test_numbers_are_those_that_the_engine_was_asked_with() -> None:
    rows = ["p, role:A, *, doc:*, read, allow, ctx.size / 2.0 == 1.5"]
    report = replay([event(asked("read", context={"size": 3, "in": [1, {"n": 2}]}))],
                    snapshot(rows), {})  # fmt: skip
    assert report.same == 1


def test_what_an_in_process_authorizer_folded_counts_as_often_as_it_was_asked() -> None:
    at_ms = 1_767_780_000_000
    report = replay([event(asked("write", count=7.0, at_ms=float(at_ms)))], snapshot(ROWS[:1]), {})
    assert (report.decisions, report.kinds()) == (7, {"ALLOW → DENY": 7})
    assert report.groups()[0].examples[0].at_ms == at_ms


def test_without_its_context_nothing_is_guessed_but_where_no_rule_asks_for_it() -> None:
    events = [event(asked("start", "run:1", context_omitted=True)),
              event(asked("read", context_omitted=True))]  # fmt: skip
    report = replay(events, snapshot(ROWS), {})
    assert report.undecidable == {CONTEXT: 1}
    assert (report.same, report.flipped) == (1, 0)


def test_what_a_credentials_scopes_refused_is_no_flip() -> None:
    limited = asked("read", effect="DENY", reason="SCOPE_INSUFFICIENT")
    report = replay([event(limited)], snapshot(ROWS), {})
    assert report.undecidable == {SCOPES: 1}
    assert (report.same, report.flipped) == (0, 0)


def test_an_org_that_is_not_known_is_not_guessed() -> None:
    report = replay([event(asked("read"), org_id=str(UUID(int=9)))], snapshot(ROWS), ORGS)
    assert report.undecidable == {ORG: 1}


def test_what_differs_under_the_policy_in_force_already_has_drifted() -> None:
    events = [event(asked("read", subject="user:gone")), event(asked("write"))]
    report = replay(events, snapshot(ROWS[:1]), {}, base=snapshot(ROWS))
    assert (report.drifted, report.kinds()) == (1, {"ALLOW → DENY": 1})


def test_a_grant_counts_until_its_end_at_the_time_of_the_question() -> None:
    facts = msgspec.convert(
        {"tenant": "acme", "assignments": [
            {"subject": "user:a", "role": "role:A", "expires": "2026-01-07T10:00:00Z"}]},
        TenantFacts,
    )  # fmt: skip
    events = [event(asked("read"), occur_time=f"2026-01-07T{hour}:00:00Z") for hour in ("09", "10")]
    report = replay(events, facts.snapshot(compiled(ROWS)), {})
    assert (report.same, report.kinds()) == (1, {"ALLOW → DENY": 1})


def test_other_events_and_empty_lines_are_passed_over_and_others_refused() -> None:
    assert read_event(b"\n", 1) is None
    run = Replay(snapshot(ROWS), {})
    run.take(Event("user:a", "authz.role_assignment.grant"))
    assert run.report.decisions == 0
    for line in (b"{}", b"[", b'{"actor": "a", "action": "b", "detail": {"decisions": 5}}'):
        with pytest.raises(InvalidArgument) as caught:
            read_event(line, 12)
        assert "line 12" in caught.value.message


def generated(count: int) -> Iterator[bytes]:
    """Lines of events, 100 decisions each."""
    for number in range(0, count, 100):
        decisions = [asked(("read", "write", "start")[n % 3], f"doc:{n}", f"user:{n % 997}",
                           context={"mfa": True, "ip": "10.0.0.1"})
                     for n in range(number, number + 100)]  # fmt: skip
        yield msgspec.json.encode(
            {"event_id": str(UUID(int=number)), "actor": f"service:s{number % 7}",
             "action": "authz.decision.check", "resource": "authz.decision:batch",
             "outcome": "SUCCESS", "occur_time": "2026-01-07T10:00:00Z",
             "detail": {"policy_revision": "x", "revision": "1", "decisions": decisions}}
        )  # fmt: skip


def test_a_hundred_thousand_decisions_take_seconds(capsys: Any) -> None:
    facts = TenantFacts("acme", [Held(f"user:{n}", "role:A") for n in range(0, 997, 2)])
    lines = list(generated(100_000))
    run = Replay(facts.snapshot(compiled(ROWS[:1])), {}, facts.snapshot(compiled(ROWS)))
    started = time.perf_counter()
    for number, line in enumerate(lines):
        read = read_event(line, number)
        assert read is not None
        run.take(read)
    took = time.perf_counter() - started
    report = run.report
    with capsys.disabled():
        print(f"\n100,000 decisions: {took:.2f} s, {100_000 / took:,.0f}/s, {report.flipped} flips")
    assert report.decisions == 100_000
    assert report.same + report.drifted + report.flipped == 100_000
    assert report.flipped > 10_000
