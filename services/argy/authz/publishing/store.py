"""Bundles, proposals, approvals and activations in PostgreSQL, all in the platform tenant."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import msgspec

from argy.authz.publishing.approval_store import with_approvals
from argy.authz.publishing.domain import (
    ActivationRow,
    Difference,
    PolicyName,
    Proposal,
    concurrent_activation,
)
from argy.base.dsse import joined
from argy.base.errors import AlreadyExists, ArgyError, NotFound
from argy.policy.bundle import PAYLOAD_TYPE, Bundle
from argy.policy.compare.changes import AccessChange
from argy.policy.statements import Activation
from argy.store.database import Tx
from argy.store.errors import ConstraintErrors
from argy.store.queries import Queries
from argy.store.times import to_ms, to_time

_Q: Final = Queries.load(__package__)


def request_id_reused() -> ArgyError:
    """Return the error of an idempotency key that stands for another proposal."""
    return AlreadyExists(
        "request_id was used for another proposal", reason="REQUEST_ID_REUSED", field="request_id"
    )


ERRORS: Final[ConstraintErrors] = {
    "policy_activation_pkey": concurrent_activation,
    "policy_proposal_request_id_key": request_id_reused,
}
"""What violated constraints mean."""


@dataclass(frozen=True, slots=True)
class Newest:
    """The newest activation: its sequence, and the SHA-256 of its statement."""

    sequence: int
    statement_digest: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """One activation's row with its bundle. Nothing here is believed before it is verified."""

    sequence: int
    digest: str
    kind: str
    proposal_id: UUID | None
    activated_by: str
    reason: str
    created_at_ms: int
    statement: bytes
    envelope: bytes

    def agrees(self, activation: Activation) -> bool:
        """Whether the row says what was signed."""
        return (
            self.sequence,
            self.digest,
            self.kind,
            "" if self.proposal_id is None else str(self.proposal_id),
            self.activated_by,
            self.reason,
            self.created_at_ms,
        ) == (
            activation.sequence,
            activation.bundle_digest,
            activation.kind,
            activation.proposal_id,
            activation.activated_by,
            activation.reason,
            activation.time_ms,
        )


async def find_newest(tx: Tx) -> Newest | None:
    """Return the newest activation; None before the first."""
    row = await tx.fetchrow(_Q.find_newest_sequence, tx.tenant_id)
    return None if row is None else Newest(row["sequence"], row["statement_digest"])


async def find_published(tx: Tx, sequence: int) -> Published | None:
    """Return one activation with its bundle."""
    row = await tx.fetchrow(_Q.find_published, tx.tenant_id, sequence)
    if row is None:
        return None
    values = dict(row)
    return Published(created_at_ms=to_ms(values.pop("created_at")), **values)


async def list_activations(tx: Tx, *, before: int | None, limit: int) -> list[ActivationRow]:
    """Return activations, newest first."""
    rows = await tx.fetch(_Q.list_activations, tx.tenant_id, before, limit)
    return [
        ActivationRow(
            sequence=row["sequence"],
            policy=PolicyName(row["digest"], row["policy_revision"], row["git_commit"]),
            kind=row["kind"],
            proposal_id=row["proposal_id"],
            activated_by=row["activated_by"],
            reason=row["reason"],
            created_at_ms=to_ms(row["created_at"]),
        )
        for row in rows
    ]


async def keep_bundle(tx: Tx, bundle: Bundle, envelope: bytes, *, by: str, now_ms: int) -> None:
    """Store a verified bundle; if it is there, as another signed it, both signatures are kept.

    So a folder's policy, which the control plane signs, may also be proposed by an author.

    Raises:
        InvalidArgument: ``TOO_MANY_SIGNATURES``.
    """
    time_s = bundle.manifest.commit_time_s
    inserted = await tx.fetchval(
        _Q.insert_bundle,
        tx.tenant_id,
        bundle.digest,
        envelope,
        bundle.source.revision,
        bundle.manifest.commit,
        to_time(time_s * 1000) if time_s else None,
        by,
        to_time(now_ms),
    )
    if inserted is not None:
        return
    kept = bytes(await tx.fetchval(_Q.lock_bundle, tx.tenant_id, bundle.digest))
    both = joined(kept, envelope, payload_type=PAYLOAD_TYPE)
    if both != kept:
        await tx.execute(_Q.sign_bundle, tx.tenant_id, bundle.digest, both)


async def insert_activation(tx: Tx, activation: Activation, statement: bytes) -> None:
    """Store a signed activation.

    Raises:
        Aborted: ``CONCURRENT_ACTIVATION``, when its sequence is taken.
    """
    await tx.execute(
        _Q.insert_activation,
        tx.tenant_id,
        activation.sequence,
        activation.bundle_digest,
        activation.kind,
        UUID(activation.proposal_id) if activation.proposal_id else None,
        activation.activated_by,
        activation.reason,
        statement,
        to_time(activation.time_ms),
    )


async def find_bundle(tx: Tx, digest: str) -> bytes:
    """Return a bundle's envelope.

    Raises:
        NotFound: ``BUNDLE_UNKNOWN``.
    """
    envelope = await tx.fetchval(_Q.find_bundle, tx.tenant_id, digest)
    if envelope is None:
        raise NotFound("No such bundle", reason="BUNDLE_UNKNOWN")
    return bytes(envelope)


async def insert_proposal(tx: Tx, proposal: Proposal) -> None:
    """Store a proposal."""
    await tx.execute(
        _Q.insert_proposal,
        tx.tenant_id,
        proposal.id,
        proposal.policy.digest,
        proposal.base.digest,
        proposal.diff_digest,
        msgspec.json.encode(proposal.changes).decode(),
        proposal.change_count,
        proposal.approvals_needed,
        proposal.title,
        proposal.description,
        proposal.author,
        to_time(proposal.created_at_ms),
        proposal.request_id,
        list(proposal.makers),
        list(proposal.unknown_makers),
        None if proposal.signed_in is None else msgspec.json.encode(proposal.signed_in).decode(),
    )


async def find_proposal(tx: Tx, proposal_id: UUID) -> Proposal:
    """Return a proposal with its approvals.

    Raises:
        NotFound: ``PROPOSAL_UNKNOWN``.
    """
    row = await tx.fetchrow(_Q.find_proposal, tx.tenant_id, proposal_id, None)
    if row is None:
        raise NotFound("No such proposal", reason="PROPOSAL_UNKNOWN", field="proposal_id")
    return (await with_approvals(tx, [_proposal(row)]))[0]


async def find_by_request(tx: Tx, request_id: UUID) -> Proposal | None:
    """Return the proposal that an earlier call with this idempotency key made."""
    row = await tx.fetchrow(_Q.find_proposal, tx.tenant_id, None, request_id)
    return None if row is None else (await with_approvals(tx, [_proposal(row)]))[0]


async def list_proposals(
    tx: Tx, *, before: UUID | None, state: str, limit: int
) -> Sequence[Proposal]:
    """Return proposals without their changes, newest first; state "" is every one."""
    rows = await tx.fetch(_Q.list_proposals, tx.tenant_id, before, state, limit)
    return await with_approvals(tx, [_proposal(row) for row in rows])


async def lock_proposal(tx: Tx, proposal_id: UUID) -> None:
    """Hold a proposal until the transaction ends."""
    await tx.fetchrow(_Q.lock_proposal, tx.tenant_id, proposal_id)


async def update_diff(tx: Tx, proposal: Proposal, difference: Difference) -> Proposal:
    """Keep what an open proposal would change now; return it as it is then."""
    await tx.execute(
        _Q.update_proposal_diff,
        tx.tenant_id,
        proposal.id,
        difference.base_digest,
        difference.diff_digest,
        msgspec.json.encode(difference.changes).decode(),
        difference.change_count,
        difference.approvals_needed,
    )
    return await find_proposal(tx, proposal.id)


async def close_proposal(tx: Tx, proposal_id: UUID, state: str, rejection: str = "") -> bool:
    """End an open proposal; False when it had ended."""
    return await tx.execute(_Q.close_proposal, tx.tenant_id, proposal_id, state, rejection) == 1


async def list_tenants(
    tx: Tx, *, after: UUID | None, only: UUID | None, limit: int
) -> list[tuple[UUID, str]]:
    """Return active tenants by id and slug; from inside the platform tenant."""
    rows = await tx.fetch(_Q.list_tenants_after, after, only, limit)
    return [(row["tenant_id"], row["slug"]) for row in rows]


async def find_people(tx: Tx, addresses: Collection[str]) -> dict[str, str]:
    """Return the subjects of the tenant's people by their addresses, in lower case."""
    rows = await tx.fetch(_Q.find_people, tx.tenant_id, list(addresses)) if addresses else ()
    return {row["address"]: row["subject"] for row in rows}


def _proposal(row: Any) -> Proposal:
    signed_in = row["signed_in"]
    return Proposal(
        id=row["id"],
        policy=PolicyName(row["digest"], row["policy_revision"], row["git_commit"]),
        base=PolicyName(row["base_digest"], row["base_revision"], row["base_commit"]),
        diff_digest=row["diff_digest"],
        changes=tuple(msgspec.json.decode(row["changes"], type=list[AccessChange])),
        change_count=row["change_count"],
        approvals_needed=row["approvals_needed"],
        title=row["title"],
        description=row["description"],
        author=row["author"],
        state=row["state"],
        rejection=row["rejection"],
        created_at_ms=to_ms(row["created_at"]),
        shadow_until_ms=None if row["shadow_until"] is None else to_ms(row["shadow_until"]),
        request_id=row["request_id"],
        makers=tuple(row["makers"]),
        unknown_makers=tuple(row["unknown_makers"]),
        signed_in=None if signed_in is None else msgspec.json.decode(signed_in),
    )
