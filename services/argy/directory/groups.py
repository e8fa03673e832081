"""Groups of a tenant, and who is in them."""

from collections.abc import Sequence
from uuid import UUID

from argy.base.ids import uuid7
from argy.base.revisions import revision_token
from argy.directory.changes import Recorder, once
from argy.directory.domain import (
    Group,
    User,
    checked_display_name,
    checked_slug,
    require_tenant_scope,
)
from argy.directory.store import ERRORS, Q, not_found, one, page, revision_after
from argy.rpc.access import Delegations
from argy.rpc.call import Call
from argy.rpc.delegation import Delegation
from argy.store.database import Database


class Groups:
    """The use cases of groups."""

    __slots__ = ("_access", "_db", "_record")

    def __init__(self, db: Database, record: Recorder, access: Delegations) -> None:
        self._db = db
        self._record = record
        self._access = access

    async def create(
        self, call: Call, *, slug: str, display_name: str, request_id: UUID | None
    ) -> Group:
        """Make an empty group; raises AlreadyExists ``SLUG_TAKEN`` or ``REQUEST_ID_REUSED``."""
        require_tenant_scope(call.org_id)
        slug, display_name = checked_slug(slug), checked_display_name(display_name)

        async def find(key: UUID) -> Group | None:
            async with self._db.tenant(call.tenant_id) as tx:
                return await one(tx, Group, Q.find_group_by_request, call.tenant_id, key)

        async def make() -> Group:
            made_id = uuid7()
            values = (call.tenant_id, made_id, slug, display_name, request_id)
            async with self._db.tenant(call.tenant_id, errors=ERRORS) as tx:
                made = await one(tx, Group, Q.insert_group, *values)
                assert made is not None  # noqa: S101 - RETURNING of an insert
                await self._record(
                    tx, call, "directory.group.create", f"group:{made_id}", slug=slug
                )
                return made

        return await once(
            call,
            request_id,
            find,
            lambda found: (found.slug, found.display_name) == (slug, display_name),
            make,
        )

    async def get(self, call: Call, group_id: UUID) -> Group:
        """One group; raises NotFound."""
        require_tenant_scope(call.org_id)
        async with self._db.tenant(call.tenant_id) as tx:
            found = await one(tx, Group, Q.find_group, call.tenant_id, group_id)
        if found is None:
            raise not_found("group", "group_id")
        return found

    async def list(
        self, call: Call, *, after: UUID | None, slug: str, ids: Sequence[UUID], limit: int
    ) -> Sequence[Group]:
        """A page of groups, oldest first; of those with ``ids``, if there are any."""
        require_tenant_scope(call.org_id)
        async with self._db.tenant(call.tenant_id) as tx:
            if ids:
                named = (call.tenant_id, ids, after, slug, limit)
                return await page(tx, Group, Q.list_groups_by_id, *named)
            return await page(tx, Group, Q.list_groups, call.tenant_id, after, slug, limit)

    async def delete(self, call: Call, group_id: UUID, reason: str) -> None:
        """Delete a group with memberships and roles; raises NotFound."""
        require_tenant_scope(call.org_id)
        async with self._db.tenant(call.tenant_id, errors=ERRORS) as tx:
            await revision_after(tx, Q.bump_revision)
            slug = await tx.fetchval(Q.delete_group, call.tenant_id, group_id)
            if slug is None:
                raise not_found("group", "group_id")
            revision = await revision_after(tx, Q.forget_subject, f"group:{group_id}")
            await self._record(
                tx,
                call,
                "directory.group.delete",
                f"group:{group_id}",
                slug=slug,
                revision=revision,
                reason=reason,
            )

    async def add_member(self, call: Call, group_id: UUID, user_id: UUID) -> str:
        """Put a user into a group; returns the revision token that contains the membership.

        Raises:
            PermissionDenied: ``ROLE_NOT_HELD``: whoever lets somebody in hands on what the group
                holds, so must hold it for as long.
            NotFound: ``GROUP_UNKNOWN`` or ``USER_UNKNOWN``.
        """
        require_tenant_scope(call.org_id)
        missing = await self._access.missing(call, Delegation(group_id=group_id))
        if missing is not None:
            raise missing.refusal("ROLE_NOT_HELD", field="group_id")
        return await self._change(
            call, "add_member", Q.insert_member, group_id, user_id, call.caller
        )

    async def remove_member(self, call: Call, group_id: UUID, user_id: UUID) -> str:
        """Take a user out of a group; returns the revision token without the membership.

        Raises:
            NotFound: ``MEMBER_UNKNOWN``.
        """
        return await self._change(call, "remove_member", Q.delete_member, group_id, user_id)

    async def _change(
        self, call: Call, verb: str, query: str, group_id: UUID, user_id: UUID, *more: str
    ) -> str:
        require_tenant_scope(call.org_id)
        async with self._db.tenant(call.tenant_id, errors=ERRORS) as tx:
            # Raised also when nothing changes: the token then names a state that surely has it.
            revision = await revision_after(tx, Q.bump_revision)
            changed = await tx.fetchval(query, call.tenant_id, group_id, user_id, *more)
            if changed is None and verb == "remove_member":
                raise not_found("member", "user_id")
            await self._record(
                tx,
                call,
                f"directory.group.{verb}",
                f"group:{group_id}",
                subject=f"user:{user_id}",
                user_id=str(user_id),
                changed=changed is not None,
                revision=revision,
            )
        return revision_token(call.tenant_id, revision)

    async def members(
        self, call: Call, group_id: UUID, *, after: UUID | None, limit: int
    ) -> Sequence[User]:
        """A page of a group's users, oldest first; raises NotFound."""
        require_tenant_scope(call.org_id)
        async with self._db.tenant(call.tenant_id) as tx:
            if await one(tx, Group, Q.find_group, call.tenant_id, group_id) is None:
                raise not_found("group", "group_id")
            return await page(tx, User, Q.list_members, call.tenant_id, group_id, after, limit)
