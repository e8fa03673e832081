"""Lines of the approvals that meet each other, or nothing."""

from collections.abc import Iterator
from itertools import combinations

from argy.policy.findings import Finding
from argy.policy.lint import ids
from argy.policy.lint.scope import Scope, at, found, meets

_MAX_LINES = 2_000
"""Lines that are compared with one another: each with each."""


def check_approvals(scope: Scope) -> Iterator[Finding]:
    """Lines in force that match the same action, and lines about what nobody may do."""
    lines = [line for line in scope.source.approvals if line.mode != "off"]
    for first, second in combinations(lines[:_MAX_LINES], 2):
        if not meets(first, second) or (first.mode, second.mode) == ("auto", "auto"):
            continue
        both = f"{at(first)} matches some of the same actions"
        if first.mode == second.mode:
            message = f"{both}, and both must be met: {first.text}"
        else:
            message = f"{both}, and auto doesn't take away what the other line asks: {first.text}"
        yield found(ids.OVERLAPPING_APPROVALS, second, message)
    for line in lines:
        if not scope.allowed_somewhere(line):
            message = "nothing that this matches is allowed to anybody"
            yield found(ids.IDLE_APPROVAL, line, message)
