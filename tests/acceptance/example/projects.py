"""An internal service as a team would write it: projects over gRPC and HTTP, guarded by Argy.

    python projects.py            # prints {"grpc": port, "http": port} and serves until stopped

Who calls is read from ``x-user``, ``x-tenant-id`` and ``x-org-id``, as a gateway that has signed
the person in would set them.
"""

import asyncio
import json
import signal
import sys
from typing import Any
from uuid import UUID

import grpc
import uvicorn
from google.protobuf.wrappers_pb2 import StringValue

from argy.base.errors import Unauthenticated
from argy.client import (
    Authorizer,
    Caller,
    Connection,
    PermissionInterceptor,
    PermissionMiddleware,
    Requirement,
    Route,
)

Context = grpc.aio.ServicerContext[Any, Any]

DEPLOY = "/example.projects.v1.ProjectService/Deploy"
WATCH = "/example.projects.v1.ProjectService/Watch"
FORGOTTEN = "/example.projects.v1.ProjectService/Forgotten"


async def deploy(request: StringValue, _context: Context) -> StringValue:
    """Deploy the named project."""
    return StringValue(value=f"deployed {request.value}")


async def watch(request: StringValue, _context: Context) -> Any:
    """Stream the named project's progress."""
    for step in ("built", "deployed"):
        yield StringValue(value=f"{request.value} {step}")


async def http_app(scope: Any, _receive: Any, send: Any) -> None:
    """Answer every route that the middleware lets through."""
    if scope["type"] != "http":
        return
    body = json.dumps({"served": scope["path"]}).encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


def _caller(values: dict[str, str]) -> Caller:
    if "x-user" not in values or "x-tenant-id" not in values:
        raise Unauthenticated("sign in first", reason="CALLER_MISSING")
    org = values.get("x-org-id")
    return Caller(values["x-user"], UUID(values["x-tenant-id"]), UUID(org) if org else None)


async def identify_grpc(context: Context) -> Caller:
    """The caller of a gRPC call."""
    return _caller({key: str(value) for key, value in context.invocation_metadata() or ()})


async def identify_http(scope: Any) -> Caller:
    """The caller of an HTTP request."""
    return _caller({key.decode(): value.decode() for key, value in scope["headers"]})


def grpc_server(authorizer: Authorizer) -> grpc.aio.Server:
    """The gRPC face; ``Forgotten`` has no requirement on purpose, so it is refused."""
    guard = PermissionInterceptor(
        authorizer,
        {
            DEPLOY: Requirement("deploy", lambda request: f"project:{request.value}"),
            WATCH: Requirement("read", lambda request: f"project:{request.value}"),
        },
        identify=identify_grpc,
    )
    server = grpc.aio.server(interceptors=[guard])
    codec = (StringValue.FromString, StringValue.SerializeToString)
    handlers = {
        "Deploy": grpc.unary_unary_rpc_method_handler(deploy, *codec),
        "Forgotten": grpc.unary_unary_rpc_method_handler(deploy, *codec),
        "Watch": grpc.unary_stream_rpc_method_handler(watch, *codec),
    }
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("example.projects.v1.ProjectService", handlers),)
    )
    return server


async def main() -> None:
    """Serve until SIGTERM or Ctrl-C."""
    async with Connection.from_env(source="example") as argy:
        authorizer = Authorizer(argy)
        server = grpc_server(authorizer)
        grpc_port = server.add_insecure_port("127.0.0.1:0")
        routes = [
            Route("GET", "/projects/{id}", "read", "project:{id}"),
            Route("POST", "/projects/{id}/deploy", "deploy", "project:{id}"),
        ]
        app = PermissionMiddleware(
            http_app, authorizer, routes, identify=identify_http, public=frozenset({"/healthz"})
        )
        web = uvicorn.Server(
            uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning", lifespan="off")
        )
        await server.start()
        config = web.config
        config.load()
        web.lifespan = config.lifespan_class(config)
        await web.startup()
        http_port = web.servers[0].sockets[0].getsockname()[1]
        sys.stdout.write(json.dumps({"grpc": grpc_port, "http": http_port}) + "\n")
        sys.stdout.flush()
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        await stop.wait()
        await web.shutdown()
        await server.stop(grace=1)


if __name__ == "__main__":
    asyncio.run(main())
