"""The ``argy`` command."""

import sys

import typer

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
from argy.cli.output import Output, exit_code
from argy.cli.policy.app import app as policy

_EPILOG = (
    "Exit codes: 0 done or ALLOW, 1 DENY, 2 bad usage, 3 refused by the platform, 4 not found, "
    "5 conflict, 6 unavailable, 70 internal."
)

app = typer.Typer(
    name="argy",
    help="Policy as code, enforced by gRPC services.",
    epilog=_EPILOG,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
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
    """Run the command line; errors of ours become a message and an exit code."""
    try:
        app()
    except ArgyError as error:
        Output(as_json="--json" in sys.argv).error(error)
        sys.exit(exit_code(error))
