"""What somebody may do now, asked of whoever decides the access of calls."""

from collections.abc import Sequence

from argy.base.errors import PermissionDenied
from argy.rpc.access import ANY, Decider
from argy.rpc.call import Call
from argy.rpc.delegation import Delegation, Missing


class Rights:
    """Asks the access stage's decider about any subject, in the tenant and org of a call."""

    __slots__ = ("_access",)

    def __init__(self, access: Decider) -> None:
        self._access = access

    async def holds(
        self, call: Call, subject: str, permission: str, resource_id: str = ANY
    ) -> bool:
        """Whether ``subject`` holds ``permission`` (``type:action``) without an approval.

        It is asked of the resource ``type:<resource_id>``, of the type as such by default.

        Raises:
            Unavailable: when nobody can say; never a yes.
        """
        asked = _asked(call, subject)
        if subject == call.caller:
            asked.claims, asked.scopes = call.claims, call.scopes
        try:
            waiting = self._access.permit(asked, permission, False, resource_id)
            if waiting is not None:
                await waiting
        except PermissionDenied:
            return False
        return True

    async def missing(
        self, call: Call, permissions: Sequence[tuple[str, str]], ends_at_ms: int
    ) -> Missing | None:
        """What the caller lacks to hand on permissions until they end; see ``Delegations``."""
        return await self._access.missing(
            call, Delegation(permissions=permissions, ends_at_ms=ends_at_ms)
        )

    async def might_hold(self, call: Call, subject: str, permission: str) -> bool:
        """Whether ``subject`` would hold ``permission`` if it had signed in as the caller did.

        With an approval too: this is for refusing what must not happen to the more powerful.

        Raises:
            Unavailable: when nobody can say; never a no.
        """
        asked = _asked(call, subject)
        asked.claims = call.claims
        try:
            waiting = self._access.permit(asked, permission, False, ANY)
            if waiting is not None:
                await waiting
        except PermissionDenied as denied:
            return denied.metadata.get("decision") == "NEEDS_APPROVAL"
        return True


def _asked(call: Call, subject: str) -> Call:
    """A call of ``subject`` in the tenant and org of another."""
    asked = Call(call.method, b"", call.received_ms)
    asked.tenant_id, asked.org_id, asked.tenant = call.tenant_id, call.org_id, call.tenant
    asked.source, asked.caller = call.source, subject
    return asked
