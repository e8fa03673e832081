"""Assembles the edge and serves it until it is told to stop."""

import logging
import signal
import ssl
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import uvicorn

from argy.base.crypto import read_secret
from argy.base.errors import FailedPrecondition
from argy.client import Connection
from argy.client.connection import Endpoint
from argy.edge import authzen, device, device_credentials, oauth, pages, webauthn
from argy.edge.app import build
from argy.edge.callers import Callers
from argy.edge.health import Health
from argy.edge.limits import Bounds
from argy.edge.protocol import BoundedProtocol
from argy.edge.request import App
from argy.edge.room import KnownNetworks, Room
from argy.edge.server import EdgeServer, Peers, allow_files
from argy.edge.settings import DESTINATIONS, EdgeSettings

_LOG: Final = logging.getLogger("argy.edge")
_KEEP_ALIVE_S: Final = 30
_DRAIN_S: Final = 10
_BACKLOG: Final = 512
_CONNECTIONS_PER_REQUEST: Final = 8
_CONNECTIONS_PER_ADDRESS: Final = 2
"""For each request that may be served at a time: nobody alone can take all connections."""


async def serve(settings: EdgeSettings, endpoint: Endpoint) -> None:
    """Serve until SIGTERM or SIGINT, then finish what runs.

    Raises:
        ArgyError: when a file or a setting is missing or wrong.
        SystemExit: when the port can't be had; why is in the log.
    """
    async with Connection(endpoint) as connection:
        connection.require_keys(DESTINATIONS)
        known = KnownNetworks()
        app = assemble(settings, endpoint, connection, known=known)
        allow_files()
        server = EdgeServer(server_config(settings, app, known))
        # Uvicorn raises the signal that stopped it once more when it has stopped: the end is clean.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: None)
        logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
        _LOG.info("serving %s on %s", settings.base_url, settings.listen)
        await server.serve()
        _LOG.info("stopped")


def assemble(
    settings: EdgeSettings,
    endpoint: Endpoint,
    connection: Connection,
    bounds: Bounds | None = None,
    known: KnownNetworks | None = None,
) -> App:
    """The application over a connection to the services; ``known`` as the protocol has it."""
    url, views, callers = settings.base_url, pages.Views(), Callers(settings.tokens)
    return build(
        [
            *authzen.routes(connection, endpoint, base_url=url, callers=callers),
            *oauth.routes(connection, base_url=url, callers=callers),
            *webauthn.routes(settings.origins, base_url=url),
            *device.routes(connection, base_url=url),
            *device_credentials.routes(connection),
            *pages.routes(
                connection, endpoint, views=views, base_url=url, mailbox=settings.mailbox
            ),
        ],
        health=Health(connection),
        bounds=bounds or Bounds(requests=settings.max_requests),
        known=known or KnownNetworks(),
        proxies=settings.proxy_networks,
        error_page=partial(pages.error_page, views),
        strict_transport=settings.is_strict,
    )


def server_config(
    settings: EdgeSettings,
    app: App,
    known: KnownNetworks,
    *,
    protocol: type[BoundedProtocol] = BoundedProtocol,
) -> uvicorn.Config:
    """How uvicorn serves the application.

    Raises:
        ArgyError: when a file or a setting is missing or wrong.
    """
    host, port = settings.address
    wrapped: Any = app
    room = Room(settings.max_requests * _CONNECTIONS_PER_REQUEST, known)
    peers = Peers(settings.max_requests * _CONNECTIONS_PER_ADDRESS, room, settings.proxy_networks)
    counted: Any = partial(protocol, peers=peers)
    return uvicorn.Config(
        wrapped,
        host=host,
        port=port,
        http=counted,
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        server_header=False,
        # Who calls is told by a token, never by a header that a proxy would have to be trusted for.
        proxy_headers=False,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=_DRAIN_S,
        backlog=_BACKLOG,
        ssl_context_factory=_tls(settings),
    )


def _tls(settings: EdgeSettings) -> Callable[..., ssl.SSLContext] | None:
    """TLS 1.2 and later with the certificate of the settings, read at once.

    Raises:
        FailedPrecondition: without a certificate, unless ``unsafe_plaintext``; with a key that
            others may read; or for files that are no pair.
    """
    if settings.unsafe_plaintext:
        return None
    if settings.tls_cert is None or settings.tls_key is None:
        raise FailedPrecondition(
            "set ARGY_EDGE_TLS_CERT and ARGY_EDGE_TLS_KEY, or ARGY_EDGE_UNSAFE_PLAINTEXT",
            reason="TLS_REQUIRED",
        )
    read_secret(settings.tls_key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(settings.tls_cert, settings.tls_key)
    except OSError as error:
        raise FailedPrecondition(
            f"{settings.tls_cert} and {settings.tls_key} are no certificate and its key: {error}"
        ) from error
    return lambda *_: context
