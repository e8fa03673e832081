"""Attacks by who speaks for others: where people answer for it, only they themselves do."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from argy.api.authz.v1 import approval_pb2 as pb
from argy.base.errors import ArgyError, PermissionDenied

Make = Callable[..., Awaitable[Any]]
DEV, LEAD, CHECKER = "role:DEV", "role:LEAD", "role:CHECKER"


async def refusal(of: Awaitable[Any]) -> tuple[type[ArgyError], str]:
    with pytest.raises(ArgyError) as refused:
        await of
    return type(refused.value), refused.value.reason


async def test_nobody_votes_in_the_names_of_others(town: Make) -> None:
    """One person with a key that acts for people is not two named approvers."""
    home = await town()
    dev, lead, checker = [await home.person(role) for role in (DEV, LEAD, CHECKER)]
    approval = await dev.ask("thing:prod-1")
    for whose in (lead, checker):
        named = home.people.named(whose.subject)
        assert await refusal(named.approve(approval)) == (PermissionDenied, "PROOF_REQUIRED")
        assert await refusal(named.reject(approval)) == (PermissionDenied, "PROOF_REQUIRED")
    assert not (await dev.get(approval)).votes
    # Themselves they may.
    await lead.approve(approval)
    assert (await checker.approve(approval)).votes


async def test_nobody_takes_a_role_or_closes_a_review_in_the_name_of_another(town: Make) -> None:
    home = await town()
    dev, checker = await home.person(DEV), await home.person(CHECKER)
    named = home.people.named(dev.subject)
    assert await refusal(named.elevate("role:BOSS", break_glass=True)) == (
        PermissionDenied,
        "PROOF_REQUIRED",
    )
    made = (await dev.elevate("role:BOSS", break_glass=True)).elevation
    # What is given up needs no proof.
    await named.elevations.EndElevation(pb.EndElevationRequest(elevation_id=made.elevation_id))
    other = home.people.named(checker.subject)
    closing = pb.CloseReviewRequest(
        elevation_id=made.elevation_id, justified=True, comment="looked at it"
    )
    assert await refusal(other.elevations.CloseReview(closing)) == (
        PermissionDenied,
        "PROOF_REQUIRED",
    )


async def test_the_record_tells_who_acted_and_whom_they_only_named(
    town: Make, audit_events: Make
) -> None:
    home = await town()
    dev = await home.person(DEV)
    await home.people.named(dev.subject).ask("thing:prod-1")
    await dev.ask("thing:prod-2")
    named, own = await audit_events(home.tenant.tenant_id, "authz.approval.request")
    assert (named["actor"], named["on_behalf_of"], named["via"]) == (
        "service:gateway",
        dev.subject,
        "",
    )
    assert (own["actor"], own["on_behalf_of"], own["via"]) == (dev.subject, "", "service:gateway")
    assert json.loads(own["detail"])["requester"] == dev.subject
