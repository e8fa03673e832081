"""The gRPC server: services behind their chain; refuses to start undeclared, stops softly."""

from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final

import grpc
from google.protobuf.descriptor import ServiceDescriptor
from grpc_health.v1.health import SERVICE_NAME as HEALTH

from argy.base.errors import ArgyError, FailedPrecondition, Unavailable
from argy.rpc.chain import compose
from argy.rpc.declarations import Method, declared_methods
from argy.rpc.errors import Context
from argy.rpc.health import Health
from argy.rpc.reflection import add_reflection
from argy.rpc.requests import Methods, Requests
from argy.rpc.stages import Dependencies
from argy.rpc.tls import ServerTls

MAX_REQUEST_BYTES: Final = 4 * 1024 * 1024
_SLACK_BYTES: Final = 65_536
"""gRPC's own limit stands this far above ours, so that ours answers first and typed."""


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """How to listen."""

    listen: str = "127.0.0.1:0"
    """``host:port``; port 0 takes a free one."""
    tls: ServerTls | None = None
    unsafe_plaintext: bool = False
    """Serve without TLS: for loopback and for meshes that encrypt."""
    reflection: bool = False
    max_request_bytes: int = MAX_REQUEST_BYTES
    max_concurrent_calls: int = 1000
    request_s: float = 10.0
    """Seconds that a caller may take to send its request, which until then nobody has signed."""
    drain_s: float = 10.0
    reuse_port: bool = False
    """Share the port with other processes (SO_REUSEPORT)."""


class Server:
    """One listener with any number of services behind the chain."""

    def __init__(self, config: ServerConfig, dependencies: Dependencies) -> None:
        if config.tls is None and not config.unsafe_plaintext:
            raise FailedPrecondition(
                "give the server a certificate and key, or say unsafe_plaintext",
                reason="TLS_REQUIRED",
            )
        self._config = config
        self._deps = dependencies
        self._problems: list[str] = []
        self._handlers: dict[str, dict[str, grpc.RpcMethodHandler[Any, Any]]] = {}
        self._health = Health(config.max_concurrent_calls)
        self._requests = Requests(config.request_s)
        self._server: grpc.aio.Server | None = None
        self.port = 0

    def add(self, servicer: object, service: ServiceDescriptor) -> None:
        """Register what implements ``service``; what is wrong is told when the server starts.

        Each RPC is a method of its name that takes the request and the ``Call`` (who asks, for
        which tenant), and returns the response, or yields a stream of them.
        """
        try:
            methods = declared_methods(service)
        except ArgyError as error:
            self._problems.append(error.message)
            return
        handlers = self._handlers.setdefault(service.full_name, {})
        for method in methods:
            name = method.path.rsplit("/", 1)[1]
            handler: Callable[..., Any] | None = getattr(servicer, name, None)
            if handler is None:
                self._problems.append(f"{method.path} has no handler")
                continue
            handlers[name] = self._wrap(method, handler)

    def _wrap(
        self, method: Method, handler: Callable[..., Any]
    ) -> "grpc.RpcMethodHandler[Any, Any]":
        chained = compose(self._deps, method, handler)
        receive = self._requests.receive

        async def unary(_: object, context: Context) -> Any:
            return await chained(await receive(context), context)

        async def stream(_: object, context: Context) -> AsyncIterator[Any]:
            async with aclosing(chained(await receive(context), context)) as responses:
                async for response in responses:
                    yield response

        # No deserializer: the signature covers the exact bytes, and they are parsed after it.
        # Registered as if requests streamed, since gRPC itself waits for a unary one for ever.
        if method.streams:
            return grpc.stream_stream_rpc_method_handler(stream, None, _serialize)
        return grpc.stream_unary_rpc_method_handler(unary, None, _serialize)

    async def start(self) -> int:
        """Listen; returns the port. NOT_SERVING until ``ready``.

        Raises:
            FailedPrecondition: naming every RPC that can't be served as it is declared.
            Unavailable: when the address is taken.
        """
        if self._problems:
            raise FailedPrecondition(
                "refusing to start: " + "; ".join(self._problems),
                reason="ACCESS_UNDECLARED",
            )
        config = self._config
        server = grpc.aio.server(
            options=(
                (
                    "grpc.max_receive_message_length",
                    config.max_request_bytes + _SLACK_BYTES,
                ),
                ("grpc.max_metadata_size", 16_384),
                # Streams of one connection: no caller has use for all the calls of a process.
                ("grpc.max_concurrent_streams", 256),
                ("grpc.so_reuseport", int(config.reuse_port)),
                ("grpc.http2.min_ping_interval_without_data_ms", 30_000),
                ("grpc.max_connection_idle_ms", 3_600_000),
            ),
            maximum_concurrent_rpcs=config.max_concurrent_calls,
        )
        by_path = {
            f"/{name}/{method}": handler
            for name, handlers in self._handlers.items()
            for method, handler in handlers.items()
        }
        server.add_generic_rpc_handlers((Methods(by_path),))
        server.add_generic_rpc_handlers((self._health.handlers(self._requests.receive),))
        if config.reflection:
            add_reflection(server, (*self._handlers, HEALTH))
        try:
            self.port = (
                server.add_secure_port(config.listen, config.tls.credentials())
                if config.tls
                else server.add_insecure_port(config.listen)
            )
        except RuntimeError as error:
            raise Unavailable(
                f"can't listen on {config.listen}: is the port taken?",
                reason="ADDRESS_TAKEN",
            ) from error
        self._health.set(tuple(self._handlers), serving=False)
        await server.start()
        self._server = server
        return self.port

    async def ready(self) -> None:
        """Report SERVING: everything that the services need is there."""
        self._health.set(tuple(self._handlers), serving=True)

    async def stop(self) -> None:
        """Report NOT_SERVING, take no more calls, let those that run finish, then cancel them."""
        if self._server is None:
            return
        self._health.close()
        await self._server.stop(self._config.drain_s)
        self._server = None

    async def wait(self) -> None:
        """Until the server is stopped."""
        if self._server is not None:
            await self._server.wait_for_termination()


def _serialize(response: Any) -> bytes:
    """A response that a handler has serialised already passes as it is."""
    if type(response) is bytes:
        return response
    serialized: bytes = response.SerializeToString()
    return serialized
