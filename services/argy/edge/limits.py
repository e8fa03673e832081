"""Bounds of one request: headers, body, time, and how many are served at once."""

import asyncio
import re
import time
from collections import Counter
from dataclasses import dataclass
from typing import Final

from argy.base.errors import (
    ArgyError,
    DeadlineExceeded,
    InvalidArgument,
    ResourceExhausted,
    Unavailable,
)
from argy.edge.proxies import network_of
from argy.edge.request import App, Message, Receive, Scope, Send, header_values, state_of
from argy.edge.room import KnownNetworks, Room

MAX_BODY_BYTES: Final = 1024 * 1024
MAX_HEADERS: Final = 64
MAX_HEADER_BYTES: Final = 16 * 1024
"""Of names and values together; the request target counts too."""
_SHARE: Final = 4
_HOST: Final = re.compile(rb"(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,253})(:[0-9]{1,5})?")


@dataclass(frozen=True, slots=True)
class Bounds:
    """What depends on the deployment."""

    requests: int = 256
    """Requests at a time in one process."""
    body_s: float = 10.0
    """How long a body may take to arrive."""
    request_s: float = 30.0
    """How long a request may take, its body included."""

    @property
    def bodies(self) -> int:
        """Requests whose bodies one address, or IPv6 /64, may let be waited for at a time."""
        return max(self.requests // _SHARE, 2)


def limits(app: App, bounds: Bounds, known: KnownNetworks) -> App:
    """Refuse what is too large, too slow, or too much at once.

    The body is counted as it arrives, whatever its length is said to be. What is sent slowly takes
    no place of a request that is all there, and of the places for it no network takes another's.
    """
    bodies = Bodies(bounds, known)

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        if bodies.running >= bounds.requests:
            raise Unavailable(
                "too many requests at once: try again", reason="TOO_BUSY", retry_after_ms=1_000
            )
        bodies.running += 1
        state = state_of(scope)
        try:
            _check_headers(scope)
            async with asyncio.timeout(bounds.request_s):
                body = bodies.shared(_bounded(receive, bounds.body_s), state.client_ip)
                await app(scope, body, send)
        except TimeoutError as error:
            raise DeadlineExceeded("the request took too long", reason="TOO_SLOW") from error
        finally:
            bodies.running -= 1
            if state.let_in:
                known.add(state.client_ip)

    return serve


def _check_headers(scope: Scope) -> None:
    headers = scope["headers"]
    size = sum(len(name) + len(value) for name, value in headers)
    size += len(scope["raw_path"]) + len(scope["query_string"])
    if len(headers) > MAX_HEADERS or size > MAX_HEADER_BYTES:
        raise InvalidArgument(
            f"more than {MAX_HEADERS} headers or {MAX_HEADER_BYTES} bytes of them",
            reason="HEADERS_TOO_LARGE",
        )
    _check_version(scope)
    coding = header_values(scope, b"transfer-encoding")
    if coding and [value.strip().lower() for value in coding] != [b"chunked"]:
        # RFC 9112 §6.3: with another last coding nobody knows where the request ends.
        raise InvalidArgument("the only transfer coding is chunked", reason="MALFORMED_HTTP")
    length = header_values(scope, b"content-length")
    if length and int(length[0]) > MAX_BODY_BYTES:
        raise _too_large()


def _check_version(scope: Scope) -> None:
    version, hosts = scope["http_version"], header_values(scope, b"host")
    if version not in ("1.0", "1.1"):
        raise InvalidArgument("speak HTTP/1.1", reason="MALFORMED_HTTP")
    # RFC 9112 §3.2. Nothing here believes in it, but what stands before us may.
    if not (version == "1.0" and not hosts) and not (len(hosts) == 1 and _HOST.fullmatch(hosts[0])):
        raise InvalidArgument(
            "Host must be given once, as a name or an address with or without a port",
            reason="MALFORMED_HTTP",
            field="Host",
        )
    if version == "1.0" and header_values(scope, b"transfer-encoding"):
        # RFC 9112 §6.1: what stands before us may have taken the body for the next request.
        raise InvalidArgument("HTTP/1.0 has no transfer coding", reason="MALFORMED_HTTP")


class _Awaited:
    """A part of a body that is on its way."""

    __slots__ = ("_timeout", "gave_up")

    def __init__(self, timeout: asyncio.Timeout) -> None:
        self._timeout = timeout
        self.gave_up = False

    def give_up(self) -> bool:
        """Wait no longer."""
        if not self.gave_up:
            self.gave_up = True
            self._timeout.reschedule(asyncio.get_running_loop().time())
            return True
        return False


class Bodies:
    """Requests that run, and bodies that are on their way: as many as there are requests."""

    def __init__(self, bounds: Bounds, known: KnownNetworks) -> None:
        self.running = 0
        self._most = bounds.bodies
        self._room = Room(bounds.requests, known)
        self._waiting: Counter[str] = Counter()

    def shared(self, receive: Receive, address: str) -> Receive:
        """What receives a body from an address; while it waits, the request takes no place."""
        client = network_of(address)

        async def shared() -> Message:
            if self._waiting[client] >= self._most:
                raise _too_many_bodies()
            self._waiting[client] += 1
            self.running -= 1
            timeout = asyncio.timeout(None)
            waiting = _Awaited(timeout)
            try:
                async with timeout:
                    if not self._room.enter(waiting, address):
                        raise _too_many_bodies()
                    return await receive()
            except TimeoutError:
                if waiting.gave_up:
                    raise _too_many_bodies() from None
                raise
            finally:
                self._room.leave(waiting, address)
                self.running += 1
                self._waiting[client] -= 1
                if not self._waiting[client]:
                    del self._waiting[client]

        return shared


def _too_many_bodies() -> Unavailable:
    return Unavailable(
        "too many bodies of your network are on their way: try again",
        reason="TOO_BUSY",
        retry_after_ms=1_000,
    )


def _bounded(receive: Receive, body_s: float) -> Receive:
    received = 0
    ends_s: float | None = None

    async def bounded() -> Message:
        nonlocal received, ends_s
        ends_s = ends_s or time.monotonic() + body_s
        try:
            async with asyncio.timeout(max(ends_s - time.monotonic(), 0)):
                message = await receive()
        except TimeoutError:
            raise DeadlineExceeded(
                f"the body did not arrive within {body_s:g} s", reason="BODY_TOO_SLOW"
            ) from None
        received += len(message.get("body", b""))
        if received > MAX_BODY_BYTES:
            raise _too_large()
        return message

    return bounded


def _too_large() -> ArgyError:
    return ResourceExhausted(
        f"the body has more than {MAX_BODY_BYTES} bytes", reason="BODY_TOO_LARGE"
    )
