"""Runs every check over a policy's files."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

from argy.policy.errors import PolicyError, Problem
from argy.policy.findings import Finding, of_problem, order
from argy.policy.lint import ids
from argy.policy.lint.approvals import check_approvals
from argy.policy.lint.conditions import check_conditions
from argy.policy.lint.danger import (
    check_escalation,
    check_named_only,
    check_own_approval,
    check_wildcards,
)
from argy.policy.lint.model import FILE, check_askable, check_model
from argy.policy.lint.names import check_roles, check_vocabulary
from argy.policy.lint.reach import check_links, check_reach
from argy.policy.lint.scope import Scope
from argy.policy.lint.silences import apply_silences
from argy.policy.lint.tenants import check_tenants
from argy.policy.lint.words import read_words
from argy.policy.loader import source_of
from argy.policy.model import Effect, parse_model

Check = Callable[[Scope], Iterator[Finding]]

_CHECKS: Final[tuple[Check, ...]] = (
    check_roles,
    check_vocabulary,
    check_links,
    check_wildcards,
    check_escalation,
    check_own_approval,
    check_named_only,
    check_conditions,
    check_approvals,
    check_tenants,
)
_OVERRIDDEN_ONLY: Final[tuple[Check, ...]] = (check_reach,)
"""Where denials don't override, what covers what says nothing about decisions."""
_KNOWN_PROBLEMS: Final = (
    (re.compile(r"the same (?:rule|link) as |asks the same as "), ids.DUPLICATE_RULE),
    (re.compile(r"unknown role \S+$"), ids.UNKNOWN_ROLE),
)
"""What the loader says of problems that have a rule of their own."""


def lint(files: Mapping[str, str], problems: Iterable[Problem] = ()) -> list[Finding]:
    """Everything that there is to say about a policy, by place.

    Args:
        files: The texts by path under the policy's folder, cases and invariants included.
        problems: What a loader found already, such as files in places that are not read.
    """
    refused = list(problems)
    try:
        model = parse_model(files.get(FILE, ""), FILE)
    except PolicyError as error:
        return refusals((*refused, *error.problems))
    source = source_of(model, dict(files), refused)
    unreadable: list[Problem] = []
    words = read_words(files, unreadable)
    found = [of_problem(problem, ids.UNREADABLE) for problem in unreadable]
    found += map(_of, dict.fromkeys(refused))
    found += check_model(model)
    if not model.compiled:
        found += check_askable(source)
    else:
        scope = Scope(source, words)
        checks = _CHECKS
        if model.effect is Effect.DENY_OVERRIDES:
            checks += _OVERRIDDEN_ONLY
        for check in checks:
            found += check(scope)
    whole = model.compiled and not refused and not unreadable
    # A row that the loader refuses may be told of twice, once by a check that looks past it.
    distinct = {(item.rule_id, item.file, item.line, item.message): item for item in found}
    return sorted(apply_silences(files, distinct.values(), whole=whole), key=order)


def refusals(problems: Iterable[Problem]) -> list[Finding]:
    """Only what the loader refuses, by place."""
    return sorted(map(_of, dict.fromkeys(problems)), key=order)


def _of(problem: Problem) -> Finding:
    for pattern, name in _KNOWN_PROBLEMS:
        if pattern.match(problem.message):
            return of_problem(problem, name)
    return of_problem(problem, ids.REFUSED)
