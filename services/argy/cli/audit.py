"""``argy audit tail``: what happened, as it happens."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Annotated, Any
from uuid import uuid4

import typer
from google.protobuf.json_format import MessageToDict

from argy.api.audit.v1.audit_pb2 import Event, Outcome, QueryEventsRequest
from argy.api.audit.v1.audit_pb2_grpc import AuditServiceStub
from argy.cli.session import every
from argy.cli.terminal import Terminal, asking

app = typer.Typer(help="Read the audit log.", no_args_is_help=True)

_COLUMNS = (
    "time",
    "actor",
    "on_behalf_of",
    "via",
    "action",
    "subject",
    "permission",
    "resource",
    "outcome",
    "reason",
    "event_id",
)
_NAMED = ("actor", "on_behalf_of", "subject")
"""Columns that hold people and groups."""
_POLL_S = 1.0


@app.command("tail")
@asking(org=True)
async def tail(
    terminal: Terminal,
    lines: Annotated[
        int, typer.Option("--lines", "-n", min=0, max=100_000, help="How many; 0 for all.")
    ] = 20,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as events come.")] = False,
    actor: Annotated[str, typer.Option(help="Only this actor's: an e-mail address, …")] = "",
    subject: Annotated[str, typer.Option(help="Only what is about this subject.")] = "",
    action: Annotated[str, typer.Option(help="Only this action.")] = "",
    resource: Annotated[str, typer.Option(help="Only this resource.")] = "",
    request_id: Annotated[str, typer.Option("--request-id", help="Only this request's.")] = "",
) -> None:
    """Show the newest events, oldest first; Ctrl-C ends --follow."""
    subjects = await terminal.subjects()
    stub = AuditServiceStub(await terminal.channel())
    request = QueryEventsRequest(
        actor=await subjects.find(actor, known=False) if actor else "",
        subject=await subjects.find(subject, known=False) if subject else "",
        action=action,
        resource=resource,
        request_id=request_id,
        page_size=min(lines, 1000) or 1000,
    )
    # Reading is recorded too: by this id it is known, and not told again for ever.
    own = f"tail-{uuid4()}"
    query = partial(stub.QueryEvents, metadata=(("x-request-id", own),))
    events, more = await _newest(query, request, lines)
    seen = [event.event_id for event in events]
    rows = [_row(event) for event in reversed(events)]
    await subjects.named(rows, *_NAMED)
    terminal.output.rows(rows, _COLUMNS)
    if more and not follow:
        terminal.output.note({"newest": f"{lines} events; -n 0 shows the older ones too"})
    if follow and more:
        # What is older than the first line was left out; the looks below overlap with it.
        before = await _newer(query, request, frozenset(seen), own)
        seen += [event.event_id for event in before if event.event_id < seen[-1]]
    while follow:
        await asyncio.sleep(_POLL_S)
        fresh = await _newer(query, request, frozenset(seen), own)
        seen = [event.event_id for event in fresh] + seen[:10_000]
        if fresh:
            rows = [_row(event) for event in reversed(fresh)]
            await subjects.named(rows, *_NAMED)
            terminal.output.rows(rows, _COLUMNS, goes_on=True)


async def _newest(
    query: Callable[[QueryEventsRequest], Awaitable[Any]], template: QueryEventsRequest, most: int
) -> tuple[list[Event], bool]:
    """The ``most`` newest events, or all for 0, newest first; and whether there are older ones."""
    request = QueryEventsRequest()
    request.CopyFrom(template)
    if not most:
        return await every(query, request, "events"), False
    found: list[Event] = []
    while True:
        page = await query(request)
        found += page.events
        if len(found) >= most or not page.next_page_token:
            return found[:most], len(found) > most or bool(page.next_page_token)
        request.page_token = page.next_page_token


async def _newer(
    query: Callable[[QueryEventsRequest], Awaitable[Any]],
    template: QueryEventsRequest,
    seen: frozenset[str],
    own: str,
) -> list[Event]:
    """Events of the last minutes that were not shown; ids may commit out of order, so overlap.

    None of the requests ``own``, which asked for them.
    """
    request = QueryEventsRequest()
    request.CopyFrom(template)
    request.page_size = 1000
    request.start_time.FromDatetime(datetime.now(UTC) - timedelta(minutes=5))
    events = await every(query, request, "events")
    return [event for event in events if event.event_id not in seen and event.request_id != own]


def _row(event: Event) -> dict[str, Any]:
    return {
        **MessageToDict(event, preserving_proto_field_name=True),
        "time": event.record_time.ToDatetime(UTC).isoformat(timespec="milliseconds"),
        "outcome": Outcome.Name(event.outcome).removeprefix("OUTCOME_"),
    }
