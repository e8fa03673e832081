"""Who acts for others was given that by name: an administrator's wildcard has no part of it."""

from pathlib import Path
from typing import Any

import pytest

from argy.api.authz.v1.authz_pb2 import CheckRequest, Question
from argy.api.authz.v1.authz_pb2_grpc import AuthzServiceStub
from argy.base.errors import PermissionDenied
from argy.rpc.client import SignedChannel
from argy.rpc.pair_keys import RootKeys


@pytest.fixture
def policy_root(policy_root: Path) -> Path:
    services = policy_root / "services.csv"
    named = "p, service:door, *, authz.subject:user/*, act_for, allow, true\n"
    services.write_text(services.read_text() + named)
    return policy_root


async def check(replica: Any, tenant: Any, source: str, subject: str) -> str:
    """Ask for a decision as ``source``, for ``subject`` if there is one."""
    channel = SignedChannel(
        replica.target,
        source=source,
        keys=RootKeys(replica.ring),
        tenant_id=tenant.tenant_id,
        unsafe_plaintext=True,
        timeout_s=10,
    )
    try:
        bound = channel.for_tenant(tenant.tenant_id, subject=subject) if subject else channel
        stub: Any = AuthzServiceStub(bound)
        question = Question(subject="user:x", action="read", resource="project:alpha")
        await stub.Check(CheckRequest(question=question))
    except PermissionDenied as error:
        return error.reason
    finally:
        await channel.close()
    return "served"


async def test_a_service_that_was_granted_administrator_acts_for_no_person(
    authz_replica: Any, authz_client: Any, tenant_factory: Any, person: Any
) -> None:
    replica, tenant = await authz_replica(), await tenant_factory()
    ada, eva = await person(tenant.tenant_id), await person(tenant.tenant_id)
    admin = authz_client(replica, tenant.tenant_id)
    for subject in ("service:bot", ada, eva):
        await admin.grant(subject, "role:PLATFORM_ADMIN")
    assert await check(replica, tenant, "bot", "") == "served"
    for victim in (ada, eva, "service:console", "agent:builder"):
        assert await check(replica, tenant, "bot", victim) == "ACCESS_DENIED"
    # By name, and then for people only.
    assert await check(replica, tenant, "door", ada) == "served"
    assert await check(replica, tenant, "door", "service:console") == "ACCESS_DENIED"
