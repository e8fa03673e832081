"""A bare grpc.aio echo on uvloop: what the machine can do with nothing around the handler.

Run as ``python echo_server.py CERTIFICATE KEY [tuned]``: prints its port and serves until it is
killed. ``tuned`` has it scheduled as the platform's servers are.
"""

import sys
from pathlib import Path

import grpc
import uvloop

from argy.local.tuning import let_threads_finish


async def _echo(request: bytes, _context: object) -> bytes:
    return request


async def serve(certificate: bytes, key: bytes) -> None:
    """Serve the echo on loopback, over TLS as the platform does."""
    if sys.argv[3:] == ["tuned"]:
        let_threads_finish()
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    handler = grpc.unary_unary_rpc_method_handler(_echo)
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("bench.Echo", {"Echo": handler}),)
    )
    credentials = grpc.ssl_server_credentials([(key, certificate)])
    port = server.add_secure_port("localhost:0", credentials)
    await server.start()
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    await server.wait_for_termination()


if __name__ == "__main__":
    uvloop.run(serve(Path(sys.argv[1]).read_bytes(), Path(sys.argv[2]).read_bytes()))
