"""Puts together what publishes policies and what keeps a server at the newest one."""

from dataclasses import dataclass
from pathlib import Path

from google.protobuf.descriptor import ServiceDescriptor

from argy.api.authz.v1 import policy_pb2
from argy.authz.publishing.activation import Activations
from argy.authz.publishing.candidates import Candidates
from argy.authz.publishing.floor import PolicyFloor
from argy.authz.publishing.follower import Lane, PolicyFollower
from argy.authz.publishing.holder import PolicyHolder
from argy.authz.publishing.impact import Impact
from argy.authz.publishing.keys import PolicyKeys
from argy.authz.publishing.review import Review
from argy.authz.publishing.service import PolicyService, ShadowUseCases
from argy.authz.publishing.watcher import PolicyWatcher
from argy.authz.snapshots import Snapshots
from argy.base.clock import Clock
from argy.rpc.page_token import PageTokens
from argy.store.database import Database


@dataclass(frozen=True, slots=True)
class Publishing:
    """What keeps this server at the policy that was published last."""

    follower: PolicyFollower
    watcher: PolicyWatcher | None
    """Activates the policy folder when it changes; in development only."""
    candidates: Candidates

    async def start(self) -> None:
        """Begin to follow."""
        await self.follower.start()
        if self.watcher is not None:
            await self.watcher.start()

    async def close(self) -> None:
        """Stop following."""
        if self.watcher is not None:
            await self.watcher.close()
        await self.follower.close()

    def poke(self) -> None:
        """Look for changes now."""
        self.follower.poke()
        if self.watcher is not None:
            self.watcher.poke()

    def problem(self) -> str:
        """Why something newer is not in force here; empty when nothing is newer."""
        watched = "" if self.watcher is None else self.watcher.problem
        return self.follower.problem or watched


def publishing_of(
    *,
    db: Database,
    lane: Lane,
    holder: PolicyHolder,
    keys: PolicyKeys,
    root: Path | None,
    clock: Clock,
    floor: PolicyFloor | None = None,
) -> Publishing:
    """Follow what is published; and ``root``, where the keys' trust says so (unsafe)."""
    follower = PolicyFollower(db, holder, keys.trust, lane, floor=floor)
    watcher: PolicyWatcher | None = None
    if root is not None and keys.trust.unsafe_folder:
        watcher = PolicyWatcher(
            root, db=db, keys=keys, holder=holder, follower=follower, clock=clock
        )
    return Publishing(follower, watcher, Candidates(db, keys.trust.authors))


def policy_services(
    *,
    db: Database,
    keys: PolicyKeys,
    holder: PolicyHolder,
    publishing: Publishing,
    snapshots: Snapshots,
    pages: PageTokens,
    clock: Clock,
    shadow: ShadowUseCases | None = None,
) -> tuple[tuple[object, ServiceDescriptor], ...]:
    """The service that puts policies in force."""
    review = Review(
        db=db,
        keys=keys,
        holder=holder,
        follower=publishing.follower,
        candidates=publishing.candidates,
        snapshots=snapshots,
        clock=clock,
    )
    activations = Activations(
        db=db,
        keys=keys,
        holder=holder,
        follower=publishing.follower,
        candidates=publishing.candidates,
        review=review,
        problem=publishing.problem,
        clock=clock,
    )
    service = PolicyService(
        review=review,
        activations=activations,
        candidates=publishing.candidates,
        impact=Impact(db, holder, clock),
        pages=pages,
        shadow=shadow,
    )
    return ((service, policy_pb2.DESCRIPTOR.services_by_name["PolicyService"]),)
