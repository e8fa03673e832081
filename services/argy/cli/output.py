"""What a command prints: text for people, JSON for programs, and the exit codes of both."""

import errno
import json
import os
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
from argy.base.foreign_text import on_terminal


class Exit(IntEnum):
    """Exit codes of every command."""

    OK = 0
    DENIED = 1
    """A decision is DENY or NEEDS_APPROVAL, or a policy has findings; never an error."""
    USAGE = 2
    REFUSED = 3
    """The platform refused the caller: bad signature, or no permission."""
    NOT_FOUND = 4
    CONFLICT = 5
    UNAVAILABLE = 6
    NOT_CONFIRMED = 7
    """Somebody was asked, and did not say yes."""
    INTERNAL = 70
    OUTPUT = 74
    """A file, or the output, can't be read or written."""
    INTERRUPTED = 130
    """Ctrl-C."""
    BROKEN_PIPE = 141
    """Whoever read the output went away."""


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


printable = on_terminal
"""The text without what would steer a terminal or hide in it: others wrote parts of it."""


def called(value: Mapping[str, Any], column: str) -> Any:
    """What people call the subject of a column; what stands in it where nobody told."""
    return value.get(f"{column}_name") or value.get(column, "")


def one_line(text: str) -> str:
    """The text as a part of one line, so that what others wrote makes no line of ours."""
    return printable(text).replace("\n", " ")


class Screen(Console):
    """A terminal, or what stands in its place; long lines wrap by themselves."""

    def __init__(self, *, stderr: bool = False) -> None:
        super().__init__(stderr=stderr, highlight=False, soft_wrap=True)

    def on_broken_pipe(self) -> None:
        """Leave it to ``argy.cli.main``: rich would end with the exit code of a DENY."""
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))


class Output:
    """Prints results to stdout and errors to stderr, as text or as JSON (one document a line)."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self._out = Screen()
        self._err = Screen(stderr=True)
        self._widths: list[int] = []

    def result(self, value: Mapping[str, Any], text: Callable[[], str]) -> None:
        """One result: the value itself as JSON, or what ``text`` makes of it."""
        if self.as_json:
            self._json(value)
        else:
            self._out.print(Text(printable(text())))

    def rows(
        self,
        values: Sequence[Mapping[str, Any]],
        columns: Sequence[str],
        *,
        goes_on: bool = False,
    ) -> None:
        """A list: one JSON document a line, or a table of ``columns``; or more lines of the last.

        A subject is shown by what people call it, where ``<column>_name`` tells: see ``Subjects``.
        """
        if self.as_json:
            for value in values:
                self._json(value)
            return
        lines = [[one_line(str(called(value, column))) for column in columns] for value in values]
        headings = [column.replace("_", " ") for column in columns]
        widths = [max(map(cell_len, cells)) for cells in zip(headings, *lines, strict=True)]
        if goes_on:
            widths = [max(pair) for pair in zip(widths, self._widths, strict=True)]
        self._widths = widths
        shown = [(line, "") for line in lines]
        for line, style in shown if goes_on else [(headings, "bold"), *shown]:
            padded = (set_cell_size(cell, width) for cell, width in zip(line, widths, strict=True))
            # Never cut: what is shown is there to be copied. A narrow terminal wraps it.
            self._out.print(Text("  ".join(padded).rstrip(), style=style))

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
