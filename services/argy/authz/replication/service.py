"""Keeps replicas in other processes current: policy, one tenant's facts, what ended of its tokens.

A replica is told everything once and differences from then on. When nothing changes it is sent a
heartbeat each second, but only while this server itself is sure to be current: so a replica that
hears nothing knows that it may be stale. What verifies tokens is told apart from that, each second
too: when nobody can say which tokens were ended, roles are still told, and replicas verify nothing.
"""

import time
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Sequence
from contextlib import aclosing
from typing import Any, Final, Protocol
from uuid import UUID

from argy.api.authz.v1 import replication_pb2 as pb
from argy.authz.access import LocalAccess
from argy.authz.domain import TenantFacts
from argy.authz.replication.tokens import TokenFacts, TokenSource, revocations_between
from argy.authz.revision_watch import RevisionWatch
from argy.authz.snapshots import Snapshots
from argy.base.clock import Clock
from argy.base.errors import PermissionDenied
from argy.policy import Assignment, Membership
from argy.rpc.call import Call

HEARTBEAT_S: Final = 1.0
TOKENS_S: Final = 0.25
"""How often a stream looks for tokens that were ended."""
PART_ITEMS: Final = 5_000
"""Assignments, memberships, subjects and orgs in one message; about 600 kB."""
_SLACK_S: Final = TOKENS_S / 2
"""Ticks don't come to the millisecond."""

NOTHING: Final = TenantFacts(UUID(int=0), "", 0)
"""What a replica knows at first."""


class Published(Protocol):
    """The policy in force as it was published."""

    @property
    def sequence(self) -> int:
        """Of its activation."""
        ...

    @property
    def digest(self) -> str:
        """Of its bundle."""
        ...

    @property
    def statement(self) -> bytes:
        """The activation, signed."""
        ...

    @property
    def envelope(self) -> bytes:
        """The bundle, signed."""
        ...


class ReplicationService:
    """Streams policy and facts to those who decide in their own process."""

    def __init__(
        self,
        *,
        snapshots: Snapshots,
        watch: RevisionWatch,
        published: Callable[[], Published],
        clock: Clock,
    ) -> None:
        self._snapshots = snapshots
        self._watch = watch
        self._published = published
        self._access = LocalAccess(snapshots, clock)
        self._clock = clock
        self._tokens: TokenSource | None = None

    def use_tokens(self, source: TokenSource) -> None:
        """Tell what verifies tokens too, to streams that begin from now on."""
        self._tokens = source

    async def Replicate(
        self, request: pb.ReplicateRequest, call: Call
    ) -> AsyncGenerator[pb.ReplicateResponse, None]:
        """Send what is new until the caller goes, or may no longer.

        Raises:
            PermissionDenied: ``TENANT_SCOPE_REQUIRED``, for a call in an org.
        """
        if call.org_id is not None:
            # A permission in one org says nothing about the facts of the others.
            raise PermissionDenied(
                "A call in an org can't have the whole tenant's facts: leave x-org-id out",
                reason="TENANT_SCOPE_REQUIRED",
                field="x-org-id",
            )
        digest, sequence = request.bundle_digest, request.sequence
        facts, told = NOTHING, _Told(self._tokens)
        tick_s = HEARTBEAT_S if self._tokens is None else TOKENS_S
        spoke_s = float("-inf")
        async with aclosing(self._watch.watch(call.tenant_id, tick_s=tick_s)) as changes:
            async for _ in changes:
                view = await self._snapshots.get(call.tenant_id)
                # A stream lives for an hour: what was granted at its start may be gone.
                self._access.readmit(view, call)
                published = self._published()
                if published.sequence != sequence:
                    known = published.digest == digest
                    yield pb.ReplicateResponse(
                        policy=pb.ReplicatedPolicy(
                            activation=published.statement,
                            bundle=b"" if known else published.envelope,
                        )
                    )
                    digest, sequence = published.digest, published.sequence
                now_s = time.monotonic()
                if view.facts.revision < facts.revision:
                    # A load that lost a race; or a restored database, and then the replica hears
                    # nothing more, asks anew and is told everything.
                    continue
                if view.facts is facts:
                    if now_s - spoke_s >= HEARTBEAT_S - _SLACK_S:
                        beat = pb.Heartbeat(now_ms=self._clock.now_ms())
                        yield pb.ReplicateResponse(heartbeat=beat)
                        spoke_s = now_s
                else:
                    for part in changes_between(facts, view.facts):
                        yield pb.ReplicateResponse(facts=part)
                    facts, spoke_s = view.facts, now_s
                for message in await told.news(call.tenant_id, view.facts.slug, now_s):
                    yield pb.ReplicateResponse(revocations=message)


class _Told:
    """What one stream was told of tokens."""

    __slots__ = ("_at_s", "_facts", "_source")

    def __init__(self, source: TokenSource | None) -> None:
        self._source = source
        self._facts: TokenFacts | None = None
        self._at_s = float("-inf")

    async def news(
        self, tenant_id: UUID, slug: str, now_s: float
    ) -> Iterable[pb.TenantRevocations]:
        """What to say now: what changed, or each second that nothing did."""
        facts = None if self._source is None else await self._source.now(tenant_id, slug)
        if facts is None or (facts == self._facts and now_s - self._at_s < HEARTBEAT_S - _SLACK_S):
            return ()
        messages = revocations_between(self._facts, facts)
        self._facts, self._at_s = facts, now_s
        return messages


def changes_between(old: TenantFacts, new: TenantFacts) -> Iterator[pb.TenantFactsChange]:
    """The messages that take a replica from ``old`` to ``new``; everything when ``old`` is none.

    Each has at most ``PART_ITEMS`` items; the last one alone is complete.
    """
    reset = old is NOTHING
    held, holds = frozenset(old.assignments), frozenset(new.assignments)
    were, are = frozenset(old.memberships), frozenset(new.memberships)
    items = [
        *_each("added", map(_assignment, holds - held)),
        *_each("removed", map(_assignment, held - holds)),
        *_each("joined", map(_membership, are - were)),
        *_each("left", map(_membership, were - are)),
        *_each("disabled", new.disabled - old.disabled),
        *_each("enabled", old.disabled - new.disabled),
    ]
    replace_orgs = reset or old.orgs != new.orgs
    if replace_orgs:
        items += _each("orgs", (pb.FactOrg(org_id=str(org), slug=slug) for org, slug in new.orgs))
    starts = range(0, max(len(items), 1), PART_ITEMS)
    for start in starts:
        yield pb.TenantFactsChange(
            reset=reset and start == 0,
            tenant=new.slug,
            revision=new.revision,
            replace_orgs=replace_orgs and start == 0,
            complete=start == starts[-1],
            **_fields(items[start : start + PART_ITEMS]),
        )


def _each(name: str, values: Any) -> list[tuple[str, Any]]:
    return [(name, value) for value in values]


def _fields(items: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    fields: dict[str, list[Any]] = {}
    for name, value in items:
        fields.setdefault(name, []).append(value)
    return fields


def _assignment(item: Assignment) -> pb.FactAssignment:
    return pb.FactAssignment(
        subject=item.subject,
        role=item.role,
        org=item.org,
        expires_at_ms=item.expires_at_ms or 0,
    )


def _membership(item: Membership) -> pb.FactMembership:
    return pb.FactMembership(group=item.group, member=item.member)
