"""Whether the edge can serve: it is up, and the services say that they are ready."""

import time
from typing import Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from argy.client import Connection

_TIMEOUT_S: Final = 1.0
_FRESH_S: Final = 0.5
"""How long an answer is repeated: anybody may ask, and each question goes on to the services."""


class Health:
    """Answers ``/healthz``: 200 when serving, else 503."""

    __slots__ = ("_asked_s", "_connection", "_serving")

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._serving = False
        self._asked_s = float("-inf")

    async def answer(self, _request: Request) -> Response:
        """The state, asked anew at most twice a second."""
        now_s = time.monotonic()
        if now_s - self._asked_s > _FRESH_S:
            self._asked_s = now_s
            self._serving = await self._connection.serving(timeout_s=_TIMEOUT_S)
        status = "SERVING" if self._serving else "NOT_SERVING"
        return JSONResponse({"status": status}, 200 if self._serving else 503)
