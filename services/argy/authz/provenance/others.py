"""The tenant's view in which some people hold only what no asker gave them."""

from collections.abc import Collection
from dataclasses import dataclass, replace

from argy.authz.provenance import store
from argy.authz.provenance.domain import Path, assignments, independent, may_grant, since
from argy.authz.view import TenantView
from argy.store.database import Tx


@dataclass(frozen=True, slots=True)
class Others:
    """Some people, as others than the askers.

    What they may do by ``view`` they may do without the askers; roles by the files of the policy
    are reviewed, and are in it.
    """

    view: TenantView
    _whole: TenantView
    _paths: tuple[Path, ...]
    _askers: frozenset[str]

    @classmethod
    async def read(
        cls,
        tx: Tx,
        view: TenantView,
        people: Collection[str],
        *,
        askers: Collection[str],
        asked_at_ms: int,
        now_ms: int,
    ) -> "Others":
        """Read what ``people`` hold, of the transaction's tenant, whose ``view`` it is."""
        paths = await store.list_paths(tx, people, now_ms=now_ms)
        found = independent(paths, askers, since_ms=since(asked_at_ms))
        return cls(_only(view, found), view, found, frozenset(askers))

    def beyond_reach(
        self, org: str, now_ms: int, *, askers_view: TenantView | None = None
    ) -> TenantView:
        """The view without the roles that an asker could give, at will, in ``org``.

        ``askers_view`` is what is asked about the askers, when it isn't the tenant as it is now.
        """
        asked = [view.snapshot for view in (self._whole, askers_view) if view is not None]
        roles = {path.role for path in self._paths}
        grantable = {
            role
            for role in roles
            for snapshot in asked
            if any(may_grant(snapshot, asker, org, role, now_ms) for asker in self._askers)
        }
        return _only(self._whole, [path for path in self._paths if path.role not in grantable])


def _only(view: TenantView, paths: Collection[Path]) -> TenantView:
    facts = replace(view.facts, assignments=assignments(paths), memberships=())
    return TenantView(facts, view.policy, view.sequence)
