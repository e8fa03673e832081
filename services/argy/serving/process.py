"""What the areas of one server process share; everything is closed in reverse order."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from argy.base.clock import Clock
from argy.base.crypto import KeyRing
from argy.base.errors import FailedPrecondition
from argy.base.ids import PLATFORM_TENANT_ID
from argy.rpc.access import Decider
from argy.rpc.client import SignedChannel
from argy.rpc.credentials import CredentialVerifier
from argy.rpc.page_token import PageTokens
from argy.rpc.pair_keys import RootKeys
from argy.rpc.service_keys import ServiceKeys
from argy.rpc.tls import ClientTls
from argy.rpc.token_sources import KeySource, Revocations
from argy.rpc.tokens import TokenVerifier
from argy.serving.settings import ProcessSettings
from argy.store.database import Database
from argy.store.redis import RedisStore
from argy.trail.lane import AuditLane

SERVER_ROLE = "argy_server"
"""What every server process acts as for itself: it finds tenants, and writes its lane's records."""


@dataclass(frozen=True, slots=True)
class Replicable:
    """What a replica of the roles verifies access tokens with, as this process does."""

    keys: KeySource
    revocations: Revocations
    public_url: str


@dataclass(frozen=True, slots=True)
class Callers:
    """What the chain verifies callers with; without a part, what it verifies is refused."""

    tokens: TokenVerifier | None = None
    credentials: CredentialVerifier | None = None
    service_keys: ServiceKeys | None = None
    replicable: Replicable | None = None


class _Closes(Protocol):
    async def close(self) -> None: ...


class Process:
    """One server process, while it is put together.

    Areas join in the order of their list. One that decides or verifies callers offers that by
    setting ``access`` or ``callers``; those after it in the list may use it at once, and those
    before it while they serve.
    """

    def __init__(
        self,
        stack: AsyncExitStack,
        settings: ProcessSettings,
        names: Sequence[str],
        clock: Clock,
    ) -> None:
        self.stack = stack
        self.settings = settings
        self.names = names
        """The areas that it serves."""
        self.clock = clock
        self.roots = RootKeys(KeyRing.load(settings.key_ring))
        pages = KeyRing.load(settings.page_key_ring)
        self.pages = PageTokens(pages.keys[pages.signing])
        self.callers = Callers()
        self.at_start: list[Callable[[], None]] = []
        """Called once every area has joined."""
        self._access: Decider | None = None
        self._stores: dict[str, RedisStore] = {}
        self.db: Database
        self.redis: RedisStore
        self.lane: AuditLane

    async def open(self) -> None:
        """Open what it needs for itself."""
        self.db = await self.database(self.settings.server_dsn, SERVER_ROLE)
        self.redis = await self.redis_store(
            self.settings.server_redis_url or self.settings.redis_url
        )
        self.lane = AuditLane(self.db, self.settings.spool_dir)
        await self.lane.start()
        self.closes(self.lane)

    @property
    def access(self) -> Decider:
        """Who decides; raises FailedPrecondition while nobody offered to."""
        if self._access is None:
            raise FailedPrecondition("nobody decides yet: list authz before what asks it")
        return self._access

    @access.setter
    def access(self, decider: Decider) -> None:
        self._access = decider

    def closes(self, opened: _Closes) -> None:
        """Close it when the process ends, before all that was opened earlier."""
        self.stack.push_async_callback(opened.close)

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        """Run ``work`` until the process ends."""
        task = asyncio.create_task(work)

        async def end() -> None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        self.stack.push_async_callback(end)

    async def database(self, dsn: str, role: str, *, max_size: int | None = None) -> Database:
        """A pool of connections that act as ``role``; raises as ``Database.open``."""
        opened = await Database.open(dsn, role=role, max_size=max_size or self.settings.pool_size)
        self.closes(opened)
        return opened

    async def redis_store(self, url: str) -> RedisStore:
        """Redis; whoever has the same URL shares its connections."""
        if url not in self._stores:
            store = await RedisStore.open(url, cluster=self.settings.redis_cluster)
            self._stores[url] = store
            self.closes(store)
        return self._stores[url]

    def channel_to(self, target: str, ca: Path | None) -> SignedChannel:
        """A signed channel to services that are elsewhere."""
        channel = SignedChannel(
            target,
            source=self.names[0],
            keys=self.roots,
            tenant_id=PLATFORM_TENANT_ID,
            tls=ClientTls(ca) if ca else None,
            unsafe_plaintext=self.settings.unsafe_plaintext and ca is None,
        )
        self.closes(channel)
        return channel
