"""Isolation of tenants: the files of one change nothing in another, whoever asks what."""

from collections.abc import Iterator
from dataclasses import replace

from argy.policy.compiled import CompiledPolicy, compile_policy
from argy.policy.globs import action_match, compiled_glob, domain_match, domain_of
from argy.policy.invariants.format import Placed
from argy.policy.invariants.violations import Checked, Found, Violation, bounded
from argy.policy.mutation.mutants import Row
from argy.policy.rules import ApprovalRule, Link, PolicySource
from argy.policy.space import Cell, Names, Space, conditions, matching, ways, with_one_more


def check_isolation(space: Space, placed: Placed) -> Checked:
    """Take each tenant's rows away: no decision may change in any other tenant."""
    found, cells = Found(), 0
    for tenant in sorted({name for row in _rows(space.source) if (name := tenant_of(row))}):
        without = compile_policy(without_tenant(space.source, tenant))
        for row in _rows(space.source):
            if tenant_of(row) != tenant:
                continue
            for cell in _abroad(space, row, tenant):
                cells += 1
                bounded(placed, cells)
                violation = _leak(space.policy, placed, cell, row, without)
                if violation is not None:
                    found.add(violation)
    return Checked(placed, cells, found.all())


def tenant_of(row: Row) -> str:
    """The tenant whose folder a row stands in; empty for rows of all tenants."""
    parts = row.file.split("/")
    return parts[1] if parts[0] == "tenants" and len(parts) > 2 else ""


def without_tenant(source: PolicySource, tenant: str) -> PolicySource:
    """The policy without the files of one tenant."""
    return replace(
        source,
        rules=tuple(row for row in source.rules if tenant_of(row) != tenant),
        links=tuple(row for row in source.links if tenant_of(row) != tenant),
        approvals=tuple(row for row in source.approvals if tenant_of(row) != tenant),
    )


def _rows(source: PolicySource) -> Iterator[Row]:
    yield from source.rules
    yield from source.links
    yield from source.approvals


def _abroad(space: Space, row: Row, tenant: str) -> Iterator[Cell]:
    """The questions in other tenants that a row can bear on; none when all is well."""
    for other, org in space.domains:
        if other == tenant or not domain_match(domain_of(other, org), row.dom):
            continue
        for names in _touched(space, row):
            for obj in space.objs:
                for act in space.acts:
                    if isinstance(row, Link) or (
                        action_match(act, row.act) and compiled_glob(row.obj).matches(obj)
                    ):
                        yield Cell(names, other, org, obj, act)


def _touched(space: Space, row: Row) -> Iterator[Names]:
    if isinstance(row, ApprovalRule):
        return (frozenset((name,)) for name in space.names)
    return with_one_more(row.child if isinstance(row, Link) else row.role, space.names)


def _leak(
    policy: CompiledPolicy, placed: Placed, cell: Cell, row: Row, without: CompiledPolicy
) -> Violation | None:
    before, after = matching(policy, cell), matching(without, cell)
    texts = conditions((*before, *after))
    pairs = zip(ways(policy.effect, before, texts), ways(without.effect, after, texts), strict=True)
    for way, other in pairs:
        gated = isinstance(row, ApprovalRule) and row.mode == "require" and way.allowed
        if way.allowed != other.allowed or gated:
            return Violation(placed, cell, row, way.truths)
    return None
