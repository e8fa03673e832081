"""Random histories of grants, memberships, elevations and keys: nothing outlives what it came from.

The model knows of each link by which paths its giver could give it. The service decides what may be
handed on; whatever it let happen, nobody holds anything at any moment but by an unbroken chain of
links that are not over, back to what was there at first or what policy lets people take.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from argy.authz.delegation import Giver, missing_of, missing_role, roles_of
from argy.authz.domain import TenantFacts
from argy.authz.view import TenantView
from argy.policy import Assignment, Membership, compile_policy
from argy.policy.loader import parse_policy
from argy.rpc.delegation import ENDLESS_MS, Delegation

MODEL = (Path(__file__).parents[3] / "policy" / "model.conf").read_text()
RULES = """\
p, role:ADMIN, *, *, *, allow, true
p, role:DELEGATE, *, authz.role_assignment:*, grant_any, allow, true
p, role:DEV, *, thing:*, run, allow, true
p, role:OPS, *, plant:*, run, allow, true
g, role:LEAD, role:DEV, *
"""
POLICY = compile_policy(parse_policy({"model.conf": MODEL, "roles/all.csv": RULES}))
TENANT = UUID("01900000-0000-7000-8000-000000000001")
GROUPS = [UUID(int=number) for number in (1, 2)]
PEOPLE = [f"user:{name}" for name in "abcde"]
ROLES = ["role:ADMIN", "role:DELEGATE", "role:DEV", "role:OPS", "role:LEAD"]
ORGS = ["", "sales"]
INCLUDES = {"role:LEAD": {"role:LEAD", "role:DEV"}}
GIVES_ANY = {"role:ADMIN", "role:DELEGATE"}
HOLDERS = {
    "thing:run": {"role:ADMIN", "role:DEV", "role:LEAD"},
    "plant:run": {"role:ADMIN", "role:OPS"},
}
ENDS = st.one_of(st.none(), st.integers(1, 60))
WHO, ROLE, ORG = st.sampled_from(PEOPLE), st.sampled_from(ROLES), st.sampled_from(ORGS)
GROUP = st.sampled_from(GROUPS)


@dataclass(eq=False)
class Link:
    """A role that a subject was given."""

    number: int
    subject: str
    role: str
    org: str
    end: int | None
    by: "list[Path_] | None"
    """How its giver could give it; None for what needed no giver."""


@dataclass(eq=False)
class Member:
    """A place in a group."""

    number: int
    user: str
    group: str
    by: "dict[Link, list[Path_]] | None"
    """How its giver could give what the group held then, link by link."""


Path_ = tuple[Member | None, Link]


@dataclass
class Key:
    """A permission that somebody learned a secret for."""

    permission: str
    end: int
    by: list[Path_] = field(default_factory=list)


def lasts(link: Link, at: int) -> bool:
    return (link.end is None or at < link.end) and (
        link.by is None or any(holds(path, at) for path in link.by)
    )


def holds(path: Path_, at: int) -> bool:
    member, link = path
    if not lasts(link, at):
        return False
    # Who gave a group a role later answers for its members of then.
    if member is None or member.by is None or link.number > member.number:
        return True
    return any(holds(one, at) for one in member.by[link])


class Histories(RuleBasedStateMachine):
    """What people do with their authority, and what comes of it."""

    def __init__(self) -> None:
        super().__init__()
        self.now, self.count = 0, 0
        self.links: list[Link] = []
        self.members: list[Member] = []
        self.keys: list[Key] = []

    @initialize(roots=st.lists(st.tuples(WHO, ROLE, ORG, ENDS), min_size=1, max_size=4))
    def begin(self, roots: list[tuple[str, str, str, int | None]]) -> None:
        for subject, role, org, end in roots:
            self.add(subject, role, org, end, None)

    @rule(amount=st.integers(1, 20))
    def time_passes(self, amount: int) -> None:
        self.now += amount

    @rule(giver=WHO, to=st.one_of(WHO, GROUP.map("group:{}".format)), role=ROLE, org=ORG, end=ENDS)
    def grants(self, giver: str, to: str, role: str, org: str, end: int | None) -> None:
        until = None if end is None else self.now + end
        last = ENDLESS_MS if until is None else until - 1
        if missing_role(self.giver(giver, org), role, org=org, last_ms=last) is None:
            self.add(to, role, org, until, self.power(giver, role, org, org))

    @rule(giver=WHO, user=WHO, group=GROUP)
    def adds_a_member(self, giver: str, user: str, group: UUID) -> None:
        if missing_of(self.giver(giver, ""), Delegation(group_id=group)) is not None:
            return
        name = f"group:{group}"
        by = {
            link: self.power(giver, link.role, link.org, "")
            for link in self.links
            if link.subject == name
        }
        self.count += 1
        self.members.append(Member(self.count, user, name, by))

    @rule(user=WHO, length=st.integers(1, 30))
    def takes_a_role_for_a_while(self, user: str, length: int) -> None:
        """By policy: an elevation."""
        self.add(user, "role:ADMIN", "", self.now + length, None)

    @rule(maker=WHO, permission=st.sampled_from(sorted(HOLDERS)), length=st.integers(1, 400))
    def makes_a_key(self, maker: str, permission: str, length: int) -> None:
        end = self.now + length
        wanted = Delegation(permissions=[(permission, "-")], ends_at_ms=end)
        if missing_of(self.giver(maker, ""), wanted) is None:
            by = [
                path
                for path in self.paths(maker)
                if path[1].role in HOLDERS[permission] and path[1].org == ""
            ]
            self.keys.append(Key(permission, end, by))

    @invariant()
    def nobody_holds_what_no_chain_gives_them(self) -> None:
        view = self.view()
        ends = {link.end for link in self.links if link.end is not None}
        moments = {self.now, ENDLESS_MS, *(end + step for end in ends for step in (-1, 0))}
        for at in moments:
            if at < self.now:
                continue
            for subject in PEOPLE:
                for org in ORGS:
                    real = {
                        role
                        for path in self.paths(subject)
                        if path[1].org in ("", org) and holds(path, at)
                        for role in INCLUDES.get(path[1].role, {path[1].role})
                    }
                    assert roles_of(view, subject, org, at) <= real, (subject, org, at)

    @invariant()
    def no_key_is_good_for_longer_than_its_maker_held_it(self) -> None:
        for key in self.keys:
            for at in range(self.now, key.end):
                assert any(holds(path, at) for path in key.by), (key.permission, at)

    def add(
        self, subject: str, role: str, org: str, end: int | None, by: list[Path_] | None
    ) -> None:
        self.count += 1
        self.links.append(Link(self.count, subject, role, org, end, by))

    def giver(self, subject: str, org: str) -> Giver:
        return Giver(self.view(), subject, org, None, self.now)

    def view(self) -> TenantView:
        assignments = tuple(
            Assignment(one.subject, one.role, one.org, one.end) for one in self.links
        )
        memberships = tuple(Membership(one.group, one.user) for one in self.members)
        return TenantView(TenantFacts(TENANT, "acme", 1, assignments, memberships), POLICY)

    def paths(self, subject: str) -> Iterator[Path_]:
        """Every way in which a subject holds something."""
        yield from ((None, link) for link in self.links if link.subject == subject)
        for member in self.members:
            if member.user == subject:
                yield from ((member, link) for link in self.links if link.subject == member.group)

    def power(self, giver: str, role: str, org: str, asked_in: str) -> list[Path_]:
        """By which of a giver's paths a role may be given."""
        return [
            path
            for path in self.paths(giver)
            if (role in INCLUDES.get(path[1].role, {path[1].role}) and path[1].org in ("", org))
            or (path[1].role in GIVES_ANY and path[1].org in ("", asked_in))
        ]


TestHistories = Histories.TestCase
TestHistories.settings = settings(max_examples=60, stateful_step_count=25)
