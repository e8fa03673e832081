"""What a command prints: text for people, JSON for programs, and the exit codes of both."""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from enum import IntEnum
from typing import Any, Final

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

from argy.base.errors import (
    Aborted,
    AlreadyExists,
    ArgyError,
    DeadlineExceeded,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    Unauthenticated,
    Unavailable,
)


class Exit(IntEnum):
    """Exit codes of every command."""

    OK = 0
    DENIED = 1
    """``argy check`` answered DENY or NEEDS_APPROVAL."""
    USAGE = 2
    REFUSED = 3
    """The platform refused the caller: bad signature, or no permission."""
    NOT_FOUND = 4
    CONFLICT = 5
    UNAVAILABLE = 6
    INTERNAL = 70


_EXITS: Final[tuple[tuple[type[ArgyError], Exit], ...]] = (
    (InvalidArgument, Exit.USAGE),
    (Unauthenticated, Exit.REFUSED),
    (PermissionDenied, Exit.REFUSED),
    (NotFound, Exit.NOT_FOUND),
    (AlreadyExists, Exit.CONFLICT),
    (FailedPrecondition, Exit.CONFLICT),
    (Aborted, Exit.CONFLICT),
    (Unavailable, Exit.UNAVAILABLE),
    (DeadlineExceeded, Exit.UNAVAILABLE),
    (ResourceExhausted, Exit.UNAVAILABLE),
)


def exit_code(error: ArgyError) -> Exit:
    """The exit code that tells a script what kind of error it was."""
    return next((code for kind, code in _EXITS if isinstance(error, kind)), Exit.INTERNAL)


def printable(text: str) -> str:
    """The text without what would steer a terminal: others wrote parts of it."""
    return "".join(char if char.isprintable() or char == "\n" else "\ufffd" for char in text)


def called(value: Mapping[str, Any], column: str) -> Any:
    """What people call the subject of a column; what stands in it where nobody told."""
    return value.get(f"{column}_name") or value.get(column, "")


def _one_line(text: str) -> str:
    return printable(text).replace("\n", " ")


class Output:
    """Prints results to stdout and errors to stderr, as text or as JSON (one document a line)."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self._out = Console(highlight=False, soft_wrap=True)
        self._err = Console(stderr=True, highlight=False, soft_wrap=True)

    def result(self, value: Mapping[str, Any], text: Callable[[], str]) -> None:
        """One result: the value itself as JSON, or what ``text`` makes of it."""
        if self.as_json:
            self._json(value)
        else:
            self._out.print(Text(printable(text())))

    def rows(self, values: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
        """A list: one JSON document a line, or a table of ``columns``.

        A subject is shown by what people call it, where ``<column>_name`` tells: see ``Subjects``.
        """
        if self.as_json:
            for value in values:
                self._json(value)
            return
        lines = [[_one_line(str(called(value, column))) for column in columns] for value in values]
        headings = [column.replace("_", " ") for column in columns]
        widths = [max(map(cell_len, cells)) for cells in zip(headings, *lines, strict=True)]
        for number, line in enumerate((headings, *lines)):
            padded = (set_cell_size(cell, width) for cell, width in zip(line, widths, strict=True))
            # Never cut: what is shown is there to be copied. A narrow terminal wraps it.
            self._out.print(Text("  ".join(padded).rstrip(), style="" if number else "bold"))

    def note(self, value: Mapping[str, str]) -> None:
        """Something to know besides the result, on stderr."""
        if self.as_json:
            sys.stderr.write(json.dumps(dict(value), sort_keys=True) + "\n")
            return
        told = ", ".join(f"{name} {text}" for name, text in value.items())
        self._err.print(Text(printable(told), style="dim"))

    def error(self, error: ArgyError) -> None:
        """An error, with its stable reason and the fields at fault."""
        if self.as_json:
            problem = {
                "error": error.reason,
                "message": error.message,
                "fields": {v.field: v.description for v in error.violations},
                "metadata": error.metadata,
            }
            sys.stderr.write(json.dumps(problem) + "\n")
            return
        told = printable(f"{error.message} [{error.reason}]")
        self._err.print(Text.assemble(("error ", "bold red"), told))
        for violation in error.violations:
            if not (violation.field in told and violation.description in told):
                self._err.print(Text(printable(f"  {violation.field}: {violation.description}")))

    def _json(self, value: Mapping[str, Any]) -> None:
        sys.stdout.write(json.dumps(value, sort_keys=True) + "\n")
        sys.stdout.flush()
