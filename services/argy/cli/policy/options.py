"""Options that several ``argy policy`` commands take."""

from pathlib import Path
from typing import Annotated, Final

import typer

Folder = Annotated[Path, typer.Option("--policy", help="The policy folder.")]
DEFAULT_FOLDER: Final = Path("policy")
