"""``argy up``, ``argy serve`` and ``argy migrate``: run the platform."""

import asyncio
import os
from pathlib import Path
from typing import Annotated

import typer

from argy.base import config
from argy.base.errors import InvalidArgument
from argy.cli import keys
from argy.cli.endpoints import state_folder
from argy.cli.options import Json
from argy.cli.output import Output
from argy.client.keys import DESTINATIONS

EDGE = "edge"


def register(app: typer.Typer) -> None:
    """Add the commands to ``app``. What they run is imported only when they run it."""
    app.command("up")(up)
    app.command("serve")(serve)
    app.command("migrate")(migrate)
    app.command("settings")(settings)
    # Here rather than in `argy.cli.keys`: it opens the database, as only the platform does.
    keys.app.command("rewrap")(rewrap)


def up(
    port: Annotated[
        int, typer.Option(envvar="ARGY_UP_PORT", help="Preferred port; a free one if taken.")
    ] = 7443,
    edge_port: Annotated[
        int,
        typer.Option(envvar="ARGY_UP_EDGE_PORT", help="Preferred port of the HTTP edge, likewise."),
    ] = 8443,
    policy: Annotated[Path, typer.Option(help="The policy folder.")] = Path("policy"),
    processes: Annotated[int, typer.Option(min=1, max=64, help="Server processes.")] = 1,
    reflection: Annotated[bool, typer.Option(help="Serve gRPC reflection.")] = False,
    once: Annotated[bool, typer.Option(help="Stop after the demonstration.")] = False,
    json_output: Json = False,
) -> None:
    """Start the whole platform on this machine and show it at work; Ctrl-C stops it."""
    from argy.local.up import Options, run

    options = Options(
        folder=state_folder(),
        port=port,
        edge_port=edge_port,
        policy=policy,
        processes=processes,
        reflection=reflection,
        once=once,
        as_json=json_output,
    )
    raise typer.Exit(run(options))


def serve(
    services: Annotated[
        list[str] | None,
        typer.Argument(
            help=f"Of {', '.join(DESTINATIONS)}; or {EDGE} alone. All but authn by default."
        ),
    ] = None,
    processes: Annotated[int, typer.Option(min=0, max=64, help="Processes on one port.")] = 0,
) -> None:
    """Run services against the Postgres and Redis that ARGY_* variables name, or the HTTP edge.

    `argy settings` lists the variables. Any number of replicas may run.
    """
    if services and EDGE in services:
        from argy.local.serve_edge import main as serve_edge

        if len(services) > 1 or processes > 1:
            raise InvalidArgument(
                "the edge is a process of its own: start each by itself", field="services"
            )
        raise typer.Exit(serve_edge(os.environ))
    from argy.local.serve import main

    raise typer.Exit(main(tuple(services or ()), os.environ, processes=processes))


def rewrap(json_output: Json = False) -> None:
    """Put every secret at rest under the key of ARGY_KEK_RING that wraps now.

    After `argy keys rotate` of that ring and a restart of the servers with it; then retire the old
    key id. Reads ARGY_AUTHN_DSN as the servers do. It may be stopped, and run again.
    """
    from argy.local.rewrap import rewrap_secrets

    def tell(column: str, done: int, total: int) -> None:
        if not json_output:
            typer.echo(f"{column}: {done} of {total}", err=True)

    done = asyncio.run(rewrap_secrets(os.environ, tell))
    rows = [{"column": one.column, "values": one.total, "changed": one.changed} for one in done]
    Output(as_json=json_output).rows(rows, ("column", "values", "changed"))


def migrate(
    dsn: Annotated[str, typer.Option(envvar="ARGY_POSTGRES_DSN", help="An administrator's DSN.")],
    logins: Annotated[
        Path | None,
        typer.Option(help="Also make each service's login, and write its DSN to this folder."),
    ] = None,
    json_output: Json = False,
) -> None:
    """Bring the database to this version's schema. Safe beside servers of the last version."""
    from argy.local.database import apply_migrations, write_logins

    asyncio.run(apply_migrations(dsn))
    files = asyncio.run(write_logins(dsn, logins)) if logins else {}
    told = ["the schema is up to date", *(f"  {role}: {file}" for role, file in files.items())]
    value = {"migrated": True, "logins": {role: str(file) for role, file in files.items()}}
    Output(as_json=json_output).result(value, lambda: "\n".join(told))


def settings(json_output: Json = False) -> None:
    """List the ARGY_* variables of `argy serve`, then those of `argy serve edge`."""
    from argy.local.areas import TABLES

    rows = [
        {"variable": name, "default": default, "meaning": meaning}
        for kind in TABLES
        for name, default, meaning in config.table(kind)
    ]
    Output(as_json=json_output).rows(rows, ("variable", "default", "meaning"))
