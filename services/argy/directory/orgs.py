"""The organizations of a tenant."""

from collections.abc import Sequence
from uuid import UUID

from argy.base.ids import uuid7
from argy.directory.changes import Recorder, once
from argy.directory.domain import Org, checked_display_name, checked_slug, require_tenant_scope
from argy.directory.store import ERRORS, Q, not_found, one, page, revision_after
from argy.rpc.call import Call
from argy.store.database import Database


class Orgs:
    """The use cases of orgs. A call in an org sees that org alone."""

    __slots__ = ("_db", "_record")

    def __init__(self, db: Database, record: Recorder) -> None:
        self._db = db
        self._record = record

    async def create(
        self, call: Call, *, slug: str, display_name: str, request_id: UUID | None
    ) -> Org:
        """Make an org.

        Raises:
            AlreadyExists: ``SLUG_TAKEN``, ``SLUG_RETIRED`` or ``REQUEST_ID_REUSED``.
        """
        require_tenant_scope(call.org_id)
        slug, display_name = checked_slug(slug), checked_display_name(display_name)

        async def find(key: UUID) -> Org | None:
            async with self._db.tenant(call.tenant_id) as tx:
                return await one(tx, Org, Q.find_org_by_request, call.tenant_id, key)

        async def make() -> Org:
            made_id = uuid7()
            values = (call.tenant_id, made_id, slug, display_name, request_id)
            async with self._db.tenant(call.tenant_id, errors=ERRORS) as tx:
                made = await one(tx, Org, Q.insert_org, *values)
                assert made is not None  # noqa: S101 - RETURNING of an insert
                # Whoever decides in its own process learns of the org with its next revision.
                await revision_after(tx, Q.bump_revision)
                await self._record(tx, call, "directory.org.create", f"org:{made_id}", slug=slug)
                return made

        return await once(
            call,
            request_id,
            find,
            lambda found: (found.slug, found.display_name) == (slug, display_name),
            make,
        )

    async def get(self, call: Call, org_id: UUID) -> Org:
        """One org; raises NotFound, also for another org than the call's."""
        if call.org_id not in (None, org_id):
            raise not_found("org", "org_id")
        async with self._db.tenant(call.tenant_id) as tx:
            found = await one(tx, Org, Q.find_org, call.tenant_id, org_id)
        if found is None:
            raise not_found("org", "org_id")
        return found

    async def list(self, call: Call, *, after: UUID | None, slug: str, limit: int) -> Sequence[Org]:
        """A page of orgs, oldest first."""
        async with self._db.tenant(call.tenant_id) as tx:
            return await page(tx, Org, Q.list_orgs, call.tenant_id, after, slug, call.org_id, limit)

    async def delete(self, call: Call, org_id: UUID, reason: str) -> None:
        """Delete an org and the roles granted in it; raises NotFound."""
        require_tenant_scope(call.org_id)
        async with self._db.tenant(call.tenant_id, errors=ERRORS) as tx:
            await revision_after(tx, Q.bump_revision)
            revision = await revision_after(tx, Q.forget_org, org_id)
            slug = await tx.fetchval(Q.delete_org, call.tenant_id, org_id)
            if slug is None:
                raise not_found("org", "org_id")
            await self._record(
                tx,
                call,
                "directory.org.delete",
                f"org:{org_id}",
                slug=slug,
                revision=revision,
                reason=reason,
            )
