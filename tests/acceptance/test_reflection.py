"""gRPC reflection, as grpcurl uses it: there when it was asked for, and only then."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)


def channel_to(platform: Any) -> grpc.Channel:
    endpoint = platform.endpoint
    credentials = grpc.ssl_channel_credentials(Path(endpoint.ca_file).read_bytes())
    return grpc.secure_channel(endpoint.target, credentials)


def test_it_describes_every_service_when_flagged(platform_factory: Callable[..., Any]) -> None:
    with channel_to(platform_factory(None, "--reflection")) as channel:
        database = ProtoReflectionDescriptorDatabase(channel)
        services = set(database.get_services())
        assert {
            "argy.api.authz.v1.AuthzService",
            "argy.api.authz.v1.AssignmentService",
            "argy.api.audit.v1.AuditService",
            "argy.api.directory.v1.TenantService",
            "grpc.health.v1.Health",
        } <= services
        pool = DescriptorPool(database)
        service = pool.FindServiceByName("argy.api.authz.v1.AuthzService")
        check = service.FindMethodByName("Check")
        assert [field.name for field in check.input_type.fields][:2] == ["question", "at_least"]


def test_the_name_that_newer_tools_ask_for_answers_alike(
    platform_factory: Callable[..., Any],
) -> None:
    """grpcurl, Postman and buf curl ask for v1 first; the messages are those of v1alpha."""
    asked = reflection_pb2.ServerReflectionRequest(list_services="")
    found = []
    with channel_to(platform_factory(None, "--reflection")) as channel:
        for name in ("grpc.reflection.v1", "grpc.reflection.v1alpha"):
            call = channel.stream_stream(
                f"/{name}.ServerReflection/ServerReflectionInfo",
                reflection_pb2.ServerReflectionRequest.SerializeToString,
                reflection_pb2.ServerReflectionResponse.FromString,
            )
            (answer,) = call(iter([asked]), timeout=30)
            found.append({one.name for one in answer.list_services_response.service})
    assert found[0] == found[1]
    assert {"argy.api.authz.v1.AuthzService", "grpc.reflection.v1.ServerReflection"} <= found[0]


def test_it_is_absent_by_default_and_health_needs_no_signature(platform: Any) -> None:
    with channel_to(platform) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        answer = health.Check(health_pb2.HealthCheckRequest(), timeout=30)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
        with pytest.raises(grpc.RpcError) as refused:
            ProtoReflectionDescriptorDatabase(channel).get_services()
        assert refused.value.code() == grpc.StatusCode.UNIMPLEMENTED
