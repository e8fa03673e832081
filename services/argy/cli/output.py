"""What a command prints: text for people, JSON for programs, and the exit codes of both."""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from enum import IntEnum
from typing import Any, Final

from rich.console import Console
from rich.table import Table
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
    """``argy check`` answered DENY."""
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
            self._out.print(Text(text()))

    def rows(self, values: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
        """A list: one JSON document a line, or a table of ``columns``."""
        if self.as_json:
            for value in values:
                self._json(value)
            return
        table = Table(box=None, pad_edge=False, header_style="bold")
        for column in columns:
            table.add_column(column.replace("_", " "))
        for value in values:
            table.add_row(*(Text(str(value.get(column, ""))) for column in columns))
        self._out.print(table)

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
        self._err.print(Text.assemble(("error ", "bold red"), f"{error.message} [{error.reason}]"))
        for violation in error.violations:
            if violation.description != error.message:
                self._err.print(Text(f"  {violation.field}: {violation.description}"))

    def _json(self, value: Mapping[str, Any]) -> None:
        sys.stdout.write(json.dumps(value, sort_keys=True) + "\n")
        sys.stdout.flush()
