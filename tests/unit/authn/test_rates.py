"""The generic cell rate algorithm, and what addresses are counted as."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argy.authn.rates import Rate, arrive, network

RATE = Rate("test", every_ms=1_000, burst=3)


def test_a_burst_is_allowed_and_then_the_rate() -> None:
    stored, waits = 0, []
    for now_ms in (10_000, 10_000, 10_000, 10_000, 10_999, 11_000, 11_000):
        arrival = arrive(RATE, now_ms=now_ms, stored_ms=stored)
        stored = arrival.next_ms
        waits.append(arrival.wait_ms)
    assert waits == [0, 0, 0, 1_000, 1, 0, 1_000]


def test_who_waits_as_told_is_allowed() -> None:
    stored = 0
    for _ in range(3):
        stored = arrive(RATE, now_ms=0, stored_ms=stored).next_ms
    wait_ms = arrive(RATE, now_ms=0, stored_ms=stored).wait_ms
    assert arrive(RATE, now_ms=wait_ms, stored_ms=stored).wait_ms == 0


@given(st.lists(st.integers(0, 20_000), max_size=60))
def test_no_window_has_more_than_the_burst_and_the_rate(times: list[int]) -> None:
    stored, allowed = 0, []
    for now_ms in sorted(times):
        arrival = arrive(RATE, now_ms=now_ms, stored_ms=stored)
        stored = arrival.next_ms
        if arrival.wait_ms == 0:
            allowed.append(now_ms)
    for first in allowed:
        within = [time for time in allowed if first <= time < first + 5_000]
        assert len(within) <= RATE.burst + 5


@pytest.mark.parametrize(
    ("ip", "counted"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::/64"),
        ("2001:db8:0:0:ffff::1", "2001:db8::/64"),
        ("2001:db8:0:1::1", "2001:db8:0:1::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("", "-"),
        ("testclient", "testclient"),
    ],
)
def test_an_address_of_ipv6_counts_as_its_network(ip: str, counted: str) -> None:
    assert network(ip) == counted
