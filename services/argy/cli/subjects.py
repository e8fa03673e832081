"""How a terminal names people, groups, services and agents, and how it shows them.

A person is named by e-mail address, ``user:<UUID>`` or ``user:<external id>``, a group by
``group:<slug>`` or its UUID, a service and an agent by ``service:<name>`` and ``agent:<name>``, and
where the tenant has foreign subjects, these by ``<type>:<id>``. Whoever is not in the tenant that
is asked is refused by name: a decision about nobody would look like one about somebody.
"""

from collections.abc import Collection, Iterable
from typing import Any, Final
from uuid import UUID

from argy.api.authz.v1.assignment_pb2 import GetAssignmentSettingsRequest
from argy.api.authz.v1.assignment_pb2_grpc import AssignmentServiceStub
from argy.api.directory.v1.user_pb2 import ListGroupsRequest, ListUsersRequest
from argy.api.directory.v1.user_pb2_grpc import GroupServiceStub, UserServiceStub
from argy.base.errors import ArgyError, FailedPrecondition, InvalidArgument, PermissionDenied
from argy.cli.acting import AS_SERVICE
from argy.cli.output import Output
from argy.cli.session import as_uuid, signed_in_person
from argy.client import Connection

_BATCH: Final = 1_000
"""Most ids of one question."""
_FREE: Final = ("service", "agent")
"""Kinds whose names a tenant gives freely: nothing lists them."""


class Subjects:
    """The people and groups of one tenant, by every name that they have."""

    __slots__ = ("_groups", "_roles", "_silent", "_tenant", "_users", "tenant_id")

    def __init__(self, connection: Connection, tenant_id: UUID, tenant: str) -> None:
        channel = connection.channel(tenant_id)
        self.tenant_id = tenant_id
        self._tenant = tenant
        self._silent = False
        self._users: Any = UserServiceStub(channel)
        self._groups: Any = GroupServiceStub(channel)
        self._roles: Any = AssignmentServiceStub(channel)

    async def find(self, name: str, *, known: bool = True) -> str:
        """The subject that a name stands for, such as ``user:<UUID>``.

        ``known`` is False where an id may be of somebody who is gone, as in a filter of the past.

        Raises:
            InvalidArgument: ``SUBJECT_UNKNOWN``, or ``SUBJECT_MALFORMED`` for what names nobody.
        """
        kind, _, rest = name.strip().partition(":")
        if "@" in kind or (kind == "user" and "@" in rest):
            return f"user:{await self._by_email(rest if kind == 'user' else name.strip())}"
        if kind in _FREE and rest:
            return f"{kind}:{rest}"
        if not rest and (user_id := as_uuid(kind)) is not None:
            kind, rest = "user", str(user_id)
        if kind == "group" and rest and as_uuid(rest) is None:
            return f"group:{await self._by_slug(rest)}"
        if kind == "user" and rest and (found := await self._by_external_id(rest)):
            return f"user:{found}"
        if rest and kind != "role" and as_uuid(rest) is None and await self._has_foreign():
            return f"{kind}:{rest}"
        if kind not in {"user", "group"} or not rest:
            raise InvalidArgument(
                f"'{name}' names no subject: give an e-mail address, user:<id>, group:<slug>, "
                "service:<name> or agent:<name>",
                reason="SUBJECT_MALFORMED",
                field="subject",
            )
        if known and not await self._is_there(kind, as_uuid(rest)):
            raise self._unknown(name)
        return f"{kind}:{as_uuid(rest) or rest}"

    async def find_user(self, name: str) -> str:
        """The UUID of a person; raises as ``find``."""
        return (await self._of_kind(name, "user")).partition(":")[2]

    async def find_group(self, name: str) -> str:
        """The UUID of a group, by slug, UUID or subject; raises as ``find``."""
        subject = name if name.startswith("group:") else f"group:{name}"
        return (await self._of_kind(subject, "group")).partition(":")[2]

    async def names(self, subjects: Iterable[str]) -> dict[str, str]:
        """What people call those of ``subjects`` that there are: an e-mail address, or a slug.

        Nothing where the directory can't be asked, or by whom: what was done stays done.
        """
        wanted: dict[str, set[str]] = {"user": set(), "group": set()}
        if self._silent:
            return {}
        for subject in subjects:
            kind, _, rest = subject.partition(":")
            if kind in wanted and (known := as_uuid(rest)) is not None:
                wanted[kind].add(str(known))
        found: dict[str, str] = {}
        try:
            for ids in _batches(wanted["user"]):
                asked = ListUsersRequest(user_ids=ids, page_size=_BATCH)
                users = (await self._users.ListUsers(asked)).users
                found |= {f"user:{user.user_id}": user.email for user in users}
            for ids in _batches(wanted["group"]):
                request = ListGroupsRequest(group_ids=ids, page_size=_BATCH)
                groups = (await self._groups.ListGroups(request)).groups
                found |= {f"group:{group.group_id}": f"group:{group.slug}" for group in groups}
        except ArgyError:
            # Asked again it would be refused, and recorded, once more.
            self._silent = True
            return found
        return found

    async def named(self, rows: Collection[dict[str, Any]], *columns: str) -> None:
        """Add to ``rows`` as ``<column>_name`` what people call the subject of each column."""
        names = await self.names({str(row.get(column, "")) for row in rows for column in columns})
        for row in rows:
            for column in columns:
                if name := names.get(str(row.get(column, ""))):
                    row[f"{column}_name"] = name

    async def _of_kind(self, name: str, kind: str) -> str:
        found = await self.find(name)
        if not found.startswith(f"{kind}:"):
            raise InvalidArgument(f"'{name}' is no {kind}", reason="SUBJECT_MALFORMED", field=kind)
        return found

    async def _by_email(self, email: str) -> str:
        users = (await self._users.ListUsers(ListUsersRequest(email=email, page_size=1))).users
        if not users:
            raise self._unknown(email)
        return str(users[0].user_id)

    async def _by_external_id(self, external_id: str) -> str:
        """The UUID of whom another system calls so; empty for nobody, and for who may not ask."""
        asked = ListUsersRequest(external_id=external_id, page_size=1)
        try:
            users = (await self._users.ListUsers(asked)).users
        except PermissionDenied:
            return ""
        return str(users[0].user_id) if users else ""

    async def _has_foreign(self) -> bool:
        """Whether the tenant lets subjects that it does not list hold roles."""
        try:
            settings = await self._roles.GetAssignmentSettings(GetAssignmentSettingsRequest())
        except PermissionDenied:
            return False
        return bool(settings.foreign_subjects)

    async def _by_slug(self, slug: str) -> str:
        asked = ListGroupsRequest(slug=slug, page_size=1)
        groups = (await self._groups.ListGroups(asked)).groups
        if not groups:
            raise self._unknown(f"group:{slug}")
        return str(groups[0].group_id)

    async def _is_there(self, kind: str, known: UUID | None) -> bool:
        if known is None:
            return False
        ids = [str(known)]
        try:
            if kind == "user":
                users = await self._users.ListUsers(ListUsersRequest(user_ids=ids, page_size=1))
                return bool(users.users)
            groups = await self._groups.ListGroups(ListGroupsRequest(group_ids=ids, page_size=1))
            return bool(groups.groups)
        except PermissionDenied:
            # Who may not read the directory is not told who is in it.
            return True

    def _unknown(self, name: str) -> InvalidArgument:
        return InvalidArgument(
            f"there is no subject '{name}' in the tenant {self._tenant}: --tenant names another",
            reason="SUBJECT_UNKNOWN",
            field="subject",
        )


async def acting_channel(
    connection: Connection,
    output: Output,
    subjects: Subjects,
    org_id: UUID | None = None,
    *,
    for_: str = "",
) -> Any:
    """The channel on which who is signed in acts, or the service for somebody, which it tells.

    Raises:
        InvalidArgument: when ``for_`` names nobody of the tenant.
        FailedPrecondition: ``SIGNED_IN``, when who is signed in would act for somebody else.
    """
    own = connection.channel(subjects.tenant_id, org_id)
    if not for_:
        return own
    subject = await subjects.find(for_)
    person = signed_in_person(connection)
    if person is None and subject != f"service:{connection.source}":
        output.note({"acting": f"service:{connection.source}", "for": for_})
        return connection.channel(subjects.tenant_id, org_id, subject=subject)
    if person is not None and person.subject != subject:
        raise FailedPrecondition(
            f"{person.origin} acts here, and --as names somebody else: leave it out, or set "
            f"{AS_SERVICE}=1 to act as the service itself",
            reason="SIGNED_IN",
            field="as",
        )
    return own


def _batches(ids: set[str]) -> list[list[str]]:
    ordered = sorted(ids)
    return [ordered[start : start + _BATCH] for start in range(0, len(ordered), _BATCH)]
