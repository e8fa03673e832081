"""The stages of the chain by themselves, in a loop that has everything in the caches."""

import asyncio
import os
import time
from collections.abc import Awaitable, Iterator, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

from table import Row

from argy.api.authz.v1 import authz_pb2 as pb
from argy.authz.access import LocalAccess
from argy.authz.domain import TenantFacts
from argy.authz.view import TenantView
from argy.base.clock import SystemClock
from argy.base.crypto import KeyRing
from argy.base.ids import PLATFORM_TENANT_ID, uuid7
from argy.policy import Assignment, compile_policy, load_policy
from argy.rpc import stages
from argy.rpc.call import Call
from argy.rpc.chain import STAGES
from argy.rpc.declarations import declared_methods
from argy.rpc.pair_keys import RootKeys
from argy.rpc.signature import HEADER, Subject, covered, sign
from argy.rpc.telemetry import Telemetry
from argy.store.tenants import TenantInfo

POLICY = Path(__file__).parents[2] / "policy"
ROUNDS = 5
"""The fastest of the rounds counts: what the machine does besides only adds."""


class _Context:
    """What the chain asks of gRPC's context."""

    def __init__(self, metadata: Sequence[tuple[str, str]]) -> None:
        self._metadata = tuple(metadata)

    def time_remaining(self) -> float:
        return 5.0

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        return self._metadata


class Fresh:
    """Every nonce is new: the replay cache's own cost is not that of the chain."""

    async def _new(self) -> bool:
        return False

    def seen(self, tenant_id: Any, nonce: bytes, expires_at_ms: int) -> Awaitable[bool]:
        return self._new()


class Known:
    """One tenant, known."""

    def __init__(self, info: TenantInfo) -> None:
        self._info = info

    def peek(self, tenant_id: Any, org_id: Any = None) -> TenantInfo:
        return self._info


class Views:
    """The views of two tenants, in memory."""

    def __init__(self, views: dict[Any, TenantView]) -> None:
        self._views = views

    def peek(self, tenant_id: Any) -> TenantView:
        return self._views[tenant_id]


def views_of(tenant_id: UUID, subject: str) -> Views:
    """One tenant, in which an engineer may deploy, and the platform's, under the real policy."""
    policy = compile_policy(load_policy(POLICY))
    held = (Assignment(subject, "role:PLATFORM_ENGINEER"),)
    return Views(
        {
            tenant_id: TenantView(TenantFacts(tenant_id, "acme", 1, held), policy),
            PLATFORM_TENANT_ID: TenantView(TenantFacts(PLATFORM_TENANT_ID, "platform", 1), policy),
        }
    )


def _calls(method: Any, body: bytes, tenant: str, keys: RootKeys, count: int) -> list[Any]:
    """Calls as they arrive, each signed anew."""
    made = []
    for _ in range(count):
        metadata = [("x-tenant-id", tenant)]
        subject = Subject(
            method=method.path,
            source="cli",
            destination=method.destination,
            tenant=tenant,
            org="",
            metadata=covered(metadata),
        )
        now_ms = time.time_ns() // 1_000_000
        header = sign(subject, body, keys=keys, now_ms=now_ms, nonce=os.urandom(16))
        metadata += [("user-agent", "grpc-python-asyncio"), (HEADER, header)]
        made.append((Call(method, body, now_ms), _Context(metadata)))
    return made


async def _pass(enter: Any, calls: list[Any]) -> float:
    """Microseconds a call of one stage."""
    started = time.perf_counter()
    for call, context in calls:
        waiting = enter(call, context)
        if waiting is not None:
            await waiting
    return (time.perf_counter() - started) / len(calls) * 1e6


def profile(calls: int) -> Iterator[Row]:
    """Every stage's share of a Check and of a BatchCheck of 50."""
    tenant_id, clock, keys = uuid7(), SystemClock(), RootKeys(KeyRing.generate("k1"))
    views: Any = views_of(tenant_id, "user:u1")
    known: Any = Known(TenantInfo(tenant_id, "acme", "ACTIVE"))
    nobody: Any = None
    deps = stages.Dependencies(
        keys=keys,
        nonces=Fresh(),
        tenants=known,
        access=LocalAccess(views, clock),
        audit=nobody,
        clock=clock,
        telemetry=Telemetry(),
        max_request_bytes=4 << 20,
    )
    service = pb.DESCRIPTOR.services_by_name["AuthzService"]
    methods = {method.path.rsplit("/", 1)[1]: method for method in declared_methods(service)}

    def question(number: int) -> pb.Question:
        return pb.Question(subject="user:u1", action="deploy", resource=f"project:p{number}")

    check = views.peek(tenant_id).snapshot.check
    for name, request in (
        ("Check", pb.CheckRequest(question=question(0))),
        ("BatchCheck", pb.BatchCheckRequest(questions=[question(n) for n in range(50)])),
    ):
        method, body = methods[name], request.SerializeToString()
        enters = [
            (stage.__name__, enter)
            for stage in STAGES
            if (enter := stage(deps, method)) is not None
        ]

        async def decide(call: Any, _context: Any) -> None:
            asked = call.request
            for item in asked.questions if hasattr(asked, "questions") else (asked.question,):
                check(item.subject, "", item.resource, item.action, None, call.received_ms)

        enters.append(("decide", decide))
        best = dict.fromkeys((stage for stage, _ in enters), float("inf"))
        for _ in range(ROUNDS):
            arrived = _calls(method, body, str(tenant_id), keys, calls)
            for stage, enter in enters:
                best[stage] = min(best[stage], asyncio.run(_pass(enter, arrived)))
        total = sum(best.values())
        for stage, spent in best.items():
            yield Row(f"{name}: {stage}", f"{spent:.1f} µs", f"{spent / total:.0%} of the chain")
        yield Row(f"{name}: whole chain, in memory", f"{total:.1f} µs", "100%")
