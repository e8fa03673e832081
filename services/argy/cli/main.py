"""The ``argy`` command."""

import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import version
from typing import Annotated, Any, Final

import typer
from typer.core import TyperGroup

from argy.base.errors import ArgyError
from argy.cli import (
    approvals,
    audit,
    decide,
    directory,
    elevation,
    keys,
    login,
    platform,
    roles,
    service_keys,
    sessions,
    sign_in_policy,
    tokens,
)
from argy.cli.output import Exit, Output, exit_code
from argy.cli.policy.app import app as policy

_EPILOG: Final = (
    "Exit codes: 0 done or ALLOW; 1 DENY, NEEDS_APPROVAL, or findings of a policy command; "
    "2 bad usage, or an unknown subject; 3 refused by the platform; 4 not found; 5 conflict; "
    "6 unavailable; 7 not confirmed; 70 internal; 74 a file or the output can't be read or "
    "written; 130 interrupted; 141 nobody reads the output any more."
)


@contextmanager
def _ends() -> Iterator[None]:
    """Turn what a command may fail with into a message and an exit code."""
    try:
        yield
    except ArgyError as error:
        Output(as_json="--json" in sys.argv).error(error)
        raise typer.Exit(exit_code(error)) from error
    except (typer.Abort, EOFError) as error:
        _tell("not confirmed, so nothing was changed: answer y, or give --yes")
        raise typer.Exit(Exit.NOT_CONFIRMED) from error
    except BrokenPipeError as error:
        raise typer.Exit(Exit.BROKEN_PIPE) from error
    except SystemExit as ended:
        # So rich ends help that nobody reads.
        if not isinstance(ended.__context__, BrokenPipeError):
            raise
        raise typer.Exit(Exit.BROKEN_PIPE) from ended
    except OSError as error:
        _tell(" ".join(("error", error.strerror or str(error), str(error.filename or ""))).strip())
        raise typer.Exit(Exit.OUTPUT) from error
    except Exception as error:
        if hasattr(error, "exit_code"):
            # Bad usage, and what leaves on purpose.
            raise
        traceback.print_exc()
        raise typer.Exit(Exit.INTERNAL) from error


class Commands(TyperGroup):
    """The commands, whose every end has the exit code that is told: 1 is an answer, no error."""

    def make_context(self, *args: Any, **more: Any) -> Any:
        """Read the options, some of which print and leave."""
        with _ends():
            return super().make_context(*args, **more)

    def invoke(self, ctx: Any) -> Any:
        """Run a command."""
        with _ends():
            return super().invoke(ctx)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"argy {version('argy')}")
        raise typer.Exit


app = typer.Typer(
    cls=Commands,
    name="argy",
    epilog=_EPILOG,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


@app.callback()
def options(
    _version: Annotated[
        bool,
        typer.Option("--version", help="Tell the version.", is_eager=True, callback=_show_version),
    ] = False,
) -> None:
    """Policy as code, enforced by gRPC services."""


platform.register(app)
login.register(app)
decide.register(app)
roles.register(app)
app.add_typer(approvals.app, name="approval")
elevation.register(app)
app.add_typer(audit.app, name="audit")
app.add_typer(tokens.app, name="token")
app.add_typer(tokens.keys, name="api-key")
app.add_typer(service_keys.app, name="service-key")
app.add_typer(keys.app, name="keys")
app.add_typer(policy, name="policy")
app.add_typer(sign_in_policy.app, name="sign-in-policy")
directory.register(app)
sessions.register(app)


def main() -> None:
    """Run the command line."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal that can't show a character is told which one it was.
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        app()
    except SystemExit as ended:
        sys.exit(_flushed(ended.code))


def _flushed(code: Any) -> Any:
    """The exit code, unless the last of the output can't be written."""
    try:
        sys.stdout.flush()
    except OSError as error:
        # Whatever is left would be tried once more at the very end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            return Exit.BROKEN_PIPE
        _tell(f"error {error.strerror}")
        return Exit.OUTPUT
    return code


def _tell(text: str) -> None:
    with suppress(OSError):
        print(text, file=sys.stderr)
