"""Receives the one request of every call, and what came with it, at little cost a call."""

import asyncio
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any, Final

import grpc

from argy.base.errors import DeadlineExceeded
from argy.rpc.errors import Context, abort

_SWEEPS: Final = 10
"""How often, in one time limit, the requests that are awaited are looked through."""
_METADATA: Final[ContextVar[Any]] = ContextVar("argy_metadata", default=None)


class Requests:
    """Waits ``limit_s`` for a request, and at most a tenth longer.

    One sweep watches all that wait: a timer for each would cost as much as its reading does.
    """

    __slots__ = ("_late", "_limit_s", "_sweep", "_waiting")

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._waiting: dict[asyncio.Task[Any], float] = {}
        """When each began to wait, the first one first."""
        self._late: set[asyncio.Task[Any]] = set()
        self._sweep: asyncio.TimerHandle | None = None

    async def receive(self, context: Context) -> bytes:
        """The bytes of the request; aborts the call when they don't come in time."""
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None  # noqa: S101 - narrows a type: coroutines run in tasks
        self._waiting[task] = loop.time()
        if self._sweep is None:
            self._sweep = loop.call_later(self._limit_s / _SWEEPS, self._look, loop)
        try:
            body = await context.read()
        except asyncio.CancelledError:
            # As asyncio.timeout does it: who else cancelled the call goes first.
            if task not in self._late or task.uncancel() > 0:
                raise
            body = None
        finally:
            del self._waiting[task]
            late = task in self._late
            self._late.discard(task)
        if late:
            await abort(
                context,
                DeadlineExceeded(
                    f"the request was not sent within {self._limit_s:g} s", reason="REQUEST_SLOW"
                ),
            )
        return body if isinstance(body, bytes) else b""  # EOF: no request came

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        self._sweep = None
        latest = loop.time() - self._limit_s
        for task, since in self._waiting.items():
            if since > latest:
                break
            self._late.add(task)
            task.cancel()
        if self._waiting:
            self._sweep = loop.call_later(self._limit_s / _SWEEPS, self._look, loop)


class Methods(grpc.GenericRpcHandler):  # type: ignore[type-arg]
    """Methods by their path; keeps the metadata that gRPC has made up to ask for the method."""

    def __init__(self, handlers: Mapping[str, "grpc.RpcMethodHandler[Any, Any]"]) -> None:
        self._handlers = dict(handlers)

    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> "grpc.RpcMethodHandler[Any, Any] | None":
        """The handler of a method, asked in the task that then runs it."""
        handler = self._handlers.get(handler_call_details.method)
        if handler is not None:
            _METADATA.set(handler_call_details.invocation_metadata)
        return handler


def metadata_of(context: Context) -> Any:
    """The metadata of the call: asked of gRPC, it would be made up of its parts anew."""
    received = _METADATA.get()
    return (context.invocation_metadata() or ()) if received is None else received
