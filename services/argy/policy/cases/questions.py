"""Reads the suites of cases and lays every question out: fixtures named, matrices unfolded."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import product
from typing import Any, Final

from argy.base.facts import inexact
from argy.policy.budget import spender
from argy.policy.cases.fixtures import check_fixtures, shared_fixtures, subject_of
from argy.policy.cases.format import (
    FIXTURE_NAME,
    MAX_CELLS,
    SHARED,
    Case,
    Expected,
    Fixture,
    Matrix,
    Room,
    Suite,
)
from argy.policy.conditions import Facts
from argy.policy.errors import PolicyError, Problem
from argy.policy.rules import Assignment, Membership
from argy.policy.snapshot import SUBJECT_KINDS
from argy.policy.yaml_lines import Document, collected, convert

MAX_QUESTIONS: Final = 1_000_000
"""Questions of all suites together."""
_MAX_WORD: Final = 512
"""Characters of what a matrix combines: each is told with each."""
_MAX_PROBLEMS: Final = 1_000
"""Of one suite."""
_FOLDER: Final = "cases/"


@dataclass(frozen=True, slots=True)
class Question:
    """One question with the answer that must come out."""

    file: str
    line: int
    label: str
    """``case 3``, or ``matrix 1`` with what its cell asks."""
    tenant: str
    org: str
    subject: str
    act: str
    obj: str
    context: Mapping[str, Any]
    at_ms: int
    expect: Expected
    why: str = ""
    reason: str = ""
    rule: str = ""
    role: str = ""

    @property
    def ask(self) -> str:
        """Who does what to which object."""
        return f"{self.subject} {self.act} {self.obj}"

    @property
    def asked(self) -> tuple[str, str, str, str, Mapping[str, Any], int]:
        """What ``TenantSnapshot.check`` takes."""
        return self.subject, self.org, self.obj, self.act, self.context, self.at_ms

    @property
    def facts(self) -> Facts:
        """What conditions see of it."""
        who, org, obj, act, context, at_ms = self.asked
        return Facts(who, self.tenant, org, obj, act, context, at_ms)

    @property
    def domain(self) -> str:
        """Where it is asked: ``tenant`` or ``tenant/org``."""
        return f"{self.tenant}/{self.org}" if self.org else self.tenant


@dataclass(frozen=True, slots=True)
class QuestionSet:
    """The questions of one suite, and who holds what when they are asked."""

    file: str
    assignments: tuple[Assignment, ...]
    memberships: tuple[Membership, ...]
    disabled: tuple[str, ...]
    questions: tuple[Question, ...]


def read_cases(files: Mapping[str, str], most: int = MAX_QUESTIONS) -> list[QuestionSet]:
    """The suites among a policy's files ({path: text}), by path.

    ``most`` bounds the questions and assignments of all of them together.

    Raises:
        PolicyError: naming the file, line and case of everything that is wrong.
    """
    texts = {name: files[name] for name in sorted(files) if _is_suite(name)}
    problems: list[Problem] = []
    shared: dict[str, Fixture] = {}
    if SHARED in files:
        try:
            shared = shared_fixtures(files[SHARED])
        except PolicyError as error:
            problems.extend(error.problems)
    read, more = collected(texts, partial(_read_file, shared, Room(most)))
    problems.extend(more)
    found = [suite for suites in read.values() for suite in suites]
    if problems:
        raise PolicyError(problems)
    return found


def milliseconds(at: datetime) -> int:
    """Since the Unix epoch; a time without a zone is UTC."""
    aware = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
    return round(aware.timestamp() * 1000)


def _is_suite(name: str) -> bool:
    return name.startswith(_FOLDER) and name.endswith(".yaml") and name != SHARED


class _Reader:
    """Lays out one suite; notes what is wrong."""

    def __init__(
        self, file: str, suite: Suite, document: Document, shared: Mapping[str, Fixture]
    ) -> None:
        self.file, self.suite, self.document = file, suite, document
        self.known = {**shared, **suite.fixtures}
        self.used: dict[str, Fixture] = {}
        self.problems = list(check_fixtures(file, document, suite.fixtures, shared))

    def refuse(self, line: int, message: str, fix: str) -> None:
        """Note a problem of this file."""
        if len(self.problems) < _MAX_PROBLEMS:
            self.problems.append(Problem(self.file, line, message, fix))

    def numbers(self, about: Case | Matrix, line: int, label: str) -> None:
        """Refuse a context that no service can be sent."""
        if (at := inexact(about.context, "context")) is not None:
            told = f"{label}: {at} is a number that no double holds exactly"
            self.refuse(line, told, "write it as a string")

    def subject(self, word: str, line: int, label: str) -> str:
        """The subject that a word names: a fixture, or the word itself."""
        if (fixture := self.known.get(word)) is not None:
            self.used[word] = fixture
            return subject_of(word, fixture)
        if FIXTURE_NAME.fullmatch(word):
            fix = f"write kind:id, or add it to fixtures here or in {SHARED}"
            self.refuse(line, f"{label}: {word!r} is neither a subject nor a fixture", fix)
        return word

    def case(self, number: int, case: Case) -> Question:
        """The question of one case."""
        line, label = self.document.line("cases", number), f"case {number + 1}"
        self.numbers(case, line, label)
        words = case.ask.split()
        if len(words) != 3:
            self.refuse(line, f"{label}: ask {case.ask!r} is not 'subject action object'",
                        "write three words")  # fmt: skip
            words = ["", "", ""]
        subject = self.subject(words[0], line, label)
        return self._question(
            line, label, case, subject, words[1], words[2], case.expect,
            case.reason, case.rule, case.role,
        )  # fmt: skip

    def matrix(self, number: int, matrix: Matrix) -> Iterator[Question]:
        """A question for each cell of a matrix."""
        place: tuple[str | int, ...] = ("matrix", number)
        if isinstance(self.suite.matrix, Matrix):
            place = ("matrix",)
        line, label = self.document.line(*place), f"matrix {number + 1}"
        self.numbers(matrix, line, label)
        size = len(matrix.subjects) * len(matrix.actions) * len(matrix.resources)
        if size > MAX_CELLS:
            self.refuse(line, f"{label}: {size} cells, more than {MAX_CELLS}", "split it")
            return
        if max(map(len, (*matrix.subjects, *matrix.actions, *matrix.resources))) > _MAX_WORD:
            told = f"{label}: a subject, action or resource has more than {_MAX_WORD} characters"
            self.refuse(line, told, "shorten it")
            return
        expected = self._expected(matrix, line, label)
        for name in matrix.subjects:
            subject = self.subject(name, line, label)
            for act in matrix.actions:
                for obj in matrix.resources:
                    effect = expected.get((name, act, obj), "DENY")
                    told = f"{label}, {name} {act} {obj}"
                    yield self._question(line, told, matrix, subject, act, obj, effect)

    def _expected(
        self, matrix: Matrix, line: int, label: str
    ) -> dict[tuple[str, str, str], Expected]:
        """The listed cells with their effect; one that names more words beats one with ``*``."""
        found: dict[tuple[str, str, str], tuple[int, Expected]] = {}
        axes = (matrix.subjects, matrix.actions, matrix.resources)
        spend = spender()
        for effect, listed in matrix.expect.items():
            for cell in _cells(listed):
                spend()
                if not 2 <= len(cell) <= 3:
                    told = f"{label}: {cell} is not [subject, action, resource]"
                    self.refuse(line, told, "write two or three words")
                    continue
                words = tuple(zip((*cell, "*"), axes, strict=False))
                if strange := [word for word, axis in words if word not in ("*", *axis)]:
                    told = f"{label}: {strange[0]!r} in {cell} is not in the matrix"
                    self.refuse(line, told, "list it under subjects, actions or resources")
                    continue
                rank = sum(word != "*" for word, _ in words)
                for one in product(*(axis if word == "*" else (word,) for word, axis in words)):
                    key = (one[0], one[1], one[2])
                    before = found.get(key, (-1, effect))
                    if before[0] == rank and before[1] != effect:
                        told = f"{label}: {' '.join(key)} is expected twice, differently"
                        self.refuse(line, told, "list it once")
                    if before[0] <= rank:
                        found[key] = (rank, effect)
        return {key: effect for key, (_, effect) in found.items()}

    def _question(
        self,
        line: int,
        label: str,
        about: Case | Matrix,
        subject: str,
        act: str,
        obj: str,
        expect: Expected,
        reason: str = "",
        rule: str = "",
        role: str = "",
    ) -> Question:
        return Question(
            self.file, line, label, about.tenant or self.suite.tenant, about.org, subject, act, obj,
            about.context, milliseconds(about.at or self.suite.at), expect, about.why,
            reason, rule, role,
        )  # fmt: skip

    def assignments(self) -> Iterator[Assignment]:
        """Who holds what: the suite's own grants, then those of the fixtures that it names."""
        for grant in self.suite.assignments:
            end = None if grant.expires is None else milliseconds(grant.expires)
            yield Assignment(grant.subject, grant.role, grant.org, end)
        for name, fixture in self.used.items():
            for held in fixture.roles:
                if isinstance(held, str):
                    yield Assignment(subject_of(name, fixture), held)
                else:
                    end = None if held.expires is None else milliseconds(held.expires)
                    yield Assignment(subject_of(name, fixture), held.role, held.org, end)


def _check_holders(file: str, suite: Suite, document: Document) -> Iterator[Problem]:
    """What is wrong with who holds roles and who is in groups."""
    for number, grant in enumerate(suite.assignments):
        if not grant.subject.startswith(SUBJECT_KINDS):
            line = document.line("assignments", number)
            yield Problem(file, line, f"{grant.subject!r} is not a subject", "write kind:id")
    for group, members in suite.groups.items():
        kinds = {one.partition(":")[0] for one in members}
        if not group.startswith("group:") or not kinds <= {"user", "service", "agent"}:
            told = f"{group!r} is no group of users, services and agents"
            yield Problem(file, document.line("groups", group), told, "write group:name: [kind:id]")


def _cells(listed: list[list[str]] | dict[str, list[str]]) -> Iterator[list[str]]:
    if isinstance(listed, dict):
        for subject, actions in listed.items():
            for action in actions:
                yield [subject, action]
    else:
        yield from listed


def _read_file(
    shared: Mapping[str, Fixture], room: Room, file: str, text: str
) -> list[QuestionSet]:
    spender()()
    return [_read_suite(shared, room, file, *found) for found in convert(file, text, Suite)]


def _read_suite(
    shared: Mapping[str, Fixture], room: Room, file: str, suite: Suite, document: Document
) -> QuestionSet:
    room.take(file, suite)
    reader = _Reader(file, suite, document, shared)
    reader.problems.extend(_check_holders(file, suite, document))
    questions = [reader.case(number, case) for number, case in enumerate(suite.cases)]
    for number, matrix in enumerate(suite.matrices):
        questions.extend(reader.matrix(number, matrix))
    if reader.problems:
        raise PolicyError(reader.problems)
    disabled = [subject_of(name, one) for name, one in reader.used.items() if one.disabled]
    return QuestionSet(
        file,
        tuple(reader.assignments()),
        tuple(Membership(group, one) for group, members in suite.groups.items() for one in members),
        (*suite.disabled, *disabled),
        tuple(questions),
    )
