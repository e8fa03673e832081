import socket

from argy.local.ports import free_port


def test_a_taken_port_yields_the_next_free_one() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = int(taken.getsockname()[1])
        other = free_port(port)
        assert other != port
    assert free_port(port) == port


def test_any_port_will_do() -> None:
    assert 1024 <= free_port() < 65536
