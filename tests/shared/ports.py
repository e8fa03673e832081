"""Ports for servers that a test starts a moment later, which nothing else takes meanwhile."""

import os
import secrets
from typing import Final

from argy.local.ports import free_port

_FIRST: Final = 10_000
_END: Final = 32_768
"""Where Linux begins to choose ports of its own, for outgoing connections and for port 0."""
_WORKERS: Final = 8
_GIVEN: Final[set[int]] = set()


def reserved_port() -> int:
    """A free port of 127.0.0.1 that no other call gives away, in this process or its neighbours.

    It lies below the ports that the kernel hands out: neither a connection, were it one to this
    port itself while nobody listens there, nor a server on port 0 comes before the one it is for.
    """
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % _WORKERS
    while True:
        # Each worker has ports of its own; other runs on this machine choose at random too.
        port = _FIRST + worker + _WORKERS * secrets.randbelow((_END - _FIRST) // _WORKERS)
        if port not in _GIVEN and free_port(port) == port:
            _GIVEN.add(port)
            return port
