"""The access stage's decider where authz itself is hosted: the same snapshots, no network."""

from collections.abc import Awaitable
from typing import Final
from uuid import UUID

from argy.authz.snapshots import Snapshots
from argy.authz.view import TenantView
from argy.base.clock import Clock
from argy.base.ids import PLATFORM_TENANT_ID
from argy.policy import NEEDS_APPROVAL
from argy.rpc.access import ANY, auth_facts, denied
from argy.rpc.call import Call, Claims
from argy.rpc.stages import ACT_FOR, subject_id

_MAX_PERMISSIONS: Final = 4096


class LocalAccess:
    """Implements ``argy.rpc.access.AccessDecider``; answers at once when the tenant is loaded.

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
        tenant_id = PLATFORM_TENANT_ID if platform else call.tenant_id
        view = self._snapshots.peek(tenant_id)
        org = "" if platform else call.tenant.org_slug
        if view is None:
            return self._load(tenant_id, call, org, permission, resource_id)
        self._decide(view, call.caller, org, permission, resource_id, call.claims)
        return None

    def readmit(self, view: TenantView, call: Call) -> None:
        """Ask again, of the tenant's newest view, what the chain asked when the call began.

        For calls that last: a permission that is taken away ends them.

        Raises:
            PermissionDenied: with ``ACCESS_DENIED``.
        """
        if call.acts_for:
            service, whom = f"service:{call.source}", subject_id(call.acts_for)
            self._decide(view, service, call.tenant.org_slug, ACT_FOR, whom)
        org, permission = call.tenant.org_slug, call.method.permission
        self._decide(view, call.caller, org, permission, claims=call.claims)

    async def _load(
        self, tenant_id: UUID, call: Call, org: str, permission: str, resource_id: str
    ) -> None:
        subject, claims = call.caller, call.claims
        view = await self._snapshots.get(tenant_id)
        self._decide(view, subject, org, permission, resource_id, claims)

    def _decide(
        self,
        view: TenantView,
        subject: str,
        org: str,
        permission: str,
        resource_id: str = ANY,
        claims: Claims | None = None,
    ) -> None:
        parts = self._parts.get(permission)
        if parts is None:
            kind, _, action = permission.rpartition(":")
            parts = (f"{kind}:", action)
            if len(self._parts) < _MAX_PERMISSIONS:
                self._parts[permission] = parts
        kind, action = parts
        now_ms = self._clock.now_ms()
        facts = auth_facts(claims, now_ms)
        decision = view.snapshot.check(subject, org, kind + resource_id, action, facts, now_ms)
        if not decision.allowed:
            raise denied(permission, needs_approval=decision.reason == NEEDS_APPROVAL)
