"""Who made a policy, and whether whoever approves it is another."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from argy.authz.access import would_still_allow
from argy.authz.provenance.domain import appointed
from argy.authz.provenance.others import Others
from argy.authz.publishing.candidates import Candidate
from argy.authz.publishing.domain import GivenApproval, Proposal
from argy.authz.publishing.store import find_people
from argy.authz.view import TenantView
from argy.policy.statements import Approval
from argy.rpc.access import ANY
from argy.store.database import Tx

APPROVE: Final = "approve"
PROPOSE: Final = "propose"


async def with_makers(tx: Tx, proposal: Proposal, candidate: Candidate) -> Proposal:
    """The proposal with everybody who made it, as far as that is known now, or was before.

    From inside the platform tenant, whose people they are. Addresses stay known: who changes theirs
    has made it still.
    """
    addresses = {one.lower() for one in candidate.made_by if _is_address(one)}
    people = await find_people(tx, addresses)
    subjects = {one for one in candidate.made_by if not _is_address(one)}
    makers = {*proposal.makers, *subjects, *people.values()}
    return replace(
        proposal,
        makers=tuple(sorted(makers)),
        unknown_makers=tuple(sorted(addresses - people.keys())),
    )


async def check_other(
    tx: Tx, view: TenantView, proposal: Proposal, given: GivenApproval, now_ms: int
) -> bool:
    """Refuse an approval by what a maker gave; return whether a maker could give it at will.

    Raises:
        PermissionDenied: ``APPOINTED_BY_ASKER``.
    """
    others = await _others(tx, view, proposal, [given.approver], now_ms)
    if not _still_approves(others.view, proposal, given, given.approver, now_ms):
        raise appointed()
    reach = others.beyond_reach("", now_ms)
    return not _still_approves(reach, proposal, given, given.approver, now_ms)


async def still_good(
    tx: Tx,
    view: TenantView,
    proposal: Proposal,
    signed: Iterable[tuple[GivenApproval, Approval]],
    now_ms: int,
) -> frozenset[bytes]:
    """The statements of those approvals that their approvers might give today as well.

    Whom the statement names is asked about, by the policy in force now, with the roles held now, as
    another than the makers, and with how they had signed in then.
    """
    known = list(signed)
    others = await _others(tx, view, proposal, [said.approver for _, said in known], now_ms)
    return frozenset(
        given.statement
        for given, said in known
        if said.approver not in proposal.everybody
        and all(
            _still_approves(each, proposal, given, said.approver, now_ms)
            for each in (view, others.view)
        )
    )


def may_still_propose(view: TenantView, proposal: Proposal, now_ms: int) -> bool:
    """Whether the proposer might propose today as well, signed in as they were then."""
    return would_still_allow(
        view, proposal.author, f"policy:{ANY}", PROPOSE, proposal.signed_in, now_ms
    )


async def _others(
    tx: Tx, view: TenantView, proposal: Proposal, people: list[str], now_ms: int
) -> Others:
    return await Others.read(
        tx,
        view,
        people,
        askers=proposal.everybody,
        asked_at_ms=proposal.created_at_ms,
        now_ms=now_ms,
    )


def _still_approves(
    view: TenantView, proposal: Proposal, given: GivenApproval, approver: str, now_ms: int
) -> bool:
    facts = {"author": proposal.author, **(given.signed_in or {})}
    return would_still_allow(view, approver, f"policy:{proposal.id}", APPROVE, facts, now_ms)


def _is_address(maker: str) -> bool:
    return not maker.startswith(("user:", "service:", "agent:"))
