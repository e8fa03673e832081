"""Attacks on the edge's connections: held open, filled up, or made to say what nobody asked."""

import time
from contextlib import ExitStack, closing
from typing import Any

import pytest

from argy.edge.limits import Bounds

PATIENCE_S = 60.0
HEAD = b"host: localhost\r\n"
SLOW_BODIES = 2
"""That one address may send at a time to the slow edge."""
FORM = HEAD + b"content-type: application/x-www-form-urlencoded\r\nsec-fetch-site: same-origin\r\n"


def read_all(wire: Any) -> bytes:
    """Everything until the edge ends the connection; fails when it doesn't."""
    received = b""
    try:
        while part := wire.recv(65_536):
            received += part
    except ConnectionError:
        pass
    return received


@pytest.mark.parametrize(
    "head",
    [
        b"GET /healthz HTTP/1.1\r\n" + HEAD + b"content-length: 100\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + HEAD + b"transfer-encoding: chunked\r\n\r\n",
        b"POST /acme/whoami HTTP/1.1\r\n" + HEAD + b"content-length: 100\r\n\r\n",
        b"POST /acme/sign-in HTTP/1.1\r\n" + FORM + b"content-length: 100\r\n\r\n",
    ],
    ids=["health", "start", "refused", "slow-form"],
)
def test_a_body_that_comes_after_its_answer_holds_no_connection(
    slow_edge: Any, head: bytes
) -> None:
    with closing(slow_edge.connect()) as wire:
        wire.sendall(head)
        received = wire.recv(65_536)
        assert received.startswith(b"HTTP/1.1 ")
        try:
            # One byte of what was announced stops the timer of an idle connection.
            wire.sendall(b"1")
        except OSError:
            return
        received += read_all(wire)
        assert b"connection: close" in received.lower()


def test_what_follows_an_upgrade_is_no_request(edge: Any) -> None:
    received = edge.send_raw(
        b"GET /healthz HTTP/1.1\r\n" + HEAD + b"connection: upgrade\r\nupgrade: h2c\r\n\r\n"
        b"POST /acme/sign-out HTTP/1.1\r\n" + HEAD + b"content-length: 60\r\n\r\n"
    )
    assert received.count(b"HTTP/1.1 ") == 1
    assert b"connection: close" in received.lower()


@pytest.mark.parametrize(
    "sent",
    [
        b"POST /healthz HTTP/1.0\r\n" + HEAD + b"transfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET /healthz HTTP/1.0\r\nhost: a\r\nhost: b\r\n\r\n",
        b"GET /healthz HTTP/0.9\r\n" + HEAD + b"\r\n",
        b"GET /healthz HTTP/2.0\r\n" + HEAD + b"\r\n",
        b"GET /healthz HTTP/1.9\r\n" + HEAD + b"\r\n",
    ],
    ids=["chunks-in-1.0", "two-hosts-in-1.0", "0.9", "2.0", "1.9"],
)
def test_a_request_of_a_doubtful_version_is_refused(edge: Any, sent: bytes) -> None:
    received = edge.send_raw(sent)
    assert received == b"" or received.startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize(
    "host",
    [
        b"",
        b"a/b",
        b"a?b",
        b"a#b",
        b"user@a",
        b"a\\b",
        b"[",
        b"[::1",
        b"a:b",
        b"a b",
        b"\xff",
        b"a,b",
    ],
)
def test_a_host_that_is_none_is_refused(edge: Any, host: bytes) -> None:
    received = edge.send_raw(b"GET / HTTP/1.1\r\nconnection: close\r\nhost: " + host + b"\r\n\r\n")
    assert received.startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("host", [b"localhost", b"a-b.example:8443", b"[::1]:8443", b"10.0.0.1"])
def test_a_host_that_is_one_is_served(edge: Any, host: bytes) -> None:
    received = edge.send_raw(b"GET / HTTP/1.1\r\nconnection: close\r\nhost: " + host + b"\r\n\r\n")
    assert received.startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    "target",
    [
        b"*",
        b"http://evil",
        b"http://evil?x",
        b"http://[",
        b"evil:1",
        b"?x",
        b"/\xff",
        b"/?\xff",
        b"/\x01",
    ],
)
def test_an_odd_target_breaks_nothing(edge: Any, target: bytes) -> None:
    received = edge.send_raw(
        b"GET " + target + b" HTTP/1.1\r\nconnection: close\r\n" + HEAD + b"\r\n"
    )
    assert received.split(b" ")[1] in (b"200", b"400", b"401", b"404")
    assert b"evil" not in received
    assert "Traceback" not in edge.log


@pytest.mark.parametrize("slow_edge", [{"handshake_s": 0.3}], indirect=True, ids=["hasty"])
def test_a_connection_that_begins_no_tls_is_cut_off(slow_edge: Any) -> None:
    with closing(slow_edge.connect_plain()) as wire:
        assert wire.recv(1) == b""


@pytest.mark.parametrize("slow_edge", [{"head_s": PATIENCE_S}], indirect=True, ids=["patient"])
def test_one_address_does_not_take_all_connections(slow_edge: Any) -> None:
    with ExitStack() as stack:
        held = [stack.enter_context(closing(slow_edge.connect())) for _ in range(8)]
        with closing(slow_edge.connect()) as one_more:
            received = read_all(one_more)
        assert received.startswith(b"HTTP/1.1 503 ")
        assert b"TOO_MANY_CONNECTIONS" in received
        assert len(held) == 8
    # Connections that ended count no more.
    ends_s = time.monotonic() + PATIENCE_S
    with slow_edge.client() as http:
        while (answer := http.get("/")).status_code == 503:
            assert time.monotonic() < ends_s, "they count still"
    assert answer.status_code == 200


def test_who_is_refused_is_not_asked_for_a_body(edge: Any) -> None:
    received = edge.send_raw(
        b"POST /access/v1/evaluation HTTP/1.1\r\n" + HEAD + b"expect: 100-continue\r\n"
        b"content-length: 1000000\r\n\r\n"
    )
    assert received.startswith(b"HTTP/1.1 401 ")


@pytest.mark.parametrize(
    "slow_edge",
    [{"bounds": Bounds(requests=SLOW_BODIES + 1, body_s=PATIENCE_S), "head_s": PATIENCE_S}],
    indirect=True,
    ids=["one-more"],
)
def test_slow_bodies_of_one_address_leave_room_for_others(slow_edge: Any) -> None:
    form = FORM + b"expect: 100-continue\r\ncontent-length: 9\r\n\r\n"
    head = b"POST /acme/sign-in HTTP/1.1\r\n" + form
    with ExitStack() as stack:
        held = [stack.enter_context(closing(slow_edge.connect())) for _ in range(SLOW_BODIES)]
        for wire in held:
            wire.sendall(head)
            # It is being served: its body is asked for.
            assert b" 100 " in wire.recv(1024)
        with closing(slow_edge.connect()) as one_more:
            one_more.sendall(head)
            assert b" 503 " in read_all(one_more)
        # What needs no body is served all the same.
        with slow_edge.client() as http:
            assert http.get("/").status_code == 200


@pytest.mark.parametrize("name", [b"host", b"authorization", b"x-request-id", b"x-forwarded-for"])
def test_what_comes_after_a_body_is_no_header(edge: Any, name: bytes) -> None:
    """RFC 9110 §6.5.1: what stands before us has looked at headers, not at trailers."""
    received = edge.send_raw(
        b"GET / HTTP/1.1\r\n" + HEAD + b"x-request-id: mine\r\nauthorization: Basic eDp5\r\n"
        b"connection: close\r\ntransfer-encoding: chunked\r\n\r\n0\r\n" + name + b": evil\r\n\r\n"
    )
    assert received.startswith(b"HTTP/1.1 200 ")
    assert b"x-request-id: mine" in received.lower()


@pytest.mark.parametrize("body", [b"", b"1\r\na\r\n"], ids=["no-body", "body"])
def test_trailers_without_end_are_cut_off(edge: Any, body: bytes) -> None:
    """However much of them comes along with the head, or with the body."""
    with closing(edge.connect()) as wire:
        wire.sendall(
            b"POST /acme/sign-in HTTP/1.1\r\n" + FORM + b"transfer-encoding: chunked\r\n\r\n"
            + body + b"0\r\nx-a: " + b"y" * 40_000
        )  # fmt: skip
        assert b"HEADERS_TOO_LARGE" in read_all(wire)


STRANGERS = [f"127.0.{number}.1" for number in range(1, 5)]
"""Four addresses that are nobody's neighbours."""


@pytest.mark.parametrize("slow_edge", [{"head_s": PATIENCE_S}], indirect=True, ids=["patient"])
def test_idle_connections_of_four_addresses_refuse_nobody(slow_edge: Any) -> None:
    with ExitStack() as stack:
        for address in STRANGERS * 8:
            stack.enter_context(closing(slow_edge.connect(source=address)))
        with slow_edge.client() as http:
            assert http.get("/").status_code == 200


@pytest.mark.parametrize(
    "slow_edge",
    [{"bounds": Bounds(requests=8, body_s=PATIENCE_S), "head_s": PATIENCE_S}],
    indirect=True,
    ids=["eight"],
)
def test_dribbled_bodies_of_four_addresses_refuse_nobody(
    slow_edge: Any, asked: Any, problem_of: Any
) -> None:
    form = FORM + b"expect: 100-continue\r\ncontent-length: 9\r\n\r\n"
    with ExitStack() as stack:
        for address in STRANGERS * 2:
            wire = stack.enter_context(closing(slow_edge.connect(source=address)))
            wire.sendall(b"POST /acme/sign-in HTTP/1.1\r\n" + form)
            assert wire.recv(1024)
        with slow_edge.client() as http:
            for _ in range(20):
                answer = problem_of(http.post("/access/v1/evaluation", json=asked))
                # It passed every check of the edge; nothing serves behind it here.
                assert answer["reason"] == "PLATFORM_UNAVAILABLE"
        # One that is slow itself is waited for as well.
        with closing(slow_edge.connect()) as slow:
            slow.sendall(b"POST /acme/sign-in HTTP/1.1\r\n" + form)
            assert b" 100 " in slow.recv(1024)
