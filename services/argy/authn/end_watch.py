"""Repeats a piece of work until nothing of it is left: what a commit left to be done elsewhere."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

LOOK_S: Final = 5.0
"""How often is looked for what nobody announced."""
_PAUSE_S: Final = 0.2
"""How long after a failure everything left is tried again; each one that follows doubles it."""


class EndWatch:
    """Looks when it is woken, every few seconds, and sooner after a failure.

    ``look`` does what there is to do, and tells whether all of it is done; it raises nothing.
    """

    def __init__(self, look: Callable[[], Awaitable[bool]], *, name: str) -> None:
        self._look = look
        self._name = name
        self._task: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self._closing = False

    def start(self) -> None:
        """Begin with what is left from before."""
        self._task = asyncio.create_task(self._follow(), name=self._name)

    def wake(self) -> None:
        """Look now."""
        self._wake.set()

    async def close(self) -> None:
        """Stop; what is being done is done first."""
        self._closing = True
        self._wake.set()
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def _follow(self) -> None:
        failures = 0
        while not self._closing:
            self._wake.clear()
            failures = 0 if await self._look() else failures + 1
            pause_s = _PAUSE_S * 2 ** min(failures - 1, 10) if failures else LOOK_S
            try:
                async with asyncio.timeout(min(pause_s, LOOK_S)):
                    await self._wake.wait()
            except TimeoutError:
                continue
