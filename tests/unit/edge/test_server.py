"""Who may hold how many connections."""

import ipaddress
import subprocess
import sys
from typing import Any

import pytest

from argy.edge.room import KnownNetworks, Room
from argy.edge.server import Peers

PROXIES = (ipaddress.ip_network("10.0.0.0/8"),)


class Guest:
    """A connection that is busy."""

    def give_up(self) -> bool:
        return False


def peers_of(most: int, proxies: Any = ()) -> Peers:
    return Peers(most, Room(100, KnownNetworks()), proxies)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::ffff:1"),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
    ],
)
def test_one_address_has_so_many_connections_and_no_more(first: str, second: str) -> None:
    peers, one, two = peers_of(2), Guest(), Guest()
    assert [peers.enter(one, first), peers.enter(two, second)] == [True, True]
    assert not peers.enter(Guest(), first)
    peers.leave(two, second)
    assert peers.enter(Guest(), second)


@pytest.mark.parametrize("other", ["192.0.2.2", "2001:db8:0:1::1", "::ffff:192.0.2.2"])
def test_another_address_is_counted_for_itself(other: str) -> None:
    peers = peers_of(1)
    for address in ("192.0.2.1", "2001:db8::1"):
        assert peers.enter(Guest(), address)
    assert peers.enter(Guest(), other)


@pytest.mark.parametrize("address", ["10.1.2.3", "::ffff:10.1.2.3", "", "a-socket"])
def test_our_own_proxies_are_not_bounded(address: str) -> None:
    peers, guest = peers_of(1, PROXIES), Guest()
    assert all(peers.enter(guest, address) for _ in range(3))
    peers.leave(guest, address)


def test_the_process_holds_as_many_files_as_it_may() -> None:
    script = (
        "import resource as r; from argy.edge.server import allow_files\n"
        "r.setrlimit(r.RLIMIT_NOFILE, (256, 2048)); allow_files()\n"
        "print(r.getrlimit(r.RLIMIT_NOFILE))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "(2048, 2048)"
