"""The rules of events: ids, times, orgs, reporters."""

from uuid import UUID

import pytest

from argy.audit.domain import (
    MAX_SKEW_MS,
    check_ids,
    check_occurred,
    event_org,
    id_range,
    reported,
)
from argy.base.errors import InvalidArgument, PermissionDenied
from argy.base.ids import uuid7

NOW_MS = 1_790_000_000_000
ORG, OTHER_ORG = uuid7(), uuid7()


@pytest.mark.parametrize("offset_ms", [-MAX_SKEW_MS, 0, MAX_SKEW_MS])
def test_ids_within_five_minutes_are_accepted(offset_ms: int) -> None:
    check_ids([uuid7(NOW_MS + offset_ms), None, None], now_ms=NOW_MS)


@pytest.mark.parametrize("offset_ms", [-MAX_SKEW_MS - 1, MAX_SKEW_MS + 1])
def test_ids_further_away_are_refused(offset_ms: int) -> None:
    with pytest.raises(InvalidArgument) as refusal:
        check_ids([None, uuid7(NOW_MS + offset_ms)], now_ms=NOW_MS)
    assert refusal.value.field == "events[1].event_id"


def test_an_id_that_only_looks_like_version_7_is_refused() -> None:
    foreign = UUID(int=uuid7(NOW_MS).int & ~(0x3 << 62))
    with pytest.raises(InvalidArgument):
        check_ids([foreign], now_ms=NOW_MS)


def test_a_range_of_time_is_a_range_of_ids() -> None:
    first, end = id_range(NOW_MS, NOW_MS + 1, before=None)
    assert first <= uuid7(NOW_MS) < end
    assert not first <= uuid7(NOW_MS - 1) < end
    assert not first <= uuid7(NOW_MS + 1) < end


def test_no_range_holds_every_id() -> None:
    first, end = id_range(None, None, before=None)
    assert first <= uuid7(0) < end
    assert first <= uuid7((1 << 48) - 1) < end


def test_a_page_goes_on_below_the_last_event() -> None:
    last = uuid7(NOW_MS)
    assert id_range(None, NOW_MS + 5, before=last)[1] == last
    assert id_range(None, NOW_MS - 5, before=last)[1] < last


def test_an_empty_range_is_refused() -> None:
    with pytest.raises(InvalidArgument):
        id_range(NOW_MS, NOW_MS, before=None)


def test_events_may_be_told_late_but_not_early() -> None:
    check_occurred(0, now_ms=NOW_MS, field="t")
    check_occurred(NOW_MS + MAX_SKEW_MS, now_ms=NOW_MS, field="t")
    for wrong in (NOW_MS + MAX_SKEW_MS + 1, -62_135_596_800_001):
        with pytest.raises(InvalidArgument):
            check_occurred(wrong, now_ms=NOW_MS, field="t")


def test_the_org_of_an_event() -> None:
    assert event_org(None, call_org=None, field="o") is None
    assert event_org(ORG, call_org=None, field="o") == ORG
    assert event_org(None, call_org=ORG, field="o") == ORG
    assert event_org(ORG, call_org=ORG, field="o") == ORG
    with pytest.raises(PermissionDenied):
        event_org(OTHER_ORG, call_org=ORG, field="o")


def test_the_reporter_is_the_server_s_to_name() -> None:
    assert reported(None, by="service:x", field="d") == {"reported_by": "service:x"}
    assert reported({"a": 1}, by="service:x", field="d") == {"a": 1, "reported_by": "service:x"}
    with pytest.raises(InvalidArgument):
        reported({"reported_by": ""}, by="service:x", field="d")


@pytest.mark.parametrize("value", ["\x00", {"\x00": 1}, [["\x00"]]])
def test_nul_is_refused_wherever_it_is(value: object) -> None:
    with pytest.raises(InvalidArgument):
        reported({"deep": value}, by="service:x", field="d")
