"""How often one network may ask of what the services count by nobody: tokens refreshed and ended.

Counted in this process, by the generic cell rate algorithm: who has several edges is let through as
often by each of them. It holds up nobody who works; it keeps a guesser, or a client gone wild, from
making the services look up one token after another.
"""

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from argy.base.errors import ResourceExhausted
from argy.edge.oauth_form import Handler
from argy.edge.proxies import network_of
from argy.edge.request import state_of

EVERY_S: Final = 0.05
"""In the long run a network may ask once in this time: an office's terminals do so all day."""
BURST: Final = 600
_KEPT: Final = 65_536
"""Networks that are remembered: those that asked last."""


class AddressLimits:
    """Counts the requests of each network, of all that it guards together."""

    __slots__ = ("_burst", "_clock", "_every_s", "_free_at_s")

    def __init__(
        self,
        *,
        every_s: float = EVERY_S,
        burst: int = BURST,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._every_s = every_s
        self._burst = burst
        self._clock = clock
        self._free_at_s: OrderedDict[str, float] = OrderedDict()

    def guard(self, work: Handler) -> Handler:
        """An endpoint that answers a network as often as it may ask."""

        async def serve(request: Request) -> Response:
            self.count(state_of(request.scope).client_ip)
            return await work(request)

        return serve

    def count(self, address: str) -> None:
        """Count a request from an address, or its IPv6 /64.

        Raises:
            ResourceExhausted: ``RATE_LIMITED``, with how long to wait.
        """
        now_s, network = self._clock(), network_of(address)
        free_at_s = max(self._free_at_s.get(network, 0.0), now_s) + self._every_s
        wait_s = free_at_s - now_s - self._every_s * self._burst
        if wait_s > 0:
            raise ResourceExhausted(
                "Too many requests of your network: wait a little",
                reason="RATE_LIMITED",
                retry_after_ms=max(int(wait_s * 1_000), 1),
            )
        self._free_at_s[network] = free_at_s
        self._free_at_s.move_to_end(network)
        if len(self._free_at_s) > _KEPT:
            self._free_at_s.popitem(last=False)
