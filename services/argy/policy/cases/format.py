"""What a file of cases holds, as typed values; the JSON Schema that editors check it with.

The schema (draft 2020-12) is made from these types and shipped as ``schema.json``.
``python -m argy.policy.case_format`` prints it; ``argy policy test --schema`` does too.
"""

import json
import re
import sys
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal

import msgspec

from argy.policy.errors import PolicyError, Problem

Expected = Literal["ALLOW", "DENY", "NEEDS_APPROVAL"]

MAX_CELLS: Final = 20_000
"""Questions that one matrix may ask."""
DEFAULT_AT: Final = datetime(2026, 1, 7, 10, 0, tzinfo=UTC)
"""When a case is asked that doesn't say: a Wednesday morning."""
SHARED: Final = "cases/_fixtures.yaml"
"""Fixtures that every suite may name."""
FIXTURE_NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_SCHEMA_ID: Final = "https://argy.dev/schemas/policy-cases.json"


class Grant(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A role assignment in a suite; ``expires`` is a point in time."""

    subject: str
    role: str
    org: str = ""
    expires: datetime | None = None


class Held(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A role that a fixture holds in one org, or until a point in time."""

    role: str
    org: str = ""
    expires: datetime | None = None


class Fixture(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A subject with its roles, called by its name; ``subject`` is ``user:<name>`` by default."""

    subject: str = ""
    roles: list[str | Held] = []
    disabled: bool = False


class Case(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One question. ``ask`` is "subject action object"; ``rule`` is ``file`` or ``file:line``."""

    ask: str
    expect: Expected
    why: str = ""
    tenant: str = ""
    org: str = ""
    context: dict[str, Any] = {}
    at: datetime | None = None
    reason: str = ""
    rule: str = ""
    role: str = ""


Cells = list[list[str]] | dict[str, list[str]]


class Matrix(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Every subject asks every action of every resource; what ``expect`` doesn't list is DENY.

    ``expect`` lists cells by outcome: ``[subject, action]`` (for every resource) or ``[subject,
    action, resource]``, where ``*`` stands for each; or, shorter, ``{subject: [action, …]}``. A
    cell that names more beats one that has ``*``: all but one is ``ALLOW: {ada: ["*"]}, DENY:
    {ada: [delete]}``.
    """

    subjects: Annotated[list[str], msgspec.Meta(min_length=1)]
    actions: Annotated[list[str], msgspec.Meta(min_length=1)]
    resources: Annotated[list[str], msgspec.Meta(min_length=1)]
    expect: dict[Expected, Cells] = {}
    why: str = ""
    tenant: str = ""
    org: str = ""
    context: dict[str, Any] = {}
    at: datetime | None = None


class Suite(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Cases that share a tenant, its assignments and a clock.

    ``groups`` maps a group to its members; ``fixtures`` names subjects for this suite; ``at`` is
    when a case is asked that doesn't say.
    """

    tenant: str
    cases: list[Case] = []
    matrix: Matrix | list[Matrix] = []
    assignments: list[Grant] = []
    groups: dict[str, list[str]] = {}
    disabled: list[str] = []
    fixtures: dict[str, Fixture] = {}
    at: datetime = DEFAULT_AT

    @property
    def matrices(self) -> list[Matrix]:
        """The matrix or matrices, as a list."""
        return [self.matrix] if isinstance(self.matrix, Matrix) else self.matrix


class Room:
    """What is left of the bound on everything that suites hold."""

    def __init__(self, most: int) -> None:
        """Take how much they may hold: questions, assignments and memberships."""
        self._most, self._left = most, most

    def take(self, file: str, suite: Suite) -> None:
        """Count a suite before it is laid out.

        Raises:
            PolicyError: when all suites together hold too much.
        """
        self._left -= len(suite.cases) + len(suite.assignments)
        self._left -= sum(len(members) for members in suite.groups.values())
        for matrix in suite.matrices:
            self._left -= len(matrix.subjects) * len(matrix.actions) * len(matrix.resources)
        if self._left < 0:
            told = f"more than {self._most} questions and assignments in all"
            raise PolicyError((Problem(file, 0, told, "ask fewer"),))


class SharedFixtures(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What ``cases/_fixtures.yaml`` holds."""

    fixtures: dict[str, Fixture]


def case_schema() -> dict[str, Any]:
    """The JSON Schema of a file under ``cases/``: a suite, or the shared fixtures."""
    kinds, parts = msgspec.json.schema_components(
        (Suite, SharedFixtures), ref_template="#/$defs/{name}"
    )
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": _SCHEMA_ID,
        "title": "Cases of an Argy policy",
        "anyOf": list(kinds),
        "$defs": dict(sorted(parts.items())),
    }


def schema_text() -> str:
    """The schema as it is shipped."""
    return json.dumps(case_schema(), indent=2) + "\n"


if __name__ == "__main__":
    sys.stdout.write(schema_text())
