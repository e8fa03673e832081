"""Places that networks share."""

import pytest

from argy.edge.room import KnownNetworks, Room, wide_network_of


class Guest:
    """Who holds a place, and gives it up when idle."""

    def __init__(self, *, idle: bool = True) -> None:
        self.idle = idle
        self.left = False

    def give_up(self) -> bool:
        if self.idle and not self.left:
            self.left = True
            return True
        return False


def fill(room: Room, *addresses: str, idle: bool = True) -> list[Guest]:
    guests = [Guest(idle=idle) for _ in addresses]
    for guest, address in zip(guests, addresses, strict=True):
        assert room.enter(guest, address)
    return guests


@pytest.mark.parametrize(
    ("one", "two", "alike"),
    [
        ("192.0.2.1", "192.0.2.200", True),
        ("192.0.2.1", "192.0.3.1", False),
        ("2001:db8:1:1::1", "2001:db8:1:2::1", True),
        ("2001:db8:1::1", "2001:db8:2::1", False),
        ("::ffff:192.0.2.1", "192.0.2.9", True),
    ],
)
def test_neighbours_are_one(one: str, two: str, alike: bool) -> None:
    assert (wide_network_of(one) == wide_network_of(two)) is alike


def test_a_newcomer_takes_the_newest_idle_place_of_who_holds_most() -> None:
    room = Room(8, KnownNetworks())  # six of them for strangers
    few = fill(room, "203.0.113.1")
    many = fill(room, *["198.51.100.1"] * 5)
    assert room.enter(Guest(), "192.0.2.1")
    assert [guest.left for guest in many] == [False, False, False, False, True]
    assert not few[0].left
    # Nobody takes the last place of another, nor that of who is busy.
    busy = Room(4, KnownNetworks())
    fill(busy, "198.51.100.1", "198.51.100.1", "198.51.100.1", idle=False)
    assert not busy.enter(Guest(), "192.0.2.1")


def test_who_holds_most_gets_no_more() -> None:
    room = Room(4, KnownNetworks())
    held = fill(room, *["198.51.100.1"] * 3)
    assert not room.enter(Guest(), "198.51.100.9")
    assert not any(guest.left for guest in held)


def test_room_is_kept_for_who_was_let_in_lately() -> None:
    now_s = 0.0
    known = KnownNetworks(clock=lambda: now_s)
    room = Room(8, known)
    fill(room, *(f"198.51.{number}.1" for number in range(6)), idle=False)
    assert not room.enter(Guest(), "192.0.2.1")
    known.add("192.0.2.7")
    assert room.enter(Guest(), "192.0.2.1")
    # Lately: not for ever.
    now_s = 10_000.0
    assert not room.enter(Guest(), "192.0.2.1")


def test_places_come_back() -> None:
    room = Room(4, KnownNetworks())
    guests = fill(room, "192.0.2.1", "192.0.3.1", "192.0.4.1", idle=False)
    assert not room.enter(Guest(), "192.0.5.1")
    room.leave(guests[0], "192.0.2.1")
    room.leave(guests[0], "192.0.2.1")
    fill(room, "192.0.5.1", idle=False)
    assert not room.enter(Guest(), "192.0.6.1")


def test_a_signed_in_attacker_refuses_nobody() -> None:
    """One good credential makes a network known, and takes nobody else's place."""
    known = KnownNetworks()
    known.add("198.51.100.1")
    room = Room(8, known)
    fill(room, *["198.51.100.1"] * 8)
    assert room.enter(Guest(), "192.0.2.1")
    assert room.enter(Guest(), "192.0.3.1")
