"""Table tests of a policy: who asks what, and what the answer must be.

``policy/cases/*.yaml`` hold suites: the assignments of one tenant, then questions with the expected
effect and, if it matters, the reason, the deciding file and the role. ``python -m
argy.policy.cases policy`` runs them all; the exit code is 1 when one fails, 2 when the policy or a
suite can't be loaded.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import msgspec
import yaml

from argy.base.errors import ArgyError
from argy.policy.compiled import CompiledPolicy, compile_policy
from argy.policy.errors import PolicyError, Problem
from argy.policy.loader import load_policy
from argy.policy.rules import Assignment, Decision, Membership
from argy.policy.snapshot import TenantSnapshot

_MAX_BYTES = 1024 * 1024
_NOW = datetime(2026, 1, 7, 10, 0, tzinfo=UTC)
"""When a case is asked that doesn't say: a Wednesday morning."""


class Grant(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A role assignment in a suite; ``expires`` is a point in time."""

    subject: str
    role: str
    org: str = ""
    expires: datetime | None = None


class Case(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One question. ``ask`` is "subject action object"; ``rule`` is ``file`` or ``file:line``."""

    ask: str
    expect: Literal["ALLOW", "DENY"]
    why: str = ""
    org: str = ""
    context: dict[str, Any] = {}
    at: datetime = _NOW
    reason: str = ""
    rule: str = ""
    role: str = ""


class Suite(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Cases that share a tenant and its assignments; ``groups`` maps a group to its members."""

    tenant: str
    cases: list[Case]
    assignments: list[Grant] = []
    groups: dict[str, list[str]] = {}
    disabled: list[str] = []


@dataclass(frozen=True, slots=True)
class CaseResult:
    """One case with its answer; ``failure`` is empty when they agree."""

    file: str
    number: int
    tenant: str
    case: Case
    decision: Decision
    failure: str

    @property
    def passed(self) -> bool:
        """Whether the answer was the expected one."""
        return not self.failure


def load_cases(root: Path) -> dict[str, Suite]:
    """The suites under ``root``/cases, by path.

    Raises:
        PolicyError: naming every file that isn't a suite, and why.
    """
    suites: dict[str, Suite] = {}
    problems: list[Problem] = []
    for path in sorted((root / "cases").glob("**/*.yaml")):
        name = path.relative_to(root).as_posix()
        try:
            with path.open("rb") as file:
                data = file.read(_MAX_BYTES + 1)
            if len(data) > _MAX_BYTES:
                raise ValueError(f"more than {_MAX_BYTES} bytes")
            suite = msgspec.convert(yaml.safe_load(data), Suite)
            for case in suite.cases:
                _question(case)
            suites[name] = suite
        except (yaml.YAMLError, ValueError, OSError, RecursionError) as error:
            mark = getattr(error, "problem_mark", None)
            line = mark.line + 1 if mark is not None else 0
            reason = " ".join(str(error).split())
            problems.append(Problem(name, line, reason, "see policy/README.md for the format"))
    if problems:
        raise PolicyError(problems)
    return suites


def run_cases(policy: CompiledPolicy, suites: Mapping[str, Suite]) -> Iterator[CaseResult]:
    """Ask every question of every suite."""
    for file, suite in suites.items():
        snapshot = TenantSnapshot(
            policy,
            suite.tenant,
            [Assignment(g.subject, g.role, g.org, _ms(g.expires)) for g in suite.assignments],
            [Membership(group, one) for group, members in suite.groups.items() for one in members],
            disabled=suite.disabled,
        )
        for number, case in enumerate(suite.cases, start=1):
            subject, act, obj = _question(case)
            at = _ms(case.at) or 0
            decision = snapshot.check(subject, case.org, obj, act, case.context, at)
            failure = _compare(case, decision)
            yield CaseResult(file, number, suite.tenant, case, decision, failure)


def _question(case: Case) -> Sequence[str]:
    words = case.ask.split()
    if len(words) != 3:
        raise ValueError(f"ask {case.ask!r} is not 'subject action object'")
    return words


def _ms(at: datetime | None) -> int | None:
    if at is None:
        return None
    aware = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
    return round(aware.timestamp() * 1000)


def _compare(case: Case, decision: Decision) -> str:
    """What differs from the expectation; empty when nothing does."""
    got = "ALLOW" if decision.allowed else "DENY"
    rule = decision.rule
    where = f"{rule.file}:{rule.line}" if rule else "no rule"
    wrong = []
    if got != case.expect:
        wrong.append(f"expected {case.expect}, got {got} ({decision.reason}, {where})")
    if case.reason and decision.reason != case.reason:
        wrong.append(f"expected reason {case.reason}, got {decision.reason}")
    if case.rule and case.rule not in (where, where.rpartition(":")[0]):
        wrong.append(f"expected rule {case.rule}, got {where}")
    if case.role and (rule is None or rule.role != case.role):
        wrong.append(f"expected role {case.role}, got {rule.role if rule else 'none'}")
    return "; ".join(wrong)


def _report(results: Sequence[CaseResult]) -> str:
    """A table of the results, failures explained."""
    lines = []
    for result in results:
        case = result.case
        where = f"{result.tenant}/{case.org}" if case.org else result.tenant
        mark = "ok  " if result.passed else "FAIL"
        lines.append(f"{mark}  {case.expect:<5}  {case.ask}  in {where}")
        if not result.passed:
            why = f" ({case.why})" if case.why else ""
            lines.append(f"      {result.file} case {result.number}{why}: {result.failure}")
    failed = sum(not result.passed for result in results)
    lines.append(f"{len(results)} cases, {failed} failed")
    return "\n".join(lines)


def main(arguments: Sequence[str]) -> int:
    """Run the cases of a policy folder and print the table."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m argy.policy.cases POLICY_FOLDER\n")
        return 2
    root = Path(arguments[0])
    try:
        policy = compile_policy(load_policy(root))
        results = list(run_cases(policy, load_cases(root)))
    except ArgyError as error:
        sys.stderr.write(f"{error.message}\n")
        return 2
    sys.stdout.write(_report(results) + "\n")
    return 0 if results and all(result.passed for result in results) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
