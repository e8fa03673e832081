"""A Redis connection that does one thing cheaply: pipelines of commands with one-line replies.

On the path of every signed call, where redis-py's pipeline costs several times as much.
RESP2: https://redis.io/docs/latest/develop/reference/protocol-spec/
"""

import asyncio
import ssl
from typing import Final, cast
from urllib.parse import parse_qs, unquote, urlsplit

_MAX_REPLY_BYTES: Final = 16 * 1024 * 1024


class RespError(ConnectionError):
    """The connection is lost, or the server said something that was not expected."""


def command(*words: bytes) -> bytes:
    """Encode one command."""
    head = b"*%d\r\n" % len(words)
    return head + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)


class RespConnection(asyncio.Protocol):
    """One connection, one pipeline in flight."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._expected = 0
        self._replies: asyncio.Future[list[bytes]] | None = None

    @classmethod
    async def connect(cls, url: str, *, tls: ssl.SSLContext | None = None) -> "RespConnection":
        """Connect, with TLS if a context is given; log in and select the URL's database.

        Raises:
            OSError: if that fails (``RespError`` is one).
        """
        loop = asyncio.get_running_loop()
        parts = urlsplit(url)
        user, password = unquote(parts.username or "default"), unquote(parts.password or "")
        if parts.scheme == "unix":
            _, connection = await loop.create_unix_connection(cls, unquote(parts.path))
            database = parse_qs(parts.query).get("db", ["0"])[-1]
        else:
            _, connection = await loop.create_connection(
                cls,
                parts.hostname or "127.0.0.1",
                parts.port or 6379,
                ssl=tls,
            )
            database = parts.path.strip("/") or "0"
        words = [command(b"SELECT", database.encode())]
        if password:
            words.insert(0, command(b"AUTH", user.encode(), password.encode()))
        try:
            for reply in await connection.pipeline(b"".join(words), len(words)):
                if reply != b"+OK":
                    raise RespError("Redis refused the log-in")
        except BaseException:
            connection.close()
            raise
        return connection

    def pipeline(self, data: bytes, replies: int) -> "asyncio.Future[list[bytes]]":
        """Send encoded commands; the future holds that many reply lines, type byte included."""
        if self._transport is None or self._replies is not None:
            raise RespError("the connection is closed or busy")
        self._expected = replies
        self._replies = asyncio.get_running_loop().create_future()
        self._transport.write(data)
        return self._replies

    @property
    def usable(self) -> bool:
        """Whether a pipeline can be sent."""
        return self._transport is not None and self._replies is None

    def close(self) -> None:
        """Drop the connection; a pipeline in flight fails."""
        if self._transport is not None:
            self._transport.abort()
        self.connection_lost(None)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Collect lines until the pipeline in flight is answered."""
        buffer = self._buffer + data if self._buffer else data
        future = self._replies
        lines = buffer.split(b"\r\n")
        if future is None or len(lines) - 1 > self._expected or len(buffer) > _MAX_REPLY_BYTES:
            self.close()  # a reply that nobody asked for: the stream is out of step
            return
        if len(lines) - 1 < self._expected:
            self._buffer = buffer
            return
        self._buffer = lines.pop()
        self._replies = None
        if not future.done():
            future.set_result(lines)

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail what is in flight."""
        self._transport = None
        future, self._replies = self._replies, None
        if future is not None and not future.done():
            future.set_exception(RespError("the connection to Redis was lost"))
