"""Rates: how often something may be tried, by the generic cell rate algorithm. Pure.

The algorithm keeps one number, the theoretical arrival time of the next request that comes at
exactly the allowed rate; a request is refused when it is earlier than that by more than the burst.
"""

import ipaddress
from dataclasses import dataclass
from typing import Final

_PREFIX6: Final = 64
"""Who has one address of IPv6 has its whole network."""


@dataclass(frozen=True, slots=True)
class Rate:
    """One request every ``every_ms`` in the long run, ``burst`` at once."""

    name: str
    every_ms: int
    burst: int


ENTRY_BY_PERSON: Final = Rate("device_entry_person", every_ms=30_000, burst=10)
"""Code entries of a person: 20^8 codes, ten minutes each, leave no hope of a guess."""
ENTRY_BY_ADDRESS: Final = Rate("device_entry_address", every_ms=6_000, burst=30)
"""Code entries from an address, whoever they are."""
BEGIN_BY_ADDRESS: Final = Rate("device_begin_address", every_ms=3_000, burst=20)
"""Devices that begin from an address."""
BEGIN_BY_TENANT: Final = Rate("device_begin_tenant", every_ms=100, burst=300)
"""Devices that begin in a tenant."""
NAMELESS_BY_TENANT: Final = Rate("nameless_tenant", every_ms=50, burst=1_000)
"""Refused tries that name nobody: each leaves a record, and strangers could fill a tenant's log
from ever new addresses. Tries that succeed, or are about somebody, are not counted."""
_NOWHERE: Final = "-"
"""What all are counted as whose address is not known."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """What the algorithm makes of one request."""

    next_ms: int
    """The theoretical arrival time to keep."""
    wait_ms: int
    """Milliseconds to wait before trying again; 0 when the request is allowed."""


def arrive(rate: Rate, *, now_ms: int, stored_ms: int) -> Arrival:
    """One step of the algorithm; ``stored_ms`` is 0 for a first request.

    ``limits`` runs this function inside of Redis, where it is atomic.
    """
    start = max(now_ms, stored_ms)
    following = start + rate.every_ms
    early = following - now_ms - rate.every_ms * rate.burst
    return Arrival(stored_ms, early) if early > 0 else Arrival(following, 0)


def network(ip: str) -> str:
    """What an address is counted as: itself, or for IPv6 its /64; all together without one."""
    if not ip:
        return _NOWHERE
    try:
        address = ipaddress.ip_address(ip)
    except ValueError:
        return ip
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, _PREFIX6), strict=False))
    return str(address)
