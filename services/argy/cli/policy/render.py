"""What the ``argy policy`` commands share: formats of output, the policy's place, and errors."""

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from argy.base.errors import ArgyError
from argy.cli.output import Exit, Output, Screen, exit_code, printable

if TYPE_CHECKING:
    from argy.policy.findings import Finding, FindingRule

_STYLES = {"error": "bold red", "warning": "yellow", "note": "cyan"}


class Format(StrEnum):
    """How a result is printed: for people, programs, pull requests, code scanning."""

    TEXT = "text"
    JSON = "json"
    MARKDOWN = "markdown"
    SARIF = "sarif"


FormatOption = Annotated[Format, typer.Option("--format", "-f", help="How to print the result.")]


def emit(
    format_: Format,
    *,
    text: Callable[[], str | Text],
    value: Callable[[], Mapping[str, Any]],
    markdown: Callable[[], str],
    sarif: Callable[[], Mapping[str, Any]] | None = None,
) -> None:
    """Print a result in the format that was asked for; only that one is made.

    ``text`` may be styled. ``value`` and ``sarif`` are JSON documents. A command that has no
    findings with lines leaves ``sarif`` out, and refuses that format.

    Raises:
        typer.BadParameter: when there is no such format of this result.
    """
    if format_ is Format.TEXT:
        shown = text()
        styled = shown if isinstance(shown, Text) else Text(printable(shown))
        Screen().print(styled)
    elif format_ is Format.MARKDOWN:
        sys.stdout.write(markdown().rstrip("\n") + "\n")
    elif format_ is Format.JSON:
        sys.stdout.write(json.dumps(value(), sort_keys=True) + "\n")
    elif sarif is None:
        raise typer.BadParameter("this command has no SARIF output", param_hint="--format")
    else:
        sys.stdout.write(json.dumps(sarif(), indent=2) + "\n")


def emit_findings(
    format_: Format,
    findings: "Sequence[Finding]",
    rules: "Sequence[FindingRule]",
    *,
    title: str,
    folder: Path,
) -> None:
    """Print findings. ``title`` names the command (``policy lint``); it is SARIF's category too."""
    from argy.policy.findings import to_json, to_markdown, to_sarif

    prefix = repository_prefix(folder)
    emit(
        format_,
        text=lambda: findings_text(findings, f"{folder.as_posix()}/"),
        value=lambda: to_json(findings, prefix),
        markdown=lambda: to_markdown(findings, title, prefix),
        sarif=lambda: to_sarif(findings, rules, title.replace(" ", "-"), prefix),
    )


def findings_text(findings: "Sequence[Finding]", prefix: str) -> Text:
    """Findings for people, by place, and their counts."""
    from argy.policy.findings import order, place, told

    shown = Text()
    for finding in sorted(findings, key=order):
        shown.append(printable(f"{place(finding, prefix)}: "))
        shown.append(finding.level, style=_STYLES[finding.level])
        shown.append(printable(f" {finding.rule_id}: {finding.message}\n"))
        if finding.fix:
            shown.append(printable(f"    {finding.fix}\n"))
    return shown.append(told(findings))


def repository_prefix(folder: Path) -> str:
    """The way from the repository's root to ``folder``: ``policy/``, or empty for the root itself.

    Outside of a repository it starts at the working directory, if the folder is under it.
    """
    place = folder.resolve()
    root = next((at for at in (place, *place.parents) if (at / ".git").exists()), Path.cwd())
    path = place.relative_to(root).as_posix() if place.is_relative_to(root) else "."
    return "" if path == "." else f"{path}/"


@contextmanager
def reported(format_: Format = Format.TEXT, *, code: int | None = None) -> Iterator[None]:
    """Tell an error of ours on stderr (as JSON for programs) and leave with its exit code.

    A policy that can't be loaded, and an argument that names nothing, is bad usage. ``code``
    stands for every error, where the command's contract says so.
    """
    from argy.policy.errors import PolicyError

    try:
        yield
    except ArgyError as error:
        Output(as_json=format_ in (Format.JSON, Format.SARIF)).error(error)
        own = Exit.USAGE if isinstance(error, PolicyError) else exit_code(error)
        raise typer.Exit(own if code is None else code) from error
