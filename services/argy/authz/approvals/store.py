"""Approvals of single actions in PostgreSQL."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final
from uuid import UUID

import msgspec

from argy.authz.approvals.domain import (
    Action,
    Approval,
    Requirement,
    State,
    Vote,
    too_many_requirements,
)
from argy.base.errors import AlreadyExists, ArgyError, InvalidArgument, NotFound
from argy.store.database import Tx
from argy.store.errors import ConstraintErrors
from argy.store.queries import Queries
from argy.store.times import to_ms, to_time

_Q: Final = Queries.load(__package__)
_REQUIREMENTS: Final = msgspec.json.Decoder(tuple[Requirement, ...])


def request_id_reused() -> AlreadyExists:
    """Return the error of an idempotency key that stands for another request."""
    return AlreadyExists(
        "request_id was used for another request", reason="REQUEST_ID_REUSED", field="request_id"
    )


def _voted_already() -> ArgyError:
    return AlreadyExists("You have voted on this already", reason="ALREADY_VOTED")


def _context_too_large() -> ArgyError:
    return InvalidArgument("The context is too large", field="question.context")


ERRORS: Final[ConstraintErrors] = {
    "approval_request_id_key": request_id_reused,
    "approval_vote_pkey": _voted_already,
    "approval_context_size": _context_too_large,
    "approval_requirements_size": too_many_requirements,
}
"""What the violated constraints of an approval mean."""


async def lock_requester(tx: Tx, requester: str) -> None:
    """Serve one request of a requester at a time until the transaction ends."""
    await tx.execute(_Q.lock_requester, str(tx.tenant_id), requester)


async def count_open(tx: Tx, requester: str, *, now_ms: int) -> int:
    """How many requests of a requester are open."""
    return int(await tx.fetchval(_Q.count_open_approvals, tx.tenant_id, requester, to_time(now_ms)))


async def find_open(tx: Tx, requester: str, action: Action, *, now_ms: int) -> list[Approval]:
    """Return the requester's open requests for the same action, newest first."""
    rows = await tx.fetch(
        _Q.find_open_approvals,
        tx.tenant_id,
        requester,
        action.subject,
        action.action,
        action.resource,
        action.request_digest,
        action.org_id,
        to_time(now_ms),
    )
    return await _with_votes(tx, rows)


async def find_by_request(tx: Tx, request_id: UUID) -> Approval | None:
    """Return what an earlier call with this idempotency key requested."""
    rows = await tx.fetch(_Q.find_approval_by_request, tx.tenant_id, request_id)
    found = await _with_votes(tx, rows)
    return found[0] if found else None


async def get(tx: Tx, approval_id: UUID) -> Approval:
    """Return an approval that the transaction's org may see.

    Raises:
        NotFound: ``APPROVAL_UNKNOWN``.
    """
    rows = await tx.fetch(_Q.find_approval, tx.tenant_id, approval_id, tx.org_id)
    if not rows:
        raise NotFound("No such approval", reason="APPROVAL_UNKNOWN", field="approval_id")
    return (await _with_votes(tx, rows))[0]


async def lock(tx: Tx, approval_id: UUID) -> Approval:
    """Return an approval as ``get``; nobody else changes it until the transaction ends."""
    await tx.execute(_Q.lock_approval, tx.tenant_id, approval_id)
    return await get(tx, approval_id)


async def list_page(
    tx: Tx, *, state: str, subject: str, own: str, after: UUID | None, limit: int, now_ms: int
) -> list[Approval]:
    """Return approvals that the transaction's org may see, newest first.

    ``own`` limits them to those of one subject, as requester or as who would act.
    """
    rows = await tx.fetch(
        _Q.list_approvals,
        tx.tenant_id,
        limit,
        tx.org_id,
        state,
        after,
        to_time(now_ms),
        subject,
        own,
    )
    return await _with_votes(tx, rows)


async def insert(
    tx: Tx, approval: Approval, *, context: Mapping[str, object] | None, request_id: UUID | None
) -> None:
    """Store a request."""
    wanted = approval.wanted
    await tx.execute(
        _Q.insert_approval,
        tx.tenant_id,
        approval.id,
        wanted.org_id,
        wanted.subject,
        wanted.action,
        wanted.resource,
        wanted.request_digest,
        None if context is None else msgspec.json.encode(context).decode(),
        approval.requester,
        approval.reason,
        msgspec.json.encode(approval.requirements).decode(),
        approval.policy_revision,
        to_time(approval.created_at_ms),
        to_time(approval.expires_at_ms),
        request_id,
    )


async def vote(tx: Tx, approval_id: UUID, made: Vote) -> None:
    """Store a vote.

    Raises:
        AlreadyExists: ``ALREADY_VOTED``.
    """
    await tx.execute(
        _Q.insert_vote,
        tx.tenant_id,
        approval_id,
        made.approver,
        made.approved,
        made.comment,
        to_time(made.created_at_ms),
        made.asker_may_grant,
    )


async def set_state(tx: Tx, approval_id: UUID, state: State, *, before: Sequence[State]) -> None:
    """Grant, reject or cancel an approval that the transaction has locked."""
    await tx.execute(_Q.set_approval_state, tx.tenant_id, approval_id, state, list(before))


async def redeem(tx: Tx, approval_id: UUID, action: Action, *, now_ms: int) -> bool:
    """Use an approval for exactly this action, in one atomic write; whether this call did."""
    used = await tx.fetchval(
        _Q.redeem_approval,
        tx.tenant_id,
        approval_id,
        to_time(now_ms),
        action.subject,
        action.action,
        action.resource,
        action.request_digest,
        action.org_id,
    )
    return used is not None


async def _with_votes(tx: Tx, rows: Sequence[Any]) -> list[Approval]:
    found = [_approval(row) for row in rows]
    votes: dict[UUID, list[Vote]] = {}
    if found:
        ids = [approval.id for approval in found]
        for row in await tx.fetch(_Q.list_votes, tx.tenant_id, ids):
            votes.setdefault(row["approval_id"], []).append(
                Vote(
                    approver=row["approver"],
                    approved=row["approved"],
                    comment=row["comment"],
                    created_at_ms=to_ms(row["created_at"]),
                    asker_may_grant=row["asker_may_grant"],
                )
            )
    return [replace(approval, votes=tuple(votes.get(approval.id, ()))) for approval in found]


def _approval(row: Any) -> Approval:
    return Approval(
        id=row["id"],
        wanted=Action(
            subject=row["subject"],
            action=row["action"],
            resource=row["resource"],
            request_digest=row["request_digest"],
            org_id=row["org_id"],
        ),
        org_slug=row["org_slug"],
        requester=row["requester"],
        reason=row["reason"],
        requirements=_REQUIREMENTS.decode(row["requirements"]),
        policy_revision=row["policy_revision"],
        state=row["state"],
        created_at_ms=to_ms(row["created_at"]),
        expires_at_ms=to_ms(row["expires_at"]),
    )
