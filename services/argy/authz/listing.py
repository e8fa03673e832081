"""Pages of what a subject may do, and of who may do something."""

from typing import Final

from argy.api.authz.v1 import authz_pb2 as authz
from argy.authz.access import subjects
from argy.authz.snapshots import Snapshots
from argy.authz.subjects import Subjects
from argy.authz.view import LazyContext, TenantView
from argy.authz.wire import effect_of, rule_ref
from argy.base.clock import Clock
from argy.base.errors import Aborted
from argy.rpc.call import Call
from argy.rpc.page_token import PageTokens, page_size

_NUMBER_BYTES: Final = 8


class Listing:
    """The listing use cases. Each page is worked out anew; nothing is kept between pages."""

    __slots__ = ("_clock", "_pages", "_snapshots", "_subjects")

    def __init__(
        self, snapshots: Snapshots, subjects: Subjects, pages: PageTokens, clock: Clock
    ) -> None:
        self._snapshots = snapshots
        self._subjects = subjects
        self._pages = pages
        self._clock = clock

    async def permissions(
        self, call: Call, request: authz.ListPermissionsRequest
    ) -> authz.ListPermissionsResponse:
        """A page of a subject's permissions, in rule order.

        Raises:
            Aborted: ``LISTING_CHANGED``, when policy or assignments changed since the first page.
        """
        cursor = self._pages.decode(call, request)
        view = await self._snapshots.get(call.tenant_id)
        start, now_ms = 0, self._clock.now_ms()
        if cursor is not None:
            # The whole list is of one moment.
            start, now_ms = _numbers(cursor)
            if cursor[2 * _NUMBER_BYTES :] != _state(view):
                raise Aborted(
                    "Policy or assignments changed: start at the first page again",
                    reason="LISTING_CHANGED",
                )
        subject = request.subject
        if request.resolve_subject:
            # Nobody is what no name may be, and holds nothing.
            subject = (await self._subjects.find(view, (subject,))).get(subject, "")
        entries = view.snapshot.list_permissions(subject, call.tenant.org_slug, now_ms)
        end = start + page_size(request.page_size)
        token = ""
        if end < len(entries):
            token = self._pages.encode(call, request, _cursor(end, now_ms) + _state(view))
        return authz.ListPermissionsResponse(
            permissions=[
                authz.Permission(
                    resource=entry.obj,
                    action=entry.act,
                    effect=effect_of(allowed=entry.effect == "allow"),
                    condition=entry.condition,
                    rule=rule_ref(entry.rule),
                    role_path=entry.role_path,
                )
                for entry in entries[start:end]
            ],
            next_page_token=token,
        )

    async def subjects(
        self, call: Call, request: authz.ListSubjectsRequest
    ) -> authz.ListSubjectsResponse:
        """A page of the subjects that may act on a resource, sorted; goes on after the last one."""
        cursor = self._pages.decode(call, request)
        view = await self._snapshots.get(call.tenant_id)
        facts, now_ms = LazyContext(request.context), self._clock.now_ms()
        allowed = await subjects(view, call, request.resource, request.action, facts, now_ms)
        if cursor is not None:
            last = cursor.decode()
            allowed = [subject for subject in allowed if subject > last]
        size = page_size(request.page_size)
        token = ""
        if len(allowed) > size:
            token = self._pages.encode(call, request, allowed[size - 1].encode())
        return authz.ListSubjectsResponse(subjects=allowed[:size], next_page_token=token)


def _cursor(start: int, now_ms: int) -> bytes:
    return start.to_bytes(_NUMBER_BYTES, "big") + now_ms.to_bytes(_NUMBER_BYTES, "big")


def _numbers(cursor: bytes) -> tuple[int, int]:
    return (
        int.from_bytes(cursor[:_NUMBER_BYTES], "big"),
        int.from_bytes(cursor[_NUMBER_BYTES : 2 * _NUMBER_BYTES], "big"),
    )


def _state(view: TenantView) -> bytes:
    return f"{view.policy.revision}:{view.revision}".encode()
