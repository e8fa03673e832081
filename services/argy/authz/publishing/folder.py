"""How a folder comes in force: as the very first policy, and in development at each change.

The bootstrap rule: while nothing was ever activated, the first server to start records its policy
folder as activation 1, of kind BOOTSTRAP, signed by the control plane. From then on folders count
for nothing, except on servers that run with ``unsafe_folder`` (ARGY_UNSAFE_FOLLOW_POLICY_DIR): they
activate a changed folder without review (kind FOLDER), and only until a proposal or a rollback is
in force. Servers without it refuse such an activation.
"""

import logging
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, NoReturn

from argy.authz.publishing.domain import concurrent_activation
from argy.authz.publishing.floor import PolicyFloor, behind
from argy.authz.publishing.follower import REFUSE, load_newest
from argy.authz.publishing.holder import InForce
from argy.authz.publishing.keys import PolicyKeys
from argy.authz.publishing.store import ERRORS, find_newest, insert_activation, keep_bundle
from argy.base.clock import Clock
from argy.base.errors import Aborted, FailedPrecondition
from argy.base.ids import PLATFORM_TENANT_ID
from argy.policy import load_policy
from argy.policy.bundle import Bundle, build_bundle, read_bundle, sign_bundle
from argy.policy.files import read_committed, read_folder
from argy.policy.statements import Activation, seal_activation
from argy.store.database import Database
from argy.trail.records import AuditRecord, record

ACTIVATE: Final = "authz.policy.activate"
_ACTOR: Final = "service:authz"
_LOG: Final = logging.getLogger(__name__)
_REASONS: Final = {
    "BOOTSTRAP": "the first server's policy folder",
    "FOLDER": "the policy folder changed; nobody reviewed it",
}


@dataclass(frozen=True, slots=True)
class Folder:
    """A policy folder, read whole and found good."""

    bundle: Bundle
    payload: bytes = field(repr=False)


def open_folder(root: Path) -> Folder:
    """Read a folder as a bundle.

    Raises:
        PolicyError: naming file and line of everything that is wrong with it.
    """
    # Tells also of files that no policy reads, which a bundle would leave out.
    load_policy(root)
    try:
        files = read_committed(root)
    except FailedPrecondition as error:
        # What git can't tell makes the policy no worse; a proposal is told, see ``signed_bundle``.
        _LOG.warning("the policy folder's commit is not known: %s", error.message)
        files = read_folder(root)
    payload = build_bundle(files)
    return Folder(read_bundle(payload), payload)


async def begin(
    db: Database, keys: PolicyKeys, root: Path, clock: Clock, floor: PolicyFloor | None = None
) -> InForce:
    """The policy to start with: the newest good activation, or the folder if there never was one.

    With a ``floor`` none below it, and no folder either: a database that has none lost them.

    Raises:
        FailedPrecondition: ``POLICY_REFUSED``, when no activation is good; ``POLICY_BEHIND``.
        PolicyError: when the folder is wanted and does not load.
        Unavailable: ``POLICY_FLOOR_AWAY``.
    """
    least = 0 if floor is None else await floor.read()
    async with db.tenant(PLATFORM_TENANT_ID) as tx:
        newest = await find_newest(tx)
    if newest is None and least:
        await _alarm(db, behind(0, least))
    if newest is None:
        with suppress(Aborted):  # another server was the first
            await publish_folder(db, keys, open_folder(root), "BOOTSTRAP", None, clock)
    found, refused = await load_newest(db, keys.trust, above=0)
    if found is None:
        problems = "; ".join(one.problem for one in refused) or "there is none"
        raise FailedPrecondition(
            f"no policy can come in force here: {problems}", reason="POLICY_REFUSED"
        )
    if found.sequence < least:
        await _alarm(db, behind(found.sequence, least))
    if floor is not None:
        await floor.keep(found)
    return found


async def _alarm(db: Database, error: FailedPrecondition) -> NoReturn:
    """Record that this server does not start on what the database offers, and raise why."""
    _LOG.error("no policy comes in force here: %s", error.message)
    async with db.tenant(PLATFORM_TENANT_ID) as tx:
        await record(
            tx,
            AuditRecord(
                actor=_ACTOR,
                action=REFUSE,
                resource="authz.policy:-",
                outcome="FAILURE",
                reason=error.reason,
                detail=dict(error.metadata),
            ),
        )
    raise error


async def publish_folder(
    db: Database,
    keys: PolicyKeys,
    folder: Folder,
    kind: Literal["BOOTSTRAP", "FOLDER"],
    after: InForce | None,
    clock: Clock,
) -> None:
    """Activate a folder in place of ``after``, which must be the newest still.

    Raises:
        Aborted: ``CONCURRENT_ACTIVATION``, when it is not.
    """
    bundle, now_ms = folder.bundle, clock.now_ms()
    sequence = 1 if after is None else after.sequence + 1
    activation = Activation(
        sequence=sequence,
        kind=kind,
        origin=kind,
        bundle_digest=bundle.digest,
        policy_revision=bundle.source.revision,
        previous_digest="" if after is None else after.digest,
        activated_by=_ACTOR,
        reason=_REASONS[kind],
        time_ms=now_ms,
    )
    statement = seal_activation(activation, keys.signing)
    envelope = sign_bundle(folder.payload, keys.signing)
    async with db.tenant(PLATFORM_TENANT_ID, errors=ERRORS) as tx:
        newest = await find_newest(tx)
        if (0 if newest is None else newest.sequence) != sequence - 1:
            raise concurrent_activation()
        await keep_bundle(tx, bundle, envelope, by=_ACTOR, now_ms=now_ms)
        await insert_activation(tx, activation, statement)
        await record(
            tx,
            AuditRecord(
                actor=_ACTOR,
                action=ACTIVATE,
                resource=f"authz.policy:{bundle.digest}",
                detail={
                    "sequence": sequence,
                    "kind": kind,
                    "policy_revision": bundle.source.revision,
                    "previous": activation.previous_digest,
                    "commit": bundle.manifest.commit,
                    "rules": len(bundle.source.rules),
                },
                occurred_at_ms=now_ms,
            ),
        )
