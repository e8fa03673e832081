"""Evaluates a proposed policy beside the one in force, on live traffic, at a bounded cost.

A call hands over what it decided and goes on. A task asks the proposal the same questions, on the
same facts and at the same moment, and counts where the answers differ. At most so many questions a
second are evaluated; the others are counted as skipped. Nobody has approved the proposal yet, so
its conditions may be as costly as its author likes: it gets a fifth of the loop's time, and a
proposal of which one question takes too long is evaluated no more. Each replica writes its counts
to its own row every second; a report adds them up.
"""

import asyncio
import logging
import time
from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

from argy.api.authz.v1.authz_pb2 import Question
from argy.authz.domain import TenantFacts
from argy.authz.view import LazyContext, TenantView
from argy.base.clock import Clock
from argy.base.errors import ArgyError
from argy.policy import BEYOND_SCOPES, CompiledPolicy, Decision
from argy.rpc.call import Call

MAX_SAMPLES: Final = 100
_MAX_WAITING: Final = 20_000
"""Questions that wait to be evaluated."""
_MAX_TENANTS: Final = 256
_LARGE: Final = 5_000
_CHUNK: Final = 200
"""Questions evaluated before other tasks get a turn."""
_SLICE_S: Final = 0.005
"""Processor time after which other tasks get a turn, and four times as much of it."""
_REST: Final = 4
_TOO_LONG_S: Final = 0.25
"""Processor time of one question that ends the evaluation."""
_FAILURES: Final = (ArgyError, LookupError, RuntimeError, TypeError, ValueError)
_LOG: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Candidate:
    """The proposal to evaluate, until when, and at what cost."""

    proposal_id: UUID
    policy: CompiledPolicy
    until_ms: int
    per_second: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One decision that the proposal would make differently."""

    tenant_id: str
    org: str
    caller: str
    subject: str
    action: str
    resource: str
    before: str
    after: str
    rule_before: str
    rule_after: str
    time_ms: int


@dataclass(slots=True)
class Counts:
    """What one replica has seen."""

    evaluated: int = 0
    skipped: int = 0
    allow_to_deny: int = 0
    deny_to_allow: int = 0
    other: int = 0
    samples: list[Sample] = field(default_factory=list)


_Entry = tuple[TenantFacts, str, str, Question, Decision, int]
"""Facts, org, caller, question, decision and when: a call's body is not held on to."""


class Shadow:
    """Holds the candidate, if there is one, and what was seen of it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._candidate: Candidate | None = None
        self._waiting: deque[_Entry] = deque()
        self._budget = 0.0
        self._budget_ms = 0
        self._snapshots: OrderedDict[UUID, tuple[TenantFacts, TenantView]] = OrderedDict()
        self._sampled: set[tuple[str, ...]] = set()
        self._work = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._task: asyncio.Task[None] | None = None
        self._given_up: tuple[UUID, int] | None = None
        self.counts = Counts()
        self.active = False
        """Whether calls should hand over what they decide; read on every call."""

    @property
    def run(self) -> tuple[UUID, int] | None:
        """The evaluation by its proposal and its end; each begins to count anew."""
        candidate = self._candidate
        return None if candidate is None else (candidate.proposal_id, candidate.until_ms)

    @property
    def proposal_id(self) -> UUID | None:
        """The proposal that is evaluated."""
        return None if self._candidate is None else self._candidate.proposal_id

    def begin(self, candidate: Candidate) -> None:
        """Evaluate ``candidate``; counts begin anew unless it is the same run.

        A run that was given up does not begin again.
        """
        if self._given_up == (candidate.proposal_id, candidate.until_ms):
            return
        if self.run != (candidate.proposal_id, candidate.until_ms):
            self.counts, self._sampled = Counts(), set()
        self._candidate = candidate
        self._snapshots.clear()
        self._waiting.clear()
        self._budget, self._budget_ms = 0.0, self._clock.now_ms()
        self.active = True
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="shadow")

    def end(self) -> None:
        """Evaluate nothing any more; the counts stay until another proposal begins."""
        self.active = False
        self._waiting.clear()
        self._snapshots.clear()

    async def close(self) -> None:
        """End, and stop the task."""
        self.end()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def drain(self) -> None:
        """Wait until everything that was put is evaluated."""
        await self._idle.wait()

    def put(
        self,
        call: Call,
        view: TenantView,
        questions: Sequence[Question],
        decisions: Sequence[Decision],
        now_ms: int,
    ) -> None:
        """Take the decisions of one call; costs a few additions when the budget is used up."""
        candidate = self._candidate
        if candidate is None or now_ms >= candidate.until_ms:
            self.active = False
            return
        room = min(self._allowance(candidate, now_ms), _MAX_WAITING - len(self._waiting))
        taken = max(0, min(room, len(decisions)))
        self.counts.skipped += len(decisions) - taken
        if not taken:
            return
        self._budget -= taken
        facts, org, caller = view.facts, call.tenant.org_slug, call.caller
        for index in range(taken):
            if decisions[index] is BEYOND_SCOPES:
                # No policy was asked.
                self.counts.skipped += 1
                continue
            self._waiting.append((facts, org, caller, questions[index], decisions[index], now_ms))
        self._idle.clear()
        self._work.set()

    def _allowance(self, candidate: Candidate, now_ms: int) -> int:
        """A bucket that fills with ``per_second`` and holds one second's worth."""
        passed_ms = max(0, now_ms - self._budget_ms)
        self._budget_ms = max(now_ms, self._budget_ms)
        self._budget = min(
            self._budget + passed_ms * candidate.per_second / 1000, float(candidate.per_second)
        )
        return int(self._budget)

    async def _run(self) -> None:
        while True:
            await self._work.wait()
            self._work.clear()
            done, slice_s = 0, 0.0
            while self._waiting and self._candidate is not None:
                entry = self._waiting.popleft()
                started_s = time.thread_time()
                try:
                    proposed = await self._view(self._candidate, entry[0])
                    self._compare(entry, proposed)
                except _FAILURES:
                    # Live traffic must not notice what is only tried out.
                    self.counts.skipped += 1
                    _LOG.exception("the proposal could not be evaluated")
                took_s = time.thread_time() - started_s
                if took_s > _TOO_LONG_S:
                    self._give_up(took_s)
                done, slice_s = done + 1, slice_s + took_s
                if slice_s > _SLICE_S:
                    await asyncio.sleep(slice_s * _REST)
                    slice_s = 0.0
                elif done % _CHUNK == 0:
                    await asyncio.sleep(0)
            self._idle.set()

    def _give_up(self, took_s: float) -> None:
        _LOG.error(
            "proposal %s is evaluated no more: one question took %.2f s", self.proposal_id, took_s
        )
        self._given_up = self.run
        self.counts.skipped += len(self._waiting)
        self.end()

    async def _view(self, candidate: Candidate, facts: TenantFacts) -> TenantView:
        known = self._snapshots.get(facts.tenant_id)
        if known is not None and known[0] is facts:
            self._snapshots.move_to_end(facts.tenant_id)
            return known[1]
        if facts.size >= _LARGE:
            view = await asyncio.to_thread(TenantView, facts, candidate.policy)
        else:
            view = TenantView(facts, candidate.policy)
        self._snapshots[facts.tenant_id] = (facts, view)
        if len(self._snapshots) > _MAX_TENANTS:
            self._snapshots.popitem(last=False)
        return view

    def _compare(self, entry: _Entry, proposed: TenantView) -> None:
        facts, org, caller, question, decision, now_ms = entry
        other = proposed.snapshot.check(
            question.subject,
            org,
            question.resource,
            question.action,
            LazyContext(question.context) if question.HasField("context") else None,
            now_ms,
        )
        counts = self.counts
        counts.evaluated += 1
        before, after = decision.effect, other.effect
        if before == after:
            return
        if before == "ALLOW":
            counts.allow_to_deny += 1
        elif after == "ALLOW":
            counts.deny_to_allow += 1
        else:
            counts.other += 1
        where = (str(facts.tenant_id), org, question.subject, question.action, question.resource)
        if len(counts.samples) >= MAX_SAMPLES or where in self._sampled:
            return
        self._sampled.add(where)
        counts.samples.append(
            Sample(
                tenant_id=where[0],
                org=org,
                caller=caller,
                subject=question.subject,
                action=question.action,
                resource=question.resource,
                before=before,
                after=after,
                rule_before=rule_name(decision),
                rule_after=rule_name(other),
                time_ms=now_ms,
            )
        )


def rule_name(decision: Decision) -> str:
    """The deciding rule as ``file:line``; empty when there is none."""
    return "" if decision.rule is None else f"{decision.rule.file}:{decision.rule.line}"


def total(parts: Sequence[Counts]) -> Counts:
    """The counts of several replicas together."""
    whole = Counts()
    for part in parts:
        whole.evaluated += part.evaluated
        whole.skipped += part.skipped
        whole.allow_to_deny += part.allow_to_deny
        whole.deny_to_allow += part.deny_to_allow
        whole.other += part.other
        whole.samples += part.samples[: MAX_SAMPLES - len(whole.samples)]
    return whole


def samples_from(values: Sequence[Any]) -> list[Sample]:
    """Samples from what ``dataclasses.asdict`` made of them."""
    return [Sample(**value) for value in values]
