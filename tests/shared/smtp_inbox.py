"""A real SMTP server for tests, which tells what it took and answers as it is told to."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiosmtpd.smtp import SMTP


class Inbox:
    """What a mail server took, and how.

    Refuses the first ``refuse`` mails with ``answer``; does not answer to mail of ``held`` people
    before ``release`` is set.
    """

    def __init__(
        self, refuse: int = 0, *, answer: str = "451 try again", held: tuple[str, ...] = ()
    ) -> None:
        self.mails: list[Any] = []
        self.encrypted: list[bool] = []
        self.refuse = refuse
        self.attempts = 0
        self.reached = asyncio.Event()
        self.release = asyncio.Event()
        self._answer = answer
        self._held = held

    @property
    def recipients(self) -> list[str]:
        """To whom mail went, in the order of arrival."""
        return [address for mail in self.mails for address in mail.rcpt_tos]

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        self.attempts += 1
        self.reached.set()
        if any(address in self._held for address in envelope.rcpt_tos):
            await self.release.wait()
        if self.refuse:
            self.refuse -= 1
            return self._answer
        self.mails.append(envelope)
        self.encrypted.append(session.ssl is not None)
        return "250 OK"


@asynccontextmanager
async def mail_server(inbox: Inbox, **options: Any) -> AsyncIterator[int]:
    """Serve an inbox; yields the port on the loopback address."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: SMTP(inbox, loop=loop, hostname="mail.test", **options), "127.0.0.1", 0
    )
    async with server:
        yield server.sockets[0].getsockname()[1]
        inbox.release.set()
