"""Concrete facts under which conditions fall one way or the other, and cases as YAML.

A condition is a program; which facts make it true can't be read off in general. Tried are the facts
of the policy's own cases, and values built from the names and literals that the conditions mention.
What is found this way is asked of the engine itself before it is told.
"""

import itertools
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from argy.policy.cases.format import DEFAULT_AT
from argy.policy.cases.questions import QuestionSet, milliseconds
from argy.policy.rules import Decision
from argy.policy.snapshot import TenantSnapshot
from argy.policy.space import UNNAMED_TENANT, Cell, stand_in

_MAX_TRIED: Final = 600
"""Combinations of facts that are tried for one question."""
_MAX_FROM_CASES: Final = 200
_NAME: Final = re.compile(r"\bctx\.([A-Za-z_]\w*)")
_LITERAL: Final = re.compile(r"'([^'\\]*)'|\"([^\"\\]*)\"|\b(\d{1,9}(?:\.\d+)?)\b")
_CLOCKS: Final = tuple(
    milliseconds(at)
    for at in (
        DEFAULT_AT,
        datetime(2026, 1, 10, 10, 0, tzinfo=UTC),
        datetime(2026, 1, 7, 3, 0, tzinfo=UTC),
        datetime(2026, 1, 7, 21, 0, tzinfo=UTC),
    )
)
"""A Wednesday morning, a Saturday, a night, an evening."""
_ABSENT: Final = object()

Facts = tuple[Mapping[str, Any], int]
"""The context, and the time in milliseconds."""


@dataclass(frozen=True, slots=True)
class WrittenCase:
    """A case that can be written to a file: a stand-in with roles asks one question."""

    cell: Cell
    expect: str
    context: Mapping[str, Any]
    at_ms: int
    why: str = ""


def facts_of_cases(sets: Iterable[QuestionSet]) -> list[Facts]:
    """The facts that the cases use, each once."""
    found: dict[str, Facts] = {}
    for one in sets:
        for question in one.questions:
            if len(found) >= _MAX_FROM_CASES:
                break
            key = f"{question.at_ms} {json.dumps(question.context, sort_keys=True, default=str)}"
            found.setdefault(key, (question.context, question.at_ms))
    return list(found.values())


def tried_facts(texts: Sequence[str], subject: str, known: Iterable[Facts]) -> Iterator[Facts]:
    """Facts to try for a question whose rules have the conditions ``texts``; none are repeated."""
    yield {}, _CLOCKS[0]
    if not texts:
        return
    clocks = _CLOCKS if any(re.search(r"\bnow\b", text) for text in texts) else _CLOCKS[:1]
    names = sorted({name for text in texts for name in _NAME.findall(text)})
    values: list[object] = [_ABSENT, True, False, subject, "user:somebody-else", ""]
    for quoted, double, number in itertools.chain.from_iterable(map(_LITERAL.findall, texts)):
        if number:
            near = float(number) if "." in number else int(number)
            values += [near, near + 1, near - 1]
        else:
            values += [quoted or double, f"{quoted or double}1"]
    made = (
        ({n: v for n, v in zip(names, chosen, strict=True) if v is not _ABSENT}, at)
        for chosen in itertools.product(_each_once(values), repeat=len(names))
        for at in clocks
    )
    yield from itertools.islice(made, _MAX_TRIED)
    yield from known


def _each_once(values: Iterable[object]) -> list[object]:
    """The values without repetition; ``True`` is not ``1`` here."""
    return list({(type(value), value): value for value in values}.values())


def find_facts(
    cell: Cell,
    texts: Sequence[str],
    known: Iterable[Facts],
    snapshots: Sequence[TenantSnapshot],
    wanted: Callable[[Sequence[Decision]], bool],
) -> tuple[Facts, list[Decision]] | None:
    """The first facts under which the answers of all ``snapshots`` together are ``wanted``."""
    subject, _ = stand_in(cell.names)
    for context, at_ms in tried_facts(texts, subject, known):
        answers = [
            one.check(subject, cell.org, cell.obj, cell.act, context, at_ms) for one in snapshots
        ]
        if wanted(answers):
            return (context, at_ms), answers
    return None


def differ(answers: Sequence[Decision]) -> bool:
    """Whether not all answers have the same effect."""
    return len({answer.effect for answer in answers}) > 1


def granted(answers: Sequence[Decision]) -> bool:
    """Whether no answer is DENY: what needs approval has a way to be allowed."""
    return all(answer.effect != "DENY" for answer in answers)


def suite_text(cases: Iterable[WrittenCase], heading: str, notes: Iterable[str] = ()) -> str:
    """Suites of cases, one document each; ``notes`` become comments at the end.

    A service can't be given another name, so one that holds different roles in two cases stands
    in two suites.
    """
    suites: list[tuple[dict[str, tuple[str, ...]], list[WrittenCase]]] = []
    for case in cases:
        subject, roles = stand_in(case.cell.names)
        for holders, suite in suites:
            if holders.setdefault(subject, roles) == roles:
                suite.append(case)
                break
        else:
            suites.append(({subject: roles}, [case]))
    texts = [_suite(holders, suite) for holders, suite in suites] or [_suite({}, ())]
    lines = [f"# {_comment(heading)}", "---\n".join(texts).rstrip("\n")]
    lines += [f"# {_comment(note)}" for note in notes]
    return "\n".join(lines) + "\n"


def _suite(holders: Mapping[str, tuple[str, ...]], cases: Sequence[WrittenCase]) -> str:
    tenant = cases[0].cell.tenant if cases else UNNAMED_TENANT
    grants = [
        f"  - {{subject: {_text(subject)}, role: {_text(role)}}}"
        for subject, roles in sorted(holders.items())
        for role in roles
    ]
    lines = [f"tenant: {_text(tenant)}", "assignments:" if grants else "assignments: []", *grants]
    lines.append("cases:" if cases else "cases: []")
    lines += [f"  - {_case(case, tenant)}" for case in cases]
    return "\n".join(lines) + "\n"


def _case(case: WrittenCase, tenant: str) -> str:
    cell = case.cell
    parts = [f"ask: {_text(f'{stand_in(cell.names)[0]} {cell.act} {cell.obj}')}"]
    if cell.tenant != tenant:
        parts.append(f"tenant: {_text(cell.tenant)}")
    if cell.org:
        parts.append(f"org: {_text(cell.org)}")
    if case.context:
        # JSON is YAML; times in a case's context become their text.
        parts.append(f"context: {json.dumps(case.context, default=str)}")
    if case.at_ms != milliseconds(DEFAULT_AT):
        at = datetime.fromtimestamp(case.at_ms / 1000, UTC)
        parts.append(f"at: {at.isoformat(timespec='milliseconds').replace('+00:00', 'Z')}")
    parts.append(f"expect: {case.expect}")
    if case.why:
        parts.append(f"why: {_text(case.why)}")
    return "{" + ", ".join(parts) + "}"


def _text(value: str) -> str:
    """A double-quoted scalar; JSON's strings are YAML's (YAML 1.2, section 1.3)."""
    return json.dumps(value)


def _comment(text: str) -> str:
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())
