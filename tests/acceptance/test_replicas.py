"""`argy migrate` and `argy serve` as in production, and two replicas that act as one."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import grpc
import pytest

from argy.api.authz.v1.assignment_pb2 import GrantRoleRequest
from argy.api.authz.v1.assignment_pb2_grpc import AssignmentServiceStub
from argy.api.authz.v1.authz_pb2 import EFFECT_ALLOW, CheckRequest, Question
from argy.api.authz.v1.authz_pb2_grpc import AuthzServiceStub
from argy.base.ids import PLATFORM_TENANT_ID
from argy.client import Connection, Endpoint

ARGY = str(Path(sys.executable).with_name("argy"))
START_S = 60.0


def trusting(endpoint: Endpoint) -> grpc.ChannelCredentials:
    return grpc.ssl_channel_credentials(Path(endpoint.ca_file).read_bytes())


async def serving(connection: Connection) -> None:
    async with asyncio.timeout(START_S):
        while not await connection.serving(timeout_s=1):  # noqa: ASYNC110 - it asks each time
            await asyncio.sleep(0)


async def allowed(connection: Connection, tenant: UUID, subject: str, at_least: str) -> bool:
    stub = AuthzServiceStub(connection.channel(tenant))
    question = Question(subject=subject, action="deploy", resource="project:alpha")
    answer = await stub.Check(CheckRequest(question=question, at_least=at_least))
    return bool(answer.decision.effect == EFFECT_ALLOW)


async def test_a_grant_on_one_replica_counts_on_the_other(
    platform: Any, replica_factory: Callable[..., Endpoint], rows: Any, people: dict[str, str]
) -> None:
    (acme,) = [row for row in rows("tenant", "list") if row["slug"] == "acme"]
    tenant = UUID(acme["tenant_id"])
    async with Connection(platform.endpoint) as one, Connection(replica_factory()) as two:
        await serving(two)
        for number in range(5):
            subject = f"agent:a{number}"
            assert not await allowed(two, tenant, subject, "")
            grant = GrantRoleRequest(subject=subject, role="role:PLATFORM_ENGINEER", reason="test")
            made = await AssignmentServiceStub(one.channel(tenant)).GrantRole(grant)
            # At once: the revision makes the other replica catch up first.
            assert await allowed(two, tenant, subject, made.revision)


async def test_a_call_replayed_against_another_replica_is_refused(
    platform: Any, replica_factory: Callable[..., Endpoint]
) -> None:
    path = "/argy.api.authz.v1.AuthzService/Check"
    question = Question(subject="agent:x", action="read", resource="project:x")
    body = CheckRequest(question=question).SerializeToString()
    there = replica_factory()
    async with Connection(platform.endpoint) as connection, Connection(there) as other:
        await serving(other)
        # The very bytes and headers that a signed channel would send.
        headers = connection.channel(PLATFORM_TENANT_ID)._signed(path, "authz", body, (), False)
        codes = []
        for endpoint in (platform.endpoint, there):
            credentials = trusting(endpoint)
            async with grpc.aio.secure_channel(endpoint.target, credentials) as raw:
                call = raw.unary_unary(path, None, None)(
                    body, timeout=30, metadata=grpc.aio.Metadata(*headers)
                )
                codes.append(await call.code())
    assert codes == [grpc.StatusCode.OK, grpc.StatusCode.UNAUTHENTICATED]


async def test_several_processes_share_one_port(
    replica_factory: Callable[..., Endpoint],
) -> None:
    endpoint = replica_factory("--processes", "2")
    async with Connection(endpoint) as connection:
        await serving(connection)
        assert not await allowed(connection, PLATFORM_TENANT_ID, "agent:none", "")


async def test_authz_may_be_served_elsewhere(
    platform: Any, replica_factory: Callable[..., Endpoint], argy: Any
) -> None:
    endpoint = replica_factory(
        "directory",
        "audit",
        ARGY_AUTHZ_TARGET=platform.endpoint.target,
        ARGY_AUTHZ_CA=platform.endpoint.ca_file,
    )
    async with Connection(endpoint) as connection:
        await serving(connection)
    done = argy(
        "tenant",
        "list",
        "--json",
        ARGY_TARGET=endpoint.target,
        ARGY_CLIENT_KEYS_FILE=endpoint.keys_file,
        ARGY_CA_FILE=endpoint.ca_file,
    )
    assert done.returncode == 0, done.stderr
    assert "acme" in [json.loads(line)["slug"] for line in done.stdout.splitlines()]


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({}, "ARGY_KEY_RING"),
        (
            {"ARGY_KEY_RING": "a", "ARGY_PAGE_KEY_RING": "b", "ARGY_SERVER_DSN": "c"},
            "ARGY_SERVER_REDIS_URL",
        ),
        ({"ARGY_NONSENSE": "1"}, "ARGY_NONSENSE"),
        ({"ARGY_PROCESSES": "many"}, "ARGY_PROCESSES"),
    ],
)
def test_a_setting_that_is_missing_unknown_or_malformed_is_named(
    settings: dict[str, str], named: str
) -> None:
    env = {name: value for name, value in os.environ.items() if not name.startswith("ARGY_")}
    done = subprocess.run(
        [ARGY, "serve"], env=env | settings, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2
    assert named in done.stderr
    assert "Traceback" not in done.stderr


def test_migrate_makes_a_database_ready_and_does_so_twice(
    fresh_database: Callable[..., str], worker_id: str
) -> None:
    dsn = fresh_database(f"migrate_{worker_id}", template="template0")
    env = {name: value for name, value in os.environ.items() if not name.startswith("ARGY_")}
    for _ in range(2):
        done = subprocess.run(
            [ARGY, "migrate"],
            env=env | {"ARGY_POSTGRES_DSN": dsn},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
