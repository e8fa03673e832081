"""grpc.health.v1: anybody may ask whether a server serves, and a bounded number may watch.

Nobody signs these calls: load balancers and gRPC's own clients (gRFC A17, which watch) make them
before they have a key. So watches are few in all and fewer from one address. Who gets no place is
told UNIMPLEMENTED, for which A17 has clients go by the connection alone.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

import grpc
from google.protobuf.message import DecodeError
from grpc_health.v1 import health_pb2 as pb
from grpc_health.v1.health import SERVICE_NAME

from argy.rpc.errors import Context

SHARE: Final = 16
"""One in so many of the calls that a process takes at a time may be a watch."""
ADDRESS_WATCHES: Final = 8
_STATUS = pb.HealthCheckResponse

Receive = Callable[[Context], Awaitable[bytes]]
"""Takes a call's only request, within the time that a caller has to send it."""


class Health:
    """What each service is, ``""`` being the server as a whole."""

    def __init__(self, max_calls: int) -> None:
        self._most = max_calls // SHARE
        self._closing = False
        self._statuses: dict[str, pb.HealthCheckResponse.ServingStatus] = {"": _STATUS.NOT_SERVING}
        self._changed = asyncio.Event()
        self._watches: Counter[str] = Counter()

    def set(self, names: tuple[str, ...], *, serving: bool) -> None:
        """Tell of services, and of the server."""
        status = _STATUS.SERVING if serving else _STATUS.NOT_SERVING
        self._statuses = dict.fromkeys(("", *names), status)
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def close(self) -> None:
        """Tell everybody NOT_SERVING, and end the watches: a server that stops waits for calls."""
        self._closing = True
        self.set(tuple(self._statuses), serving=False)

    def handlers(self, receive: Receive) -> "grpc.GenericRpcHandler[Any, Any]":
        """Check, List and Watch, as the server registers them."""

        async def asked(context: Context) -> str:
            try:
                request = pb.HealthCheckRequest.FromString(await receive(context))
            except DecodeError:
                await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "no HealthCheckRequest")
            return str(request.service)

        async def check(_: object, context: Context) -> Any:
            status = self._statuses.get(await asked(context))
            if status is None:
                await context.abort(grpc.StatusCode.NOT_FOUND, "no such service here")
            return _STATUS(status=status)

        async def list_all(_: object, context: Context) -> Any:
            await receive(context)
            statuses = {name: _STATUS(status=is_) for name, is_ in self._statuses.items()}
            return pb.HealthListResponse(statuses=statuses)

        async def watch(_: object, context: Context) -> AsyncIterator[Any]:
            service, address = await asked(context), context.peer().rpartition(":")[0]
            if self._watches[address] >= ADDRESS_WATCHES or self._watches.total() >= self._most:
                await context.abort(grpc.StatusCode.UNIMPLEMENTED, "too many watch: use Check")
            self._watches[address] += 1
            try:
                async for status in self._of(service):
                    yield _STATUS(status=status)
            finally:
                self._watches[address] -= 1
                if not self._watches[address]:
                    del self._watches[address]

        one, many = grpc.stream_unary_rpc_method_handler, grpc.stream_stream_rpc_method_handler
        return grpc.method_handlers_generic_handler(
            SERVICE_NAME,
            {
                "Check": one(check, None, _serialize),
                "List": one(list_all, None, _serialize),
                "Watch": many(watch, None, _serialize),
            },
        )

    async def _of(self, service: str) -> AsyncIterator["pb.HealthCheckResponse.ServingStatus"]:
        """What a service is, and then what it becomes."""
        told = None
        while True:
            changed = self._changed
            status = self._statuses.get(service, _STATUS.SERVICE_UNKNOWN)
            if status != told:
                yield status
            told = status
            if self._closing:
                return
            await changed.wait()


def _serialize(response: Any) -> bytes:
    serialized: bytes = response.SerializeToString()
    return serialized
