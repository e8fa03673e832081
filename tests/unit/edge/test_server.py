"""Who may hold how many connections."""

import ipaddress
import subprocess
import sys

import pytest

from argy.edge.server import Peers

PROXIES = (ipaddress.ip_network("10.0.0.0/8"),)


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
    peers = Peers(2)
    assert [peers.enter(first), peers.enter(second), peers.enter(first)] == [True, True, False]
    peers.leave(second)
    assert peers.enter(second)


@pytest.mark.parametrize("other", ["192.0.2.2", "2001:db8:0:1::1", "::ffff:192.0.2.2"])
def test_another_address_is_counted_for_itself(other: str) -> None:
    peers = Peers(1)
    for address in ("192.0.2.1", "2001:db8::1"):
        assert peers.enter(address)
    assert peers.enter(other)


@pytest.mark.parametrize("address", ["10.1.2.3", "::ffff:10.1.2.3", "", "a-socket"])
def test_our_own_proxies_are_not_bounded(address: str) -> None:
    peers = Peers(1, PROXIES)
    assert all(peers.enter(address) for _ in range(3))
    peers.leave(address)


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
