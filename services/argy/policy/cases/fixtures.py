"""The fixtures of cases: subjects with their roles, called by a name."""

from collections.abc import Iterator, Mapping

from argy.policy.cases.format import FIXTURE_NAME, SHARED, Fixture, SharedFixtures
from argy.policy.errors import PolicyError, Problem
from argy.policy.snapshot import SUBJECT_KINDS
from argy.policy.yaml_lines import Document, convert_single


def shared_fixtures(text: str) -> dict[str, Fixture]:
    """The fixtures that every suite may name, from the text of their file."""
    value, document = convert_single(SHARED, text, SharedFixtures)
    problems = list(check_fixtures(SHARED, document, value.fixtures))
    if problems:
        raise PolicyError(problems)
    return value.fixtures


def check_fixtures(
    file: str,
    document: Document,
    fixtures: Mapping[str, Fixture],
    others: Mapping[str, Fixture] = {},
) -> Iterator[Problem]:
    """What is wrong with a file's fixtures, beside the shared ``others``."""
    subjects: dict[str, str] = {subject_of(name, one): name for name, one in others.items()}
    for name, fixture in fixtures.items():
        line = document.line("fixtures", name)
        if not FIXTURE_NAME.fullmatch(name):
            fix = "write lower-case letters, digits, - and _"
            yield Problem(file, line, f"{name!r} is no name of a fixture", fix)
        if name in others:
            yield Problem(file, line, f"{name} is a fixture of {SHARED} too", "name it otherwise")
        subject = subject_of(name, fixture)
        if not subject.startswith(SUBJECT_KINDS):
            yield Problem(file, line, f"{subject!r} is not a subject", "write kind:id")
        elif (first := subjects.setdefault(subject, name)) != name:
            yield Problem(file, line, f"{name} is the same subject as {first}", "use one of them")


def subject_of(name: str, fixture: Fixture) -> str:
    """The subject that a fixture stands for."""
    return fixture.subject or f"user:{name}"
