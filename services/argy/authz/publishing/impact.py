"""Who in which tenant would gain or lose what, by a proposal: from the facts as they are now."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from argy.api.authz.v1 import policy_pb2 as pb
from argy.authz.domain import TenantFacts
from argy.authz.publishing.candidates import LIMIT_S, Candidate
from argy.authz.publishing.holder import PolicyHolder
from argy.authz.publishing.store import list_tenants
from argy.authz.publishing.wire import change_messages
from argy.authz.store import read_facts
from argy.base.clock import Clock
from argy.base.errors import NotFound
from argy.base.ids import PLATFORM_TENANT_ID
from argy.policy import Assignment, CompiledPolicy, Membership
from argy.policy.budget import budget
from argy.policy.compare.changes import AccessChange
from argy.policy.compare.impact import SubjectImpact, impact
from argy.store.database import Database

MAX_SUBJECTS: Final = 1_000
_MAX_CHANGES: Final = 100
"""Of one subject in one org."""


@dataclass(frozen=True, slots=True)
class _Facts:
    """A tenant's facts as ``argy.policy.compare.impact`` wants them."""

    facts: TenantFacts

    @property
    def tenant(self) -> str:
        return self.facts.slug

    @property
    def disabled(self) -> Iterable[str]:
        return self.facts.disabled

    def held(self) -> Iterable[Assignment]:
        return self.facts.assignments

    def members(self) -> Iterable[Membership]:
        return self.facts.memberships


class Impact:
    """Compares a proposal with the policy in force, tenant by tenant."""

    def __init__(self, db: Database, holder: PolicyHolder, clock: Clock) -> None:
        self._db = db
        self._holder = holder
        self._clock = clock

    async def page(
        self, candidate: Candidate, *, after: UUID | None, only: UUID | None, limit: int
    ) -> tuple[Sequence[pb.TenantImpact], UUID | None]:
        """Look at up to ``limit`` tenants after ``after``; where to go on, None at the end."""
        async with self._db.tenant(PLATFORM_TENANT_ID) as tx:
            tenants = await list_tenants(tx, after=after, only=only, limit=limit + 1)
        found = []
        for tenant_id, _ in tenants[:limit]:
            told = await self._tenant(candidate, tenant_id)
            if told is not None:
                found.append(told)
        return found, tenants[limit - 1][0] if len(tenants) > limit else None

    async def _tenant(self, candidate: Candidate, tenant_id: UUID) -> pb.TenantImpact | None:
        now_ms = self._clock.now_ms()
        try:
            async with self._db.tenant(tenant_id) as tx:
                facts = await read_facts(tx, now_ms=now_ms)
        except NotFound:
            return None  # deleted meanwhile
        base = self._holder.current
        subjects = await asyncio.to_thread(_found, base, candidate, _Facts(facts), now_ms)
        if not subjects:
            return None
        messages = [message for one in subjects[:MAX_SUBJECTS] for message in _messages(one)]
        return pb.TenantImpact(
            tenant_id=str(tenant_id),
            tenant=facts.slug,
            subjects=messages[:MAX_SUBJECTS],
            subject_count=len(subjects),
        )


def _found(
    base: CompiledPolicy, candidate: Candidate, facts: _Facts, now_ms: int
) -> tuple[SubjectImpact, ...]:
    with budget(LIMIT_S):
        return impact(base, candidate.policy, facts, now_ms)


def _messages(one: SubjectImpact) -> Iterable[pb.SubjectImpact]:
    """What reaches a subject, org by org."""
    by_org: dict[str, list[AccessChange]] = {}
    for item in one.changes:
        by_org.setdefault(item.change.domain.partition("/")[2], []).append(item.change)
    for org in sorted(by_org):
        yield pb.SubjectImpact(
            subject=one.subject, org=org, changes=change_messages(by_org[org][:_MAX_CHANGES])
        )
