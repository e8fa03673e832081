"""gRPC reflection under both of its names: v1, and v1alpha of older tools.

The messages of both are the same on the wire; ``grpcio-reflection`` has v1alpha alone.
"""

from collections.abc import Iterable

import grpc
from grpc_reflection.v1alpha import reflection_pb2 as pb
from grpc_reflection.v1alpha._async import ReflectionServicer
from grpc_reflection.v1alpha.reflection import SERVICE_NAME

V1 = "grpc.reflection.v1.ServerReflection"


def add_reflection(server: grpc.aio.Server, names: Iterable[str]) -> None:
    """Describe the services ``names`` to whoever asks."""
    servicer = ReflectionServicer((*names, V1, SERVICE_NAME))
    handler = grpc.stream_stream_rpc_method_handler(
        servicer.ServerReflectionInfo,
        pb.ServerReflectionRequest.FromString,
        pb.ServerReflectionResponse.SerializeToString,
    )
    for service in (V1, SERVICE_NAME):
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(service, {"ServerReflectionInfo": handler}),)
        )
