"""How often one network may ask: a burst, then a pace; another network is not held up by it."""

import pytest

from argy.base.errors import ResourceExhausted
from argy.edge.address_limits import AddressLimits


class Clock:
    """Seconds that a test says."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def limits(clock: Clock) -> AddressLimits:
    return AddressLimits(every_s=0.5, burst=3, clock=clock)


def refused(counted: AddressLimits, address: str) -> int:
    """How long it must wait, in milliseconds; 0 when it may ask."""
    try:
        counted.count(address)
    except ResourceExhausted as error:
        return error.retry_after_ms or 0
    return 0


def test_a_burst_is_let_through_and_then_a_pace() -> None:
    clock = Clock()
    counted = limits(clock)
    assert [refused(counted, "192.0.2.1") for _ in range(4)] == [0, 0, 0, 500]
    clock.now_s += 0.5
    assert [refused(counted, "192.0.2.1") for _ in range(2)] == [0, 500]
    clock.now_s += 10
    assert [refused(counted, "192.0.2.1") for _ in range(4)] == [0, 0, 0, 500]


def test_another_network_is_not_held_up() -> None:
    counted = limits(Clock())
    while not refused(counted, "192.0.2.1"):
        pass
    assert refused(counted, "192.0.2.2") == 0


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param("2001:db8::1", "2001:db8::ffff:2", id="a /64 of IPv6"),
        pytest.param("::ffff:192.0.2.1", "::ffff:192.0.2.1", id="IPv4 mapped"),
        pytest.param("", "", id="nobody knows from where"),
    ],
)
def test_who_has_many_addresses_asks_as_often_as_who_has_one(first: str, second: str) -> None:
    counted = limits(Clock())
    while not refused(counted, first):
        pass
    assert refused(counted, second)


def test_what_is_remembered_is_bounded() -> None:
    counted = limits(Clock())
    for number in range(70_000):
        counted.count(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")
    assert len(counted._free_at_s) == 65_536
