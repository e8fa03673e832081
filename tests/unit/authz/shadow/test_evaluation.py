"""The proposal beside the policy in force: what differs is counted, and the cost is bounded."""

from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from argy.api.authz.v1.authz_pb2 import CheckRequest, Question
from argy.authz.access import answer
from argy.authz.domain import TenantFacts
from argy.authz.shadow.evaluation import MAX_SAMPLES, Candidate, Counts, Shadow, samples_from, total
from argy.authz.view import TenantView
from argy.base.ids import uuid7
from argy.policy import Assignment, CompiledPolicy, Decision, compile_policy
from argy.policy.loader import parse_policy
from argy.rpc.call import Call
from argy.rpc.claims import Claims
from argy.rpc.declarations import Method
from argy.store.tenants import TenantInfo

MODEL = (Path(__file__).parents[4] / "policy" / "model.conf").read_text()
TENANT = UUID("01900000-0000-7000-8000-000000000001")
FACTS = TenantFacts(
    TENANT,
    "acme",
    3,
    (Assignment("user:eva", "role:ENGINEER"), Assignment("user:bob", "role:USER")),
)
READ = "p, role:ENGINEER, *, project:*, read, allow, true\n"
DEPLOY = "p, role:ENGINEER, *, project:*, deploy, allow, true\n"
USER = "p, role:USER, *, project:*, read, allow, true\n"
CLAIMS = Claims(
    subject="user:bob",
    tenant_id=TENANT,
    org_id=None,
    session_id="s",
    client_id="edge",
    acr="urn:argy:acr:passkey",
    amr=("passkey",),
    auth_time_s=0,
    scope="",
    token_id="j",
    family_id="",
    revision="",
    issued_at_s=0,
    expires_at_s=0,
)


class Hand:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.ms = 1_800_000_000_000

    def now_ms(self) -> int:
        return self.ms


def policy(rules: str) -> CompiledPolicy:
    return compile_policy(parse_policy({"model.conf": MODEL, "roles/all.csv": rules}))


def question(subject: str = "user:eva", action: str = "deploy", resource: str = "a") -> Question:
    return Question(subject=subject, action=action, resource=f"project:{resource}")


class Traffic:
    """Decides questions on the policy in force, and hands them to the shadow."""

    def __init__(self, shadow: Shadow, clock: Hand) -> None:
        self.shadow, self.clock = shadow, clock
        self.view = TenantView(FACTS, policy(READ + DEPLOY))
        self.call = Call(Method("/x/Y", "x.Y", "x", CheckRequest, False), b"", clock.ms)
        self.call.tenant_id, self.call.caller = TENANT, "service:billing"
        self.call.tenant = TenantInfo(TENANT, "acme", "ACTIVE")

    def ask(self, *questions: Question) -> list[Decision]:
        now_ms = self.clock.now_ms()
        decided = [answer(self.view, self.call, q, now_ms) for q in questions]
        if self.shadow.active:
            self.shadow.put(self.call, self.view, questions, decided, now_ms)
        return decided


@pytest.fixture
def clock() -> Hand:
    return Hand()


@pytest.fixture
async def shadow(clock: Hand) -> Any:
    made = Shadow(clock)
    yield made
    await made.close()


@pytest.fixture
def traffic(shadow: Shadow, clock: Hand) -> Traffic:
    return Traffic(shadow, clock)


def begin(shadow: Shadow, clock: Hand, rules: str, per_second: int = 1000) -> Candidate:
    candidate = Candidate(uuid7(), policy(rules), clock.ms + 60_000, per_second)
    shadow.begin(candidate)
    clock.ms += 1000  # the allowance of a second
    return candidate


async def test_differences_are_counted_and_sampled(
    shadow: Shadow, clock: Hand, traffic: Traffic
) -> None:
    begin(shadow, clock, READ + USER)
    traffic.ask(question())
    traffic.ask(question(action="read"), question("user:bob", "read"), question("user:x"))
    await shadow.drain()
    counts = shadow.counts
    assert (counts.evaluated, counts.skipped) == (4, 0)
    assert (counts.allow_to_deny, counts.deny_to_allow, counts.other) == (1, 1, 0)
    lost, gained = counts.samples
    assert (lost.subject, lost.before, lost.after) == ("user:eva", "ALLOW", "DENY")
    assert (lost.rule_before, lost.rule_after) == ("roles/all.csv:2", "")
    assert (gained.subject, gained.before, gained.after) == ("user:bob", "DENY", "ALLOW")
    assert (gained.caller, gained.rule_after) == ("service:billing", "roles/all.csv:2")


async def test_what_a_credentials_scopes_refused_is_not_asked(
    shadow: Shadow, clock: Hand, traffic: Traffic
) -> None:
    begin(shadow, clock, READ + USER)
    traffic.call.caller, traffic.call.scopes = "user:bob", frozenset({"project:write"})
    (decision,) = traffic.ask(question("user:bob", "read"))
    await shadow.drain()
    assert decision.reason == "SCOPE_INSUFFICIENT"
    assert (shadow.counts.evaluated, shadow.counts.skipped) == (0, 1)


async def test_a_fresh_proof_is_as_fresh_to_the_proposal(
    shadow: Shadow, clock: Hand, traffic: Traffic
) -> None:
    rule = 'p, role:USER, *, project:*, read, allow, "has(ctx.auth) && ctx.auth.age_s <= 300"\n'
    begin(shadow, clock, rule)
    forged = question("user:bob", "read")
    forged.context.update({"auth": {"age_s": 1.0}})
    traffic.call.caller = "user:bob"
    traffic.ask(forged)
    await shadow.drain()
    assert (shadow.counts.evaluated, shadow.counts.deny_to_allow) == (1, 0)
    traffic.call.claims = replace(CLAIMS, auth_time_s=traffic.call.received_ms // 1000 - 300)
    traffic.ask(question("user:bob", "read"))
    await shadow.drain()
    assert (shadow.counts.evaluated, shadow.counts.deny_to_allow) == (2, 1)


async def test_without_a_candidate_nothing_is_taken(shadow: Shadow, traffic: Traffic) -> None:
    traffic.ask(question())
    await shadow.drain()
    assert shadow.counts == Counts()


async def test_the_cost_is_bounded_and_what_is_over_is_counted(
    shadow: Shadow, clock: Hand, traffic: Traffic
) -> None:
    begin(shadow, clock, READ, per_second=10)
    traffic.ask(*(question(resource=str(number)) for number in range(25)))
    traffic.ask(question())
    await shadow.drain()
    assert (shadow.counts.evaluated, shadow.counts.skipped) == (10, 16)
    clock.ms += 300
    traffic.ask(*(question(resource=str(number)) for number in range(25)))
    await shadow.drain()
    assert (shadow.counts.evaluated, shadow.counts.skipped) == (13, 38)
    clock.ms -= 100_000  # a clock that is set back gives nothing away
    traffic.ask(question())
    assert shadow.counts.skipped == 39


async def test_it_ends_by_the_clock(shadow: Shadow, clock: Hand, traffic: Traffic) -> None:
    begin(shadow, clock, READ)
    clock.ms += 120_000
    traffic.ask(question())
    assert not shadow.active
    assert shadow.counts.evaluated == 0


async def test_samples_are_bounded_and_distinct(
    shadow: Shadow, clock: Hand, traffic: Traffic
) -> None:
    begin(shadow, clock, READ, per_second=10_000)
    for _ in range(2):
        traffic.ask(*(question(resource=str(number)) for number in range(150)))
    await shadow.drain()
    assert shadow.counts.allow_to_deny == 300
    assert len(shadow.counts.samples) == MAX_SAMPLES
    assert len({sample.resource for sample in shadow.counts.samples}) == MAX_SAMPLES


async def test_counts_belong_to_one_run(shadow: Shadow, clock: Hand, traffic: Traffic) -> None:
    first = begin(shadow, clock, READ)
    traffic.ask(question())
    await shadow.drain()
    shadow.begin(first)
    assert shadow.counts.evaluated == 1
    shadow.begin(replace(first, until_ms=first.until_ms + 1))
    assert shadow.counts == Counts()
    begin(shadow, clock, READ + DEPLOY)
    assert shadow.counts == Counts()
    traffic.ask(question())
    await shadow.drain()
    assert (shadow.counts.evaluated, shadow.counts.allow_to_deny) == (1, 0)


async def test_the_facts_of_the_decision_are_those_that_are_asked(
    shadow: Shadow, clock: Hand, traffic: Traffic
) -> None:
    begin(shadow, clock, READ + DEPLOY)
    traffic.ask(question())
    traffic.view = TenantView(TenantFacts(TENANT, "acme", 4), policy(READ + DEPLOY))
    traffic.ask(question())
    await shadow.drain()
    assert shadow.counts.evaluated == 2
    assert shadow.counts.samples == []


def test_replicas_are_added_up() -> None:
    texts = "tenant_id org caller subject action resource before after rule_before rule_after"
    sample = dict.fromkeys(texts.split(), "") | {"time_ms": 5}
    part = Counts(3, 1, 1, 1, 0, samples_from([sample] * 60))
    whole = total([part, part])
    assert (whole.evaluated, whole.skipped, whole.allow_to_deny) == (6, 2, 2)
    assert len(whole.samples) == MAX_SAMPLES


async def test_a_proposal_with_costly_conditions_can_not_hold_up_live_traffic(clock: Hand) -> None:
    costly = "".join(
        f"p, role:ENGINEER, *, project:*, deploy, allow, "
        f'"ctx.l.exists(x, ctx.l.exists(y, x + y == {-number}.0))"\n'
        for number in range(1, 3_001)
    )
    shadow = Shadow(clock)
    candidate = Candidate(uuid7(), policy(READ + costly), clock.ms + 60_000, 1_000)
    shadow.begin(candidate)
    traffic = Traffic(shadow, clock)
    clock.ms += 1_000
    asked = question()
    asked.context.update({"l": list(range(28))})
    traffic.ask(*[asked] * 100)
    await shadow.drain()
    assert shadow.counts.evaluated < 10
    assert shadow.counts.evaluated + shadow.counts.skipped == 100
    states = [shadow.active]
    for again in (candidate, replace(candidate, until_ms=candidate.until_ms + 1)):
        shadow.begin(again)
        states.append(shadow.active)
    assert states == [False, False, True]
    await shadow.close()
