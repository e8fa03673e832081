"""``argy policy replay``: recorded decisions under a proposed policy."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from google.protobuf.json_format import MessageToDict
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from argy.api.audit.v1.audit_pb2 import QueryEventsRequest
from argy.api.audit.v1.audit_pb2_grpc import AuditServiceStub
from argy.base.errors import InvalidArgument
from argy.cli.options import DEFAULT_FOLDER, Assignments, Fails, Folder, Live, Tenant
from argy.cli.output import Exit, Output, printable
from argy.cli.policy.render import Format, FormatOption, emit, reported
from argy.cli.policy.sources import read_policy, read_proposed
from argy.cli.session import find_tenant, run
from argy.cli.times import parse_duration
from argy.client import Connection

if TYPE_CHECKING:
    from argy.policy.compare.replay import Replay, Report
    from argy.policy.compiled import CompiledPolicy
    from argy.policy.export import TenantFacts

MAX_EVENTS: Final = 1_000_000
_PAGE: Final = 1_000
_MAX_LINE: Final = 1024 * 1024


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command("replay")(replay)


def replay(
    proposed: Annotated[str, typer.Argument(help="A git revision, or a policy folder.")],
    events: Annotated[
        Path | None, typer.Option(help="Audit events, one JSON document a line.")
    ] = None,
    assignments: Assignments = None,
    live: Live = False,
    tenant: Tenant = "",
    since: Annotated[str, typer.Option(help="With --live: how far back: 30m, 8h, 7d.")] = "1d",
    base: Annotated[
        str, typer.Option(help="The revision in force: what differs under it has drifted.")
    ] = "",
    folder: Folder = DEFAULT_FOLDER,
    format_: FormatOption = Format.TEXT,
    fails: Fails = False,
) -> None:
    """Decide recorded decisions again under a proposed policy, and tell which would differ.

    Events come from a file (`argy audit tail --json`) with --assignments, or from
    the running platform with --live --tenant. A decision whose context was not
    recorded is undecidable where a rule asks for it. Exit code 0, or 1 with
    --exit-code and a flip.
    """
    with reported(format_):
        from argy.policy.compare import replay_report as report

        if live is (events is not None):
            raise InvalidArgument("give --events FILE, or --live --tenant SLUG", field="events")
        _, policy = read_proposed(folder, proposed)
        in_force = read_policy(folder, base)[1] if base else None
        if events is not None:
            found = _from_file(events, assignments, policy, in_force)
        else:
            found = _from_platform(tenant, since, assignments, policy, in_force)
        emit(
            format_,
            text=lambda: text_of(found),
            value=lambda: report.to_json(found),
            markdown=lambda: report.to_markdown(found, proposed),
        )
    if fails and found.flipped:
        raise typer.Exit(Exit.DENIED)


def text_of(found: "Report") -> Text:
    """The flips for people."""
    from argy.policy.compare.replay_report import MAX_SHOWN, summary, told

    shown = Text(printable(f"{summary(found)}\n"), style="bold")
    for group in found.groups()[:MAX_SHOWN]:
        style = "red" if group.after == "DENY" else "yellow"
        shown.append(printable(f"  {group.count:>6} {group.before} → {group.after}"), style=style)
        shown.append(printable(f"  {group.subject}, asked by {group.actor}\n"))
        for example in group.examples:
            shown.append(printable(f"           {told(example)}\n"), style="dim")
    if len(found.flips) > MAX_SHOWN:
        shown.append(f"  … and {len(found.flips) - MAX_SHOWN} more\n")
    for reason, count in found.undecidable.items():
        shown.append(printable(f"  {count} undecidable: {reason}\n"))
    shown.rstrip()
    return shown


def _run(
    facts: "TenantFacts", policy: "CompiledPolicy", in_force: "CompiledPolicy | None"
) -> "Replay":
    from argy.policy.compare.replay import Replay

    orgs = {org_id: slug for slug, org_id in facts.orgs.items()}
    return Replay(
        facts.snapshot(policy), orgs, None if in_force is None else facts.snapshot(in_force)
    )


def _from_file(
    events: Path,
    assignments: Path | None,
    policy: "CompiledPolicy",
    in_force: "CompiledPolicy | None",
) -> "Report":
    from argy.policy.compare.replay import read_event
    from argy.policy.export import read_facts

    if assignments is None:
        raise InvalidArgument("--events needs --assignments FILE", field="assignments")
    run = _run(read_facts(assignments), policy, in_force)
    try:
        total = events.stat().st_size
        with events.open("rb") as file, _progress(total, "bytes") as (progress, task):
            number = 0
            while line := file.readline(_MAX_LINE + 1):
                number += 1
                if len(line) > _MAX_LINE:
                    raise InvalidArgument(
                        f"line {number} has more than {_MAX_LINE} bytes", field="events"
                    )
                event = read_event(line, number)
                if event is not None:
                    run.take(event)
                progress.update(task, advance=len(line), decided=run.report.decisions)
    except OSError as error:
        raise InvalidArgument(
            f"{events} can't be read ({error.strerror})", field="events"
        ) from error
    return run.report


def _from_platform(
    tenant: str,
    since: str,
    assignments: Path | None,
    policy: "CompiledPolicy",
    in_force: "CompiledPolicy | None",
) -> "Report":
    from argy.cli.policy.live import read_live
    from argy.policy.compare.replay import ACTION
    from argy.policy.export import read_facts

    if not tenant:
        raise InvalidArgument("--live needs --tenant SLUG", field="tenant")
    request = QueryEventsRequest(action=ACTION, page_size=_PAGE)
    request.start_time.FromDatetime(datetime.now(UTC) - parse_duration(since, "since"))

    async def work(connection: Connection, _: Output) -> "Report":
        facts = read_facts(assignments) if assignments else await read_live(connection, tenant)
        replaying = _run(facts, policy, in_force)
        stub = AuditServiceStub(connection.channel(await find_tenant(connection, tenant)))
        seen = 0
        with _progress(None, "events") as (progress, task):
            while True:
                page = await stub.QueryEvents(request)
                for event in page.events:
                    replaying.take(_event(event))
                seen += len(page.events)
                progress.update(task, completed=seen, decided=replaying.report.decisions)
                if not page.next_page_token:
                    return replaying.report
                if seen >= MAX_EVENTS:
                    raise InvalidArgument(
                        f"more than {MAX_EVENTS} events: shorten --since", field="since"
                    )
                request.page_token = page.next_page_token

    return run(False, work)


def _event(message: Any) -> Any:
    """An event of the API as the replay takes it."""
    import msgspec

    from argy.policy.compare.replay import Event

    value = MessageToDict(message, preserving_proto_field_name=True)
    try:
        return msgspec.convert(value, Event)
    except msgspec.ValidationError as error:
        raise InvalidArgument(
            f"event {message.event_id} holds no decisions as this version reads them: {error}"
        ) from error


@contextmanager
def _progress(total: int | None, unit: str) -> Iterator[tuple[Progress, Any]]:
    """A bar on stderr; only where a person looks at it."""
    console = Console(stderr=True)
    columns = (
        TextColumn("replay"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
        TextColumn("{task.fields[decided]:,} decisions"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        yield progress, progress.add_task("replay", total=total, decided=0)
