"""Table tests of a policy: who asks what, and what the answer must be.

``policy/cases/*.yaml`` hold suites (``argy.policy.cases.format``): the assignments of one tenant,
then questions with the expected effect and, if it matters, the reason, the deciding file and the
role. ``argy policy test`` runs them with coverage; ``python -m argy.policy.cases policy`` runs them
bare: the exit code is 1 when one fails, 2 when the policy or a suite can't be loaded.
"""

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from argy.base.errors import ArgyError
from argy.policy.budget import spender
from argy.policy.cases.questions import Question, QuestionSet, read_cases
from argy.policy.compiled import CompiledPolicy, compile_policy
from argy.policy.explain import explain
from argy.policy.files import read_folder
from argy.policy.loader import parse_policy
from argy.policy.rules import Decision, Rule
from argy.policy.snapshot import TenantSnapshot


@dataclass(frozen=True, slots=True)
class CaseResult:
    """One case with its answer; ``failure`` is empty when they agree."""

    question: Question
    decision: Decision
    failure: str
    nearest: str = ""
    """For a failed case: the rule that nearly allowed it, and what it lacks."""

    @property
    def passed(self) -> bool:
        """Whether the answer was the expected one."""
        return not self.failure


class Asker:
    """Asks the questions of one set under one policy; a snapshot a tenant."""

    __slots__ = ("_policy", "_set", "_snapshots")

    def __init__(self, policy: CompiledPolicy, questions: QuestionSet) -> None:
        self._policy = policy
        self._set = questions
        self._snapshots: dict[str, TenantSnapshot] = {}

    def snapshot(self, tenant: str) -> TenantSnapshot:
        """The tenant with what the set grants."""
        snapshot = self._snapshots.get(tenant)
        if snapshot is None:
            snapshot = self._snapshots[tenant] = TenantSnapshot(
                self._policy,
                tenant,
                self._set.assignments,
                self._set.memberships,
                disabled=self._set.disabled,
            )
        return snapshot

    def decide(self, question: Question) -> Decision:
        """The policy's answer."""
        return self.snapshot(question.tenant).check(*question.asked)

    def result(self, question: Question) -> CaseResult:
        """The answer beside the expectation."""
        decision = self.decide(question)
        failure = disagreement(question, decision)
        return CaseResult(question, decision, failure, self.nearest(question) if failure else "")

    def nearest(self, question: Question) -> str:
        """The nearest rule that would have allowed it; empty when none is near."""
        explanation = explain(self.snapshot(question.tenant), *question.asked)
        for match in explanation.matches:
            if not match.matched:
                return f"{place(match.rule)}: {match.detail}"
        return ""


def run_cases(policy: CompiledPolicy, sets: Iterable[QuestionSet]) -> Iterator[CaseResult]:
    """Ask every question of every set, in order."""
    spend = spender()
    for one in sets:
        asker = Asker(policy, one)
        for question in one.questions:
            spend()
            yield asker.result(question)


def place(rule: Rule | None) -> str:
    """Where a rule stands: ``file:line``."""
    return f"{rule.file}:{rule.line}" if rule else "no rule"


def disagreement(question: Question, decision: Decision) -> str:
    """What differs from the expectation; empty when nothing does."""
    got = decision.effect
    rule, where = decision.rule, place(decision.rule)
    wrong = []
    if got != question.expect:
        wrong.append(f"expected {question.expect}, got {got} ({decision.reason}, {where})")
    if question.reason and decision.reason != question.reason:
        wrong.append(f"expected reason {question.reason}, got {decision.reason}")
    if question.rule and question.rule not in (where, where.rpartition(":")[0]):
        wrong.append(f"expected rule {question.rule}, got {where}")
    if question.role and (rule is None or rule.role != question.role):
        wrong.append(f"expected role {question.role}, got {rule.role if rule else 'none'}")
    return "; ".join(wrong)


def case_lines(results: Iterable[CaseResult], *, all_of_them: bool = True) -> Iterator[str]:
    """A line for each case, with what decided and what was near for those that failed."""
    for result in results:
        question = result.question
        if result.passed:
            if all_of_them:
                yield f"ok    {question.expect:<5}  {question.ask}  in {question.domain}"
            continue
        yield f"FAIL  {question.expect:<5}  {question.ask}  in {question.domain}"
        why = f" ({question.why})" if question.why else ""
        yield f"      {question.file}:{question.line} {question.label}{why}: {result.failure}"
        if rule := result.decision.rule:
            yield f"      decided by {place(rule)}  {rule.text}"
        if result.nearest:
            yield f"      nearest miss {result.nearest}"


def main(arguments: Sequence[str]) -> int:
    """Run the cases of a policy folder and print the table."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m argy.policy.cases POLICY_FOLDER\n")
        return 2
    try:
        files = dict(read_folder(Path(arguments[0])).files)
        results = list(run_cases(compile_policy(parse_policy(files)), read_cases(files)))
    except ArgyError as error:
        sys.stderr.write(f"{error.message}\n")
        return 2
    failed = sum(not result.passed for result in results)
    lines = [*case_lines(results), f"{len(results)} cases, {failed} failed"]
    sys.stdout.write("\n".join(lines) + "\n")
    return 0 if results and not failed else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
