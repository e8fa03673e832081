"""The ``argy policy`` commands. Each module adds its own with ``register``."""

from pathlib import Path
from typing import Annotated

import typer

Folder = Annotated[Path, typer.Option("--policy", help="The policy folder.")]
DEFAULT_FOLDER = Path("policy")

app = typer.Typer(
    name="policy",
    help="Write, check, compare and publish policies.",
    no_args_is_help=True,
)
