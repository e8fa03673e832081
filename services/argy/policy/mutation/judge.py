"""Mutation testing of a policy: would the cases notice a mistake in any one row?

Each mutant is compiled with its row replaced and asked the cases that could notice. A mutant that
passes them all *survived*, and a concrete question is looked for that original and mutant answer
differently: the case that is missing. When no question of the space (``argy.policy.space``) has
another answer, even with conditions taken to be true or false at will, the mutant is *equivalent*
and isn't counted.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, Literal

from argy.base.errors import FailedPrecondition
from argy.policy.cases.answers import Asker, disagreement
from argy.policy.cases.facts import WrittenCase, differ, facts_of_cases, find_facts
from argy.policy.cases.questions import Question, QuestionSet
from argy.policy.cases.run import chosen, spread
from argy.policy.compiled import CompiledPolicy, compile_policy
from argy.policy.globs import action_match, glob_match
from argy.policy.mutation.mutants import Mutant, Row, mutants
from argy.policy.rules import ApprovalRule, Link, PolicySource, Rule
from argy.policy.snapshot import TenantSnapshot
from argy.policy.space import (
    Cell,
    Names,
    TooLarge,
    actions,
    all_names,
    conditions,
    domains,
    matching,
    needs_compiled,
    objects,
    snapshot_of,
    ways,
    with_one_more,
)

Witnesses = Callable[[PolicySource, Iterable[str]], list[str]]
Outcome = Literal["killed", "survived", "equivalent"]

_MAX_CELLS: Final = 500_000
"""Cells that are searched for one survivor; past them it is told without a question."""
_PARTS: Final = 4
"""Parts that each process judges: each part learns the questions anew."""
_PAYS: Final = 5_000
"""Mutants from which more than one process is started by default."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a mutant."""

    mutant: Mutant
    outcome: Outcome
    by: str = ""
    """The case that noticed: ``file:line label``."""
    missing: WrittenCase | None = None
    """For a survivor: a case that would notice."""
    note: str = ""
    """For a survivor without such a case: why none is told."""


@dataclass(frozen=True, slots=True)
class Score:
    """How many mutants there were, were tried, and what became of them."""

    total: int
    verdicts: tuple[Verdict, ...]

    def of(self, outcome: Outcome) -> list[Verdict]:
        """The verdicts with one outcome."""
        return [verdict for verdict in self.verdicts if verdict.outcome == outcome]

    @property
    def percent(self) -> float:
        """Killed among all that are not equivalent, in a hundred; 100 when there are none."""
        killed, survived = len(self.of("killed")), len(self.of("survived"))
        return 100.0 * killed / (killed + survived) if killed + survived else 100.0


def chosen_mutants(
    source: PolicySource, among: frozenset[str] | None, most: int
) -> tuple[int, list[Mutant]]:
    """How many mutants there are, and those to try: all, or ``most`` of them, evenly spread."""
    every = list(mutants(source, among))
    if not most or len(every) <= most:
        return len(every), every
    return len(every), [every[number * len(every) // most] for number in range(most)]


def judge_mutants(
    source: PolicySource,
    sets: Sequence[QuestionSet],
    tried: Sequence[Mutant],
    *,
    jobs: int = 0,
) -> Iterator[Verdict]:
    """Judge mutants, in their order; lazily, so that progress can be shown.

    Raises:
        FailedPrecondition: when a case fails without any mutant, or the model doesn't compile.
    """
    judge = Judge(source, sets)
    judge.refuse_failing()
    count = chosen(jobs, len(tried), _PAYS)
    if count == 1:
        yield from map(judge.verdict, tried)
        return
    size = 1 + len(tried) // (count * _PARTS)
    parts = [tried[start : start + size] for start in range(0, len(tried), size)]
    for verdicts in spread(partial(_judge_part, source, sets), parts, count):
        yield from verdicts


def _judge_part(
    source: PolicySource, sets: Sequence[QuestionSet], part: Sequence[Mutant]
) -> list[Verdict]:
    return list(map(Judge(source, sets).verdict, part))


class Judge:
    """Judges the mutants of one policy by one collection of cases."""

    def __init__(self, source: PolicySource, sets: Sequence[QuestionSet]) -> None:
        self._source = source
        self._policy = compile_policy(source)
        needs_compiled(self._policy)
        self._sets = sets
        self._by_name = _by_name(self._policy, sets)
        self._known = facts_of_cases(sets)
        self._names = all_names(source)
        self._domains = domains(source)
        self._globs = {rule.act for rule in source.rules} | {rule.obj for rule in source.rules}
        self._globs |= {line.act for line in source.approvals}
        self._globs |= {line.obj for line in source.approvals}
        self._found: dict[tuple[bool, frozenset[str]], list[str]] = {}

    def refuse_failing(self) -> None:
        """Raise when a case fails already: nothing could be told from its failing."""
        for one in self._sets:
            asker = Asker(self._policy, one)
            for question in one.questions:
                if disagreement(question, asker.decide(question)):
                    raise FailedPrecondition(
                        f"{question.file}:{question.line} {question.label} fails without any "
                        "mutant: mend the cases first (argy policy test)",
                        reason="CASES_FAIL",
                    )

    def verdict(self, mutant: Mutant) -> Verdict:
        """What becomes of a mutant."""
        changed = compile_policy(mutant.applied(self._source))
        askers: dict[int, Asker] = {}
        for number, question in self._by_name.get(_holder(mutant.row), ()):
            if not _may_notice(mutant, question):
                continue
            asker = askers.get(number)
            if asker is None:
                asker = askers[number] = Asker(changed, self._sets[number])
            if disagreement(question, asker.decide(question)):
                return Verdict(
                    mutant, "killed", f"{question.file}:{question.line} {question.label}"
                )
        return self._survivor(mutant, changed)

    def _survivor(self, mutant: Mutant, changed: CompiledPolicy) -> Verdict:
        """Find the missing case, or show that there is none."""
        possible = False
        pairs: dict[tuple[str, Names], list[TenantSnapshot]] = {}
        for number, cell in enumerate(self._cells(mutant)):
            if number >= _MAX_CELLS:
                return Verdict(mutant, "survived", note=f"none among {_MAX_CELLS} questions")
            rules = (matching(self._policy, cell), matching(changed, cell))
            try:
                texts = conditions(itertools.chain(*rules))
            except TooLarge as error:
                return Verdict(mutant, "survived", note=error.message)
            if isinstance(mutant.row, ApprovalRule):
                texts = tuple(sorted({*texts, mutant.row.condition} - {""}))
            elif rules[0] == rules[1]:
                continue
            key = (cell.tenant, cell.names)
            if key not in pairs:
                policies = (self._policy, changed)
                pairs[key] = [snapshot_of(policy, *key) for policy in policies]
            found = find_facts(cell, texts, self._known, pairs[key], differ)
            if found is not None:
                (context, at_ms), answers = found
                why = f"notices at {mutant.place} that {mutant.what}"
                case = WrittenCase(cell, answers[0].effect, context, at_ms, why)
                return Verdict(mutant, "survived", missing=case)
            possible = possible or self._may_differ(changed, rules, texts)
        if possible or (isinstance(mutant.row, ApprovalRule) and mutant.row.condition):
            return Verdict(mutant, "survived", note="no facts were found that show it")
        return Verdict(mutant, "equivalent")

    def _may_differ(
        self, changed: CompiledPolicy, rules: tuple[list[Rule], list[Rule]], texts: tuple[str, ...]
    ) -> bool:
        before, after = (
            [way.allowed for way in ways(policy.effect, matched, texts)]
            for policy, matched in zip((self._policy, changed), rules, strict=True)
        )
        return before != after

    def _cells(self, mutant: Mutant) -> Iterator[Cell]:
        """The cells that the row, before or after, can bear on."""
        acts, objs = self._targets(mutant)
        for tenant, org in self._domains:
            if mutant.holds_in(f"{tenant}/{org}" if org else tenant):
                for names in self._subjects(mutant.row):
                    for obj in objs:
                        for act in acts:
                            yield Cell(names, tenant, org, obj, act)

    def _subjects(self, row: Row) -> Iterator[Names]:
        if isinstance(row, ApprovalRule):
            return (frozenset((name,)) for name in self._names)
        return with_one_more(_holder(row), self._names)

    def _targets(self, mutant: Mutant) -> tuple[list[str], list[str]]:
        """Witnesses of the actions and objects that may matter."""
        rows = [row for row in mutant.rows() if not isinstance(row, Link)]
        acts = self._witnesses(actions, frozenset(row.act for row in rows))
        objs = self._witnesses(objects, frozenset(row.obj for row in rows))
        if rows:
            acts = [act for act in acts if any(action_match(act, row.act) for row in rows)]
            objs = [obj for obj in objs if any(glob_match(obj, row.obj) for row in rows)]
        return acts, objs

    def _witnesses(self, of: Witnesses, extra: frozenset[str]) -> list[str]:
        """Witnesses told apart by globs beyond the policy's own; most mutants share them."""
        beyond = extra - self._globs
        key = (of is actions, beyond)
        if key not in self._found:
            self._found[key] = of(self._source, beyond)
        return self._found[key]


_Asked = tuple[int, Question]
"""A question, with the place of its set."""


def _by_name(policy: CompiledPolicy, sets: Sequence[QuestionSet]) -> dict[str, list[_Asked]]:
    """The questions that rules can bear on, by each name that their subjects hold; "" is all."""
    found: dict[str, list[_Asked]] = {"": []}
    for number, one in enumerate(sets):
        asker = Asker(policy, one)
        for question in one.questions:
            snapshot = asker.snapshot(question.tenant)
            held = snapshot.holding(question.subject, question.org, question.at_ms)
            if held.fixed is None and ":" in question.obj:
                for name in ("", *held.view.paths):
                    found.setdefault(name, []).append((number, question))
    return found


def _holder(row: Row) -> str:
    """The name that a subject must hold for a row to bear on it; empty for anybody."""
    if isinstance(row, ApprovalRule):
        return ""
    return row.child if isinstance(row, Link) else row.role


def _may_notice(mutant: Mutant, question: Question) -> bool:
    """Whether the row, before or after, can bear on a question."""
    if not mutant.holds_in(question.domain):
        return False
    if isinstance(mutant.row, Link):
        return True
    return any(
        glob_match(question.obj, row.obj) and action_match(question.act, row.act)
        for row in mutant.rows()
        if not isinstance(row, Link)
    )
