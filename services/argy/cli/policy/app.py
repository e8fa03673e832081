"""The ``argy policy`` commands. Each module adds its own with ``register``.

What a command needs of the engine it imports when it is called: ``argy check`` starts without it.
Options that commands share are in ``argy.cli.options``.
"""

import typer

from argy.cli.policy import (
    bundle,
    diff,
    explain,
    fmt,
    impact,
    invariants,
    lint,
    mutate,
    proposals,
    publish,
    replay,
    shadow,
    test,
)

app = typer.Typer(
    name="policy",
    help="Write, check, compare and publish policies.",
    no_args_is_help=True,
)
fmt.register(app)
lint.register(app)
test.register(app)
mutate.register(app)
invariants.register(app)
diff.register(app)
bundle.register(app)
publish.register(app)
proposals.register(app)
shadow.register(app)
impact.register(app)
explain.register(app)
replay.register(app)
