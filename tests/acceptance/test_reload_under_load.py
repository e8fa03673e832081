"""The policy is swapped again and again while every core is busy deciding by it."""

import asyncio
import shutil
from collections import Counter
from collections.abc import Callable
from functools import partial
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

ROUNDS = 12
ANSWERS = 1_000
PATIENCE_S = 180.0
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
            self.flips[self._revision(root)] = version == "allows"

    @staticmethod
    def _revision(root: Path) -> str:
        return compile_policy(load_policy(root)).revision

    def put(self, text: str) -> None:
        part = self._file.with_suffix(".part")
        part.write_text(text)
        part.replace(self._file)

    async def run(self, witness: "Witness", refusals: Callable[[], int]) -> None:
        """Swap again and again: each as soon as an answer shows the last, or its refusal the log.

        ``refusals`` counts how often a broken version was refused.
        """
        denying, allowing = sorted(self.flips, key=self.flips.__getitem__)
        for _ in range(ROUNDS):
            self.put(VERSIONS["denies"])
            await witness.until(partial(witness.follows, denying))
            before = refusals()
            self.put(BROKEN)
            await witness.until(partial(_above, refusals, before))
            self.put(VERSIONS["allows"])
            await witness.until(partial(witness.follows, allowing))
        await witness.until(lambda: witness.seen.total() > ANSWERS)


def _above(count: Callable[[], int], before: int) -> bool:
    return count() > before


class Witness:
    """Asks until it is told to end, and counts every answer that is not as its policy says."""

    def __init__(self, connection: Connection, tenant: UUID, flips: dict[str, bool]) -> None:
        self._stub = AuthzServiceStub(connection.channel(tenant))
        self._flips = flips
        self.wrong: Counter[str] = Counter()
        self.seen: Counter[str] = Counter()
        self.changes = 0
        self.last = ""
        """The policy revision of the last answer."""
        self._answered = asyncio.Event()

    def judge(self, asked: str, allowed: bool, revision: str) -> None:
        self.seen[revision] += 1
        if revision != self.last:
            self.last = revision
            self.changes += 1
        wanted = {"always": True, "never": False}.get(asked, self._flips.get(revision))
        if allowed is not wanted:
            self.wrong[f"{asked}: {allowed} by {revision[:8]}"] += 1
        self._answered.set()

    def follows(self, revision: str) -> bool:
        """Whether the last answer was by a policy revision."""
        return self.last == revision

    async def until(self, what: Callable[[], bool]) -> None:
        """Until something is so, which is looked at after each answer."""
        while not what():
            self._answered.clear()
            await self._answered.wait()

    async def ask(self, questions: dict[str, Question]) -> None:
        names = list(questions)
        batch = BatchCheckRequest(questions=[questions[name] for name in names])
        while True:
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
        async with asyncio.timeout(PATIENCE_S), asyncio.TaskGroup() as group:
            asking = [group.create_task(witness.ask(questions)) for _ in range(CALLERS)]
            await swapper.run(witness, lambda: platform.log.count("flip.csv:1"))
            for task in asking:
                task.cancel()
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
    assert witness.changes >= 2 * ROUNDS - 1
    assert platform.log.count("flip.csv:1") >= ROUNDS  # a broken version was refused by its line
