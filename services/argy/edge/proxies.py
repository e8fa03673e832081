"""Who is at the other end of a request when proxies stand between."""

import ipaddress
from collections.abc import Sequence
from typing import Final

from argy.base.errors import InvalidArgument
from argy.edge.request import App, Receive, Scope, Send, header_values, state_of

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_MAX_HOPS: Final = 16
_IPV6_PREFIX: Final = 64
"""One customer has at least as many addresses as that leaves."""


def parse_networks(text: str, *, field: str) -> tuple[Network, ...]:
    """Networks such as "10.0.0.0/8, 2001:db8::/32"; none for an empty text.

    Raises:
        InvalidArgument: naming ``field``.
    """
    parts = [part.strip() for part in text.split(",") if part.strip()]
    try:
        return tuple(ipaddress.ip_network(part) for part in parts)
    except ValueError as error:
        raise InvalidArgument(f"{field}: {error}", field=field) from error


def clients(app: App, proxies: Sequence[Network]) -> App:
    """Note the client's address: it is shown to people, and limits count by it."""

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        peer = scope["client"][0] if scope.get("client") else ""
        forwarded = header_values(scope, b"x-forwarded-for")
        state_of(scope).client_ip = client_ip(peer, forwarded, proxies)
        await app(scope, receive, send)

    return serve


def client_ip(peer: str, forwarded: Sequence[bytes], proxies: Sequence[Network]) -> str:
    """The last address of the way here that is not one of our proxies.

    Every proxy appends whom it saw to X-Forwarded-For, so the list is read from its end, and only
    as far as our own proxies wrote it: what stands before was written by the client.
    """
    # A socket that listens to both families has IPv4 clients under addresses of IPv6.
    client = str(address_of(peer) or peer)
    hops = [hop for value in forwarded for hop in value.decode("latin-1").split(",")]
    for hop in reversed(hops[-_MAX_HOPS:]):
        if not is_ours(client, proxies):
            break
        known = address_of(hop.strip())
        if known is None:
            break
        client = str(known)
    return client


def network_of(address: str) -> str:
    """What an address is counted as: itself, or for IPv6 its /64; itself too when it is none."""
    known = address_of(address)
    if isinstance(known, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((known.packed, _IPV6_PREFIX), strict=False))
    return str(known or address)


def is_ours(text: str, proxies: Sequence[Network]) -> bool:
    """Whether an address is one of our own proxies."""
    known = address_of(text)
    return known is not None and any(known in network for network in proxies)


def address_of(text: str) -> _Address | None:
    """An address, of IPv4 where it is mapped into IPv6; None for what is none."""
    try:
        known = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = known.ipv4_mapped if isinstance(known, ipaddress.IPv6Address) else None
    return mapped or known
