"""Signing somebody in by a mailed link, as the edge does it for them, on a running platform."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from argy.api.authn.v1.magic_link_pb2 import RedeemLinkRequest, RequestLinkRequest
from argy.api.authn.v1.magic_link_pb2_grpc import MagicLinkServiceStub
from argy.api.authn.v1.session_pb2 import CheckSessionRequest, Device, EndSessionRequest
from argy.api.authn.v1.session_pb2_grpc import SessionServiceStub
from argy.client import Connection

PATIENCE_S = 20.0


@dataclass
class Person:
    """Somebody who signed in by a link."""

    subject: str
    access_token: str
    channel: Any

    @property
    def bearer(self) -> tuple[tuple[str, str], ...]:
        return (("authorization", f"Bearer {self.access_token}"),)

    async def end_session(self, session_id: str) -> None:
        sessions: Any = SessionServiceStub(self.channel)
        await sessions.EndSession(EndSessionRequest(session_id=session_id), metadata=self.bearer)


@asynccontextmanager
async def signed_in(
    platform: Any, tenant_id: UUID, *, email: str, subject: str
) -> AsyncIterator[Person]:
    """Somebody of the tenant, signed in for as long as the context lasts."""
    keys = str(platform.home / "keys" / "edge.json")
    edge = replace(platform.endpoint, source="edge", keys_file=keys)
    async with Connection(edge, timeout_s=10) as connection:
        channel = connection.channel(tenant_id)
        links: Any = MagicLinkServiceStub(channel)
        sessions: Any = SessionServiceStub(channel)
        here = Device(ip=f"2001:db8:{uuid4().hex[:4]}::1", user_agent="Browser/1")
        asked = await links.RequestLink(RequestLinkRequest(email=email, device=here))
        text = await mail_to(platform.home / "mail", email)
        (line,) = [line for line in text.splitlines() if "/link/" in line]
        redeemed = await links.RedeemLink(
            RedeemLinkRequest(
                secret=line.rpartition("/")[2], browser_secret=asked.browser_secret, device=here
            )
        )
        secret = redeemed.session.secret
        checked = await sessions.CheckSession(CheckSessionRequest(secret=secret))
        yield Person(subject, checked.access_token, channel)


async def mail_to(folder: Path, email: str) -> str:
    """The text of a mail, once it has come."""
    async with asyncio.timeout(PATIENCE_S):
        while not (texts := _texts(folder, email)):  # noqa: ASYNC110 - mail signals nobody
            await asyncio.sleep(0.01)
    return texts[0]


def _texts(folder: Path, email: str) -> list[str]:
    found = (json.loads(file.read_text()) for file in folder.glob("*.json"))
    return [str(mail["text"]) for mail in found if mail["to"] == email]
