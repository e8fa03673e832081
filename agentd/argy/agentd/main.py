"""The program ``agentd``: what it is asked for is imported when it is asked for."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and exit: 0 if all is well, 1 if the host can't, 2 for what was said wrong."""
    parser = argparse.ArgumentParser(prog="agentd", description=__doc__.partition(":")[0])
    parser.add_argument("--config", type=Path, help="TOML file (default: /etc/argy/agentd.toml)")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    doctor = commands.add_parser(
        "doctor", help="try each wall here; fails if runs can't be isolated"
    )
    doctor.add_argument("--backend", help="try this one instead of the configured one")
    doctor.set_defaults(run=_doctor)
    given = parser.parse_args(arguments)
    from argy.base.errors import ArgyError

    try:
        sys.exit(given.run(given))
    except ArgyError as error:
        sys.stderr.write(f"agentd: {error.message}\n")
        sys.exit(2)


def _doctor(given: argparse.Namespace) -> int:
    import asyncio

    from argy.agentd.config import config_file, read_config
    from argy.agentd.doctor import examine, table

    file = config_file(os.environ, given.config)
    env = {**os.environ, **({"ARGY_AGENT_BACKEND": given.backend} if given.backend else {})}
    backend = read_config(env, file).sandbox(file=file)
    findings = asyncio.run(examine(backend))
    failed = [found.wall for found in findings if found.required and not found.holds]
    verdict = f"can't isolate runs here: {', '.join(failed)}" if failed else "works here"
    sys.stdout.write(f"{table(findings)}\n\nbackend {backend.name} {verdict}\n")
    return 1 if failed else 0
