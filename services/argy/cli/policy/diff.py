"""``argy policy diff``: what a change of policy changes, by meaning."""

from typing import TYPE_CHECKING

import typer
from rich.text import Text

from argy.cli.options import DEFAULT_FOLDER, Base, Fails, Folder, Head
from argy.cli.output import Exit, printable
from argy.cli.policy.render import Format, FormatOption, emit, reported, repository_prefix
from argy.cli.policy.sources import compared, read_policy

if TYPE_CHECKING:
    from argy.policy.compare.changes import AccessChange, PolicyDiff

_STYLES = {"gained": "green", "lost": "red", "changed": "yellow"}
_MARKS = {"gained": "+", "lost": "-", "changed": "~"}


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command("diff")(diff)


def diff(
    base: Base,
    head: Head = "",
    folder: Folder = DEFAULT_FOLDER,
    format_: FormatOption = Format.TEXT,
    fails: Fails = False,
) -> None:
    """Tell which permissions of which role change between two revisions, and by which rule.

    Nothing is checked out. Without HEAD, what others did on BASE since you left it
    is left out: the merge base is compared with the working tree. Exit code 0, or
    1 with --exit-code and a change of meaning. 2: a policy can't be loaded.
    4: there is no such revision.
    """
    with reported(format_):
        from argy.policy.compare import diff_report as report
        from argy.policy.compare.diff import diff_policies
        from argy.policy.findings import to_sarif

        since, names = compared(folder, base, head)
        before, old = read_policy(folder, since)
        after, new = read_policy(folder, head)
        found = diff_policies(old, new)
        prefix = repository_prefix(folder)
        emit(
            format_,
            text=lambda: text_of(found, names, prefix),
            value=lambda: report.to_json(found, names),
            markdown=lambda: report.to_markdown(found, names, prefix),
            sarif=lambda: to_sarif(
                report.findings(found, before.files, after.files),
                report.FINDING_RULES,
                "policy-diff",
                prefix,
            ),
        )
    if fails and found:
        raise typer.Exit(Exit.DENIED)


def text_of(found: "PolicyDiff", names: tuple[str, str], prefix: str) -> Text:
    """The diff for people."""
    from argy.policy.compare.diff_report import holder, order, summary

    shown = Text(printable(f"{names[0]} → {names[1]}: {summary(found)}\n"))
    role = ""
    for change in sorted(found.changes, key=order):
        if change.role != role:
            role = change.role
            shown.append(printable(f"{holder(role)}\n"), style="bold")
        append_change(shown, change, prefix)
    if found:
        shown.append(f"digest {found.digest()}")
    shown.rstrip()
    return shown


def append_change(shown: Text, change: "AccessChange", prefix: str, indent: str = "  ") -> None:
    """One change with its lines."""
    from argy.policy.compare.diff_report import located, place

    mark = f"{indent}{_MARKS[change.kind]} {change.kind:<8}"
    shown.append(mark, style=_STYLES[change.kind])
    what = f"{change.action} {change.resource} {place(change.domain)}"
    shown.append(printable(f"{what}: {change.before} → {change.after}"))
    if change.escalation:
        shown.append("  ESCALATION", style="bold red")
    shown.append("\n")
    for rule in change.rules:
        side, where = located(rule, prefix)
        shown.append(printable(f"{indent}    {f'{side} ' if side else ''}{where}\n"), style="dim")
