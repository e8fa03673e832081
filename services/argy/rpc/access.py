"""The access stage's question to the policy engine, asked remotely where authz is not hosted."""

from collections.abc import Awaitable, Iterable
from typing import Any, Final, Protocol

from argy.api.authz.v1.authz_pb2 import (
    EFFECT_ALLOW,
    EFFECT_NEEDS_APPROVAL,
    CheckRequest,
    Question,
)
from argy.api.authz.v1.authz_pb2_grpc import AuthzServiceStub
from argy.base.errors import PermissionDenied
from argy.base.ids import PLATFORM_TENANT_ID
from argy.rpc.call import Call, Claims
from argy.rpc.client import SignedChannel

ANY: Final = "-"
"""The id that asks about resources of a type as such, not about one of them."""


class AccessDecider(Protocol):
    """Decides whether a call's caller holds a permission."""

    def permit(
        self, call: Call, permission: str, platform: bool, resource_id: str = ANY
    ) -> Awaitable[None] | None:
        """Return nothing, or an awaitable of nothing, when the caller may.

        ``permission`` is ``type:action``, asked of the resource ``type:<resource_id>`` in the
        call's tenant and org, or in the platform tenant when ``platform``.

        Raises:
            PermissionDenied: with ``ACCESS_DENIED``.
        """
        ...


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
    seconds since the person last proved who they are. Numbers are floats, as in every context.
    """
    if claims is None:
        return None
    return {
        "auth": {
            "acr": claims.acr,
            "methods": list(claims.amr),
            "auth_time_s": float(claims.auth_time_s),
            "age_s": max(0.0, now_ms / 1000 - claims.auth_time_s),
        }
    }


def access_question(call: Call, permission: str, resource_id: str) -> Question:
    """The question whether a call's caller holds a permission, as the authz service is asked it."""
    kind, action = permission.split(":", 1)
    question = Question(subject=call.caller, action=action, resource=f"{kind}:{resource_id}")
    tell_sign_in(call, (question,))
    return question


def tell_sign_in(call: Call, questions: Iterable[Question]) -> None:
    """Put ``auth_facts`` into what a person who brought a token asks about themselves.

    It replaces what was sent as ``auth``: of its own caller the platform knows better.
    """
    facts = auth_facts(call.claims, call.received_ms)
    if facts is None:
        return
    for question in questions:
        if question.subject == call.caller:
            context: Any = question.context
            context.update(facts)


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
        tenant_id, org_id = (
            (PLATFORM_TENANT_ID, None) if platform else (call.tenant_id, call.org_id)
        )
        stub = AuthzServiceStub(self._channel.for_tenant(tenant_id, org_id))
        question = access_question(call, permission, resource_id)
        response = await stub.Check(CheckRequest(question=question), timeout=self._timeout_s)
        effect = response.decision.effect
        if effect != EFFECT_ALLOW:
            raise denied(permission, needs_approval=effect == EFFECT_NEEDS_APPROVAL)
