"""Ids have one spelling and sort by time; revision tokens belong to one tenant."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argy.base.errors import InvalidArgument
from argy.base.ids import parse_uuid, uuid7, uuid7_millis
from argy.base.revisions import (
    MAX_REVISION,
    Revision,
    parse_revision,
    parse_revision_token,
    policy_token,
    revision_token,
)

TENANT = UUID("01a20bd9-649c-7dd4-8c65-d7adda492d78")
OTHER = UUID("01a20bd9-64b1-7332-a3ea-25df1cea9d4f")


def test_uuid7_is_that_of_rfc_9562() -> None:
    value = uuid7(1_700_000_000_123)
    assert (value.version, value.variant) == (7, UUID(int=2 << 62).variant)
    assert uuid7_millis(value) == 1_700_000_000_123


def test_ids_made_one_after_the_other_sort_so() -> None:
    """Steps of 244 ns; two ids within one step may be either way round, so pairs are apart."""
    made = [uuid7() for _ in range(2000)][::20]
    assert made == sorted(made)
    assert len(set(made)) == len(made)


@given(st.integers(0, 4094))
def test_the_order_given_decides_within_a_millisecond(order: int) -> None:
    assert uuid7(5, order=order) < uuid7(5, order=order + 1)
    assert uuid7(5, order=4095) < uuid7(6, order=0)


@pytest.mark.parametrize(
    "spelling",
    [
        str(TENANT).upper(),
        TENANT.hex,
        f"{{{TENANT}}}",
        f"urn:uuid:{TENANT}",
        f" {TENANT}",
        "",
        "x" * 36,
    ],
)
def test_an_id_has_one_spelling(spelling: str) -> None:
    assert parse_uuid(str(TENANT), field="id") == TENANT
    with pytest.raises(InvalidArgument) as refused:
        parse_uuid(spelling, field="id")
    assert refused.value.reason == "MALFORMED_ID"
    assert refused.value.violations[0].field == "id"


@given(st.integers(0, MAX_REVISION))
def test_a_revision_token_says_its_revision_to_its_tenant_alone(revision: int) -> None:
    token = revision_token(TENANT, revision)
    assert parse_revision_token(TENANT, token) == revision
    with pytest.raises(InvalidArgument):
        parse_revision_token(OTHER, token)


@given(st.text(min_size=1, max_size=20))
def test_no_other_text_is_a_revision_token(text: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        parse_revision_token(TENANT, text)
    assert refused.value.reason == "MALFORMED_REVISION"


def test_no_token_asks_for_nothing() -> None:
    assert parse_revision_token(TENANT, "") == 0


@given(st.integers(0, MAX_REVISION), st.integers(1, MAX_REVISION))
def test_a_token_may_name_the_policy_too(revision: int, sequence: int) -> None:
    both = revision_token(TENANT, revision, sequence)
    assert parse_revision(TENANT, both) == Revision(revision, sequence)
    assert parse_revision_token(TENANT, both) == revision
    with pytest.raises(InvalidArgument):
        parse_revision(OTHER, both)
    for tenant in (TENANT, OTHER):
        assert parse_revision(tenant, policy_token(sequence)) == Revision(0, sequence)


def test_a_token_from_before_policies_had_sequences_is_good() -> None:
    assert parse_revision(TENANT, revision_token(TENANT, 7)) == Revision(7, 0)
    assert revision_token(TENANT, 7, 0) == revision_token(TENANT, 7)


@pytest.mark.parametrize(
    "token",
    [
        ".",
        revision_token(TENANT, 7) + ".",
        policy_token(0),
        policy_token(3).removeprefix("."),
        policy_token(3) + "=",
        policy_token(3) + policy_token(3),
        "." + revision_token(TENANT, 3),
        revision_token(TENANT, 7) + "." + revision_token(TENANT, 3),
        policy_token(MAX_REVISION + 1),
        revision_token(OTHER, 7, 3),
        "x" + policy_token(3),
    ],
)
def test_no_other_spelling_names_a_policy(token: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        parse_revision(TENANT, token)
    assert refused.value.reason == "MALFORMED_REVISION"
