"""LISTEN on a connection of its own that notices its loss and comes back."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final

import asyncpg

from argy.base.errors import InvalidArgument
from argy.store.errors import DRIVER_ERRORS

_HEARTBEAT_S: Final = 2.0
"""How often a silent connection is asked whether it is alive."""
_TIMEOUT_S: Final = 2.0
_BACKOFF_S: Final = (0.02, 0.1, 0.3, 1.0)


Callback = Callable[[str], None]


class Listener:
    """Calls back with each payload of some channels, all of them on one connection.

    ``on_lost`` is called before anything could be missed unnoticed, ``on_restored`` once a new
    connection listens; in between notifications are lost, so caches must not trust themselves.
    """

    def __init__(
        self,
        dsn: str,
        callbacks: Mapping[str, Callback],
        on_lost: Callable[[], None],
        on_restored: Callable[[], None],
    ) -> None:
        self._dsn = dsn
        self._callbacks = dict(callbacks)
        self._on_lost = on_lost
        self._on_restored = on_restored
        self._lost = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.alive = False

    @classmethod
    async def start(
        cls,
        dsn: str,
        callbacks: Mapping[str, Callback],
        *,
        on_lost: Callable[[], None],
        on_restored: Callable[[], None],
    ) -> "Listener":
        """Begin to listen; returns at once, ``on_restored`` tells when it does."""
        for channel in callbacks:
            if not channel.isidentifier():
                raise InvalidArgument(f"{channel!r} is not a channel name")
        listener = cls(dsn, callbacks, on_lost, on_restored)
        name = f"listen:{','.join(callbacks)}"
        listener._task = asyncio.create_task(listener._run(), name=name)
        return listener

    async def close(self) -> None:
        """Stop listening."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def _run(self) -> None:
        attempt = 0
        while True:
            try:
                attempt = await self._session(attempt)
            finally:
                if self.alive:
                    self.alive = False
                    self._on_lost()
            await asyncio.sleep(_BACKOFF_S[min(attempt, len(_BACKOFF_S) - 1)])

    async def _session(self, attempt: int) -> int:
        connection: Any = None
        try:
            connection = await asyncpg.connect(
                self._dsn, timeout=_TIMEOUT_S, server_settings={"application_name": "argy_listen"}
            )
            self._lost = asyncio.Event()
            connection.add_termination_listener(lambda _: self._lose())
            for channel in self._callbacks:
                await connection.add_listener(channel, self._heard)
            self.alive = True
            attempt = 0
            self._on_restored()
            while not await self._silence():
                await connection.fetchval("SELECT 1", timeout=_TIMEOUT_S)
        except DRIVER_ERRORS:
            attempt += 1
        finally:
            if connection is not None:
                connection.terminate()
        return attempt

    async def _silence(self) -> bool:
        try:
            await asyncio.wait_for(self._lost.wait(), timeout=_HEARTBEAT_S)
        except TimeoutError:
            return False
        return True

    def _lose(self) -> None:
        self._lost.set()
        if self.alive:
            self.alive = False
            self._on_lost()

    def _heard(self, _connection: object, _pid: int, channel: str, payload: object) -> None:
        self._callbacks[channel](str(payload))
