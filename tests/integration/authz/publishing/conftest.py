"""Replicas that publish policies, on a database of the test's own."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from signed_in import Bearer, SignedIn, everybody

from argy.api.authz.v1 import policy_pb2 as pb
from argy.api.authz.v1.assignment_pb2 import GrantRoleRequest
from argy.api.authz.v1.assignment_pb2_grpc import AssignmentServiceStub
from argy.api.authz.v1.authz_pb2 import EFFECT_ALLOW, CheckRequest, Question
from argy.api.authz.v1.authz_pb2_grpc import AuthzServiceStub
from argy.api.authz.v1.policy_pb2_grpc import PolicyServiceStub
from argy.authz.main import Authz, assemble
from argy.authz.publishing.floor import PolicyFloor
from argy.authz.publishing.folder import begin
from argy.authz.publishing.keys import PolicyKeys
from argy.base.clock import SystemClock
from argy.base.crypto import KeyRing, write_secret
from argy.base.dsse import SigningKeys, TrustedKeys
from argy.base.errors import ArgyError
from argy.base.ids import PLATFORM_TENANT_ID, uuid7
from argy.client import Connection, Endpoint
from argy.policy.bundle import build_bundle, sign_bundle
from argy.policy.files import PolicyFiles
from argy.rpc.call import Call
from argy.rpc.client import SignedChannel
from argy.rpc.page_token import PageTokens
from argy.rpc.pair_keys import RootKeys
from argy.rpc.server import Server, ServerConfig
from argy.rpc.stages import Dependencies
from argy.rpc.telemetry import Telemetry
from argy.store.database import Database
from argy.store.migrate import with_login
from argy.store.nonce import NonceCache
from argy.store.redis import RedisStore
from argy.store.tenants import TenantCache
from argy.trail.lane import AuditLane

RING = KeyRing.generate("k1")
MODEL = (Path(__file__).resolve().parents[4] / "policy" / "model.conf").read_text()
ROLES = """\
p, role:PLATFORM_ADMIN, *, *, *, allow, true
p, role:PLATFORM_ADMIN, *, policy:*, approve, deny, true
p, role:COMPLIANCE_APPROVER, *, policy:*, read, allow, true
p, role:COMPLIANCE_APPROVER, *, policy:*, reject, allow, true
p, role:COMPLIANCE_APPROVER, *, policy:*, approve, allow, has(ctx.author) && ctx.author != sub
p, role:POLICY_AUTHOR, *, policy:*, read, allow, true
p, role:POLICY_AUTHOR, *, policy:*, propose, allow, true
p, role:PLATFORM_USER, *, project:*, read, allow, true
"""
SERVICES = """\
g, service:cli, role:PLATFORM_ADMIN, *
p, service:cli, *, authz.subject:*, act_for, allow, true
"""
CASES = """\
tenant: acme
assignments:
  - {subject: "user:uma", role: "role:PLATFORM_USER"}
cases:
  - {ask: "user:uma read project:alpha", expect: ALLOW}
"""
BASE: Mapping[str, str] = {
    "model.conf": MODEL,
    "roles/roles.csv": ROLES,
    "services.csv": SERVICES,
    "cases/users.yaml": CASES,
}
DEPLOY = "p, role:PLATFORM_USER, *, project:*, deploy, allow, true\n"
"""One person has to approve this one."""
WILDCARD = "p, role:PLATFORM_USER, *, *, *, allow, true\n"
"""Two have to approve this one: a wildcard."""
PLATFORM = SimpleNamespace(tenant_id=PLATFORM_TENANT_ID, slug="platform")
_NUMBERS = itertools.count()


class Refusals:
    """Where the audit stage tells of refused calls: of no interest here."""

    def refused(self, call: Call, error: ArgyError) -> None:
        return


@dataclass
class Replica:
    """One server of the authz service, with all that it publishes."""

    authz: Authz
    db: Database
    lane: AuditLane
    port: int

    @property
    def sequence(self) -> int:
        return self.authz.holder.in_force.sequence


@dataclass
class People:
    """Who takes part, as subjects of the platform tenant."""

    author: str = ""
    cora: str = ""
    carl: str = ""
    admin: str = ""
    nobody: str = ""


class Caller:
    """One person at one replica."""

    def __init__(self, channel: Any, person: Any = None) -> None:
        self.stub: Any = PolicyServiceStub(channel)
        self.person: Any = person or self.stub
        self.decisions: Any = AuthzServiceStub(channel)

    async def propose(self, bundle: bytes, **fields: Any) -> pb.Proposal:
        request = pb.ProposePolicyRequest(bundle=bundle, **{"title": "a change", **fields})
        response: pb.ProposePolicyResponse = await self.stub.ProposePolicy(request)
        return response.proposal

    async def get(self, proposal: pb.Proposal) -> pb.Proposal:
        request = pb.GetProposalRequest(proposal_id=proposal.proposal_id)
        response: pb.GetProposalResponse = await self.stub.GetProposal(request)
        return response.proposal

    async def approve(self, seen: pb.Proposal, **fields: str) -> pb.Proposal:
        request = pb.ApproveProposalRequest(
            **{
                "proposal_id": seen.proposal_id,
                "bundle_digest": seen.policy.bundle_digest,
                "diff_digest": seen.diff_digest,
                "comment": "looks right",
                **fields,
            }
        )
        response: pb.ApproveProposalResponse = await self.stub.ApproveProposal(request)
        return response.proposal

    async def reject(self, proposal: pb.Proposal) -> pb.Proposal:
        request = pb.RejectProposalRequest(proposal_id=proposal.proposal_id, comment="no")
        response: pb.RejectProposalResponse = await self.stub.RejectProposal(request)
        return response.proposal

    async def activate(self, proposal: pb.Proposal) -> Any:
        request = pb.ActivateProposalRequest(proposal_id=proposal.proposal_id)
        return await self.person.ActivateProposal(request)

    async def rollback(self, sequence: int = 0) -> Any:
        request = pb.RollbackPolicyRequest(sequence=sequence, reason="it was wrong")
        return await self.person.RollbackPolicy(request)

    async def active(self) -> Any:
        return await self.stub.GetActivePolicy(pb.GetActivePolicyRequest())

    async def check(self, subject: str, action: str, at_least: str = "") -> Any:
        question = Question(subject=subject, action=action, resource="project:alpha")
        return await self.decisions.Check(CheckRequest(question=question, at_least=at_least))

    async def allowed(self, subject: str, action: str, at_least: str = "") -> bool:
        answer = await self.check(subject, action, at_least)
        return bool(answer.decision.effect == EFFECT_ALLOW)


@dataclass
class World:
    """A database, keys, a policy folder, and as many replicas as a test starts."""

    dsn: str
    password: str
    redis_url: str
    folder: Path
    stack: AsyncExitStack
    control: SigningKeys = field(default_factory=lambda: SigningKeys.generate("control"))
    author: SigningKeys = field(default_factory=lambda: SigningKeys.generate("author"))
    people: People = field(default_factory=People)
    deploy: str = DEPLOY
    wildcard: str = WILDCARD

    @property
    def root(self) -> Path:
        return self.folder / "policy"

    def write(self, *added: str) -> None:
        """Make the policy folder: the base, with rules added."""
        for name, text in self.files(*added).items():
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def files(self, *added: str) -> dict[str, str]:
        return {**BASE, "roles/roles.csv": ROLES + "".join(added)}

    def bundle(self, *added: str, time_s: int = 0, keys: SigningKeys | None = None) -> bytes:
        """A signed bundle of the base with rules added."""
        commit = "5" * 40 if time_s else ""
        files = PolicyFiles(self.files(*added), "a test", commit, time_s)
        return sign_bundle(build_bundle(files), keys or self.author)

    def keys(self, *, unsafe: bool = False, authors: TrustedKeys | None = None) -> PolicyKeys:
        trusted = self.author.public() if authors is None else authors
        return PolicyKeys.of(self.control, trusted, unsafe_folder=unsafe)

    async def replica(
        self,
        *,
        unsafe: bool = False,
        authors: TrustedKeys | None = None,
        signed_in: SignedIn | None = None,
        floor_url: str = "",
    ) -> Replica:
        login = with_login(self.dsn, "argy_authz_login", self.password)
        db = await Database.open(login, role="argy_authz", max_size=4)
        self.stack.push_async_callback(db.close)
        lane = AuditLane(db, self.folder / f"spool-{next(_NUMBERS)}")
        await lane.start()
        self.stack.push_async_callback(lane.close)
        keys, clock = self.keys(unsafe=unsafe, authors=authors), SystemClock()
        floor = None
        if floor_url:
            kept = await RedisStore.open(floor_url)
            self.stack.push_async_callback(kept.close)
            floor = PolicyFloor(kept)
        authz = assemble(
            db=db,
            lane=lane,
            pages=PageTokens(bytes(32)),
            clock=clock,
            policy=await begin(db, keys, self.root, clock, floor),
            policy_floor=floor,
            policy_keys=keys,
            policy_root=self.root,
        )
        await authz.start()
        self.stack.push_async_callback(authz.close)
        tenants = TenantCache(db)
        await tenants.start()
        self.stack.push_async_callback(tenants.close)
        store = await RedisStore.open(self.redis_url)
        self.stack.push_async_callback(store.close)
        nonces = NonceCache(store)
        self.stack.push_async_callback(nonces.close)
        server = Server(
            ServerConfig(unsafe_plaintext=True),
            Dependencies(
                keys=RootKeys(RING),
                nonces=nonces,
                tenants=tenants,
                access=authz.access,
                audit=Refusals(),
                clock=clock,
                telemetry=Telemetry(),
                max_request_bytes=4 << 20,
                tokens=(signed_in or everybody()).verifier,
                credentials=signed_in or everybody(),
            ),
        )
        for servicer, descriptor in authz.services:
            server.add(servicer, descriptor)
        await server.start()
        await server.ready()
        self.stack.push_async_callback(server.stop)
        return Replica(authz, db, lane, server.port)

    def channel(self, replica: Replica, subject: str = "") -> Any:
        """A channel of the command line, or of a person who is signed in."""
        channel = SignedChannel(
            f"127.0.0.1:{replica.port}",
            source="cli",
            keys=RootKeys(RING),
            tenant_id=PLATFORM_TENANT_ID,
            unsafe_plaintext=True,
            timeout_s=30,
        )
        self.stack.push_async_callback(channel.close)
        if not subject.startswith("user:"):
            return channel.for_tenant(PLATFORM_TENANT_ID, subject=subject)
        return Bearer(channel, everybody().token(PLATFORM, subject))

    async def connection(self, replica: Replica) -> Connection:
        """What a service's own process connects with."""
        file = self.folder / "issued.json"
        issued = RootKeys(RING).issue("cli", ["authz", "audit"])
        write_secret(file, json.dumps(issued.to_json()).encode())
        endpoint = Endpoint(f"127.0.0.1:{replica.port}", "cli", str(file), unsafe_plaintext=True)
        return await self.stack.enter_async_context(Connection(endpoint, timeout_s=30))

    def at(self, replica: Replica, subject: str = "") -> Caller:
        """Call a replica as somebody; without a subject as the command line itself.

        What takes a person, an administrator does in place of the command line.
        """
        admin = self.channel(replica, subject or self.people.admin)
        return Caller(self.channel(replica, subject), PolicyServiceStub(admin))

    def named(self, replica: Replica, subject: str) -> Caller:
        """Call as somebody of whom nothing is known but what the command line says."""
        own: SignedChannel = self.channel(replica)
        return Caller(own.for_tenant(PLATFORM_TENANT_ID, subject=subject))

    async def settle(self, replica: Replica) -> People:
        """Make the people, with their roles."""
        roles: Any = AssignmentServiceStub(self.channel(replica))
        held = {
            "author": ("role:POLICY_AUTHOR", "role:COMPLIANCE_APPROVER"),
            "cora": ("role:COMPLIANCE_APPROVER",),
            "carl": ("role:COMPLIANCE_APPROVER",),
            "admin": ("role:PLATFORM_ADMIN",),
            "nobody": ("role:PLATFORM_USER",),
        }
        for name, given in held.items():
            user = uuid7()
            await self.execute(
                "INSERT INTO directory.user_account (tenant_id, user_id, email, display_name)"
                " VALUES ($1, $2, $3, $4)",
                PLATFORM_TENANT_ID,
                user,
                f"{name}@example.test",
                name,
            )
            setattr(self.people, name, f"user:{user}")
            for role in given:
                await roles.GrantRole(
                    GrantRoleRequest(subject=f"user:{user}", role=role, reason="test")
                )
        return self.people

    async def tenant(self, slug: str) -> UUID:
        tenant_id = uuid7()
        await self.execute(
            "INSERT INTO directory.tenant (tenant_id, slug, display_name) VALUES ($1, $2, $2)",
            tenant_id,
            slug,
        )
        return tenant_id

    async def grant(self, replica: Replica, tenant_id: UUID, subject: str, role: str) -> None:
        channel = self.channel(replica).for_tenant(tenant_id)
        stub: Any = AssignmentServiceStub(channel)
        await stub.GrantRole(GrantRoleRequest(subject=subject, role=role, reason="test"))

    async def execute(self, statement: str, *args: object) -> str:
        """What whoever owns the database could do: no row-level security stops them."""
        connection = await asyncpg.connect(self.dsn)
        try:
            return str(await connection.execute(statement, *args))
        finally:
            await connection.close()

    async def fetch(self, statement: str, *args: object) -> list[asyncpg.Record]:
        connection = await asyncpg.connect(self.dsn)
        try:
            return list(await connection.fetch(statement, *args))
        finally:
            await connection.close()

    async def events(self, action: str) -> list[asyncpg.Record]:
        """The audit events of an action, oldest first."""
        return await self.fetch(
            "SELECT actor, on_behalf_of, via, resource, outcome, reason, detail::text"
            " FROM audit.event"
            " WHERE tenant_id = $1 AND action = $2 ORDER BY id",
            PLATFORM_TENANT_ID,
            action,
        )

    async def approved(self, replica: Replica, *added: str, time_s: int = 0) -> pb.Proposal:
        """Propose, and have as many approve as it needs."""
        author = self.at(replica, self.people.author)
        proposal = await author.propose(self.bundle(*added, time_s=time_s))
        for approver in (self.people.cora, self.people.carl)[: proposal.approvals_needed]:
            await self.at(replica, approver).approve(proposal)
        return proposal

    async def publish(self, replica: Replica, *added: str, time_s: int = 0) -> int:
        """Propose, approve and activate; the new sequence."""
        proposal = await self.approved(replica, *added, time_s=time_s)
        return int((await self.at(replica).activate(proposal)).activation.sequence)

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait for something that another task brings about."""
        async with asyncio.timeout(60):
            while not condition():  # noqa: ASYNC110 - the thing waited for signals nobody
                await asyncio.sleep(0.005)


@pytest.fixture
async def world(
    fresh_database: Callable[..., str],
    servers: Any,
    redis_url: str,
    tmp_path: Path,
    worker_number: int,
) -> AsyncIterator[World]:
    """A world with the base policy in its folder and nothing started."""
    dsn = fresh_database(f"argy_policy_{worker_number}_{next(_NUMBERS)}")
    async with AsyncExitStack() as stack:
        made = World(dsn, servers.password, redis_url, tmp_path, stack)
        made.write()
        yield made


Started = tuple[World, Replica]


@pytest.fixture
async def started(world: World) -> Started:
    """A world with one replica and its people."""
    replica = await world.replica()
    await world.settle(replica)
    return world, replica
