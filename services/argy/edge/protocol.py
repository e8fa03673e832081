"""Uvicorn's HTTP/1.1 protocol with the bounds that it lacks: of a head's size and its time.

Without them a client could send one header for ever, byte by byte, and hold the connection and the
memory. Applied before there is a request that a middleware could look at.
"""

import asyncio
import json
from typing import Any, ClassVar, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from argy.edge.server import Peers

MAX_HEAD_BYTES: Final = 32 * 1024
"""Bytes that may arrive before the head is complete; the exact limits are in ``limits``."""
_PIECE_BYTES: Final = 4 * 1024
"""What is counted at a time: a read may hold the end of a head, and much that follows it."""
_LINGER_S: Final = 1.0
_FLUSH_S: Final = 30.0
"""How long a client may take to read the last of its answers."""


class BoundedProtocol(HttpToolsProtocol):
    """Closes a connection whose next head is too large or too slow."""

    max_head_s: ClassVar[float] = 10.0
    """From the first byte, or from the connection's start, to the end of the head."""

    def __init__(self, *args: Any, peers: Peers, **kwargs: Any) -> None:
        """As uvicorn makes it; ``peers`` are counted together."""
        super().__init__(*args, **kwargs)
        self._peers = peers
        self._address: str | None = None
        self._in_head = True
        self._head_bytes = 0
        self._beside_body = 0
        self._requests = 0
        self._head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A connection is open: its first head is awaited."""
        super().connection_made(transport)
        address = self.client[0] if self.client else ""
        if not self._peers.enter(self, address):
            self._refuse(503, "Service Unavailable", "TOO_MANY_CONNECTIONS")
            return
        self._address = address
        self._start_timer()

    def give_up(self) -> bool:
        """End a connection that waits for a request; see ``argy.edge.room.Guest``."""
        busy = self.cycle is not None and not self.cycle.response_complete
        if busy or self.pipeline or self._address is None or self.transport.is_closing():
            return False
        self._refuse(503, "Service Unavailable", "TOO_MANY_CONNECTIONS")
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self._stop_timer()
        if self._address is not None:
            self._peers.leave(self, self._address)
            self._address = None
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """A head begins."""
        super().on_message_begin()
        self._in_head = True
        if self._head_timer is None:
            self._start_timer()

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header; what comes after the body is none (RFC 9110 §6.5.1), and is forgotten."""
        if self._in_head:
            super().on_header(name, value)

    def on_body(self, body: bytes) -> None:
        """A part of a body."""
        self._beside_body = 0
        super().on_body(body)

    def on_headers_complete(self) -> None:
        """A head is complete."""
        self._stop_timer()
        self._in_head = False
        self._beside_body = 0
        super().on_headers_complete()
        if self.parser.should_upgrade():
            # Uvicorn forgets what follows in the same read, so that a later one would begin in the
            # middle of it.
            self.cycle.keep_alive = False

    def on_message_complete(self) -> None:
        """A request is complete: what follows belongs to the next head."""
        super().on_message_complete()
        self._in_head = True
        # Not when the next head begins: that may be in the middle of a read that holds all of it.
        self._head_bytes = 0
        self._requests += 1

    def on_response_complete(self) -> None:
        """An answer is written, though perhaps not sent."""
        super().on_response_complete()
        if self.transport.is_closing():
            self.loop.call_later(_FLUSH_S, self.transport.abort)

    def timeout_keep_alive_handler(self) -> None:
        """No other request came."""
        self.transport.close()
        self.loop.call_later(_LINGER_S, self.transport.abort)

    def data_received(self, data: bytes) -> None:
        """Bytes arrive."""
        for start in range(0, len(data), _PIECE_BYTES):
            if self._address is None or self.transport.is_closing():
                return
            self._take(data[start : start + _PIECE_BYTES])

    def _take(self, data: bytes) -> None:
        before = self._requests if self._in_head else -1
        self._head_bytes += len(data)
        self._beside_body += len(data)
        super().data_received(data)
        if not self._in_head and self._beside_body > MAX_HEAD_BYTES:
            # Extensions of a chunk, or trailers, which the parser keeps until they end.
            self._refuse(431, "Request Header Fields Too Large", "HEADERS_TOO_LARGE")
        if not self._in_head or self._requests != before:
            return
        # Line ends between two requests are no head yet, and uvicorn stops its timer for them.
        if self._head_timer is None:
            self._start_timer()
        if self._head_bytes > MAX_HEAD_BYTES:
            self._refuse(431, "Request Header Fields Too Large", "HEADERS_TOO_LARGE")

    def send_400_response(self, msg: str) -> None:
        """What is no HTTP/1.1 is refused, and the connection ends."""
        self._refuse(400, "Bad Request", "MALFORMED_HTTP")

    def _start_timer(self) -> None:
        self._head_timer = self.loop.call_later(
            self.max_head_s, self._refuse, 408, "Request Timeout", "HEAD_TOO_SLOW"
        )

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _refuse(self, status: int, phrase: str, reason: str) -> None:
        self._stop_timer()
        if self.transport.is_closing():
            return
        # While an answer is being sent, a second one would be read as part of it.
        if self.cycle is None or self.cycle.response_complete or self._unanswered():
            body = json.dumps(
                {
                    "type": f"urn:argy:error:{reason}",
                    "title": phrase,
                    "status": status,
                    "reason": reason,
                }
            ).encode()
            head = (
                f"HTTP/1.1 {status} {phrase}\r\ncontent-type: application/problem+json\r\n"
                f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
            )
            self.transport.write(head.encode() + body)
        self.transport.close()
        # TLS waits for the other side's farewell, which this other side need not say.
        self.loop.call_later(_LINGER_S, self.transport.abort)

    def _unanswered(self) -> bool:
        return not self.cycle.response_started and not self.pipeline
