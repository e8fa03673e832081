"""Whose address counts when proxies stand between."""

import pytest

from argy.base.errors import InvalidArgument
from argy.edge.proxies import client_ip, parse_networks

OURS = parse_networks("10.0.0.0/8, 2001:db8::/32", field="ARGY_EDGE_PROXIES")


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        pytest.param("198.51.100.7", [], "198.51.100.7", id="no proxy"),
        pytest.param("198.51.100.7", [b"203.0.113.9"], "198.51.100.7", id="a stranger claims"),
        pytest.param("10.0.0.1", [], "10.0.0.1", id="a proxy that tells nothing"),
        pytest.param("10.0.0.1", [b"203.0.113.9"], "203.0.113.9", id="one proxy"),
        pytest.param("10.0.0.1", [b"203.0.113.9, 10.0.0.2"], "203.0.113.9", id="two proxies"),
        pytest.param("10.0.0.1", [b"203.0.113.9", b"10.0.0.2"], "203.0.113.9", id="two headers"),
        pytest.param("10.0.0.1", [b"127.0.0.1, 203.0.113.9"], "203.0.113.9", id="a client claims"),
        pytest.param("10.0.0.1", [b"10.9.9.9, 203.0.113.9"], "203.0.113.9", id="claims a proxy"),
        pytest.param("10.0.0.1", [b"203.0.113.9, <b>"], "10.0.0.1", id="no address"),
        pytest.param("::ffff:198.51.100.7", [], "198.51.100.7", id="mapped peer"),
        pytest.param("::ffff:10.0.0.1", [b"2001:db9::1"], "2001:db9::1", id="mapped"),
        pytest.param("2001:db8::1", [b"::ffff:203.0.113.9"], "203.0.113.9", id="mapped client"),
    ],
)
def test_only_our_own_proxies_are_believed(peer: str, forwarded: list[bytes], client: str) -> None:
    assert client_ip(peer, forwarded, OURS) == client


def test_without_proxies_nobody_is_believed() -> None:
    assert client_ip("10.0.0.1", [b"203.0.113.9"], ()) == "10.0.0.1"


def test_a_network_that_is_none_is_named() -> None:
    with pytest.raises(InvalidArgument) as refused:
        parse_networks("10.0.0.1/8", field="ARGY_EDGE_PROXIES")
    assert refused.value.field == "ARGY_EDGE_PROXIES"
