"""Who approved which policy, in PostgreSQL; in the platform tenant."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final
from uuid import UUID

import msgspec

from argy.authz.publishing.domain import GivenApproval, Proposal
from argy.authz.store import to_ms, to_time
from argy.policy.statements import Approval
from argy.store.database import Tx
from argy.store.queries import Queries

_Q: Final = Queries.load(__package__)


async def insert_approval(
    tx: Tx,
    approval: Approval,
    comment: str,
    statement: bytes,
    signed_in: Mapping[str, object] | None,
) -> bool:
    """Store a signed approval; False when the approver gave it before, signed in no other way."""
    made = await tx.execute(
        _Q.insert_approval,
        tx.tenant_id,
        UUID(approval.proposal_id),
        approval.approver,
        approval.bundle_digest,
        approval.diff_digest,
        comment,
        statement,
        to_time(approval.time_ms),
        None if signed_in is None else msgspec.json.encode(signed_in).decode(),
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
    )
