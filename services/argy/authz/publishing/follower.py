"""Follows the activations in the database: each is verified, compiled and swapped in, or refused.

The database only carries what was signed. What does not verify is refused: the previous policy
stays, and log, audit and ``problem`` tell why. Activations come in force in the order of their
sequence and never go back. While the database can't be heard, it is asked every second; while it
can't be reached, decisions go on with the last good policy.
"""

import asyncio
import logging
from contextlib import suppress
from typing import Final, Protocol
from uuid import UUID

from argy.authz.domain import stale_revision
from argy.authz.publishing.floor import PolicyFloor, behind
from argy.authz.publishing.holder import InForce, PolicyHolder
from argy.authz.publishing.store import (
    Newest,
    Published,
    find_newest,
    find_published,
    list_activations,
)
from argy.base.errors import ArgyError, FailedPrecondition
from argy.base.ids import PLATFORM_TENANT_ID
from argy.policy import compile_policy
from argy.policy.statements import PolicyTrust, PolicyUntrusted, verify_activation
from argy.store.database import Database
from argy.store.listener import Listener
from argy.trail.records import AuditRecord

CHANNEL: Final = "authz_policy"
POLL_S: Final = 1.0
REFUSE: Final = "authz.policy.refuse"
_MOST: Final = 20
"""Activations looked at, from the newest down, until one is good."""
_LOG: Final = logging.getLogger(__name__)


class Lane(Protocol):
    """Where refusals are recorded: ``argy.trail.lane.AuditLane``."""

    def put(self, tenant_id: UUID, rec: AuditRecord) -> None:
        """Take a record."""
        ...


class Refused(Exception):
    """Why one activation is not in force here."""

    def __init__(self, published: Published, error: ArgyError) -> None:
        super().__init__(error.message)
        self.published = published
        self.error = error

    @property
    def problem(self) -> str:
        """For people, with the reason that programs look at."""
        told = " ".join(self.error.message.split())[:1000]
        return f"activation {self.published.sequence} is refused: {told} [{self.error.reason}]"


def verified(published: Published, trust: PolicyTrust, *, above: int) -> InForce:
    """The policy of an activation that may come in force after ``above``.

    Raises:
        Refused: with the cause.
    """
    try:
        activation, bundle = verify_activation(
            published.statement, published.envelope, trust, above=above
        )
        if not published.agrees(activation):
            raise PolicyUntrusted("its row is not what was signed", reason="ROW_ALTERED")
        policy = compile_policy(bundle.source)
    except ArgyError as error:
        raise Refused(published, error) from error
    return InForce(policy, activation, bundle, published.statement, published.envelope)


async def load_newest(
    db: Database, trust: PolicyTrust, *, above: int
) -> tuple[InForce | None, list[Refused]]:
    """The newest good activation after ``above``, and those after it that are refused.

    Raises:
        Unavailable: when the database can't be reached.
    """
    refused: list[Refused] = []
    async with db.tenant(PLATFORM_TENANT_ID) as tx:
        rows = await list_activations(tx, before=None, limit=_MOST)
    for row in rows:
        if row.sequence <= above:
            break
        async with db.tenant(PLATFORM_TENANT_ID) as tx:
            published = await find_published(tx, row.sequence)
        if published is None:
            continue
        try:
            # Compiling a large policy takes tens of milliseconds: not on the loop.
            return await asyncio.to_thread(verified, published, trust, above=above), refused
        except Refused as problem:
            refused.append(problem)
    return None, refused


class PolicyFollower:
    """Keeps a ``PolicyHolder`` at the newest good activation."""

    def __init__(
        self,
        db: Database,
        holder: PolicyHolder,
        trust: PolicyTrust,
        lane: Lane,
        *,
        floor: PolicyFloor | None = None,
        poll_s: float = POLL_S,
    ) -> None:
        """Without a ``floor`` nothing but what is in force here bounds what may come."""
        self._db = db
        self._holder = holder
        self._trust = trust
        self._lane = lane
        self._floor = floor
        self._kept = 0
        self._poll_s = poll_s
        self._listener: Listener | None = None
        self._hears = False
        self._behind = True
        self._stir = asyncio.Event()
        self._turn = asyncio.Lock()
        self._next: asyncio.Task[None] | None = None
        self._task: asyncio.Task[None] | None = None
        self._recorded: set[tuple[int, str]] = set()
        self.problem: str = ""
        """Why a newer activation is not in force here; empty when none is newer."""

    async def start(self) -> None:
        """Begin to listen."""
        self._listener = await self._db.listen(
            {CHANNEL: lambda _: self.poke()}, on_lost=self._lost, on_restored=self._restored
        )
        self._task = asyncio.create_task(self._run(), name="policy-follower")

    async def close(self) -> None:
        """Stop."""
        if self._listener is not None:
            await self._listener.close()
        tasks = [task for task in (self._task, self._next) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._task = self._next = None

    def poke(self) -> None:
        """Look now."""
        self._stir.set()

    async def refresh(self) -> None:
        """Look at the database, from now on; those who ask meanwhile share one look.

        Raises:
            Unavailable: when it can't be reached.
        """
        if self._next is None:
            self._next = asyncio.create_task(self._one_turn(), name="policy-look")
        await asyncio.shield(self._next)

    async def reach(self, sequence: int, token: str) -> None:
        """Return once activation ``sequence`` or a newer one is in force here.

        Raises:
            FailedPrecondition: ``STALE_REVISION``, when the database has none or it is refused.
            Unavailable: when the database can't be reached.
        """
        if self._holder.in_force.sequence >= sequence:
            return
        await self.refresh()
        if self._holder.in_force.sequence < sequence:
            raise stale_revision(token)

    async def _one_turn(self) -> None:
        async with self._turn:
            # What is asked from here on may be news that this look does not see.
            self._next = None
            await self._look()

    async def _look(self) -> None:
        self._behind = True
        in_force = self._holder.in_force
        async with self._db.tenant(PLATFORM_TENANT_ID) as tx:
            newest = await find_newest(tx)
            same = None
            if newest is not None and newest.sequence <= in_force.sequence:
                same = await find_published(tx, newest.sequence)
        if newest is not None and same is not None:
            self._compare(newest, same, in_force)
            await self._keep(in_force)
            self._behind = False
            return
        found, refused = await load_newest(self._db, self._trust, above=in_force.sequence)
        if found is not None and (low := await self._below_floor(found)) is not None:
            found, refused = None, [*refused, low]
        if found is not None:
            self._holder.activate(found)
            _LOG.info(
                "policy %s is in force: activation %d, %d rules",
                found.policy.revision,
                found.sequence,
                len(found.policy.rules),
            )
        self._refuse(refused)
        await self._keep(self._holder.in_force)
        self._behind = False

    async def _below_floor(self, found: InForce) -> Refused | None:
        """Why an activation is below what was in force elsewhere already, if it is."""
        least = 0 if self._floor is None else await self._floor.read()
        if found.sequence >= least:
            return None
        async with self._db.tenant(PLATFORM_TENANT_ID) as tx:
            published = await find_published(tx, found.sequence)
        return None if published is None else Refused(published, behind(found.sequence, least))

    async def _keep(self, in_force: InForce) -> None:
        """Have it remembered that this is in force; raises Unavailable, and is tried again."""
        if self._floor is not None and in_force.sequence > self._kept:
            await self._floor.keep(in_force)
            self._kept = in_force.sequence

    def _compare(self, newest: Newest, published: Published, in_force: InForce) -> None:
        """Look at a database whose newest activation is not above the one in force."""
        if newest.sequence == in_force.sequence and published.statement == in_force.statement:
            self.problem = ""
            return
        error = FailedPrecondition(
            f"activation {in_force.sequence} is in force, and the database's newest is another or "
            "an older one: was it restored, or altered?",
            reason="SEQUENCE_NOT_ABOVE",
        )
        self._refuse([Refused(published, error)])

    def _refuse(self, refused: list[Refused]) -> None:
        problem = refused[0].problem if refused else ""
        if problem and problem != self.problem:
            _LOG.error("the policy in force stays: %s", problem)
        self.problem = problem
        for one in refused:
            key = (one.published.sequence, one.problem)
            if key in self._recorded or len(self._recorded) >= 1000:
                continue
            self._recorded.add(key)
            with suppress(ArgyError):  # logged above; a full lane tells of what it lost
                self._lane.put(PLATFORM_TENANT_ID, _refusal(one))

    def _lost(self) -> None:
        self._hears = False
        self.poke()

    def _restored(self) -> None:
        self._hears = True
        self.poke()

    async def _run(self) -> None:
        told = ""
        while True:
            quiet = self._hears and not self._behind and not self.problem
            with suppress(TimeoutError):
                async with asyncio.timeout(None if quiet else self._poll_s):
                    await self._stir.wait()
            self._stir.clear()
            try:
                await self.refresh()
                told = ""
            except ArgyError as error:
                if told != error.message:
                    _LOG.warning("newer policies can't be looked for: %s", error.message)
                told = error.message


def _refusal(refused: Refused) -> AuditRecord:
    published = refused.published
    return AuditRecord(
        actor="service:authz",
        action=REFUSE,
        resource=f"authz.policy:{published.digest}",
        outcome="FAILURE",
        reason=refused.error.reason,
        detail={"sequence": published.sequence, "problem": refused.problem},
    )
