"""What ``argy up`` shows: a tenant with two people, an allow, a deny, and the record of both.

Everything goes through the front door, signed, and is found again rather than made twice.
"""

import asyncio
import time
from dataclasses import dataclass
from uuid import UUID, uuid4

from argy.api.audit.v1.audit_pb2 import Event, QueryEventsRequest
from argy.api.audit.v1.audit_pb2_grpc import AuditServiceStub
from argy.api.authz.v1.assignment_pb2 import GrantRoleRequest, ListRoleAssignmentsRequest
from argy.api.authz.v1.assignment_pb2_grpc import AssignmentServiceStub
from argy.api.directory.v1.tenant_pb2 import CreateTenantRequest, ListTenantsRequest
from argy.api.directory.v1.tenant_pb2_grpc import TenantServiceStub
from argy.api.directory.v1.user_pb2 import CreateUserRequest, ListUsersRequest
from argy.api.directory.v1.user_pb2_grpc import UserServiceStub
from argy.base.errors import Unavailable
from argy.base.ids import PLATFORM_TENANT_ID
from argy.client import Answer, Authorizer, Connection

TENANT = "acme"
ALICE = ("alice@acme.example", "Alice", "role:PLATFORM_ENGINEER")
BOB = ("bob@acme.example", "Bob", "role:PLATFORM_USER")

_RECORD_WAIT_S = 10.0
"""How long the asynchronous lane may take to make a decision's record durable."""


@dataclass(frozen=True, slots=True)
class Shown:
    """One question with its answer and its audit record."""

    tenant_id: UUID
    who: str
    subject: str
    action: str
    resource: str
    answer: Answer
    record: Event


async def show(connection: Connection) -> list[Shown]:
    """Ask one question that is allowed and one that is denied.

    Raises:
        Unavailable: when a record of the decisions doesn't appear in time.
        ArgyError: whatever the platform refused.
    """
    tenant_id = await _tenant(connection)
    alice, alice_revision = await _person(connection, tenant_id, *ALICE)
    bob, bob_revision = await _person(connection, tenant_id, *BOB)
    questions = (
        ("Alice", alice, "deploy", "project:alpha", alice_revision),
        ("Bob", bob, "deploy", "project:alpha", bob_revision),
    )
    authorizer = Authorizer(connection, timeout_s=10)
    shown = []
    for who, subject, action, resource, revision in questions:
        asked_ms = time.time_ns() // 1_000_000
        answer = await authorizer.check(
            subject, action, resource, tenant_id=tenant_id, at_least=revision
        )
        record = await _record(connection, tenant_id, subject, resource, asked_ms)
        shown.append(Shown(tenant_id, who, subject, action, resource, answer, record))
    return shown


async def _tenant(connection: Connection) -> UUID:
    stub = TenantServiceStub(connection.channel(PLATFORM_TENANT_ID))
    found = (await stub.ListTenants(ListTenantsRequest(slug=TENANT))).tenants
    if found:
        return UUID(found[0].tenant_id)
    made = await stub.CreateTenant(
        CreateTenantRequest(slug=TENANT, display_name="Acme", request_id=str(uuid4()))
    )
    return UUID(made.tenant.tenant_id)


async def _person(
    connection: Connection, tenant_id: UUID, email: str, name: str, role: str
) -> tuple[str, str]:
    """A person's subject, and the revision in which they hold ``role``."""
    channel = connection.channel(tenant_id)
    users = UserServiceStub(channel)
    found = (await users.ListUsers(ListUsersRequest(email=email))).users
    user = (
        found[0]
        if found
        else (
            await users.CreateUser(
                CreateUserRequest(email=email, display_name=name, request_id=str(uuid4()))
            )
        ).user
    )
    subject = f"user:{user.user_id}"
    roles = AssignmentServiceStub(channel)
    held = await roles.ListRoleAssignments(ListRoleAssignmentsRequest(subject=subject, role=role))
    if held.assignments:
        return subject, ""
    granted = await roles.GrantRole(
        GrantRoleRequest(
            subject=subject,
            role=role,
            reason="made by argy up, to have somebody to ask about",
            request_id=str(uuid4()),
        )
    )
    return subject, granted.revision


async def _record(
    connection: Connection, tenant_id: UUID, subject: str, resource: str, since_ms: int
) -> Event:
    """The newest record of a decision about ``subject``; decisions are recorded asynchronously."""
    stub = AuditServiceStub(connection.channel(tenant_id))
    request = QueryEventsRequest(action="authz.decision.check", resource=resource, page_size=50)
    request.start_time.FromMilliseconds(since_ms - 1_000)
    deadline = time.monotonic() + _RECORD_WAIT_S
    while time.monotonic() < deadline:
        for event in (await stub.QueryEvents(request)).events:
            if event.subject == subject:
                return event
        await asyncio.sleep(0.02)
    raise Unavailable(f"no audit record of the decision about {subject} within {_RECORD_WAIT_S} s")
