"""Where mail goes: a mail server, or in development a folder that pages show."""

import asyncio
import json
import logging
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import parseaddr
from pathlib import Path
from typing import Final

import aiosmtplib

from argy.authn.mail.message import Mail, MailError, MailRefused, MailSink
from argy.base.errors import InvalidArgument
from argy.base.ids import uuid7_millis
from argy.base.smtp import SmtpServer

_MAX_MAILS: Final = 200
"""Mails that the folder keeps, the newest ones."""
_PERMANENT: Final = 500
_ABOUT_MAIL: Final = (
    aiosmtplib.SMTPSenderRefused,
    aiosmtplib.SMTPRecipientRefused,
    aiosmtplib.SMTPDataError,
)
_LOG: Final = logging.getLogger("argy.authn.mail")


@dataclass(frozen=True, slots=True, kw_only=True)
class MailSettings:
    """What whoever runs the platform wrote: a mail server, or a folder for development."""

    smtp_url: str = ""
    sender: str = ""
    ca: Path | None = None
    unsafe_folder: Path | None = None


def sink_of(settings: MailSettings) -> MailSink:
    """The sink that is set up.

    Raises:
        InvalidArgument: naming what is missing, malformed, contradictory or not safe.
    """
    if settings.unsafe_folder is not None:
        if settings.smtp_url:
            raise _bad("ARGY_UNSAFE_MAIL_DIR", "and ARGY_MAIL_SMTP_URL are set: set one")
        return FolderSink(settings.unsafe_folder)
    if not settings.smtp_url:
        raise _bad("ARGY_MAIL_SMTP_URL", "is missing: people sign in by mail at first")
    return _smtp(settings)


class FolderSink:
    """Writes each mail to ``<folder>/<id>.json`` and its text to the log. Development only."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def deliver(self, mail: Mail) -> None:
        """See ``MailSink``."""
        await asyncio.to_thread(self._write, mail)
        _LOG.info("mail to %s: %s\n%s", mail.to, mail.subject, mail.text)

    def _write(self, mail: Mail) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        document = {
            "id": str(mail.id),
            "tenant": mail.tenant,
            "kind": mail.kind,
            "to": mail.to,
            "subject": mail.subject,
            "text": mail.text,
            "time_ms": uuid7_millis(mail.id),
        }
        scratch = self._folder / f".{mail.id}"
        # A writer that was killed leaves its own behind, and the mail comes again.
        scratch.unlink(missing_ok=True)
        descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(document, file, ensure_ascii=False, indent=1)
        scratch.rename(self._folder / f"{mail.id}.json")
        # Names are UUIDv7, so they sort by time.
        for old in sorted(self._folder.glob("*.json"))[:-_MAX_MAILS]:
            old.unlink(missing_ok=True)


class SmtpSink:
    """Hands mail to a server, with STARTTLS or TLS and a verified certificate, unless unsafe."""

    def __init__(self, server: SmtpServer, *, sender: str) -> None:
        self._server = server
        self._sender = sender

    async def deliver(self, mail: Mail) -> None:
        """See ``MailSink``; the outbox limits every attempt."""
        # Not out of the header, where a comma in an address makes two of it.
        recipients = [_address(mail).addr_spec]
        try:
            await self._server.send(message_of(mail, sender=self._sender), recipients=recipients)
        except aiosmtplib.SMTPException as error:
            raise _told(error) from error


def _told(error: aiosmtplib.SMTPException) -> MailError:
    """What an answer means; its kind and code only, for a server may tell what it was sent.

    5yz to MAIL, RCPT or DATA is for good (RFC 5321 §4.2.1). To a greeting or to AUTH it is about
    us, not about this mail: whoever runs the platform can put it right while mail waits.
    """
    first = error.recipients[0] if isinstance(error, aiosmtplib.SMTPRecipientsRefused) else error
    if not isinstance(first, aiosmtplib.SMTPResponseException):
        return MailError(type(first).__name__)
    about_mail = isinstance(first, _ABOUT_MAIL)
    told = f"{type(first).__name__} {first.code}"
    return MailRefused(told) if about_mail and first.code >= _PERMANENT else MailError(told)


def message_of(mail: Mail, *, sender: str) -> EmailMessage:
    """The mail as it is sent: plain text, which no client turns into anything else."""
    message = EmailMessage()
    message["From"] = sender
    message["To"] = _address(mail)
    message["Subject"] = mail.subject
    # When it was written, at every attempt the same (RFC 5322 §3.6.1: there must be one).
    message["Date"] = datetime.fromtimestamp(uuid7_millis(mail.id) // 1_000, UTC)
    message["Message-ID"] = f"<{mail.id}@{parseaddr(sender)[1].rpartition('@')[2]}>"
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(mail.text, cte="quoted-printable")
    return message


def _address(mail: Mail) -> Address:
    """To whom a mail goes: this mailbox alone, whatever signs of a list its name is made of.

    Raises:
        MailRefused: for a name that is read as another one (RFC 2047 §2).
    """
    local, _, domain = mail.to.rpartition("@")
    if "=?" in local:
        raise MailRefused("the address is an encoded word")
    return Address(username=local, domain=domain)


def _smtp(settings: MailSettings) -> SmtpSink:
    server = SmtpServer(settings.smtp_url, field="ARGY_MAIL_SMTP_URL", ca=settings.ca)
    _, address = parseaddr(settings.sender)
    if "@" not in address or not settings.sender.isprintable():
        raise _bad("ARGY_MAIL_FROM", "must be set to an address like Argy <sign-in@example.com>")
    return SmtpSink(server, sender=settings.sender)


def _bad(name: str, problem: str) -> InvalidArgument:
    return InvalidArgument(f"{name} {problem}", reason="CONFIG_INVALID", field=name)
