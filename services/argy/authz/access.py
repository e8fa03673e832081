"""Every decision that this service makes for a call: the access stage's and the handlers'.

Here alone a snapshot is asked for somebody, so that no handler forgets how its caller signed in, or
what the caller's credential is limited to. Of others a caller may say what it likes: those are
questions, and it is the caller who acts upon the answers.

Two times count. Roles end, and conditions see ``now``, by the clock at the decision. How old a
caller's sign-in is counts as of the call's arrival: whoever decides within one call, here or in a
server that is told the age with the question, sees the same one, and no wait in between makes a
proof too old. A call that lasts is asked again as of the clock: ``LocalAccess.readmit``.
"""

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import replace
from operator import attrgetter
from typing import Final
from uuid import UUID

from argy.api.authz.v1.authz_pb2 import Question
from argy.authz.delegation import Giver, missing_of
from argy.authz.snapshots import Snapshots
from argy.authz.view import LazyContext, TenantView
from argy.base.clock import Clock
from argy.policy import BEYOND_SCOPES, NEEDS_APPROVAL, Decision, Explanation
from argy.policy.explain import explain as explain_rules
from argy.rpc.access import (
    ANY,
    GRANT_ANY,
    asked_tenant,
    auth_facts,
    check_delegable,
    covers,
    denied,
    own_facts,
    tell_sign_in,
)
from argy.rpc.call import Call
from argy.rpc.credentials import check_scope
from argy.rpc.delegation import Delegation, Missing
from argy.rpc.provisional import check_not_provisional
from argy.rpc.stages import ACT_FOR, subject_id

_MAX_PERMISSIONS: Final = 4096
_EXPLAINED: Final = "authz.decision"

Facts = Mapping[str, object] | None

Asked = tuple[str, str, str]
"""Subject, action and resource of a question."""
_ASKED: Final = attrgetter("subject", "action", "resource")
CONTEXT_TAG: Final = b"\x22"
"""Where a ``Question`` has a context, this byte stands before it: field 4, length-delimited."""


def decide(
    view: TenantView,
    call: Call,
    org: str,
    resource: str,
    action: str,
    facts: Facts,
    now_ms: int,
    *,
    subject: str = "",
) -> Decision:
    """Decide whether the call's caller, or another ``subject``, may act on a resource in an org.

    For the caller ``facts`` are seen as ``own_facts``; what its credential does not cover is
    ``BEYOND_SCOPES``.

    Raises:
        PermissionDenied: ``PASSKEY_REQUIRED``: for a provisional session nothing is decided.
    """
    who = subject or call.caller
    if who == call.caller:
        check_not_provisional(call.claims)
        if not covers(call.scopes, action, resource):
            return BEYOND_SCOPES
        facts = own_facts(facts, call.claims, call.received_ms)
    return view.snapshot.check(who, org, resource, action, facts, now_ms)


def would_still_allow(
    view: TenantView, subject: str, resource: str, action: str, facts: Facts, now_ms: int
) -> bool:
    """Whether what a subject did earlier, outside of orgs, would be allowed to it now.

    ``facts`` are those of then, how it had signed in among them; whose call it is now matters not.
    """
    return view.snapshot.check(subject, "", resource, action, facts, now_ms).allowed


def may(view: TenantView, call: Call, resource: str, action: str, now_ms: int) -> bool:
    """Whether the caller has a permission beside the one that its method declares."""
    return decide(view, call, call.tenant.org_slug, resource, action, None, now_ms).allowed


def may_explain(view: TenantView, call: Call, now_ms: int) -> bool:
    """Whether the caller is told why a decision about somebody else came out as it did.

    Rule and role path tell who holds which role: that is what Explain asks this permission for.
    """
    return may(view, call, f"{_EXPLAINED}:{ANY}", "explain", now_ms)


def giver_of(view: TenantView, call: Call, org: str, now_ms: int) -> Giver:
    """The call's caller as somebody who hands on authority in an org, or in the whole tenant."""
    check_not_provisional(call.claims)
    kind, action = GRANT_ANY.rsplit(":", 1)
    return Giver(
        view,
        call.caller,
        org,
        own_facts(None, call.claims, call.received_ms),
        now_ms,
        only_what_is_held=not covers(call.scopes, action, f"{kind}:{ANY}"),
    )


def answer(view: TenantView, call: Call, question: Question, now_ms: int) -> Decision:
    """Decide a question as ``decide`` does; what was sent of the caller's own sign-in is replaced.

    In the message itself, so that the log and a shadow see what the decision saw. Raises as
    ``decide``.
    """
    who = question.subject
    if who == call.caller:
        check_not_provisional(call.claims)
        tell_sign_in(call, question)
        if not covers(call.scopes, question.action, question.resource):
            return BEYOND_SCOPES
    return view.snapshot.check(
        who,
        call.tenant.org_slug,
        question.resource,
        question.action,
        LazyContext(question.context) if question.HasField("context") else None,
        now_ms,
    )


def answers(
    view: TenantView, call: Call, questions: Sequence[Question], now_ms: int
) -> tuple[list[Asked], list[Decision]]:
    """Decide questions as ``answer`` does each; returns what was asked beside the decisions.

    A batch reads each field once: here, and not again for the log.
    """
    given = list(questions)
    asked = list(map(_ASKED, given))
    caller = call.caller
    if CONTEXT_TAG in call.body:
        # Perhaps: the same byte stands for a length or a quotation mark too.
        return asked, [answer(view, call, question, now_ms) for question in given]
    check, org = view.snapshot.check, call.tenant.org_slug
    return asked, [
        check(subject, org, resource, action, None, now_ms)
        if subject != caller
        else answer(view, call, question, now_ms)
        for (subject, action, resource), question in zip(asked, given, strict=True)
    ]


def explain(view: TenantView, call: Call, question: Question, now_ms: int) -> Explanation:
    """Answer with every rule that took part, whatever a credential's scopes are."""
    decision = answer(view, call, question, now_ms)
    explained = explain_rules(
        view.snapshot,
        question.subject,
        call.tenant.org_slug,
        question.resource,
        question.action,
        LazyContext(question.context),
        now_ms,
    )
    return replace(explained, decision=decision)


async def subjects(
    view: TenantView, call: Call, resource: str, action: str, facts: Facts, now_ms: int
) -> list[str]:
    """Who may act on a resource, sorted: the caller by its own sign-in and scopes."""
    org = call.tenant.org_slug
    # Every subject of the tenant is asked about: not on the loop.
    found = await asyncio.to_thread(
        view.snapshot.list_subjects, org, resource, action, facts, now_ms
    )
    others = [subject for subject in found if subject != call.caller]
    if not decide(view, call, org, resource, action, facts, now_ms).allowed:
        return others
    return sorted([*others, call.caller])


class LocalAccess:
    """Implements ``argy.rpc.access.Decider``; answers at once when the tenant is loaded.

    Decisions are not remembered here: roles end and conditions look at the clock, and the engine
    answers from its own tables as fast as a memory of answers would.
    """

    __slots__ = ("_clock", "_parts", "_snapshots")

    def __init__(self, snapshots: Snapshots, clock: Clock) -> None:
        self._snapshots = snapshots
        self._clock = clock
        self._parts: dict[str, tuple[str, str]] = {}

    def permit(
        self, call: Call, permission: str, platform: bool, resource_id: str = ANY
    ) -> Awaitable[None] | None:
        """See ``AccessDecider``."""
        check_not_provisional(call.claims)
        if call.scopes is not None:
            check_scope(call.scopes, permission)
        tenant_id, _ = asked_tenant(call, platform=platform)
        view = self._snapshots.peek(tenant_id)
        org = "" if platform else call.tenant.org_slug
        facts = auth_facts(call.claims, call.received_ms)
        if view is None:
            return self._load(tenant_id, call.caller, org, permission, resource_id, facts)
        self._decide(view, call.caller, org, permission, resource_id, facts)
        return None

    async def missing(self, call: Call, wanted: Delegation) -> Missing | None:
        """See ``Delegations``."""
        check_delegable(call, wanted)
        tenant_id, _ = asked_tenant(call, platform=False)
        view = await self._snapshots.get(tenant_id)
        giver = giver_of(view, call, call.tenant.org_slug, self._clock.now_ms())
        return missing_of(giver, wanted)

    def readmit(self, view: TenantView, call: Call) -> None:
        """Ask again, of the tenant's newest view, what the chain asked when the call began.

        For calls that last: a permission that is taken away ends them.

        Raises:
            PermissionDenied: with ``ACCESS_DENIED``.
        """
        if call.acts_for:
            service, whom = f"service:{call.source}", subject_id(call.acts_for)
            self._decide(view, service, call.tenant.org_slug, ACT_FOR, whom, None)
        org, permission = call.tenant.org_slug, call.method.permission
        facts = auth_facts(call.claims, self._clock.now_ms())
        self._decide(view, call.caller, org, permission, ANY, facts)

    async def _load(
        self,
        tenant_id: UUID,
        subject: str,
        org: str,
        permission: str,
        resource_id: str,
        facts: Facts,
    ) -> None:
        view = await self._snapshots.get(tenant_id)
        self._decide(view, subject, org, permission, resource_id, facts)

    def _decide(
        self,
        view: TenantView,
        subject: str,
        org: str,
        permission: str,
        resource_id: str,
        facts: Facts,
    ) -> None:
        parts = self._parts.get(permission)
        if parts is None:
            kind, _, action = permission.rpartition(":")
            parts = (f"{kind}:", action)
            if len(self._parts) < _MAX_PERMISSIONS:
                self._parts[permission] = parts
        kind, action = parts
        now_ms = self._clock.now_ms()
        decision = view.snapshot.check(subject, org, kind + resource_id, action, facts, now_ms)
        if not decision.allowed:
            raise denied(permission, needs_approval=decision.reason == NEEDS_APPROVAL)
