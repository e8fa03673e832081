"""The development mailbox: what would have gone by mail, on a page of this machine."""

import asyncio
import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response

from argy.base.errors import NotFound
from argy.edge.pages.views import Views
from argy.edge.settings import LOCAL

_SHOWN: Final = 50


@dataclass(frozen=True, slots=True)
class Mail:
    """One message."""

    to: str
    subject: str
    time: datetime
    parts: tuple[tuple[str, bool], ...]
    """Pieces of its text, each with whether it is a link into these pages."""


class Mailbox:
    """The page of the folder that the sign-in service writes mail to, the newest first."""

    __slots__ = ("_folder", "_link", "_views")

    def __init__(self, folder: Path, views: Views, *, base_url: str) -> None:
        """Links of ``base_url`` can be followed from the page; all others are text."""
        self._folder = folder
        self._views = views
        self._link = re.compile(f"({re.escape(base_url)}/[A-Za-z0-9/_.?=&%-]+)")

    async def show(self, request: Request) -> Response:
        """The page, for who calls this machine by its own name.

        Any other name may have been bound to it a moment ago by a site whose page asks (DNS
        rebinding), which the browser then takes for that site's own.

        Raises:
            NotFound: for any other name.
        """
        if urlsplit(f"//{request.headers.get('host', '')}").hostname not in LOCAL:
            raise NotFound("There is nothing here")
        mails = await asyncio.to_thread(self._read)
        return self._views.page("dev_mail.html", mails=mails)

    def _read(self) -> list[Mail]:
        # Names are UUIDv7, so they sort by time.
        newest = sorted(self._folder.glob("*.json"), reverse=True)[:_SHOWN]
        return [mail_of(json.loads(file.read_bytes()), self._link) for file in newest]


def mail_of(document: dict[str, Any], link: re.Pattern[str]) -> Mail:
    """A message as the page shows it; ``link`` has one group, and finds what can be followed."""
    pieces = link.split(document["text"])
    return Mail(
        to=document["to"],
        subject=document["subject"],
        time=datetime.fromtimestamp(document["time_ms"] / 1000, UTC),
        # The pattern's one group makes every second piece a link.
        parts=tuple((piece, index % 2 == 1) for index, piece in enumerate(pieces) if piece),
    )
