"""Runs suites of cases, on several processes when there are enough of them to pay for it."""

import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import partial
from typing import Final, TypeVar

from argy.policy.cases.answers import Asker, CaseResult
from argy.policy.cases.questions import QuestionSet
from argy.policy.compiled import compile_policy
from argy.policy.coverage import Observed, Observer
from argy.policy.rules import PolicySource

MAX_JOBS: Final = 64
_PAYS: Final = 20_000
"""Questions from which more than one process is started by default; each takes half a second."""
_PART: Final = 5_000

Given = TypeVar("Given")
Made = TypeVar("Made")


@dataclass(frozen=True, slots=True)
class Run:
    """The results in the order of files and cases, and what was seen."""

    results: tuple[CaseResult, ...]
    seen: Observed

    @property
    def failed(self) -> list[CaseResult]:
        """The cases with another answer than expected."""
        return [result for result in self.results if not result.passed]


def run_sets(source: PolicySource, sets: Sequence[QuestionSet], *, jobs: int = 0) -> Run:
    """Run the cases. ``jobs`` is the number of processes; 0 chooses by the number of questions.

    The order of the results doesn't depend on it.
    """
    total = sum(len(one.questions) for one in sets)
    parts = list(_parts(sets))
    seen = Observed()
    results: list[CaseResult] = []
    for found, saw in spread(partial(_run_part, source), parts, chosen(jobs, total, _PAYS)):
        results.extend(found)
        seen.add(saw)
    return Run(tuple(results), seen)


def selected(sets: Iterable[QuestionSet], pattern: str) -> list[QuestionSet]:
    """The cases with ``pattern`` in file, label, question or reason; ``*`` is any run of text."""
    wanted = f"*{pattern.lower()}*"
    return [
        replace(
            one,
            questions=tuple(
                question
                for question in one.questions
                if fnmatchcase(
                    f"{question.file} {question.label} {question.ask} {question.why}".lower(),
                    wanted,
                )
            ),
        )
        for one in sets
    ]


def chosen(jobs: int, work: int, pays: int) -> int:
    """How many processes to use; 0 asks for one a processor once ``work`` reaches ``pays``."""
    if jobs == 0:
        jobs = 1 if work < pays else os.cpu_count() or 1
    return max(1, min(jobs, MAX_JOBS))


def spread(work: Callable[[Given], Made], parts: Sequence[Given], jobs: int) -> Iterator[Made]:
    """``work`` of each part, in their order, on ``jobs`` processes (1 is this one)."""
    if jobs == 1 or len(parts) < 2:
        yield from map(work, parts)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(jobs, len(parts)), mp_context=context) as pool:
        yield from pool.map(work, parts)


def _parts(sets: Iterable[QuestionSet]) -> Iterator[QuestionSet]:
    for one in sets:
        for start in range(0, len(one.questions), _PART):
            yield replace(one, questions=one.questions[start : start + _PART])


def _run_part(source: PolicySource, part: QuestionSet) -> tuple[list[CaseResult], Observed]:
    policy, seen = compile_policy(source), Observed()
    asker, observer = Asker(policy, part), Observer(policy, seen)
    results: list[CaseResult] = []
    for question in part.questions:
        result = asker.result(question)
        observer.note(asker, result)
        results.append(result)
    return results, seen
