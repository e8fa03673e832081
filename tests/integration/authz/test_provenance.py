"""Random histories of who gave what to whom, in the database, against a naive model of them.

The model forgets nothing and asks the question itself: did this power flow from the askers? The
database keeps a summary with each link, and loses the links between.
"""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from itertools import combinations, product
from typing import Any, Final
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from argy.authz import store as assignments
from argy.authz.domain import Grant
from argy.authz.provenance.domain import ANYBODY, WINDOW_MS, Path, independent, since
from argy.authz.provenance.store import list_paths
from argy.base.errors import AlreadyExists
from argy.base.ids import uuid7
from argy.store.database import Tx
from argy.store.times import to_time

Make = Callable[..., Awaitable[Any]]
DAY: Final = 86_400_000
START: Final = 1_900_000_000_000
PEOPLE: Final = 4
GROUPS: Final = 2
ROLES: Final = ("role:ONE", "role:TWO")
MOST: Final = 64

person = st.integers(0, PEOPLE - 1)
GRANT = st.fixed_dictionaries(
    {
        "what": st.just("grant"),
        "giver": st.one_of(person, person, st.none()),
        "to": st.integers(0, PEOPLE + GROUPS - 1),
        "role": st.sampled_from(ROLES),
        "in_org": st.booleans(),
        "lasts": st.sampled_from([None, None, 5 * DAY, 40 * DAY]),
        "later": st.sampled_from([0, 1, 1, 12 * DAY]),
    }
)
JOIN = st.fixed_dictionaries(
    {
        "what": st.just("join"),
        "giver": st.one_of(person, person, st.none()),
        "to": person,
        "group": st.integers(0, GROUPS - 1),
        "later": st.sampled_from([0, 1, 1, 12 * DAY]),
    }
)
DROP = st.fixed_dictionaries(
    {
        "what": st.just("drop"),
        "which": st.integers(0, 30),
        "later": st.sampled_from([0, 1, 1, 12 * DAY]),
    }
)


@dataclass(frozen=True, eq=False)
class Given:
    """One link as it was made, with all that its giver held at that moment."""

    giver: str
    to: str
    role: str  # empty for a membership
    group: str  # empty for a role
    org: str
    ends_ms: int | None
    made_ms: int
    givers_paths: "tuple[Way, ...]"


Way = tuple[Given, ...]
"""A way to hold a role: its assignment, after the membership if it is a group's."""


@dataclass
class Model:
    """What was given, and what is left of it."""

    live: list[Given] = field(default_factory=list)

    def ways(self, subject: str, now_ms: int) -> tuple[Way, ...]:
        held = [one for one in self.live if one.role and lives(one, now_ms)]
        own = [(one,) for one in held if one.to == subject]
        groups = [one for one in self.live if one.group and one.to == subject]
        return (*own, *((join, one) for join in groups for one in held if one.to == join.group))


def lives(one: Given, now_ms: int) -> bool:
    return one.ends_ms is None or one.ends_ms > now_ms


def as_good(other: Way, way: Way) -> bool:
    """Whether a way gives at least what another gives, for at least as long."""
    a, b = other[-1], way[-1]
    return (
        a.role == b.role
        and a.org in ("", b.org)
        and (a.ends_ms is None or (b.ends_ms is not None and a.ends_ms >= b.ends_ms))
    )


def flows(way: Way, askers: frozenset[str], since_ms: int) -> bool:
    """Whether a way was made by an asker, or by who owed to askers something that they held."""
    return any(
        (link.giver in askers and link.made_ms >= since_ms)
        or any(
            all(
                flows(other, askers, since_ms)
                for other in link.givers_paths
                if as_good(other, held)
            )
            for held in link.givers_paths
        )
        for link in way
    )


def touched(way: Way, askers: frozenset[str], since_ms: int) -> bool:
    """Whether an asker had anything to do with it at all."""
    return any(
        (link.giver in askers and link.made_ms >= since_ms)
        or any(touched(held, askers, since_ms) for held in link.givers_paths)
        for link in way
    )


@pytest.fixture
async def stores(db_factory: Make) -> tuple[Any, Any]:
    """The databases of authz and of the directory."""
    return tuple([await db_factory(f"argy_{name}", max_size=1) for name in ("authz", "directory")])


# Each history has a tenant of its own, so that the connections may be shared.
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.lists(st.one_of(GRANT, GRANT, GRANT, JOIN, DROP), min_size=8, max_size=24),
)
async def test_no_voter_counts_all_of_whose_power_flows_from_the_askers(
    stores: Any, tenant_factory: Make, steps: list[dict[str, Any]]
) -> None:
    tenant, (authz, directory) = await tenant_factory(orgs=("sales",)), stores
    users, groups = [uuid7() for _ in range(PEOPLE)], [uuid7() for _ in range(GROUPS)]
    async with directory.tenant(tenant.tenant_id) as tx:
        await make_people(tx, users, groups)
    names = [f"user:{one}" for one in users] + [f"group:{one}" for one in groups]
    model, now_ms = Model(), START
    for step in steps:
        now_ms += step["later"]
        one = link_of(step, names, model, now_ms)
        if one is not None:
            async with (authz if one.role else directory).tenant(tenant.tenant_id) as tx:
                if step["what"] == "drop":
                    await drop(tx, one, tenant)
                elif await (grant(tx, one, tenant) if one.role else add_member(tx, one)):
                    model.live = [old for old in model.live if not same(old, one)] + [one]
        async with authz.tenant(tenant.tenant_id) as tx:
            paths = await list_paths(tx, names[:PEOPLE], now_ms=now_ms)
        check(model, paths, names[:PEOPLE], now_ms)


def link_of(step: dict[str, Any], names: list[str], model: Model, now_ms: int) -> "Given | None":
    """The link that a step makes, or takes away."""
    if step["what"] == "drop":
        return model.live.pop(step["which"] % len(model.live)) if model.live else None
    giver = "service:root" if step["giver"] is None else names[step["giver"]]
    join = step["what"] == "join"
    return Given(
        giver=giver,
        to=names[step["to"]],
        role="" if join else step["role"],
        group=names[PEOPLE + step["group"]] if join else "",
        org="" if join or not step["in_org"] else "sales",
        ends_ms=None if join or step["lasts"] is None else now_ms + step["lasts"],
        made_ms=now_ms,
        givers_paths=model.ways(giver, now_ms),
    )


def check(model: Model, paths: list[Path], names: list[str], now_ms: int) -> None:
    """Hold the domain to the model, for one asker and for two who ask together."""
    asking = [frozenset(some) for n in (1, 2) for some in combinations(names, n)]
    for askers, asked_ms in product(asking, (now_ms, now_ms + WINDOW_MS // 2)):
        since_ms = since(asked_ms)
        free = {
            (path.subject, path.role, path.org)
            for path in independent(paths, askers, since_ms=since_ms)
        }
        for name in names:
            by_role: dict[tuple[str, str], list[Way]] = {}
            for way in model.ways(name, now_ms):
                by_role.setdefault((way[-1].role, way[-1].org), []).append(way)
            for key, ways in by_role.items():
                counts = (name, *key) in free
                if all(flows(way, askers, since_ms) for way in ways):
                    assert not counts, (name, key, askers)
                if not any(touched(way, askers, since_ms) for way in ways):
                    assert counts, (name, key, askers)


def same(old: Given, new: Given) -> bool:
    return (old.to, old.role, old.group, old.org) == (new.to, new.role, new.group, new.org)


async def make_people(tx: Tx, users: Iterable[UUID], groups: Iterable[UUID]) -> None:
    for user in users:
        await tx.execute(
            "INSERT INTO directory.user_account (tenant_id, user_id, email, display_name)"
            " VALUES ($1, $2, $3, 'P')",
            tx.tenant_id,
            user,
            f"{user}@example.test",
        )
    for group in groups:
        await tx.execute(
            "INSERT INTO directory.user_group (tenant_id, group_id, slug, display_name)"
            " VALUES ($1, $2, $3, 'G')",
            tx.tenant_id,
            group,
            f"g-{group.hex}",
        )


async def grant(tx: Tx, one: Given, tenant: Any) -> bool:
    wish = Grant(
        subject=one.to,
        role=one.role,
        org_id=tenant.orgs[one.org] if one.org else None,
        expires_at_ms=one.ends_ms,
        reason="",
        request_id=None,
    )
    try:
        await assignments.insert(tx, wish, made_id=uuid7(), caller=one.giver, now_ms=one.made_ms)
    except AlreadyExists:
        return False
    return True


async def add_member(tx: Tx, one: Given) -> bool:
    made = await tx.fetchval(
        "INSERT INTO directory.group_member (tenant_id, group_id, user_id, created_by, created_at)"
        " VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING RETURNING user_id",
        tx.tenant_id,
        UUID(one.group.partition(":")[2]),
        UUID(one.to.partition(":")[2]),
        one.giver,
        to_time(one.made_ms),
    )
    return made is not None


async def drop(tx: Tx, one: Given, tenant: Any) -> None:
    if one.group:
        await tx.execute(
            "DELETE FROM directory.group_member"
            " WHERE tenant_id = $1 AND group_id = $2 AND user_id = $3",
            tx.tenant_id,
            UUID(one.group.partition(":")[2]),
            UUID(one.to.partition(":")[2]),
        )
        return
    await tx.execute(
        "DELETE FROM authz.role_assignment WHERE tenant_id = $1 AND subject = $2 AND role = $3"
        " AND org_id IS NOT DISTINCT FROM $4",
        tx.tenant_id,
        one.to,
        one.role,
        tenant.orgs[one.org] if one.org else None,
    )


async def test_of_too_many_givers_those_not_named_are_anybody(
    db_factory: Make, tenant_factory: Make
) -> None:
    tenant, db = await tenant_factory(), await db_factory("argy_authz", max_size=1)

    def given(n: int, giver: str, to: str) -> Given:
        return Given(giver, to, f"role:R{n}", "", "", None, START + n, ())

    async with db.tenant(tenant.tenant_id) as tx:
        for n in range(MOST + 10):
            await grant(tx, given(n, f"service:s{n}", "service:middle"), tenant)
        await grant(tx, given(MOST + 10, "service:middle", "service:last"), tenant)
        (path,) = await list_paths(tx, ["service:last"], now_ms=START + MOST + 20)
    (link,) = path.links
    assert len(link.owes) == MOST
    assert link.owes[ANYBODY] == START + 10
    assert link.stands_on({"service:s3"}, START)
    assert not link.stands_on({"service:s3"}, START + 11)
    assert link.stands_on({f"service:s{MOST}"}, START + MOST)


async def test_nobody_says_themselves_what_a_link_owes(
    db_factory: Make, tenant_factory: Make
) -> None:
    """Whoever can write to the table as the service does would launder a grant."""
    tenant, db = await tenant_factory(), await db_factory("argy_authz", max_size=1)
    async with db.tenant(tenant.tenant_id) as tx:
        first = Given("user:x", "service:a", "role:ONE", "", "", None, START, ())
        await grant(tx, first, tenant)
        await tx.execute(
            "INSERT INTO authz.role_assignment"
            " (tenant_id, id, subject, role, created_by, created_at, owes)"
            " VALUES ($1, $2, 'service:b', 'role:ONE', 'service:a', $3, '{}')",
            tx.tenant_id,
            uuid7(),
            to_time(START),
        )
        (path,) = await list_paths(tx, ["service:b"], now_ms=START)
    assert path.links[0].owes == {"user:x": START}


@pytest.mark.parametrize("how", ["lasts", "is as wide", "by a member's debts"])
async def test_only_what_gives_as_much_stands_in_for_what_an_asker_gave(
    stores: Any, tenant_factory: Make, how: str
) -> None:
    """A holds it anyway: for a while, in one org, or let in by who owed it to the asker."""
    tenant, (authz, directory) = await tenant_factory(orgs=("sales",)), stores
    (a, b, m), (group,) = (users := [uuid7() for _ in range(3)]), [uuid7()]
    asker = "user:x"

    def role(giver: str, to: str, later: int, **changed: Any) -> Given:
        made = {"org": "", "ends_ms": None, **changed}
        return Given(giver, to, "role:ONE", "", made_ms=START + later, givers_paths=(), **made)

    def member(giver: str, user: UUID, later: int) -> Given:
        return Given(giver, f"user:{user}", "", f"group:{group}", "", None, START + later, ())

    async with directory.tenant(tenant.tenant_id) as tx:
        await make_people(tx, users, [group])
    steps = {
        "lasts": [
            role("service:root", f"user:{a}", 0, ends_ms=START + DAY),
            role("service:root", f"group:{group}", 0),
            member(asker, a, 1),
        ],
        "is as wide": [
            role("service:root", f"user:{a}", 0, org="sales"),
            role(asker, f"user:{a}", 1),
        ],
        "by a member's debts": [
            role(asker, f"user:{m}", 0),
            role("service:root", f"group:{group}", 0),
            member(f"user:{m}", a, 1),
        ],
    }[how]
    for one in [*steps, role(f"user:{a}", f"user:{b}", 2)]:
        async with (authz if one.role else directory).tenant(tenant.tenant_id) as tx:
            assert await (grant(tx, one, tenant) if one.role else add_member(tx, one))
    async with authz.tenant(tenant.tenant_id) as tx:
        paths = await list_paths(tx, [f"user:{b}"], now_ms=START + 3)
    assert len(paths) == 1
    assert independent(paths, {asker}, since_ms=START) == ()
