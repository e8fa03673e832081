"""Where the platform is: the environment, then the state of ``argy up``."""

import json
import os
from pathlib import Path
from typing import Final

from argy.base.errors import FailedPrecondition, InvalidArgument
from argy.cli.edge_client import EdgeClient
from argy.client.connection import Endpoint

STATE_FILE: Final = "up.json"
EDGE_URL: Final = "ARGY_EDGE_URL"
EDGE_CA: Final = "ARGY_EDGE_CA_FILE"


def state_folder() -> Path:
    """The ``.argy`` folder of this checkout or project: ARGY_HOME, or the nearest one upwards."""
    if home := os.environ.get("ARGY_HOME"):
        return Path(home)
    return nearest_state(Path.cwd(), uid=os.geteuid())


def nearest_state(here: Path, *, uid: int) -> Path:
    """The nearest ``.argy`` folder of a running platform, from ``here`` upwards, or a new one here.

    Raises:
        FailedPrecondition: when another user than ``uid`` made it. Where everybody may write, such
            as /tmp, it could lead our keys to a server of theirs (compare CVE-2022-24765).
    """
    for folder in (here, *here.parents):
        state = folder / ".argy" / STATE_FILE
        if not state.is_file():
            continue
        if {state.lstat().st_uid, state.parent.lstat().st_uid} != {uid}:
            raise FailedPrecondition(
                f"{state.parent} belongs to another user: to use it, set ARGY_HOME={state.parent}",
                reason="STATE_OF_ANOTHER",
            )
        return state.parent
    return here / ".argy"


def endpoint() -> Endpoint:
    """How to reach the platform.

    Raises:
        InvalidArgument: naming what to set, when neither environment nor a running ``argy up``
            says where the platform is.
    """
    if os.environ.get("ARGY_TARGET"):
        # A service key says whose it is: the command line then signs as that service.
        service = os.environ.get("ARGY_SERVICE_KEY", "").partition(":")[0]
        return Endpoint.from_env(source=service or "cli")
    state = state_folder() / STATE_FILE
    try:
        return Endpoint(**json.loads(state.read_text())["endpoint"])
    except FileNotFoundError:
        raise InvalidArgument(
            "no platform is known: run `argy up`, or set ARGY_TARGET and ARGY_CLIENT_KEYS_FILE",
            reason="NO_ENDPOINT",
        ) from None
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidArgument(
            f"{state} is damaged: stop the platform and run `argy up` again", reason="BAD_STATE"
        ) from error


def edge_client(url: str = "", ca: str = "") -> EdgeClient:
    """The edge to call: as told, or of the environment, or the one of a running ``argy up``.

    Raises:
        InvalidArgument: ``NO_EDGE``.
    """
    url, ca = url or os.environ.get(EDGE_URL, ""), ca or os.environ.get(EDGE_CA, "")
    if url:
        return EdgeClient(url.rstrip("/"), str(Path(ca).absolute()) if ca else "")
    try:
        edge = json.loads((state_folder() / STATE_FILE).read_text())["edge"]
        return EdgeClient(str(edge["url"]), str(edge["ca_file"]))
    except (OSError, ValueError, KeyError, TypeError):
        raise InvalidArgument(
            "no edge is known: give --edge https://…, or run `argy up`",
            reason="NO_EDGE",
            field="edge",
        ) from None


def edge_url() -> str:
    """The edge of the platform that ``endpoint`` names; empty when nothing says which it is."""
    if os.environ.get("ARGY_TARGET") and not os.environ.get(EDGE_URL):
        return ""
    try:
        return edge_client().url
    except InvalidArgument:
        return ""
