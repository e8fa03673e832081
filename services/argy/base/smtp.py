"""A mail server, named by a URL by whoever runs the platform; how a message is handed to it."""

import ipaddress
import ssl
from collections.abc import Sequence
from contextlib import suppress
from email.message import EmailMessage
from pathlib import Path
from typing import Any, Final
from urllib.parse import SplitResult, unquote, urlsplit

import aiosmtplib

from argy.base.errors import InvalidArgument

_PORTS: Final = {"smtps": 465, "smtp": 587, "unsafe-smtp": 25}
_LEAVE_S: Final = 1.0
"""How long a server that took a message may take to answer to QUIT."""


class SmtpServer:
    """Takes messages over STARTTLS (``smtp``) or TLS (``smtps``), with a verified certificate.

    ``unsafe-smtp`` sends in the clear, and no password but to this machine.
    """

    def __init__(self, url: str, *, field: str, ca: Path | None = None) -> None:
        """Of ``smtp[s]://[user:password@]host[:port]``; ``field`` is the setting it is from.

        Raises:
            InvalidArgument: naming ``field``, for a malformed URL or one that is not safe.
        """
        parts = _parts(url, field)
        tls: ssl.SSLContext | None = None
        if parts.scheme != "unsafe-smtp":
            tls = ssl.create_default_context(cafile=None if ca is None else str(ca))
            tls.minimum_version = ssl.TLSVersion.TLSv1_2
        self._server: dict[str, Any] = {
            "hostname": parts.hostname or "",
            "port": parts.port or _PORTS[parts.scheme],
            "username": unquote(parts.username) if parts.username else None,
            "password": unquote(parts.password) if parts.password else None,
            "use_tls": parts.scheme == "smtps",
            "start_tls": parts.scheme == "smtp",
            "tls_context": tls,
            # Whoever sends limits the whole attempt.
            "timeout": None,
        }

    async def send(self, message: EmailMessage, *, recipients: Sequence[str]) -> None:
        """Hand over a message, to these mailboxes and not to what its header can be read as.

        It has no time limit of its own; cancelled, it ends at once.

        Raises:
            aiosmtplib.SMTPException: when the server can't be had or refuses.
        """
        client = aiosmtplib.SMTP(**self._server)
        try:
            await client.connect()
            await client.send_message(message, recipients=list(recipients))
            # It is taken: what the server says to our leaving changes nothing of that.
            with suppress(aiosmtplib.SMTPException, OSError):
                await client.quit(timeout=_LEAVE_S)
        finally:
            # Not as its context manager ends, which waits for an answer to QUIT, also when
            # cancelled for answering to nothing.
            client.close()


def is_loopback(host: str) -> bool:
    """Whether a host, by name or address, is this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _parts(url: str, field: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        port_is_sound = parts.port is None or parts.port > 0
    except ValueError:
        # Without what it says: of a password with a / in it, it shows what stands before that.
        raise _bad(field, "is not a URL") from None
    if (
        parts.scheme not in _PORTS
        or not parts.hostname
        or not port_is_sound
        or parts.path not in ("", "/")
        or parts.query
        or not url.isascii()
        or not url.isprintable()
        or " " in url
    ):
        raise _bad(field, "is smtp[s]://[user:password@]host[:port]")
    if parts.scheme == "unsafe-smtp" and parts.username and not is_loopback(parts.hostname):
        raise _bad(field, "would send the password in the clear: use smtp or smtps")
    return parts


def _bad(field: str, problem: str) -> InvalidArgument:
    return InvalidArgument(f"{field} {problem}", reason="CONFIG_INVALID", field=field)
