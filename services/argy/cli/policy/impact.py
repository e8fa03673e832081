"""``argy policy impact`` and ``argy policy export``: whom a change of policy reaches."""

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from argy.cli.options import DEFAULT_FOLDER, Base, Fails, Folder, Head, Live, Tenant
from argy.cli.output import Exit, Output, printable
from argy.cli.policy.diff import append_change
from argy.cli.policy.render import Format, FormatOption, emit, reported, repository_prefix
from argy.cli.policy.sources import compared, read_policy
from argy.cli.session import run
from argy.client import Connection

if TYPE_CHECKING:
    from argy.policy.compare.impact_report import TenantReport
    from argy.policy.export import TenantFacts


def register(app: typer.Typer) -> None:
    """Add the commands to ``app``."""
    app.command("impact")(impact)
    app.command("export")(export)


def impact(
    base: Base,
    head: Head = "",
    folder: Folder = DEFAULT_FOLDER,
    assignments: Annotated[
        list[Path] | None, typer.Option(help="A file of `argy policy export`; repeatable.")
    ] = None,
    live: Live = False,
    tenant: Annotated[
        list[str] | None, typer.Option("--tenant", "-t", help="With --live; repeatable.")
    ] = None,
    format_: FormatOption = Format.TEXT,
    fails: Fails = False,
) -> None:
    """Tell which real subjects gain or lose what, with the way to the role and the rule to blame.

    Exit code 0, or 1 with --exit-code when anybody is reached. 2: a policy or a
    file can't be read.
    """
    with reported(format_):
        from argy.cli.policy.live import require_one_source
        from argy.policy.compare import impact_report as report
        from argy.policy.compare.impact import impact as impact_of
        from argy.policy.export import read_facts

        require_one_source(assignments or (), live, tenant or ())
        since, names = compared(folder, base, head)
        _, old = read_policy(folder, since)
        _, new = read_policy(folder, head)
        facts = [read_facts(path) for path in assignments or ()]
        facts += [live_facts(name, as_json=format_ is Format.JSON) for name in tenant or () if live]
        now_ms = time.time_ns() // 1_000_000
        reports = [report.TenantReport(one, impact_of(old, new, one, now_ms)) for one in facts]
        prefix = repository_prefix(folder)
        emit(
            format_,
            text=lambda: text_of(reports, names, prefix),
            value=lambda: report.to_json(reports, names),
            markdown=lambda: report.to_markdown(reports, names, prefix),
        )
    if fails and any(one.subjects for one in reports):
        raise typer.Exit(Exit.DENIED)


def export(
    tenant: Tenant = "",
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The file; standard output if not given.")
    ] = None,
) -> None:
    """Write a tenant's assignments, groups and disabled people, for impact, why-not and replay."""
    facts = live_facts(tenant)
    with reported():
        from argy.policy.export import facts_text

        text = facts_text(facts)
        if out is None:
            sys.stdout.write(text)
        else:
            out.write_text(text, encoding="utf-8")


def live_facts(tenant: str, *, as_json: bool = False) -> "TenantFacts":
    """The facts of a tenant of the running platform; tells an error and leaves."""

    async def work(connection: Connection, _: Output) -> "TenantFacts":
        from argy.cli.policy.live import read_live

        return await read_live(connection, tenant)

    return run(as_json, work)


def text_of(reports: "list[TenantReport]", names: tuple[str, str], prefix: str) -> Text:
    """The impact for people."""
    from argy.policy.compare.impact_report import groups

    shown = Text(printable(f"{names[0]} → {names[1]}"))
    for report in reports:
        shown.append(printable(f"\n{report.facts.tenant}: {report.summary}"), style="bold")
        for group in groups(report.subjects):
            shown.append(printable(f"\n  {group.named(report.facts)}\n"))
            for item in group.changes:
                append_change(shown, item.change, prefix, indent="    ")
                if item.path:
                    shown.append(printable(f"        by {' → '.join(item.path)}\n"), style="dim")
    shown.rstrip()
    return shown
