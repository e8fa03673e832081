"""Uvicorn's server with the bounds that it lacks before there is HTTP: handshakes, files, peers.

Who opens connections and says nothing else would hold one of the process's files with each.
"""

import logging
import resource
import socket
import sys
from asyncio import get_running_loop
from collections import Counter
from collections.abc import Sequence
from functools import partial
from typing import Any, Final

import uvicorn

from argy.edge.proxies import Network, address_of, is_ours, network_of
from argy.edge.room import Guest, Room

_LOG: Final = logging.getLogger("argy.edge")
_FILES: Final = 65_536


class EdgeServer(uvicorn.Server):
    """Ends a connection whose TLS handshake does not."""

    def __init__(self, config: uvicorn.Config, *, handshake_s: float = 10.0) -> None:
        super().__init__(config)
        self._handshake_s = handshake_s

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen.

        Raises:
            SystemExit: when the port can't be had; why is in the log.
        """
        config = self.config
        protocol: Any = config.http_protocol_class
        make = partial(
            protocol,
            config=config,
            server_state=self.server_state,
            app_state=self.lifespan.state,
        )
        bound: dict[str, Any] = (
            {"ssl": config.ssl, "ssl_handshake_timeout": self._handshake_s} if config.ssl else {}
        )
        try:
            server = await get_running_loop().create_server(
                make, config.host, config.port, backlog=config.backlog, **bound
            )
        except OSError as error:
            _LOG.critical("can't listen: %s", error)
            sys.exit(1)
        self.servers = [server]
        self.started = True


class Peers:
    """How many connections each address has; our own proxies have as many as they like."""

    __slots__ = ("_held", "_most", "_proxies", "_room")

    def __init__(self, most: int, room: Room, proxies: Sequence[Network] = ()) -> None:
        """``most`` of an address, or an IPv6 /64; of all together as many as ``room`` has."""
        self._most = most
        self._room = room
        self._proxies = proxies
        self._held: Counter[str] = Counter()

    def enter(self, guest: Guest, address: str) -> bool:
        """Count a connection; False when its network has enough of them."""
        key = self._key(address)
        if key and (self._held[key] >= self._most or not self._room.enter(guest, address)):
            return False
        self._held[key] += 1
        return True

    def leave(self, guest: Guest, address: str) -> None:
        """Forget a connection that was counted."""
        key = self._key(address)
        self._room.leave(guest, address)
        self._held[key] -= 1
        if self._held[key] <= 0:
            del self._held[key]

    def _key(self, address: str) -> str:
        """What is counted together; empty for what is not bounded."""
        if address_of(address) is None or is_ours(address, self._proxies):
            return ""
        return network_of(address)


def allow_files() -> None:
    """Let this process hold as many connections as the system lets it, within reason."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES if hard == resource.RLIM_INFINITY else min(hard, _FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
