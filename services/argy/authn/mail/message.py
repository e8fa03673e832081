"""A mail that sign-in sends, and where mail goes."""

from dataclasses import dataclass, field
from typing import Protocol
from uuid import UUID

from argy.base.ids import uuid7


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail:
    """One mail to one person."""

    to: str
    subject: str
    text: str = field(repr=False)
    kind: str
    """What it is about, for the log: ``sign_in``, ``invitation``, ``notice`` and so on."""
    tenant: str
    user_id: UUID | None = None
    """Whose mail it is, for the audit log."""
    id: UUID = field(default_factory=uuid7)


class MailError(Exception):
    """A mail was not taken; the message says why, for the log, and holds nothing of the mail."""


class MailRefused(MailError):
    """A mail that will never be taken: trying again is of no use."""


class MailSink(Protocol):
    """Where mail goes."""

    async def deliver(self, mail: Mail) -> None:
        """Deliver one mail; raises MailRefused, MailError or OSError."""
        ...
