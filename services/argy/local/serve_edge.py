"""``argy serve edge``: the HTTP face, a process of its own beside the services."""

import logging
import os
import sys
from collections.abc import Mapping
from typing import Final

import uvloop

from argy.base import log
from argy.base.errors import ArgyError
from argy.client.connection import Endpoint
from argy.edge.main import serve
from argy.edge.settings import EdgeSettings
from argy.local.areas import load

SOURCE: Final = "edge"
_LOG: Final = logging.getLogger("argy.edge")


def main(env: Mapping[str, str]) -> int:
    """Serve until SIGTERM or SIGINT; returns the exit code.

    Raises:
        InvalidArgument: naming each setting that is missing, unknown or malformed.
    """
    (settings,) = load(env, EdgeSettings)
    endpoint = Endpoint.from_env(source=SOURCE, env=env)
    log.configure()
    try:
        uvloop.run(serve(settings, endpoint))
    except ArgyError as error:
        _LOG.critical("can't serve: %s [%s]", error.message, error.reason)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(os.environ))
