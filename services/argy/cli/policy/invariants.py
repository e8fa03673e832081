"""``argy policy invariants``: does what must always hold hold?"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from argy.base.errors import FailedPrecondition
from argy.cli.options import DEFAULT_FOLDER, Folder, Revision
from argy.cli.output import Exit, printable
from argy.cli.policy.render import Format, FormatOption, emit, reported, repository_prefix

if TYPE_CHECKING:
    from argy.policy.invariants.check import Checker
    from argy.policy.invariants.violations import Checked

_HEADING = "Counterexamples of argy policy invariants: each case fails until the policy is mended."
_MAX_LISTED = 20
"""Counterexamples of one invariant that text and comments list."""


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command("invariants")(invariants)


def invariants(
    folder: Folder = DEFAULT_FOLDER,
    revision: Revision = "",
    write_cases: Annotated[
        Path | None, typer.Option(help="Write the counterexamples, if any, as cases.")
    ] = None,
    format_: FormatOption = Format.TEXT,
    schema: Annotated[bool, typer.Option(help="Print the JSON Schema of invariants.")] = False,
) -> None:
    """Check policy/invariants exhaustively: every role, domain, action and object there can be.

    A condition is taken to be possibly true and possibly false. Exit code 0: all
    hold. 1: one is violated, or there are none. 2: the policy or an invariant
    can't be loaded, or is too large.
    """
    from argy.policy.files import read_policy_files
    from argy.policy.invariants.check import Checker
    from argy.policy.invariants.format import read_invariants, schema_text
    from argy.policy.loader import parse_policy

    if schema:
        sys.stdout.write(schema_text())
        return
    with reported(format_):
        files = dict(read_policy_files(folder, revision).files)
        checker = Checker(parse_policy(files), read_invariants(files))
        checked = list(checker.check())
        if write_cases is not None and any(one.violations for one in checked):
            _write(checker, checked, write_cases)
    prefix = repository_prefix(folder)
    emit(
        format_,
        text=lambda: _text(checked),
        value=lambda: _value(checked, prefix),
        markdown=lambda: _markdown(checked, prefix),
    )
    if not checked or any(one.violations for one in checked):
        raise typer.Exit(Exit.DENIED)


def _write(checker: "Checker", checked: "Sequence[Checked]", path: Path) -> None:
    """Write the counterexamples, in place of those of an earlier run only."""
    from argy.policy.cases.facts import suite_text

    if path.exists() and not path.read_text(encoding="utf-8").startswith(f"# {_HEADING}"):
        raise FailedPrecondition(
            f"{path} holds something else: name another file", reason="FILE_EXISTS"
        )
    cases, notes = [], []
    for violation in (violation for one in checked for violation in one.violations):
        case = checker.written(violation)
        if case is not None:
            cases.append(case)
        else:
            name = violation.placed.invariant.name
            notes.append(f"{name} ({violation.place}): no facts were found for {violation.told}")
    made = path.with_name(f".{path.name}.{os.getpid()}")
    made.write_text(suite_text(cases, _HEADING, notes), encoding="utf-8")
    made.replace(path)


def _summary(checked: "Sequence[Checked]") -> str:
    if not checked:
        return "there are no invariants"
    violated = sum(bool(one.violations) for one in checked)
    cells = sum(one.cells for one in checked)
    return f"{len(checked)} invariants, {violated} violated; {cells:,} questions checked"


def _text(checked: "Sequence[Checked]") -> Text:
    shown = Text()
    for one in checked:
        placed = one.placed
        if not one.violations:
            shown.append("holds", style="green")
            shown.append(printable(f"     {placed.invariant.name}\n"))
            continue
        shown.append("VIOLATED", style="bold red")
        shown.append(printable(f"  {placed.invariant.name}  {placed.file}:{placed.line}\n"))
        if placed.invariant.why:
            shown.append(printable(f"    {placed.invariant.why}\n"))
        for violation in one.violations[:_MAX_LISTED]:
            shown.append(printable(f"    {violation.place}  {violation.told}\n"))
        if len(one.violations) > _MAX_LISTED:
            shown.append(f"    … and {len(one.violations) - _MAX_LISTED} more\n")
    holds = bool(checked) and not any(one.violations for one in checked)
    return shown.append(_summary(checked), style="bold green" if holds else "bold red")


def _value(checked: "Sequence[Checked]", prefix: str) -> dict[str, Any]:
    return {
        "holds": bool(checked) and not any(one.violations for one in checked),
        "invariants": [
            {
                "name": one.placed.invariant.name,
                "why": one.placed.invariant.why,
                "file": f"{prefix}{one.placed.file}",
                "line": one.placed.line,
                "questions": one.cells,
                "counterexamples": [
                    {
                        "roles": sorted(violation.cell.names),
                        "domain": violation.cell.domain,
                        "action": violation.cell.act,
                        "object": violation.cell.obj,
                        "rule": f"{prefix}{violation.place}" if violation.row else "",
                        "conditions": dict(violation.truths),
                        "told": violation.told,
                    }
                    for violation in one.violations
                ],
            }
            for one in checked
        ],
    }


def _markdown(checked: "Sequence[Checked]", prefix: str) -> str:
    """A section of a pull request's comment."""
    from argy.policy.markdown import code, escape, table

    lines = [f"### policy invariants: {escape(_summary(checked))}"]
    rows = [
        (escape(one.placed.invariant.name), code(violation.told), code(prefix + violation.place))
        for one in checked
        for violation in one.violations[:_MAX_LISTED]
    ]
    if rows:
        lines += ["", table(("invariant", "who can do what", "by which row"), rows)]
    return "\n".join(lines) + "\n"
