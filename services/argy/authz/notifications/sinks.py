"""Where notifications go: a mail server, and a webhook that takes CloudEvents.

Both are named by whoever runs the platform, never by a tenant, and hear of every tenant.
"""

import asyncio
import hashlib
import hmac
import json
import ssl
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import parseaddr
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, urlsplit

import aiosmtplib

from argy.authz.notifications.notifier import DeliveryError, Notification, Sink
from argy.base.errors import InvalidArgument
from argy.base.foreign_text import in_mail, quoted
from argy.base.smtp import SmtpServer, is_loopback

MAX_RECIPIENTS: Final = 50
MIN_KEY_CHARS: Final = 32
SIGNATURE_HEADER: Final = "X-Argy-Signature"
_MAX_STATUS_LINE: Final = 1_024
_MAX_VALUE: Final = 4_000
_WRITTEN: Final = frozenset({"reason", "comment"})


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkSettings:
    """What whoever runs the platform wrote; empty for a sink that isn't wanted."""

    smtp_url: str = ""
    sender: str = ""
    recipients: str = ""
    webhook_url: str = ""
    webhook_key: str = ""
    ca: Path | None = None


def sinks_of(settings: SinkSettings) -> list[Sink]:
    """The sinks that are set up.

    Raises:
        InvalidArgument: naming what is missing, malformed or not safe.
    """
    sinks: list[Sink] = []
    tls = ssl.create_default_context(cafile=None if settings.ca is None else str(settings.ca))
    tls.minimum_version = ssl.TLSVersion.TLSv1_2
    if settings.smtp_url:
        sinks.append(_smtp(settings))
    elif settings.sender or settings.recipients:
        raise _bad("ARGY_NOTIFY_SMTP_URL", "is missing: ARGY_NOTIFY_FROM or ARGY_NOTIFY_TO is set")
    if settings.webhook_url:
        sinks.append(_webhook(settings, tls))
    elif settings.webhook_key:
        raise _bad("ARGY_NOTIFY_WEBHOOK_URL", "is missing: ARGY_NOTIFY_WEBHOOK_KEY is set")
    return sinks


class SmtpSink:
    """Mails each notification. STARTTLS or TLS, with a verified certificate, unless unsafe."""

    name = "smtp"

    def __init__(self, server: SmtpServer, *, sender: str, recipients: tuple[str, ...]) -> None:
        self._server = server
        self._sender = sender
        self._recipients = recipients

    async def deliver(self, notification: Notification) -> None:
        """See ``Sink``."""
        message = mail_of(notification, sender=self._sender, recipients=self._recipients)
        try:
            await self._server.send(message, recipients=self._recipients)
        except aiosmtplib.SMTPException as error:
            raise DeliveryError(" ".join(str(error).split())[:200]) from error


class WebhookSink:
    """Posts each notification as a CloudEvent (1.0, structured mode), signed with HMAC-SHA256.

    ``X-Argy-Signature: t=<seconds>,v1=<hex>``, where the code is of ``<seconds>.<body>``, so that a
    receiver can refuse what is old. Nothing but a 2xx answer is success; no redirect is followed.
    """

    name = "webhook"

    def __init__(
        self,
        url: SplitResult,
        *,
        key: str,
        tls: ssl.SSLContext,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        self._url = url
        self._key = key.encode()
        self._tls = tls if url.scheme == "https" else None
        self._now_s = now_s

    async def deliver(self, notification: Notification) -> None:
        """See ``Sink``."""
        host = self._url.hostname or ""
        port = self._url.port or (443 if self._tls else 80)
        reader, writer = await asyncio.open_connection(
            host, port, ssl=self._tls, limit=_MAX_STATUS_LINE
        )
        try:
            writer.write(self._request(event_of(notification)))
            await writer.drain()
            status = _status(await reader.readline())
        except ValueError as error:
            raise DeliveryError("the answer is not HTTP") from error
        finally:
            # The status is all that is wanted: whatever else would come is not waited for.
            with suppress(RuntimeError):
                writer.transport.abort()
        if not 200 <= status < 300:
            raise DeliveryError(f"answered {status}")

    def _request(self, event: Mapping[str, object]) -> bytes:
        body = json.dumps(event, ensure_ascii=False).encode()
        path = self._url.path or "/"
        target = f"{path}?{self._url.query}" if self._url.query else path
        lines = (
            f"POST {target} HTTP/1.1",
            f"Host: {self._url.netloc}",
            "Content-Type: application/cloudevents+json; charset=utf-8",
            f"Content-Length: {len(body)}",
            f"{SIGNATURE_HEADER}: {signature(self._key, body, int(self._now_s()))}",
            "User-Agent: argy",
            "Connection: close",
        )
        return "\r\n".join((*lines, "", "")).encode() + body


def signature(key: bytes, body: bytes, seconds: int) -> str:
    """The value of ``X-Argy-Signature``: the time, and HMAC-SHA256 of time and body."""
    code = hmac.new(key, f"{seconds}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={seconds},v1={code}"


def event_of(notification: Notification) -> dict[str, object]:
    """The notification as a CloudEvent (https://cloudevents.io, 1.0, JSON format)."""
    return {
        "specversion": "1.0",
        "id": str(notification.id),
        "source": "/argy/authz",
        "type": f"argy.{notification.kind}",
        "subject": notification.resource,
        "time": _time(notification.time_ms),
        "datacontenttype": "application/json",
        "data": {
            "tenant_id": str(notification.tenant_id),
            "tenant": notification.tenant,
            **notification.data,
        },
    }


def mail_of(
    notification: Notification, *, sender: str, recipients: tuple[str, ...]
) -> EmailMessage:
    """The notification as a mail. What people wrote is in its body only, as no address."""
    message = EmailMessage()
    message["From"] = sender
    message["To"] = ", ".join(recipients)
    message["Subject"] = f"[Argy] {notification.kind} in {notification.tenant}"
    # When it happened, at every attempt the same (RFC 5322 §3.6.1: there must be one).
    message["Date"] = datetime.fromtimestamp(notification.time_ms // 1_000, UTC)
    message["Message-ID"] = f"<{notification.id}@{parseaddr(sender)[1].rpartition('@')[2]}>"
    message["Auto-Submitted"] = "auto-generated"
    lines = [
        f"{notification.kind}: {_text(notification.resource)}",
        f"tenant: {notification.tenant}",
        f"time: {_time(notification.time_ms)}",
        *(f"{name}: {_shown(name, value)}" for name, value in notification.data.items()),
        "",
        "Look it up in Argy before you act on it: a mail proves nothing.",
    ]
    message.set_content("\n".join(lines))
    return message


def _shown(name: str, value: object) -> str:
    """A value; what somebody wrote freely stands between quotation marks."""
    return quoted(_text(value)) if name in _WRITTEN else _text(value)


def _text(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return in_mail(text, most=_MAX_VALUE)


def _time(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds")


def _status(line: bytes) -> int:
    version, _, rest = line.partition(b" ")
    if not version.startswith(b"HTTP/1."):
        raise ValueError(line)
    return int(rest[:3])


def _smtp(settings: SinkSettings) -> SmtpSink:
    server = SmtpServer(settings.smtp_url, field="ARGY_NOTIFY_SMTP_URL", ca=settings.ca)
    recipients = tuple(filter(None, (part.strip() for part in settings.recipients.split(","))))
    for name, addresses in (("FROM", (settings.sender,)), ("TO", recipients)):
        if not addresses or not all(map(_is_address, addresses)):
            raise _bad(f"ARGY_NOTIFY_{name}", "must be set to addresses like ops@example.com")
    if len(recipients) > MAX_RECIPIENTS:
        raise _bad("ARGY_NOTIFY_TO", f"names more than {MAX_RECIPIENTS} addresses: use a list")
    return SmtpSink(server, sender=settings.sender, recipients=recipients)


def _webhook(settings: SinkSettings, tls: ssl.SSLContext) -> WebhookSink:
    url = _url("ARGY_NOTIFY_WEBHOOK_URL", settings.webhook_url, ("https", "http"))
    if url.scheme == "http" and not is_loopback(url.hostname or ""):
        raise _bad("ARGY_NOTIFY_WEBHOOK_URL", "must be https, but on this machine")
    if url.username or url.password or url.fragment:
        raise _bad("ARGY_NOTIFY_WEBHOOK_URL", "must not have a user, password or fragment")
    if len(settings.webhook_key) < MIN_KEY_CHARS:
        raise _bad("ARGY_NOTIFY_WEBHOOK_KEY", f"must have {MIN_KEY_CHARS} characters or more")
    return WebhookSink(url, key=settings.webhook_key, tls=tls)


def _url(name: str, text: str, schemes: tuple[str, ...]) -> SplitResult:
    try:
        url = urlsplit(text)
        port_is_sound = url.port is None or url.port > 0
    except ValueError as error:
        raise _bad(name, "is not a URL") from error
    if url.scheme not in schemes or not url.hostname or not port_is_sound:
        raise _bad(name, f"must start with one of: {', '.join(f'{s}://' for s in schemes)}")
    if not text.isascii() or not text.isprintable() or " " in text:
        raise _bad(name, "has characters that don't belong into a URL")
    return url


def _is_address(text: str) -> bool:
    name, address = parseaddr(text)
    local, _, domain = address.rpartition("@")
    return not name and address == text and bool(local and domain) and text.isprintable()


def _bad(name: str, problem: str) -> InvalidArgument:
    return InvalidArgument(f"{name} {problem}", reason="CONFIG_INVALID", field=name)
