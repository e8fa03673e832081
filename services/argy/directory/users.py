"""The people of a tenant."""

from collections.abc import Sequence
from uuid import UUID

from argy.base.addresses import email_address
from argy.base.ids import uuid7
from argy.directory.changes import Recorder, once
from argy.directory.domain import (
    User,
    UserState,
    checked_display_name,
    require_tenant_scope,
)
from argy.directory.store import ERRORS, Q, not_found, one, page, revision_after
from argy.rpc.call import Call
from argy.store.database import Database


class Users:
    """The use cases of users."""

    __slots__ = ("_db", "_record")

    def __init__(self, db: Database, record: Recorder) -> None:
        self._db = db
        self._record = record

    async def create(
        self,
        call: Call,
        *,
        email: str,
        display_name: str,
        external_id: str,
        request_id: UUID | None,
    ) -> User:
        """Make an active user.

        Raises:
            InvalidArgument: for an address or a name that can't be.
            AlreadyExists: ``EMAIL_TAKEN``, ``EXTERNAL_ID_TAKEN`` or ``REQUEST_ID_REUSED``.
        """
        require_tenant_scope(call.org_id)
        email, display_name = email_address(email), checked_display_name(display_name)

        async def find(key: UUID) -> User | None:
            async with self._db.tenant(call.tenant_id) as tx:
                return await one(tx, User, Q.find_user_by_request, call.tenant_id, key)

        async def make() -> User:
            made_id = uuid7()
            values = (call.tenant_id, made_id, email, display_name, external_id, request_id)
            async with self._db.tenant(call.tenant_id, errors=ERRORS) as tx:
                made = await one(tx, User, Q.insert_user, *values)
                assert made is not None  # noqa: S101 - RETURNING of an insert
                detail = {"external_id": external_id} if external_id else {}
                await self._record(
                    tx, call, "directory.user.create", f"user:{made_id}", email=email, **detail
                )
                return made

        return await once(
            call,
            request_id,
            find,
            lambda found: (
                (found.email, found.display_name, found.external_id)
                == (email, display_name, external_id)
            ),
            make,
        )

    async def get(self, call: Call, user_id: UUID) -> User:
        """One user; raises NotFound."""
        require_tenant_scope(call.org_id)
        async with self._db.tenant(call.tenant_id) as tx:
            found = await one(tx, User, Q.find_user, call.tenant_id, user_id)
        if found is None:
            raise not_found("user", "user_id")
        return found

    async def list(
        self,
        call: Call,
        *,
        after: UUID | None,
        email: str,
        external_id: str,
        ids: Sequence[UUID],
        limit: int,
    ) -> Sequence[User]:
        """A page of users, oldest first; of those with ``ids``, if there are any.

        Raises:
            InvalidArgument: ``INVALID_EMAIL``, for an address that nobody can have.
        """
        require_tenant_scope(call.org_id)
        email = email_address(email) if email else ""
        async with self._db.tenant(call.tenant_id) as tx:
            if ids:
                named = (call.tenant_id, ids, after, email, external_id, limit)
                return await page(tx, User, Q.list_users_by_id, *named)
            anybody = (call.tenant_id, after, email, external_id, limit)
            return await page(tx, User, Q.list_users, *anybody)

    async def set_state(self, call: Call, user_id: UUID, state: UserState, reason: str) -> User:
        """Disable a user, or make one active; every replica decides so at once.

        Raises:
            NotFound: if there is no such user.
        """
        require_tenant_scope(call.org_id)
        action = "directory.user.disable" if state == "DISABLED" else "directory.user.enable"
        async with self._db.tenant(call.tenant_id, errors=ERRORS) as tx:
            revision = await revision_after(tx, Q.bump_revision)
            user = await one(tx, User, Q.set_user_state, call.tenant_id, user_id, state)
            if user is None:
                raise not_found("user", "user_id")
            await self._record(
                tx, call, action, f"user:{user_id}", revision=revision, reason=reason
            )
            return user

    async def delete(self, call: Call, user_id: UUID, reason: str) -> None:
        """Delete a user with memberships and roles; raises NotFound."""
        require_tenant_scope(call.org_id)
        async with self._db.tenant(call.tenant_id, errors=ERRORS) as tx:
            await revision_after(tx, Q.bump_revision)
            email = await tx.fetchval(Q.delete_user, call.tenant_id, user_id)
            if email is None:
                raise not_found("user", "user_id")
            revision = await revision_after(tx, Q.forget_subject, f"user:{user_id}")
            await self._record(
                tx,
                call,
                "directory.user.delete",
                f"user:{user_id}",
                email=email,
                revision=revision,
                reason=reason,
            )
