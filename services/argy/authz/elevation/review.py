"""Who may close the review of a broken glass: others than whoever broke it."""

from dataclasses import replace

from argy.authz.access import decide
from argy.authz.domain import not_permitted
from argy.authz.elevation.domain import Elevation
from argy.authz.provenance.domain import appointed
from argy.authz.provenance.others import Others
from argy.authz.view import TenantView
from argy.policy import Assignment, Decision
from argy.rpc.call import Call
from argy.store.database import Tx


async def check_reviewer(
    tx: Tx, call: Call, view: TenantView, found: Elevation, now_ms: int
) -> bool:
    """Refuse a reviewer who may not, or who owes it to whoever broke the glass.

    Returns whether the one who broke it could have given the reviewer at will what this takes.

    Raises:
        PermissionDenied: ``ACCESS_DENIED``, ``SCOPE_INSUFFICIENT`` or ``REVIEWER_APPOINTED``.
    """
    decision = _decide(view, call, found, now_ms)
    if not decision.allowed:
        raise not_permitted(decision, "review", f"authz.elevation:{found.id}")
    others = await Others.read(
        tx,
        view,
        (call.caller,),
        askers=(found.subject,),
        asked_at_ms=found.created_at_ms,
        now_ms=now_ms,
    )
    if not _decide(others.view, call, found, now_ms).allowed:
        raise appointed("REVIEWER_APPOINTED")
    reach = others.beyond_reach(call.tenant.org_slug, now_ms, askers_view=_elevated(view, found))
    return not _decide(reach, call, found, now_ms).allowed


def _decide(view: TenantView, call: Call, found: Elevation, now_ms: int) -> Decision:
    facts = {"subject": found.subject, "role": found.role}
    name = f"authz.elevation:{found.id}"
    return decide(view, call, call.tenant.org_slug, name, "review", facts, now_ms)


def _elevated(view: TenantView, found: Elevation) -> TenantView:
    """The tenant as if nothing but what was taken for a while were held."""
    taken = Assignment(subject=found.subject, role=found.role, org=found.org_slug)
    facts = replace(view.facts, assignments=(taken,), memberships=())
    return TenantView(facts, view.policy, view.sequence)
