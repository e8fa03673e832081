"""The policy is swapped again and again while every core is busy deciding by it."""

import asyncio
import shutil
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from uuid import UUID

from argy.api.authz.v1.authz_pb2 import EFFECT_ALLOW, BatchCheckRequest, CheckRequest, Question
from argy.api.authz.v1.authz_pb2_grpc import AuthzServiceStub
from argy.api.directory.v1.tenant_pb2 import ListTenantsRequest
from argy.api.directory.v1.tenant_pb2_grpc import TenantServiceStub
from argy.base.ids import PLATFORM_TENANT_ID
from argy.client import Connection
from argy.policy import compile_policy, load_policy

LOAD_S = 30.0
CALLERS = 32
FLIPPED = "project:flipped"
POLICY = Path(__file__).parents[2] / "policy"
VERSIONS = {
    "denies": f"p, role:PLATFORM_ENGINEER, *, {FLIPPED}, deploy, deny, \n",
    "allows": f"p, role:PLATFORM_ENGINEER, *, {FLIPPED}, deploy, allow, \n",
}
BROKEN = "p, role:PLATFORM_ENGINEER, *, project:*, deploy, Deny, \n"


class Swapper:
    """Puts one version after another, now and then a broken one, in place of the last."""

    def __init__(self, root: Path) -> None:
        self._file = root / "roles" / "flip.csv"
        self.flips: dict[str, bool] = {}
        """Policy revision → whether it allows the flipped question."""
        for version, text in VERSIONS.items():
            self.put(text)
            self.flips[compile_policy(load_policy(root)).revision] = version == "allows"

    def put(self, text: str) -> None:
        part = self._file.with_suffix(".part")
        part.write_text(text)
        part.replace(self._file)

    async def run(self) -> int:
        """Swap until cancelled; how often is what the answers show."""
        number = 0
        while True:
            for text in (VERSIONS["denies"], BROKEN, VERSIONS["allows"]):
                self.put(text)
                number += 1
                # The pace of the changes, longer than the watcher needs to see each.
                await asyncio.sleep(0.7)


class Witness:
    """Asks for half a minute, and counts every answer that is not as its policy says."""

    def __init__(self, connection: Connection, tenant: UUID, flips: dict[str, bool]) -> None:
        self._stub = AuthzServiceStub(connection.channel(tenant))
        self._flips = flips
        self.wrong: Counter[str] = Counter()
        self.seen: Counter[str] = Counter()
        self.changes = 0
        self._last = ""

    def judge(self, asked: str, allowed: bool, revision: str) -> None:
        self.seen[revision] += 1
        if revision != self._last:
            self._last = revision
            self.changes += 1
        wanted = {"always": True, "never": False}.get(asked, self._flips.get(revision))
        if allowed is not wanted:
            self.wrong[f"{asked}: {allowed} by {revision[:8]}"] += 1

    async def ask(self, questions: dict[str, Question], until: float) -> None:
        names = list(questions)
        batch = BatchCheckRequest(questions=[questions[name] for name in names])
        while time.monotonic() < until:
            for name in names:
                one = await self._stub.Check(CheckRequest(question=questions[name]))
                self.judge(name, one.decision.effect == EFFECT_ALLOW, one.policy_revision)
            many = await self._stub.BatchCheck(batch)
            for name, decision in zip(names, many.decisions, strict=True):
                self.judge(name, decision.effect == EFFECT_ALLOW, many.policy_revision)


async def bear_witness(platform: Any, swapper: Swapper, subjects: list[str]) -> Witness:
    alice, bob = subjects

    def question(subject: str, resource: str) -> Question:
        return Question(subject=subject, action="deploy", resource=resource)

    questions = {
        "always": question(alice, "project:alpha"),
        "never": question(bob, "project:alpha"),
        "flipped": question(alice, FLIPPED),
    }
    async with Connection(platform.endpoint, timeout_s=30) as connection:
        tenants = TenantServiceStub(connection.channel(PLATFORM_TENANT_ID))
        found = await tenants.ListTenants(ListTenantsRequest(slug="acme"))
        witness = Witness(connection, UUID(found.tenants[0].tenant_id), swapper.flips)
        swapping = asyncio.create_task(swapper.run())
        until = time.monotonic() + LOAD_S
        asking: list[Awaitable[None]] = [witness.ask(questions, until) for _ in range(CALLERS)]
        try:
            await asyncio.gather(*asking)
            assert not swapping.done()
        finally:
            swapping.cancel()
            await asyncio.gather(swapping, return_exceptions=True)
    return witness


def test_no_answer_is_wrong_while_the_policy_is_reloaded_under_full_load(
    platform_factory: Callable[..., Any], tmp_path: Path
) -> None:
    policy = tmp_path / "policy"
    shutil.copytree(POLICY, policy)
    swapper = Swapper(policy)
    platform = platform_factory(tmp_path / "home", "--policy", str(policy))
    subjects = [check["subject"] for check in platform.ready["checks"]]
    witness = asyncio.run(bear_witness(platform, swapper, subjects))
    assert witness.wrong == Counter()
    assert set(witness.seen) == set(swapper.flips)
    assert witness.changes >= 10
    assert "flip.csv:1" in platform.log  # a broken version was refused by its line
    assert sum(witness.seen.values()) > 1000
