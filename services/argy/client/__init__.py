"""What an internal service installs: a signed connection, an ``Authorizer``, and two enforcers.

async with Connection.from_env(source="billing") as argy:
    authorizer = Authorizer(argy)
    await authorizer.require("user:…", "refund", "invoice:7", tenant_id=tenant)

``LocalAuthorizer`` decides in this process, and verifies people's access tokens: ``verify_token``
and ``require_token``.
"""

from argy.client.approvals import Need, RequestedApproval, request_digest
from argy.client.asgi import PermissionMiddleware, Route
from argy.client.authorizer import Answer, Authorizer
from argy.client.connection import Connection, Endpoint
from argy.client.interceptor import Caller, PermissionInterceptor, Requirement
from argy.client.local_authorizer import LocalAuthorizer
from argy.client.replica import ReplicaState, ReplicaStatus
from argy.policy.statements import PolicyTrust
from argy.rpc.claims import Claims

__all__ = [
    "Answer",
    "Authorizer",
    "Caller",
    "Claims",
    "Connection",
    "Endpoint",
    "LocalAuthorizer",
    "Need",
    "PermissionInterceptor",
    "PermissionMiddleware",
    "PolicyTrust",
    "ReplicaState",
    "ReplicaStatus",
    "RequestedApproval",
    "Requirement",
    "Route",
    "request_digest",
]
