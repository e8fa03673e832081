"""The agent's settings: a TOML file, and over it the environment. Both name the same settings.

``backend`` in the file is ``ARGY_AGENT_BACKEND`` in the environment; a malformed or unknown setting
is fatal and named.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from argy.agentd.identity import run_user
from argy.agentd.sandbox.backend import NAMES, READABLE, Backend
from argy.agentd.workspace import DEFAULT_ROOT, Workspaces
from argy.base.config import load, setting
from argy.base.errors import InvalidArgument

PREFIX: Final = "AGENT_"
DEFAULT_FILE: Final = Path("/etc/argy/agentd.toml")
FILE_VARIABLE: Final = "ARGY_AGENT_CONFIG"


@dataclass(frozen=True, slots=True)
class AgentConfig:
    """What an operator may set."""

    backend: str = setting(
        PREFIX + "BACKEND", f"the walls around a run: {', '.join(NAMES)}", default="bwrap"
    )
    unsafe_host_confirmed: bool = setting(
        PREFIX + "UNSAFE_HOST_CONFIRMED",
        "true: runs may have no walls at all (backend unsafe_host)",
        default=False,
    )
    workspaces: Path = setting(
        PREFIX + "WORKSPACES", "where each run's folder is made", default=DEFAULT_ROOT
    )
    readable: str = setting(
        PREFIX + "READABLE",
        "what runs see of this host, read-only: paths, separated by colons",
        default=":".join(READABLE),
    )
    hidden: str = setting(
        PREFIX + "HIDDEN",
        "what runs never see, though it is beneath a readable path",
        default="/etc/argy",
    )

    def sandbox(self, *, file: Path | None = None) -> Backend:
        """The backend that these settings describe; the settings' own ``file`` is hidden too.

        Raises:
            InvalidArgument: for a backend that there is not, or a path that is not absolute.
        """
        name = next((name for name in NAMES if name == self.backend), None)
        if name is None:
            raise InvalidArgument(f"must be one of {', '.join(NAMES)}", field="ARGY_AGENT_BACKEND")
        readable, hidden = _paths(self.readable), _paths(self.hidden)
        if not all(path.startswith("/") for path in (*readable, *hidden, str(self.workspaces))):
            raise InvalidArgument("paths must be absolute", field="ARGY_AGENT_READABLE")
        return Backend(
            name,
            Workspaces(self.workspaces, run_user()),
            readable=readable,
            hidden=(*hidden, *([str(file)] if file else [])),
            unsafe_confirmed=self.unsafe_host_confirmed,
        )


def _paths(text: str) -> tuple[str, ...]:
    return tuple(path for path in text.split(":") if path)


def config_file(env: Mapping[str, str], path: Path | None = None) -> Path | None:
    """The settings' file: the one named, else the default one if it is there."""
    if path is None and FILE_VARIABLE in env:
        path = Path(env[FILE_VARIABLE])
    return path or (DEFAULT_FILE if DEFAULT_FILE.exists() else None)


def read_config(env: Mapping[str, str], file: Path | None) -> AgentConfig:
    """Read the settings of ``file`` and, over them, of ``env``.

    Raises:
        InvalidArgument: with every problem at once, each naming its setting.
    """
    settings: dict[str, str] = {}
    if file:
        try:
            found = tomllib.loads(file.read_text())
        except (OSError, ValueError) as error:
            raise InvalidArgument(f"{file} can't be read: {error}") from error
        for key, value in found.items():
            text = ":".join(value) if isinstance(value, list) else str(value)
            settings[f"ARGY_AGENT_{key.upper()}"] = text
    # Only our own: the machine may run services of Argy as well, whose settings are theirs.
    ours = {key: value for key, value in env.items() if key.startswith("ARGY_AGENT_")}
    ours.pop(FILE_VARIABLE, None)
    return load(AgentConfig, settings | ours)
