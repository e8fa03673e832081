"""Who approved which policy, in PostgreSQL; in the platform tenant."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final
from uuid import UUID

import msgspec

from argy.authz.publishing.domain import GivenApproval, Proposal
from argy.store.database import Tx
from argy.store.queries import Queries
from argy.store.times import to_ms, to_time

_Q: Final = Queries.load(__package__)


async def insert_approval(tx: Tx, given: GivenApproval) -> bool:
    """Store a signed approval; False when the approver gave it before, signed in no other way."""
    signed_in = given.signed_in
    made = await tx.execute(
        _Q.insert_approval,
        tx.tenant_id,
        given.proposal_id,
        given.approver,
        given.bundle_digest,
        given.diff_digest,
        given.comment,
        given.statement,
        to_time(given.created_at_ms),
        None if signed_in is None else msgspec.json.encode(signed_in).decode(),
        given.asker_may_grant,
    )
    return made == 1


async def with_approvals(tx: Tx, proposals: Sequence[Proposal]) -> list[Proposal]:
    """The proposals with the approvals that each was given."""
    ids = [proposal.id for proposal in proposals]
    given: dict[UUID, list[GivenApproval]] = {}
    for row in await tx.fetch(_Q.list_proposal_approvals, tx.tenant_id, ids) if ids else ():
        approval = _approval(row)
        given.setdefault(approval.proposal_id, []).append(approval)
    return [replace(one, approvals=tuple(given.get(one.id, ()))) for one in proposals]


def _approval(row: Any) -> GivenApproval:
    signed_in = row["signed_in"]
    return GivenApproval(
        proposal_id=row["proposal_id"],
        approver=row["approver"],
        bundle_digest=row["bundle_digest"],
        diff_digest=row["diff_digest"],
        comment=row["comment"],
        statement=row["statement"],
        signed_in=None if signed_in is None else msgspec.json.decode(signed_in),
        created_at_ms=to_ms(row["created_at"]),
        asker_may_grant=row["asker_may_grant"],
    )
