"""Signing somebody in by a mailed link, as the edge does it for them, on a running platform."""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID, uuid4

from mail_folder import link_to

from argy.api.authn.v1.magic_link_pb2 import RedeemLinkRequest, RequestLinkRequest
from argy.api.authn.v1.magic_link_pb2_grpc import MagicLinkServiceStub
from argy.api.authn.v1.session_pb2 import CheckSessionRequest, Device, EndSessionRequest
from argy.api.authn.v1.session_pb2_grpc import SessionServiceStub
from argy.client import Connection


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
    async with Connection(edge, timeout_s=30) as connection:
        channel = connection.channel(tenant_id)
        links: Any = MagicLinkServiceStub(channel)
        sessions: Any = SessionServiceStub(channel)
        here = Device(ip=f"2001:db8:{uuid4().hex[:4]}::1", user_agent="Browser/1")
        asked = await links.RequestLink(RequestLinkRequest(email=email, device=here))
        secret = await link_to(platform.home / "mail", email)
        redeemed = await links.RedeemLink(
            RedeemLinkRequest(secret=secret, browser_secret=asked.browser_secret, device=here)
        )
        asking = CheckSessionRequest(secret=redeemed.session.secret)
        checked = await sessions.CheckSession(asking)
        yield Person(subject, checked.access_token, channel)


def access_token(platform: Any, tenant_id: UUID, email: str) -> str:
    """The access token of somebody who has just signed in by a link: what ``ARGY_TOKEN`` takes."""

    async def ask() -> str:
        async with signed_in(platform, tenant_id, email=email, subject="") as person:
            return person.access_token

    # In a thread of its own, where no loop runs.
    with ThreadPoolExecutor(1) as alone:
        return alone.submit(asyncio.run, ask()).result()
