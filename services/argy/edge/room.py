"""Places that strangers share by network: when all are taken, who holds most gives one up.

What one network holds costs nobody else more than the places that it leaves: a newcomer takes the
newest idle place of the network that holds most. Part of the room is kept for networks from which
somebody was let in lately. Addresses are counted by IPv4 /24 and IPv6 /48, which one customer may
have whole.
"""

import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, Protocol

from argy.edge.proxies import address_of

_KEPT: Final = 4
"""One place in so many is kept for who is known."""
_KNOWN_S: Final = 900.0
_MAX_KNOWN: Final = 65_536
_PREFIXES: Final = {4: 24, 6: 48}


class Guest(Protocol):
    """Who holds a place."""

    def give_up(self) -> bool:
        """Leave now, if nothing is being done for it; whether it does. ``Room.leave`` follows."""
        ...


def wide_network_of(address: str) -> str:
    """The network that an address shares its places with; itself when it is no address."""
    known = address_of(address)
    if known is None:
        return address
    return str(ipaddress.ip_network((known.packed, _PREFIXES[known.version]), strict=False))


class KnownNetworks:
    """Networks from which somebody was let in lately, by a credential that was good."""

    __slots__ = ("_clock", "_until_s")

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._until_s: OrderedDict[str, float] = OrderedDict()

    def add(self, address: str) -> None:
        """Somebody was let in from there."""
        network = wide_network_of(address)
        self._until_s[network] = self._clock() + _KNOWN_S
        self._until_s.move_to_end(network)
        if len(self._until_s) > _MAX_KNOWN:
            self._until_s.popitem(last=False)

    def __contains__(self, network: object) -> bool:
        return self._until_s.get(str(network), 0.0) > self._clock()


class Room:
    """So many places, of which one in four is for networks that are known."""

    __slots__ = ("_held", "_known", "_size", "_taken")

    def __init__(self, size: int, known: KnownNetworks) -> None:
        self._size = size
        self._known = known
        self._taken = 0
        self._held: dict[str, dict[Guest, None]] = {}

    def enter(self, guest: Guest, address: str) -> bool:
        """Take a place for a guest from an address; False when there is none."""
        network = wide_network_of(address)
        open_to_it = self._size if network in self._known else self._size - self._size // _KEPT
        if self._taken >= open_to_it and not self._make_room(network):
            return False
        self._held.setdefault(network, {})[guest] = None
        self._taken += 1
        return True

    def leave(self, guest: Guest, address: str) -> None:
        """Give a place back; again is no error."""
        network = wide_network_of(address)
        held = self._held.get(network)
        if held is None or guest not in held:
            return
        del held[guest]
        self._taken -= 1
        if not held:
            del self._held[network]

    def _make_room(self, newcomer: str) -> bool:
        """Have the newest idle guest leave of those who hold most, and more than the newcomer.

        Networks that are known give way last, and what they hold beyond the newcomer's one more:
        one good credential takes nobody else's place.
        """
        mine = len(self._held.get(newcomer, ()))
        for network, guests in sorted(
            self._held.items(), key=lambda item: (item[0] in self._known, -len(item[1]))
        ):
            if len(guests) <= mine + (network in self._known):
                continue
            for guest in reversed(list(guests)):
                if guest.give_up():
                    guests.pop(guest, None)
                    self._taken -= 1
                    if not guests:
                        del self._held[network]
                    return True
        return False
