"""A service that acts for others becomes nobody more powerful than it may."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from argy.api.authz.v1.authz_pb2 import CheckRequest, Question
from argy.api.authz.v1.authz_pb2_grpc import AuthzServiceStub
from argy.api.directory.v1.tenant_pb2 import CreateTenantRequest
from argy.api.directory.v1.tenant_pb2_grpc import TenantServiceStub
from argy.base.errors import PermissionDenied
from argy.base.ids import PLATFORM_TENANT_ID
from argy.client import Connection, Endpoint

ARGY = Path(sys.executable).with_name("argy")


@pytest.fixture
def edge(platform: Any, tmp_path: Path) -> Endpoint:
    """What whoever stole the edge's keys can call with."""
    keys = tmp_path / "edge.json"
    ring = platform.home / "keys" / "signing-keys.json"
    subprocess.run([ARGY, "keys", "issue", ring, "--source", "edge", "--out", keys], check=True)
    about = platform.endpoint
    return Endpoint(about.target, "edge", str(keys), ca_file=about.ca_file)


@pytest.fixture
def acme(rows: Callable[..., list[dict[str, Any]]]) -> UUID:
    return next(UUID(row["tenant_id"]) for row in rows("tenant", "list") if row["slug"] == "acme")


@pytest.mark.parametrize("subject", ["service:cli", "service:authz", "service:edge", ""])
async def test_the_edges_keys_do_not_make_an_administrator(edge: Endpoint, subject: str) -> None:
    async with Connection(edge, timeout_s=30) as connection:
        stub: Any = TenantServiceStub(connection.channel(PLATFORM_TENANT_ID, subject=subject))
        with pytest.raises(PermissionDenied) as refused:
            await stub.CreateTenant(CreateTenantRequest(slug="taken-over", display_name="X"))
    assert refused.value.reason == "ACCESS_DENIED"


async def test_whom_the_edge_acts_for_decides_with_their_own_permissions(
    edge: Endpoint, acme: UUID, people: dict[str, str]
) -> None:
    question = Question(subject=people["Bob"], action="read", resource="project:alpha")
    async with Connection(edge, timeout_s=30) as connection:
        bob: Any = AuthzServiceStub(connection.channel(acme, subject=people["Bob"]))
        assert (await bob.Check(CheckRequest(question=question))).decision.effect == 1
        # Bob is nobody in the platform tenant, and nobody is not somebody.
        for tenant, subject in ((PLATFORM_TENANT_ID, people["Bob"]), (acme, "user:nobody")):
            stub: Any = AuthzServiceStub(connection.channel(tenant, subject=subject))
            with pytest.raises(PermissionDenied):
                await stub.Check(CheckRequest(question=question))
