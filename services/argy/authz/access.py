"""The access stage's decider where authz itself is hosted: the same snapshots, no network."""

from collections.abc import Awaitable
from typing import Final

from argy.authz.snapshots import Snapshots
from argy.authz.view import TenantView
from argy.base.clock import Clock
from argy.base.ids import PLATFORM_TENANT_ID
from argy.policy import NEEDS_APPROVAL
from argy.rpc.access import denied
from argy.rpc.call import Call
from argy.rpc.stages import ACT_FOR

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

    def permit(self, call: Call, permission: str, platform: bool) -> Awaitable[None] | None:
        """See ``AccessDecider``."""
        tenant_id = PLATFORM_TENANT_ID if platform else call.tenant_id
        view = self._snapshots.peek(tenant_id)
        if view is None:
            return self._load(call, permission, platform)
        self._decide(view, call.caller, "" if platform else call.tenant.org_slug, permission)
        return None

    def readmit(self, view: TenantView, call: Call) -> None:
        """Ask again, of the tenant's newest view, what the chain asked when the call began.

        For calls that last: a permission that is taken away ends them.

        Raises:
            PermissionDenied: with ``ACCESS_DENIED``.
        """
        if call.acts_for:
            self._decide(view, f"service:{call.source}", call.tenant.org_slug, ACT_FOR)
        self._decide(view, call.caller, call.tenant.org_slug, call.method.permission)

    async def _load(self, call: Call, permission: str, platform: bool) -> None:
        view = await self._snapshots.get(PLATFORM_TENANT_ID if platform else call.tenant_id)
        self._decide(view, call.caller, "" if platform else call.tenant.org_slug, permission)

    def _decide(self, view: TenantView, subject: str, org: str, permission: str) -> None:
        parts = self._parts.get(permission)
        if parts is None:
            kind, _, action = permission.rpartition(":")
            parts = (f"{kind}:-", action)
            if len(self._parts) < _MAX_PERMISSIONS:
                self._parts[permission] = parts
        decision = view.snapshot.check(subject, org, *parts, None, self._clock.now_ms())
        if not decision.allowed:
            raise denied(permission, needs_approval=decision.reason == NEEDS_APPROVAL)
