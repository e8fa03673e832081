"""``argy policy lint``: what loads and still doesn't do what its author meant."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from argy.cli.options import DEFAULT_FOLDER, Folder, Revision
from argy.cli.output import Exit
from argy.cli.policy.render import Format, FormatOption, emit, emit_findings, reported

if TYPE_CHECKING:
    from argy.policy.findings import Finding, FindingRule


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command("lint")(lint)


def lint(
    explain: Annotated[
        str, typer.Option("--explain", metavar="ID", help="Say what a rule means, such as P301.")
    ] = "",
    revision: Revision = "",
    strict: Annotated[bool, typer.Option("--strict", help="Warnings fail as errors do.")] = False,
    folder: Folder = DEFAULT_FOLDER,
    format_: FormatOption = Format.TEXT,
) -> None:
    """Find what is wrong with a policy. Exit code 0 clean, 1 errors, 2 it can't be read."""
    with reported(format_, code=Exit.USAGE):
        if explain:
            _explain(format_, explain)
            return
        from argy.policy.lint import RULES

        findings = _findings(folder, revision)
        emit_findings(format_, findings, RULES, title="policy lint", folder=folder)
    failing = ("error", "warning") if strict else ("error",)
    if any(finding.level in failing for finding in findings):
        raise typer.Exit(1)


def _findings(folder: Path, revision: str) -> "list[Finding]":
    from argy.policy.errors import PolicyError
    from argy.policy.files import read_policy_files
    from argy.policy.lint import lint, refusals
    from argy.policy.loader import load_policy, parse_policy

    try:
        files = dict(read_policy_files(folder, revision).files)
    except PolicyError as error:
        if not revision and not folder.is_dir():
            raise
        return refusals(error.problems)
    try:
        # On disk the loader looks at every file of the folder, also at those that are no policy's.
        parse_policy(files) if revision else load_policy(folder)
    except PolicyError as error:
        return lint(files, error.problems)
    return lint(files)


def _explain(format_: Format, name: str) -> None:
    from argy.policy.lint import explained

    rule = explained(name)
    emit(
        format_,
        text=lambda: _told(rule),
        value=lambda: {
            "id": rule.id,
            "level": rule.level,
            "summary": rule.summary,
            "why": rule.why,
            "example": rule.example,
            "fix": rule.fix,
        },
        markdown=lambda: _markdown(rule),
    )


def _told(rule: "FindingRule") -> str:
    example = "\n".join(f"    {line}" for line in rule.example.splitlines())
    parts = (f"{rule.id} ({rule.level}): {rule.summary}", rule.why, f"Reported:\n{example}")
    return "\n\n".join((*parts, f"Mend it: {rule.fix}"))


def _markdown(rule: "FindingRule") -> str:
    from argy.policy.markdown import block, escape

    parts = (f"### {rule.id} ({rule.level})", escape(rule.summary), escape(rule.why))
    return "\n\n".join((*parts, block(rule.example), escape(rule.fix)))
