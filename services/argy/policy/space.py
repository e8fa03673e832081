"""The finite space of questions that a policy can tell apart, and concrete questions out of it.

Exact are the classes of objects and actions (``argy.policy.atoms``) and of domains: every tenant
and org that the policy names, one more org in each tenant, and one more tenant. Conditions are
opaque: each is taken to be possibly true and possibly false, independently of every other one.

Subjects are sets of names: roles, and at most one service. Pairs are enough. One more role only
adds rules; so an allow that some set of roles has, the role that it comes from has as well, alone
(or beside one role that must be held): fewer denials can match. And what a changed rule changes for
a set of roles, it changes for its own role alone, or beside the one role whose rule speaks next.
"""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from argy.base.errors import InvalidArgument
from argy.policy.atoms import action_atoms, object_atoms
from argy.policy.combining import combine
from argy.policy.compiled import CompiledPolicy, compile_policy
from argy.policy.globs import NAMED_ONLY_ACTIONS, domain_of
from argy.policy.model import Effect
from argy.policy.rules import ALLOWED_BY_DEFAULT, ALLOWED_BY_RULE, Assignment, PolicySource, Rule
from argy.policy.snapshot import TenantSnapshot

MAX_ATOMS: Final = 20_000
"""Classes of objects, and of actions."""
MAX_CONDITIONS: Final = 10
"""Different conditions that may matter to one question: their truths make 2^10 cases."""
UNNAMED_TENANT: Final = "another-tenant"
UNNAMED_ORG: Final = "another-org"
SERVICE: Final = "service:"

Names = frozenset[str]
Domain = tuple[str, str]
"""Tenant and org; the org is empty for the tenant as a whole."""


class TooLarge(InvalidArgument):
    """The space has more questions than the bound: nothing is sampled silently."""

    default_reason = "POLICY_TOO_COMPLEX"


@dataclass(frozen=True, slots=True)
class Cell:
    """One class of questions: who (by names held), where, what."""

    names: Names
    tenant: str
    org: str
    obj: str
    act: str

    @property
    def domain(self) -> str:
        """``tenant`` or ``tenant/org``."""
        return domain_of(self.tenant, self.org)


@dataclass(frozen=True, slots=True)
class Way:
    """How conditions fall when a question is answered, and the rule that decides then."""

    allowed: bool
    rule: Rule | None
    truths: tuple[tuple[str, bool], ...]
    """The conditions that may matter, each with its truth."""


def needs_compiled(policy: CompiledPolicy) -> None:
    """Refuse a model whose rules can't be enumerated.

    Raises:
        InvalidArgument: when the model runs on pycasbin.
    """
    if not policy.compiled:
        raise InvalidArgument(
            "the model is not one that compiles: what its matcher says can't be enumerated",
            reason="MODEL_NOT_COMPILED",
            field="policy",
        )


def all_names(source: PolicySource) -> list[str]:
    """Every role and service that a rule, link or line of the approvals names, sorted."""
    names = {rule.role for rule in source.rules}
    for link in source.links:
        names |= {link.child, link.parent}
    for line in source.approvals:
        names.update(line.roles)
    return sorted(names)


def domains(source: PolicySource, extra: Iterable[str] = ()) -> list[Domain]:
    """A witness of each class of domains, told apart by the policy's domains and ``extra``."""
    tenants: dict[str, set[str]] = {}
    rows: Iterable[str] = itertools.chain(
        (rule.dom for rule in source.rules),
        (link.dom for link in source.links),
        (line.dom for line in source.approvals),
        extra,
    )
    for dom in rows:
        tenant, _, org = dom.partition("/")
        if tenant != "*":
            tenants.setdefault(tenant, set()).add(org)
    fresh = _fresh(UNNAMED_TENANT, tenants)
    found: list[Domain] = []
    for tenant in (fresh, *sorted(tenants)):
        orgs = tenants.get(tenant, set())
        found += [(tenant, org) for org in sorted({"", *orgs, _fresh(UNNAMED_ORG, orgs)})]
    return found


def objects(source: PolicySource, extra: Iterable[str] = ()) -> list[str]:
    """A witness of each class of objects, told apart by the policy's globs and ``extra``."""
    globs = {rule.obj for rule in source.rules} | {line.obj for line in source.approvals}
    return [atom.witness for atom in object_atoms(globs | set(extra), limit=MAX_ATOMS)]


def actions(source: PolicySource, extra: Iterable[str] = ()) -> list[str]:
    """As ``objects`` for actions; each of ``NAMED_ONLY_ACTIONS`` is a class of its own."""
    globs = {rule.act for rule in source.rules} | {line.act for line in source.approvals}
    globs |= NAMED_ONLY_ACTIONS
    return [atom.witness for atom in action_atoms(globs | set(extra), limit=MAX_ATOMS)]


def with_one_more(name: str, others: Iterable[str]) -> Iterator[Names]:
    """``name`` alone, then with each other name; two services are never one subject."""
    yield frozenset((name,))
    for other in others:
        if other != name and not (name.startswith(SERVICE) and other.startswith(SERVICE)):
            yield frozenset((name, other))


class Space:
    """A policy with the witnesses of its classes, told apart by further globs as well.

    Raises:
        InvalidArgument: when the model runs on pycasbin.
        TooManyAtoms: when the globs overlap in too many ways.
    """

    def __init__(
        self,
        source: PolicySource,
        *,
        actions_too: Iterable[str] = (),
        objects_too: Iterable[str] = (),
        domains_too: Iterable[str] = (),
    ) -> None:
        self.source = source
        self.policy = compile_policy(source)
        needs_compiled(self.policy)
        self.names = all_names(source)
        self.acts = actions(source, actions_too)
        self.objs = objects(source, objects_too)
        self.domains = domains(source, domains_too)


def stand_in(names: Names) -> tuple[str, tuple[str, ...]]:
    """A subject that holds exactly ``names``, and the roles that must be assigned to it."""
    services = sorted(name for name in names if name.startswith(SERVICE))
    roles = tuple(sorted(names.difference(services)))
    if services:
        return services[0], roles
    told = "-and-".join(role.removeprefix("role:").lower().replace("_", "-") for role in roles)
    return f"user:{told or 'nobody'}"[:200], roles


def snapshot_of(policy: CompiledPolicy, tenant: str, names: Names) -> TenantSnapshot:
    """A tenant where the stand-in holds ``names``, and nobody else anything."""
    subject, roles = stand_in(names)
    return TenantSnapshot(policy, tenant, [Assignment(subject, role) for role in roles])


def matching(policy: CompiledPolicy, cell: Cell) -> list[Rule]:
    """The rules that match a cell but for their conditions, in the policy's order."""
    scope = policy.scope(cell.tenant, cell.org)
    paths = policy.view(scope, cell.names).paths
    return policy.matching(paths, scope, cell.obj, cell.act)


def conditions(rules: Iterable[Rule]) -> tuple[str, ...]:
    """The different conditions of some rules.

    Raises:
        TooLarge: when there are too many to try each combination.
    """
    texts = sorted({rule.condition for rule in rules if rule.condition})
    if len(texts) > MAX_CONDITIONS:
        raise TooLarge(f"more than {MAX_CONDITIONS} different conditions meet in one question")
    return tuple(texts)


def ways(effect: Effect, rules: Sequence[Rule], texts: Sequence[str]) -> Iterator[Way]:
    """The answer for each combination of truths of ``texts``."""
    for truths in itertools.product((False, True), repeat=len(texts)):
        holds = dict(zip(texts, truths, strict=True))
        judged = ((rule, not rule.condition or holds[rule.condition]) for rule in rules)
        reason, decided = combine(effect, judged)
        allowed = reason in (ALLOWED_BY_RULE, ALLOWED_BY_DEFAULT)
        yield Way(allowed, decided, tuple(holds.items()))


def _fresh(name: str, taken: Iterable[str]) -> str:
    used = set(taken)
    return next(
        one
        for number in itertools.count(1)
        if (one := name if number == 1 else f"{name}-{number}") not in used
    )
