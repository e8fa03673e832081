"""``argy policy test``: run the cases, and say what they cover."""

import json
import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from argy.cli.options import DEFAULT_FOLDER, Folder, Jobs, Revision
from argy.cli.output import Exit, Screen, printable
from argy.cli.policy.render import Format, reported, repository_prefix
from argy.cli.policy.sources import compared

if TYPE_CHECKING:
    from argy.policy.cases.answers import CaseResult
    from argy.policy.cases.run import Run
    from argy.policy.coverage import Coverage, Row

_MAX_LISTED = 50
"""Rows and cases that text and comments list before they say how many more there are."""
_OPEN_ROWS = 5
"""Failing cases that a comment shows unfolded."""


class TestFormat(StrEnum):
    """How the result of a run is printed."""

    TEXT = "text"
    JSON = "json"
    JUNIT = "junit"
    MARKDOWN = "markdown"


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command("test")(run_tests)


def run_tests(
    folder: Folder = DEFAULT_FOLDER,
    revision: Revision = "",
    base: Annotated[
        str, typer.Option(help="Fail when a row that changed since this revision is uncovered.")
    ] = "",
    format_: Annotated[
        TestFormat, typer.Option("--format", "-f", help="How to print the result.")
    ] = TestFormat.TEXT,
    jobs: Jobs = 0,
    minimum: Annotated[
        float,
        typer.Option(
            "--min-rule-coverage", min=0, max=100, help="Fail when fewer rows, in %, are covered."
        ),
    ] = 0,
    pattern: Annotated[
        str, typer.Option("-k", help="Only cases with this text; coverage is not judged then.")
    ] = "",
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="List every case.")] = False,
    schema: Annotated[bool, typer.Option(help="Print the JSON Schema of cases.")] = False,
) -> None:
    """Run policy/cases, and tell which rules no case covers.

    Exit code 0: every case passes and coverage suffices. 1: a case fails, there
    is none, a changed row is uncovered, or too few rows are covered. 2: the
    policy or a case can't be loaded.
    """
    from argy.policy.cases.questions import read_cases
    from argy.policy.cases.run import run_sets, selected
    from argy.policy.coverage import changed_keys, coverage
    from argy.policy.files import read_policy_files
    from argy.policy.loader import parse_policy

    if schema:
        from argy.policy.cases.format import schema_text

        sys.stdout.write(schema_text())
        return
    with reported(Format.JSON if format_ is TestFormat.JSON else Format.TEXT):
        files = dict(read_policy_files(folder, revision).files)
        source = parse_policy(files)
        sets = read_cases(files)
        changed = None
        if base and not pattern:
            since, _ = compared(folder, base, revision)
            before = parse_policy(dict(read_policy_files(folder, since).files))
            changed = changed_keys(before, source)
        run = run_sets(source, selected(sets, pattern) if pattern else sets, jobs=jobs)
    covered = None if pattern else coverage(source, run.seen, changed)
    wrong = _wrong(run, covered, minimum)
    _print(format_, run, covered, wrong, repository_prefix(folder), verbose=verbose)
    if wrong:
        raise typer.Exit(Exit.DENIED)


def _wrong(run: "Run", covered: "Coverage | None", minimum: float) -> list[str]:
    """Why the run fails, in words; empty when it passes."""
    wrong = []
    if not run.results:
        wrong.append("there are no cases")
    if run.failed:
        wrong.append(_counted(len(run.failed), "case fails", "cases fail"))
    if covered is not None and (rows := covered.uncovered_changes):
        wrong.append(_counted(len(rows), "changed row is", "changed rows are") + " not covered")
    if covered is not None and covered.percent < minimum:
        wrong.append(f"{covered.percent:.1f} % of the rows are covered, less than {minimum:g} %")
    return wrong


def _print(
    format_: TestFormat,
    run: "Run",
    covered: "Coverage | None",
    wrong: list[str],
    prefix: str,
    *,
    verbose: bool,
) -> None:
    if format_ is TestFormat.JSON:
        sys.stdout.write(json.dumps(_value(run, covered, wrong, prefix), sort_keys=True) + "\n")
    elif format_ is TestFormat.JUNIT:
        from argy.policy.junit import to_junit

        sys.stdout.write(to_junit(run.results, covered, prefix=prefix))
    elif format_ is TestFormat.MARKDOWN:
        sys.stdout.write(_markdown(run, covered, wrong, prefix))
    else:
        text = _text(run, covered, wrong, verbose=verbose)
        Screen().print(text)


def _text(run: "Run", covered: "Coverage | None", wrong: list[str], *, verbose: bool) -> Text:
    from argy.policy.cases.answers import case_lines

    shown = Text()
    for line in case_lines(run.results, all_of_them=verbose):
        shown.append(printable(line) + "\n", style="red" if line.startswith("FAIL") else "")
    if covered is not None:
        for row in _listed(covered):
            word, style = ("CHANGED", "bold red") if row.changed else ("uncovered", "yellow")
            shown.append(word, style=style)
            shown.append(printable(f"  {row.place}  {row.text}\n    {row.missing}\n"))
        if (more := len(covered.uncovered) - len(_listed(covered))) > 0:
            shown.append(f"… and {more} more uncovered rows\n")
    shown.append("\n".join(_summary(run, covered)) + "\n")
    verdict = "; ".join(wrong) or "passed"
    return shown.append(verdict, style="bold red" if wrong else "bold green")


def _listed(covered: "Coverage") -> "list[Row]":
    """The uncovered rows to show, changed ones first."""
    return sorted(covered.uncovered, key=lambda row: not row.changed)[:_MAX_LISTED]


def _summary(run: "Run", covered: "Coverage | None") -> list[str]:
    lines = [f"{_counted(len(run.results), 'case', 'cases')}, {len(run.failed)} failed"]
    if covered is not None:
        have = len(covered.rows) - len(covered.uncovered)
        lines.append(f"rows  {have} of {len(covered.rows)} covered, {covered.percent:.1f} %")
        if covered.based:
            changes = [row for row in covered.rows if row.changed]
            have = len(changes) - len(covered.uncovered_changes)
            lines.append(f"changed rows  {have} of {len(changes)} covered")
        have = len(covered.cells) - len(covered.uncovered_cells)
        lines.append(
            f"role × action  {have} of {len(covered.cells)} asked, {covered.cell_percent:.1f} %"
        )
    return lines


def _value(run: "Run", covered: "Coverage | None", wrong: list[str], prefix: str) -> dict[str, Any]:
    value: dict[str, Any] = {
        "passed": not wrong,
        "why": wrong,
        "cases": len(run.results),
        "failed": len(run.failed),
        "results": [_result(result, prefix) for result in run.results],
    }
    if covered is not None:
        value["coverage"] = {
            "percent": round(covered.percent, 2),
            "cell_percent": round(covered.cell_percent, 2),
            "rows": [
                {
                    "kind": row.kind,
                    "file": f"{prefix}{row.file}",
                    "line": row.line,
                    "text": row.text,
                    "covered": not row.missing,
                    "missing": row.missing,
                    "changed": row.changed if covered.based else None,
                }
                for row in covered.rows
            ],
            "uncovered_cells": [
                {"role": role, "action": action} for role, action in covered.uncovered_cells
            ],
        }
    return value


def _result(result: "CaseResult", prefix: str) -> dict[str, Any]:
    from argy.policy.cases.answers import place

    question, decision = result.question, result.decision
    return {
        "file": f"{prefix}{question.file}",
        "line": question.line,
        "case": question.label,
        "ask": question.ask,
        "domain": question.domain,
        "expect": question.expect,
        "got": decision.effect,
        "reason": decision.reason,
        "rule": place(decision.rule) if decision.rule else "",
        "passed": result.passed,
        "failure": result.failure,
        "nearest_miss": result.nearest,
    }


def _markdown(run: "Run", covered: "Coverage | None", wrong: list[str], prefix: str) -> str:
    """A section of a pull request's comment."""
    from argy.policy.markdown import code, escape, table

    lines = [f"### policy test: {escape('; '.join(wrong) or 'passed')}", ""]
    lines += [f"- {escape(line)}" for line in _summary(run, covered)]
    if covered is not None and covered.uncovered:
        rows = [
            ("**changed**" if row.changed else "", code(f"{prefix}{row.place}"), code(row.text),
             escape(row.missing))
            for row in _listed(covered)
        ]  # fmt: skip
        lines += ["", table(("", "where", "row that no case covers", "why"), rows)]
        if (more := len(covered.uncovered) - len(rows)) > 0:
            lines += ["", f"… and {more} more."]
    if run.failed:
        rows = [
            (
                code(f"{prefix}{result.question.file}:{result.question.line}"),
                code(f"{result.question.ask} in {result.question.domain}"),
                escape(result.failure),
                escape(result.nearest),
            )
            for result in run.failed[:_MAX_LISTED]
        ]
        listed = ["", table(("case", "asked", "what differs", "nearest miss"), rows)]
        if len(run.failed) > _MAX_LISTED:
            listed += ["", f"… and {len(run.failed) - _MAX_LISTED} more."]
        if len(rows) > _OPEN_ROWS:
            told = _counted(len(run.failed), "case that fails", "cases that fail")
            listed = ["", f"<details><summary>{told}</summary>", *listed, "", "</details>"]
        lines += listed
    return "\n".join(lines) + "\n"


def _counted(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"
