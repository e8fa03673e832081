"""The edge's stages and routes, in one visible order."""

from collections.abc import Sequence
from typing import Final

from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Route, Router

from argy.edge.health import Health
from argy.edge.limits import Bounds, limits
from argy.edge.proxies import Network, clients
from argy.edge.request import App, Receive, Scope, Send
from argy.edge.room import KnownNetworks
from argy.edge.stages import ErrorPage, errors, request_ids, security_headers

HEALTH: Final = "/healthz"


def build(
    routes: Sequence[BaseRoute],
    *,
    health: Health,
    bounds: Bounds,
    known: KnownNetworks,
    error_page: ErrorPage,
    proxies: Sequence[Network] = (),
    strict_transport: bool,
) -> App:
    """The application: what stands first here sees a request first and its answer last.

    What decorates an answer stands outside of what refuses, so that refusals are decorated too.
    Routes know their callers themselves.
    """
    app: App = _routing([Route(HEALTH, health.answer, methods=["GET"]), *routes])
    app = limits(app, bounds, known)
    app = errors(app, error_page)
    app = request_ids(app)
    app = clients(app, proxies)
    return security_headers(app, strict_transport=strict_transport)


def _routing(routes: Sequence[BaseRoute]) -> App:
    router = Router(routes, redirect_slashes=False, default=_nothing_here)

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        # With an app in its scope Starlette raises a wrong method, which `errors` then tells.
        scope["app"] = serve
        await router(scope, receive, send)

    return serve


async def _nothing_here(scope: Scope, receive: Receive, send: Send) -> None:
    raise HTTPException(404)
