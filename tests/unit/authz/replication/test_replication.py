"""What a replica is sent takes it from one state to the next, whatever the states are."""

from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argy.api.authz.v1 import replication_pb2 as pb
from argy.authz.domain import TenantFacts
from argy.authz.replication.service import NOTHING, PART_ITEMS, changes_between
from argy.base.errors import FailedPrecondition
from argy.client.replica import ReplicaState, TenantReplica, VerifiedPolicy
from argy.policy import Assignment, Membership, compile_policy
from argy.policy.loader import parse_policy

TENANT = UUID("01900000-0000-7000-8000-000000000001")
MODEL = (Path(__file__).parents[4] / "policy" / "model.conf").read_text()
POLICY = VerifiedPolicy(
    1,
    "d" * 64,
    compile_policy(
        parse_policy({"model.conf": MODEL, "roles/r.csv": "p, role:A, *, doc:*, read, allow, true"})
    ),
)
NOW_MS = 1_800_000_000_000
ORGS = ((UUID(int=1), "sales"), (UUID(int=2), "lab"))

assignments = st.builds(
    Assignment,
    st.sampled_from(["user:a", "user:b", "group:g"]),
    st.sampled_from(["role:A", "role:B"]),
    st.sampled_from(["", "sales"]),
    st.sampled_from([None, NOW_MS - 1, NOW_MS + 1]),
)
memberships = st.builds(Membership, st.just("group:g"), st.sampled_from(["user:a", "user:c"]))
states = st.builds(
    lambda held, members, disabled, orgs: TenantFacts(
        TENANT, "acme", 1, tuple(held), tuple(members), frozenset(disabled), tuple(orgs)
    ),
    st.frozensets(assignments, max_size=6),
    st.frozensets(memberships, max_size=2),
    st.frozensets(st.sampled_from(["user:a", "user:b"])),
    st.sampled_from([(), ORGS[:1], ORGS]),
)


def apply(replica: TenantReplica, old: TenantFacts, new: TenantFacts) -> int:
    parts = [
        pb.TenantFactsChange.FromString(part.SerializeToString())
        for part in changes_between(old, new)
    ]
    ready = [replica.collect(part) for part in parts]
    assert ready == [False] * (len(parts) - 1) + [True]
    replica.install(replica.builder()())
    return len(parts)


def answers(facts: TenantFacts, replica: TenantReplica) -> None:
    wanted = TenantReplica(TENANT)
    wanted.policy = POLICY
    apply(wanted, NOTHING, facts)
    assert wanted.snapshot is not None
    assert replica.snapshot is not None
    for subject in ("user:a", "user:b", "user:c", "group:g"):
        for org in ("", "sales"):
            question = (subject, org, "doc:1", "read", None, NOW_MS)
            assert replica.snapshot.check(*question) == wanted.snapshot.check(*question)
    assert replica.orgs == dict(facts.orgs) == wanted.orgs


@given(states, states, states)
def test_differences_lead_to_what_everything_at_once_leads_to(
    first: TenantFacts, second: TenantFacts, third: TenantFacts
) -> None:
    replica = TenantReplica(TENANT)
    replica.policy = POLICY
    apply(replica, NOTHING, first)
    answers(first, replica)
    apply(replica, first, second)
    answers(second, replica)
    replica.forget()
    apply(replica, NOTHING, third)
    answers(third, replica)


def test_a_large_tenant_comes_in_parts_that_count_together() -> None:
    held = tuple(Assignment(f"user:{number}", "role:A") for number in range(2 * PART_ITEMS + 1))
    replica = TenantReplica(TENANT)
    replica.policy = POLICY
    assert apply(replica, NOTHING, TenantFacts(TENANT, "acme", 7, held)) == 3
    assert (replica.tenant, replica.revision, replica.known) == ("acme", 7, len(held))


def test_half_a_change_is_never_decided_from() -> None:
    held = tuple(Assignment(f"user:{number}", "role:A") for number in range(PART_ITEMS + 1))
    replica = TenantReplica(TENANT)
    replica.policy = POLICY
    first, _ = changes_between(NOTHING, TenantFacts(TENANT, "acme", 7, held))
    assert not replica.collect(first)
    assert not replica.whole
    assert replica.state(0.0, 1.0) is ReplicaState.LOADING


def test_a_difference_without_its_base_is_refused() -> None:
    replica = TenantReplica(TENANT)
    old = TenantFacts(TENANT, "acme", 1)
    (part,) = changes_between(
        old, TenantFacts(TENANT, "acme", 2, (Assignment("user:a", "role:A"),))
    )
    with pytest.raises(FailedPrecondition) as refused:
        replica.collect(part)
    assert refused.value.reason == "REPLICA_OUT_OF_STEP"


def test_silence_makes_it_stale() -> None:
    replica = TenantReplica(TENANT)
    replica.policy = POLICY
    apply(replica, NOTHING, TenantFacts(TENANT, "acme", 1))
    replica.heard_s = 100.0
    assert replica.state(101.0, 3.0) is ReplicaState.CURRENT
    assert replica.state(103.5, 3.0) is ReplicaState.STALE


def test_a_stream_that_breaks_mid_change_over_and_over_leaves_the_replica_stale() -> None:
    replica = TenantReplica(TENANT)
    replica.policy = POLICY
    apply(replica, NOTHING, TenantFacts(TENANT, "acme", 1))
    replica.hear(0.0)
    assert replica.state(1.0, 3.0) is ReplicaState.CURRENT
    many = tuple(Assignment(f"user:{number}", "role:A") for number in range(PART_ITEMS + 1))
    part, _ = changes_between(NOTHING, TenantFacts(TENANT, "acme", 2, many))
    for now_s in (1.0, 2.0, 3.0, 4.0):
        replica.forget()
        replica.hear(now_s)  # another policy alone says nothing about the facts
        assert not replica.collect(part)
        replica.hear(now_s)
    assert replica.state(4.0, 3.0) is ReplicaState.STALE
