"""Starts shadow evaluations, has this replica take part in them, and reports what all have seen."""

import asyncio
import json
import logging
from contextlib import suppress
from dataclasses import asdict
from typing import Final
from uuid import UUID

from argy.api.authz.v1 import policy_pb2 as pb
from argy.authz.publishing.candidates import Candidates
from argy.authz.publishing.follower import CHANNEL
from argy.authz.publishing.records import proposal_record
from argy.authz.publishing.store import find_proposal
from argy.authz.publishing.wire import proposal_message
from argy.authz.shadow.evaluation import Candidate, Counts, Sample, Shadow, samples_from, total
from argy.base.clock import Clock
from argy.base.errors import ArgyError, FailedPrecondition
from argy.base.ids import PLATFORM_TENANT_ID, uuid7
from argy.rpc.call import Call
from argy.store.database import Database
from argy.store.listener import Listener
from argy.store.queries import Queries
from argy.store.times import to_ms, to_time
from argy.trail.records import record

DEFAULT_DURATION_S: Final = 3_600
DEFAULT_PER_SECOND: Final = 1_000
FLUSH_S: Final = 1.0
"""How often a replica writes down what it has seen, and looks for itself while it hears nothing."""
_Q: Final = Queries.load(__package__)
_LOG: Final = logging.getLogger(__name__)


class ShadowRuns:
    """The use cases of shadow evaluation, and this replica's part in it."""

    def __init__(self, db: Database, shadow: Shadow, candidates: Candidates, clock: Clock) -> None:
        self._db = db
        self._shadow = shadow
        self._candidates = candidates
        self._clock = clock
        self._replica_id = uuid7()
        self._stir = asyncio.Event()
        self._hears = False
        self._written: Counts | None = None
        self._listener: Listener | None = None
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Take part from now on."""
        self._listener = await self._db.listen(
            {CHANNEL: lambda _: self._stir.set()}, on_lost=self._lost, on_restored=self._restored
        )
        self._task = asyncio.create_task(self._run(), name="shadow-runs")

    async def close(self) -> None:
        """Stop taking part; what was seen is written down."""
        if self._listener is not None:
            await self._listener.close()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        with suppress(ArgyError):  # the database may be gone already
            await self._flush()
        await self._shadow.close()

    async def start(self, call: Call, request: pb.StartShadowRequest) -> pb.StartShadowResponse:
        """Have every replica evaluate a proposal; another one's evaluation ends.

        Raises:
            NotFound: ``PROPOSAL_UNKNOWN``.
            FailedPrecondition: ``PROPOSAL_CLOSED``.
        """
        proposal_id = UUID(request.proposal_id)
        now_ms = self._clock.now_ms()
        duration_s = request.duration_s or DEFAULT_DURATION_S
        per_second = request.max_per_second or DEFAULT_PER_SECOND
        async with self._db.tenant(PLATFORM_TENANT_ID) as tx:
            proposal = await find_proposal(tx, proposal_id)
            until = to_time(now_ms + duration_s * 1000)
            rows = await tx.fetch(_Q.start_shadow, tx.tenant_id, proposal_id, until, per_second)
            if proposal_id not in {row["id"] for row in rows}:
                raise FailedPrecondition(
                    f"The proposal is {proposal.state.lower()}: propose it anew",
                    reason="PROPOSAL_CLOSED",
                    field="proposal_id",
                )
            await tx.execute(_Q.forget_counts, tx.tenant_id, proposal_id)
            detail = {"duration_s": duration_s, "max_per_second": per_second}
            await record(tx, proposal_record(call, "shadow", proposal, now_ms, **detail), call)
            started = await find_proposal(tx, proposal_id)
        self._stir.set()
        return pb.StartShadowResponse(proposal=proposal_message(started))

    async def report(
        self, call: Call, request: pb.GetShadowReportRequest
    ) -> pb.GetShadowReportResponse:
        """Sum what the replicas have seen; at most a second old.

        Raises:
            NotFound: ``PROPOSAL_UNKNOWN``.
        """
        proposal_id = UUID(request.proposal_id)
        async with self._db.tenant(PLATFORM_TENANT_ID) as tx:
            await find_proposal(tx, proposal_id)
            rows = await tx.fetch(_Q.list_counts, tx.tenant_id, proposal_id)
        names = ("evaluated", "skipped", "allow_to_deny", "deny_to_allow", "other")
        parts = [
            Counts(**{name: row[name] for name in names},
                   samples=samples_from(json.loads(row["samples"])))
            for row in rows
        ]  # fmt: skip
        whole = total(parts)
        response = pb.GetShadowReportResponse(
            evaluated=whole.evaluated,
            skipped=whole.skipped,
            allow_to_deny=whole.allow_to_deny,
            deny_to_allow=whole.deny_to_allow,
            other=whole.other,
            samples=[_sample_message(sample) for sample in whole.samples],
            replicas=len(rows),
        )
        if rows:
            latest = max(row["updated_at"] for row in rows)
            response.update_time.FromMilliseconds(to_ms(latest))
        return response

    async def _run(self) -> None:
        looked = False
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(FLUSH_S if looked else 0.05):
                    await self._stir.wait()
            heard = self._stir.is_set()
            self._stir.clear()
            try:
                await self._flush()
                if heard or not looked or not self._hears:
                    await self._look()
                looked = True
            except ArgyError as error:
                looked = False
                _LOG.warning("shadow evaluation: %s", error.message)
                await asyncio.sleep(FLUSH_S)

    async def _look(self) -> None:
        """Find out which proposal is to be evaluated, verify it, and begin or end."""
        now = to_time(self._clock.now_ms())
        async with self._db.tenant(PLATFORM_TENANT_ID) as tx:
            row = await tx.fetchrow(_Q.find_shadowed, tx.tenant_id, now)
        if row is None:
            if self._shadow.active:
                self._shadow.end()
            return
        until_ms = to_ms(row["shadow_until"])
        if self._shadow.active and self._shadow.run == (row["id"], until_ms):
            return
        try:
            candidate = await self._candidates.load(row["digest"])
        except ArgyError as error:
            # Altered, or signed by nobody whom this replica trusts: it takes no part.
            _LOG.error("proposal %s can't be evaluated: %s", row["id"], error.message)
            self._shadow.end()
            return
        self._shadow.begin(
            Candidate(row["id"], candidate.policy, until_ms, row["shadow_per_second"])
        )
        _LOG.info("evaluating proposal %s beside the policy in force", row["id"])

    async def _flush(self) -> None:
        """Write down what was seen, if it is more than before."""
        proposal_id, counts = self._shadow.proposal_id, self._shadow.counts
        if proposal_id is None:
            return
        seen = Counts(
            counts.evaluated,
            counts.skipped,
            counts.allow_to_deny,
            counts.deny_to_allow,
            counts.other,
            list(counts.samples),
        )
        if seen == self._written:
            return
        async with self._db.tenant(PLATFORM_TENANT_ID) as tx:
            await tx.execute(
                _Q.keep_counts,
                tx.tenant_id,
                proposal_id,
                self._replica_id,
                seen.evaluated,
                seen.skipped,
                seen.allow_to_deny,
                seen.deny_to_allow,
                seen.other,
                json.dumps([asdict(sample) for sample in seen.samples]),
                to_time(self._clock.now_ms()),
            )
        self._written = seen

    def _lost(self) -> None:
        self._hears = False
        self._stir.set()

    def _restored(self) -> None:
        self._hears = True
        self._stir.set()


def _sample_message(sample: Sample) -> pb.ShadowSample:
    values = asdict(sample)
    time_ms = values.pop("time_ms")
    message = pb.ShadowSample(**values)
    message.time.FromMilliseconds(time_ms)
    return message
