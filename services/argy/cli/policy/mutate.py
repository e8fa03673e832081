"""``argy policy mutate``: would the cases notice a mistake in the policy?"""

import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from argy.cli.options import DEFAULT_FOLDER, Folder, Jobs, Revision
from argy.cli.output import Exit, printable
from argy.cli.policy.render import Format, FormatOption, emit, reported, repository_prefix
from argy.cli.policy.sources import compared

if TYPE_CHECKING:
    from argy.policy.mutation.judge import Score, Verdict

_MAX_LISTED = 50
"""Survivors that a comment lists."""


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command("mutate")(mutate)


def mutate(
    folder: Folder = DEFAULT_FOLDER,
    revision: Revision = "",
    base: Annotated[str, typer.Option(help="Only rows that changed since this revision.")] = "",
    jobs: Jobs = 0,
    most: Annotated[
        int, typer.Option("--max", min=0, help="Try this many, evenly spread; 0 tries all.")
    ] = 0,
    format_: FormatOption = Format.TEXT,
) -> None:
    """Make one small mistake at a time, and name those that no case notices.

    A survivor is printed with a case that would notice. Mutants that no question
    can tell from the policy are equivalent, and not counted. Exit code 0: no
    survivor. 1: survivors, or a case that fails already. 2: the policy or a case
    can't be loaded.
    """
    from argy.policy.cases.questions import read_cases
    from argy.policy.coverage import changed_keys
    from argy.policy.files import read_policy_files
    from argy.policy.loader import parse_policy
    from argy.policy.mutation.judge import Score, chosen_mutants, judge_mutants

    with reported(format_):
        files = dict(read_policy_files(folder, revision).files)
        source = parse_policy(files)
        sets = read_cases(files)
        among = None
        if base:
            since, _ = compared(folder, base, revision)
            among = changed_keys(parse_policy(dict(read_policy_files(folder, since).files)), source)
        total, tried = chosen_mutants(source, among, most)
    with reported(format_, code=Exit.DENIED):
        judged = judge_mutants(source, sets, tried, jobs=jobs)
        score = Score(total, tuple(_with_progress(judged, len(tried))))
    prefix = repository_prefix(folder)
    emit(
        format_,
        text=lambda: _text(score),
        value=lambda: _value(score, prefix),
        markdown=lambda: _markdown(score, prefix),
    )
    if score.of("survived"):
        raise typer.Exit(Exit.DENIED)


def _with_progress(verdicts: "Iterable[Verdict]", total: int) -> "Iterator[Verdict]":
    """Pass verdicts on, and show on stderr how far it is when a person looks on."""
    if not sys.stderr.isatty():
        yield from verdicts
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("mutants", total=total)
        survivors = 0
        for verdict in verdicts:
            survivors += verdict.outcome == "survived"
            progress.update(task, advance=1, description=f"mutants, {survivors} survived")
            yield verdict


def _summary(score: "Score") -> str:
    killed, survived = len(score.of("killed")), len(score.of("survived"))
    tried = len(score.verdicts)
    told = f"{tried} mutants" if tried == score.total else f"{tried} of {score.total} mutants"
    return (
        f"{told}: {killed} killed, {survived} survived, {len(score.of('equivalent'))} equivalent; "
        f"score {score.percent:.1f} %"
    )


def _case_lines(verdict: "Verdict") -> list[str]:
    """The missing case as YAML, or why there is none."""
    from argy.policy.cases.facts import suite_text

    if verdict.missing is None:
        return [verdict.note]
    return suite_text([verdict.missing], "a case that would notice").splitlines()


def _text(score: "Score") -> Text:
    shown = Text()
    for verdict in score.of("survived"):
        mutant = verdict.mutant
        shown.append("SURVIVED", style="bold red")
        shown.append(printable(f"  {mutant.place}  {mutant.what}\n    {mutant.text}\n"))
        for line in _case_lines(verdict):
            shown.append(printable(f"      {line}\n"), style="dim")
    style = "bold red" if score.of("survived") else "bold green"
    return shown.append(_summary(score), style=style)


def _value(score: "Score", prefix: str) -> dict[str, Any]:
    return {
        "mutants": score.total,
        "tried": len(score.verdicts),
        "killed": len(score.of("killed")),
        "survived": len(score.of("survived")),
        "equivalent": len(score.of("equivalent")),
        "score": round(score.percent, 2),
        "results": [
            {
                "file": f"{prefix}{verdict.mutant.row.file}",
                "line": verdict.mutant.row.line,
                "text": verdict.mutant.text,
                "mutation": verdict.mutant.what,
                "outcome": verdict.outcome,
                "killed_by": verdict.by,
                "missing_case": "\n".join(_case_lines(verdict)) if verdict.missing else "",
                "note": verdict.note,
            }
            for verdict in score.verdicts
        ],
    }


def _markdown(score: "Score", prefix: str) -> str:
    """A section of a pull request's comment."""
    from argy.policy.markdown import code, escape, table

    lines = [f"### policy mutate: {escape(_summary(score))}"]
    survivors = score.of("survived")
    rows = []
    for verdict in survivors[:_MAX_LISTED]:
        mutant, missing = verdict.mutant, verdict.missing
        told = escape(verdict.note)
        if missing is not None:
            lines_of_case = _case_lines(verdict)
            told = code(next(line for line in lines_of_case if "ask:" in line).strip(" -"))
        rows.append((code(f"{prefix}{mutant.place}"), code(mutant.text), escape(mutant.what), told))
    if rows:
        headings = ("where", "row", "nobody notices that", "a case that would notice")
        lines += ["", table(headings, rows)]
    if len(survivors) > len(rows):
        lines += ["", f"… and {len(survivors) - len(rows)} more."]
    return "\n".join(lines) + "\n"
