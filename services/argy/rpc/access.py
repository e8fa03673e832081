"""What a call's caller may do: the access stage's question, and what every decision must know.

How a caller signed in counts in each decision about them, and what their credential is limited to
as well: of a person who brought a token the platform knows both, and believes nobody else.
"""

from collections.abc import Awaitable, Mapping
from datetime import UTC
from typing import Any, Final, Protocol
from uuid import UUID

from argy.api.authz.v1.authz_pb2 import (
    EFFECT_ALLOW,
    EFFECT_NEEDS_APPROVAL,
    CheckDelegationRequest,
    CheckRequest,
    DelegatedPermission,
    Question,
)
from argy.api.authz.v1.authz_pb2_grpc import AuthzServiceStub
from argy.base.errors import PermissionDenied
from argy.base.ids import PLATFORM_TENANT_ID
from argy.rpc.call import Call
from argy.rpc.claims import Claims
from argy.rpc.client import SignedChannel
from argy.rpc.credentials import check_scope
from argy.rpc.delegation import Delegation, Missing
from argy.rpc.provisional import check_not_provisional

ANY: Final = "-"
"""The id that asks about resources of a type as such, not about one of them."""

GRANT_ANY: Final = "authz.role_assignment:grant_any"
"""The permission to give roles which the giver doesn't hold."""
_AUTH: Final = "auth"


class AccessDecider(Protocol):
    """Decides whether a call's caller holds a permission."""

    def permit(
        self, call: Call, permission: str, platform: bool, resource_id: str = ANY
    ) -> Awaitable[None] | None:
        """Return nothing, or an awaitable of nothing, when the caller may.

        ``permission`` is ``type:action``, asked of the resource ``type:<resource_id>`` in the
        call's tenant and org, or in the platform tenant when ``platform``.

        Raises:
            PermissionDenied: ``ACCESS_DENIED``, or ``SCOPE_INSUFFICIENT`` when the call's
                credential is limited to others, or ``PASSKEY_REQUIRED`` in a provisional session.
        """
        ...


class Delegations(Protocol):
    """Decides whether a call's caller may hand on authority."""

    async def missing(self, call: Call, wanted: Delegation) -> Missing | None:
        """What the call's caller lacks to hand on ``wanted`` in the call's tenant and org.

        Raises:
            PermissionDenied: as ``permit``, for a credential or session that holds nothing of it.
            Unavailable: when nobody can say; never a yes.
        """
        ...


class Decider(AccessDecider, Delegations, Protocol):
    """Decides both."""


def asked_tenant(call: Call, *, platform: bool) -> tuple[UUID, UUID | None]:
    """The tenant and org in which a caller is asked about: a principal is of a tenant.

    Raises:
        PermissionDenied: ``PRINCIPAL_OF_ANOTHER_TENANT`` where its name means nobody, or another.
    """
    where = (PLATFORM_TENANT_ID, None) if platform else (call.tenant_id, call.org_id)
    if call.home_id not in (PLATFORM_TENANT_ID, where[0]):
        raise PermissionDenied(
            "This is decided in the platform tenant, and the caller is of another: call with "
            "x-tenant-id and a credential of the platform tenant",
            reason="PRINCIPAL_OF_ANOTHER_TENANT",
        )
    return where


def check_delegable(call: Call, wanted: Delegation) -> None:
    """Hold a delegation to what the caller's session and credential may do at all."""
    check_not_provisional(call.claims)
    if call.scopes is not None:
        for permission, _ in wanted.permissions:
            check_scope(call.scopes, permission)


def denied(permission: str, *, needs_approval: bool = False) -> PermissionDenied:
    """The refusal of a permission, worded so that it tells nothing of what exists (AIP-211).

    ``needs_approval``: the policy asks for an approval, which a call as such can't bring along.
    """
    kind, action = permission.split(":", 1)
    if needs_approval:
        return PermissionDenied(
            f"Permission '{action}' on resource '{kind}:-' needs an approval, and a call can't "
            "redeem one: write the approval for single objects",
            reason="ACCESS_DENIED",
            metadata={"permission": permission, "decision": "NEEDS_APPROVAL"},
        )
    return PermissionDenied(
        f"Permission '{action}' denied on resource '{kind}:-' (or it might not exist)",
        reason="ACCESS_DENIED",
        metadata={"permission": permission},
    )


def auth_facts(claims: Claims | None, now_ms: int) -> dict[str, object] | None:
    """What conditions see as ``ctx`` of how the caller signed in; None for who brought no token.

    ``ctx.auth`` has ``acr``, ``methods``, ``auth_time_s`` (since the Unix epoch) and ``age_s``, the
    seconds since the person last proved who they are: whole ones, rounded up, so that nobody is
    taken for fresher than they are, and that the same question within a second is told once.
    Numbers are floats, as in every context.
    """
    if claims is None:
        return None
    return {
        _AUTH: {
            "acr": claims.acr,
            "methods": list(claims.amr),
            "auth_time_s": float(claims.auth_time_s),
            "age_s": float(max(0, -(-now_ms // 1000) - claims.auth_time_s)),
        }
    }


def own_facts(
    facts: Mapping[str, object] | None, claims: Claims | None, now_ms: int
) -> Mapping[str, object] | None:
    """The context of what somebody asks about themselves.

    ``auth`` is what the platform knows of their sign-in, in place of whatever was sent; there is
    none for who brought no token, so that conditions on it are unmet.
    """
    known = auth_facts(claims, now_ms)
    if known is not None:
        return {**(facts or {}), **known}
    if facts is None or _AUTH not in facts:
        return facts
    return {name: value for name, value in facts.items() if name != _AUTH}


def covers(scopes: frozenset[str] | None, action: str, resource: str) -> bool:
    """Whether a credential may be used for an action on a resource, ``<type>:<id>``."""
    return scopes is None or f"{resource.partition(':')[0]}:{action}" in scopes


def access_question(call: Call, permission: str, resource_id: str) -> Question:
    """The question whether a call's caller holds a permission, as the authz service is asked it."""
    kind, action = permission.split(":", 1)
    question = Question(subject=call.caller, action=action, resource=f"{kind}:{resource_id}")
    tell_sign_in(call, question)
    return question


def tell_sign_in(call: Call, question: Question) -> None:
    """Do to the context of a question that a call's caller asks about itself as ``own_facts``."""
    facts = auth_facts(call.claims, call.received_ms)
    if facts is not None:
        context: Any = question.context
        context.update(facts)
    elif question.HasField("context") and _AUTH in question.context.fields:
        del question.context.fields[_AUTH]


class RemoteAccess:
    """Asks the authz service over a signed channel, for servers that don't host it."""

    __slots__ = ("_channel", "_timeout_s")

    def __init__(self, channel: SignedChannel, *, timeout_s: float = 2.0) -> None:
        self._channel = channel
        self._timeout_s = timeout_s

    async def permit(
        self, call: Call, permission: str, platform: bool, resource_id: str = ANY
    ) -> None:
        """See ``AccessDecider``; an unreachable authz service is Unavailable, never a yes."""
        check_not_provisional(call.claims)
        if call.scopes is not None:
            check_scope(call.scopes, permission)
        tenant_id, org_id = asked_tenant(call, platform=platform)
        stub = AuthzServiceStub(self._channel.for_tenant(tenant_id, org_id))
        question = access_question(call, permission, resource_id)
        response = await stub.Check(CheckRequest(question=question), timeout=self._timeout_s)
        effect = response.decision.effect
        if effect != EFFECT_ALLOW:
            raise denied(permission, needs_approval=effect == EFFECT_NEEDS_APPROVAL)

    async def missing(self, call: Call, wanted: Delegation) -> Missing | None:
        """See ``Delegations``."""
        check_delegable(call, wanted)
        tenant_id, org_id = asked_tenant(call, platform=False)
        request = CheckDelegationRequest(
            giver=call.caller,
            permissions=[
                DelegatedPermission(permission=permission, resource_id=resource_id)
                for permission, resource_id in wanted.permissions
            ],
            group_id="" if wanted.group_id is None else str(wanted.group_id),
            only_what_is_held=call.scopes is not None and GRANT_ANY not in call.scopes,
        )
        if wanted.ends_at_ms is not None:
            request.end_time.FromMilliseconds(wanted.ends_at_ms)
        facts = auth_facts(call.claims, call.received_ms)
        if facts is not None:
            context: Any = request.context
            context.update(facts)
        stub = AuthzServiceStub(self._channel.for_tenant(tenant_id, org_id))
        answer = await stub.CheckDelegation(request, timeout=self._timeout_s)
        if answer.allowed:
            return None
        held = None
        if answer.HasField("held_until_time"):
            until = answer.held_until_time.ToDatetime(tzinfo=UTC)
            held = int(until.timestamp() * 1000)
        return Missing(answer.missing, held)
