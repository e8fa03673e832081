"""A tenant whose policy asks for approvals, and its people."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from signed_in import Bearer, everybody

from argy.api.authz.v1 import approval_pb2 as pb
from argy.api.authz.v1.approval_pb2_grpc import ApprovalServiceStub, ElevationServiceStub
from argy.api.authz.v1.assignment_pb2 import GrantRoleRequest
from argy.api.authz.v1.assignment_pb2_grpc import AssignmentServiceStub
from argy.api.authz.v1.authz_pb2 import CheckRequest, ExplainRequest, Question
from argy.api.authz.v1.authz_pb2_grpc import AuthzServiceStub
from argy.rpc.client import SignedChannel
from argy.rpc.pair_keys import RootKeys

RULES = """
p, role:DEV, *, thing:*, *, allow, true
p, role:DEV, *, thing:*, erase, deny, true
p, role:DEV, *, authz.role:OPERATOR, elevate, allow, true
p, role:DEV, *, authz.role:BOSS, elevate, allow, ctx.duration_s <= 3600.0
p, role:DEV, *, authz.role:BOSS, break_glass, allow, true
p, role:DEV, *, authz.elevation:*, request, allow, true
p, role:DEV, *, authz.elevation:*, read, allow, true
p, role:DEV, *, authz.approval:*, request, allow, true
p, role:DEV, *, authz.approval:*, read, allow, true
p, role:DEV, *, authz.approval:*, redeem, allow, true
p, role:LEAD, *, authz.approval:*, approve, allow, ctx.resource != 'thing:veto' || !has(ctx.subject)
p, role:LEAD, *, authz.approval:*, read, allow, true
p, role:CHECKER, *, authz.approval:*, approve, allow, true
p, role:CHECKER, *, authz.approval:*, read_any, allow, true
p, role:CHECKER, *, authz.approval:*, read, allow, true
p, role:CHECKER, *, authz.elevation:*, read, allow, true
p, role:CHECKER, *, authz.elevation:*, read_any, allow, true
p, role:CHECKER, *, authz.elevation:*, review, allow, true
p, role:OPERATOR, *, plant:*, run, allow, true
p, role:BOSS, *, authz.elevation:*, review, allow, true
p, role:NOVICE, *, authz.approval:*, approve, allow, true
g, role:HEAD, role:LEAD, *
"""
SERVICES = """
p, service:gateway, *, authz.subject:*, act_for, allow, true
p, service:gateway, *, authz.approval:*, *, allow, true
p, service:gateway, *, authz.decision:*, check, allow, true
p, service:gateway, *, authz.decision:*, explain, allow, true
p, service:gateway, *, authz.elevation:*, request, allow, true
"""
LINES = """\
a, *, thing:prod-*, ship, 2, role:LEAD|role:CHECKER, require, 24h, true
a, *, thing:ledger, ship, 1, role:LEAD, require, 24h, true
a, *, thing:ledger, ship, 1, role:CHECKER, require, 2h, true
a, *, thing:veto, ship, 1, role:LEAD, require, 2h, true
a, *, authz.role:BOSS, elevate, 1, role:CHECKER, require, 1h, true
"""


def add_approvals(root: Path, *, rules: str = RULES, lines: str = LINES) -> None:
    """Put rules and approvals into a policy folder."""
    with (root / "roles" / "roles.csv").open("a") as file:
        file.write(rules)
    with (root / "services.csv").open("a") as file:
        file.write(SERVICES)
    (root / "approvals").mkdir(exist_ok=True)
    (root / "approvals" / "a.csv").write_text(lines)


class People:
    """Calls of people in one tenant and org, through a service that hands on their tokens."""

    def __init__(self, target: str, ring: Any, tenant: Any, org_id: UUID | None) -> None:
        tenant_id = tenant.tenant_id
        self._tenant = tenant
        self._channel = SignedChannel(
            target,
            source="gateway",
            keys=RootKeys(ring),
            tenant_id=tenant_id,
            org_id=org_id,
            unsafe_plaintext=True,
            timeout_s=30,
        )
        self._where = (tenant_id, org_id)

    def as_(self, subject: str) -> "Person":
        """One of them, signed in; empty for the service itself."""
        if not subject.startswith("user:"):
            return self.named(subject)
        token = everybody().token(self._tenant, subject)
        return Person(Bearer(self._channel.for_tenant(*self._where), token), subject)

    def named(self, subject: str) -> "Person":
        """One of them, of whom nothing is known but what the service says."""
        return Person(self._channel.for_tenant(*self._where, subject=subject), subject)

    async def close(self) -> None:
        """Close the connection."""
        await self._channel.close()


@dataclass
class Person:
    """What one person can do."""

    channel: Any
    subject: str

    @property
    def approvals(self) -> Any:
        """The service of approvals."""
        return ApprovalServiceStub(self.channel)

    @property
    def elevations(self) -> Any:
        """The service of elevations."""
        return ElevationServiceStub(self.channel)

    async def ask(
        self, resource: str, *, action: str = "ship", digest: str = "", **fields: Any
    ) -> Any:
        """Request approval for oneself, unless ``subject`` says for whom."""
        subject = fields.pop("subject", self.subject)
        context = fields.pop("context", None)
        request = pb.RequestApprovalRequest(
            question=question(subject, action, resource, context),
            request_digest=digest,
            **{"reason": "it is time", **fields},
        )
        return (await self.approvals.RequestApproval(request)).approval

    async def approve(self, approval: Any, comment: str = "") -> Any:
        """Vote for it."""
        request = pb.ApproveRequest(approval_id=approval.approval_id, comment=comment)
        return (await self.approvals.Approve(request)).approval

    async def reject(self, approval: Any, comment: str = "no") -> Any:
        """End it."""
        request = pb.RejectRequest(approval_id=approval.approval_id, comment=comment)
        return (await self.approvals.Reject(request)).approval

    async def cancel(self, approval: Any) -> Any:
        """Withdraw it."""
        request = pb.CancelRequest(approval_id=approval.approval_id)
        return (await self.approvals.Cancel(request)).approval

    async def get(self, approval: Any) -> Any:
        """Look at it."""
        request = pb.GetApprovalRequest(approval_id=approval.approval_id)
        return (await self.approvals.GetApproval(request)).approval

    async def list(self, **fields: Any) -> Any:
        """List them."""
        return await self.approvals.ListApprovals(pb.ListApprovalsRequest(**fields))

    async def redeem(self, approval: Any, **changed: Any) -> Any:
        """Use it for exactly what it is for, but for what is ``changed``."""
        asked = question(
            changed.get("subject", approval.subject),
            changed.get("action", approval.action),
            changed.get("resource", approval.resource),
            changed.get("context"),
        )
        request = pb.RedeemApprovalRequest(
            approval_id=approval.approval_id,
            question=asked,
            request_digest=changed.get("digest", approval.request_digest),
        )
        return await self.approvals.RedeemApproval(request)

    async def elevate(self, role: str, duration_s: int = 1800, **fields: Any) -> Any:
        """Take a role for a while."""
        request = pb.ElevateRequest(
            role=role, duration_s=duration_s, **{"reason": "on call", **fields}
        )
        return await self.elevations.Elevate(request)

    async def check(self, subject: str, action: str, resource: str) -> Any:
        """Ask for a decision."""
        request = CheckRequest(question=question(subject, action, resource, None))
        return (await AuthzServiceStub(self.channel).Check(request)).decision

    async def explain(self, subject: str, action: str, resource: str) -> Any:
        """Ask for a decision with its rules."""
        request = ExplainRequest(question=question(subject, action, resource, None))
        return await AuthzServiceStub(self.channel).Explain(request)


def question(subject: str, action: str, resource: str, context: dict[str, Any] | None) -> Question:
    """A question, with facts when there are any."""
    asked = Question(subject=subject, action=action, resource=resource)
    if context is not None:
        asked.context.update(context)
    return asked


@dataclass
class Town:
    """A tenant with its people on one replica."""

    tenant: Any
    people: People
    replica: Any
    roles: AssignmentServiceStub
    make: Callable[..., Awaitable[str]]

    async def person(
        self,
        *roles: str,
        groups: tuple[UUID, ...] = (),
        org: UUID | None = None,
        let_in_by: str = "service:directory",
    ) -> Person:
        """Somebody new, with roles in the tenant or in one org."""
        subject = await self.make(self.tenant.tenant_id, *groups, let_in_by=let_in_by)
        for role in filter(None, roles):
            await self.grant(subject, role, org)
        return self.people.as_(subject)

    async def grant(self, subject: str, role: str, org: UUID | None = None) -> str:
        """Give a role; return the assignment's id."""
        stub: Any = self.roles
        response = await stub.GrantRole(
            GrantRoleRequest(
                subject=subject, role=role, reason="test", org_id="" if org is None else str(org)
            )
        )
        return str(response.assignment.assignment_id)


@pytest.fixture
def add_lines(policy_root: Path) -> Callable[..., None]:
    """Write the approvals' lines anew, and rules beside those that are there."""

    def write(lines: str = LINES, rules: str = "") -> None:
        (policy_root / "approvals" / "a.csv").write_text(lines)
        with (policy_root / "roles" / "roles.csv").open("a") as file:
            file.write(rules)

    return write


@pytest.fixture
def approving_root(policy_root: Path) -> Path:
    """The policy folder with approvals in it."""
    add_approvals(policy_root)
    return policy_root


@pytest.fixture
async def town(
    approving_root: Path,
    authz_replica: Any,
    authz_client: Any,
    tenant_factory: Any,
    person: Any,
) -> AsyncIterator[Callable[..., Awaitable[Town]]]:
    """Make a tenant on a replica of its own: ``await town(clock=…, org="sales")``."""
    opened: list[People] = []

    async def make(
        *, org: str = "", replica: Any = None, tenant: Any = None, **options: Any
    ) -> Town:
        known = {"tokens": everybody().verifier, "credentials": everybody()}
        server = replica or await authz_replica(**(known | options))
        tenant = tenant or await tenant_factory(orgs=("sales", "ops"))
        org_id = tenant.orgs[org] if org else None
        people = People(server.target, server.ring, tenant, org_id)
        opened.append(people)
        roles = authz_client(server, tenant.tenant_id).roles
        return Town(tenant, people, server, roles, person)

    yield make
    for people in opened:
        await people.close()
