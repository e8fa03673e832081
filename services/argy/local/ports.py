"""Loopback ports that nobody listens on."""

import socket

from argy.local.errors import LocalError

_NEIGHBOURS = 64


def free_port(preferred: int | None = None) -> int:
    """Return a free TCP port of 127.0.0.1: the preferred one, the next free above it, or any.

    It is proved by binding, as a server would (SO_REUSEADDR: remains of closed connections do not
    count). Between the answer and the server's own bind another process may take the port, so the
    launchers try again on the next one when their server reports that.
    """
    candidates = (
        [0] if preferred is None else [*range(preferred, min(preferred + _NEIGHBOURS, 65536)), 0]
    )
    for candidate in candidates:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", candidate))
                # Two sockets may bind one port with SO_REUSEADDR; only one of them may listen.
                probe.listen(1)
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise LocalError("No free port on 127.0.0.1: close some servers, then start again.")
