"""The edge's stages and routes, in one visible order."""

from collections.abc import Callable, Sequence
from typing import Final

from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Match, Route, Router

from argy.edge.callers import Callers
from argy.edge.health import Health
from argy.edge.limits import Bounds, limits
from argy.edge.proxies import Network, clients
from argy.edge.request import App, Receive, Scope, Send
from argy.edge.stages import ErrorPage, authentication, errors, request_ids, security_headers

HEALTH: Final = "/healthz"
AUTHZEN_CONFIGURATION: Final = "/.well-known/authzen-configuration"
PUBLIC: Final = frozenset({HEALTH, AUTHZEN_CONFIGURATION})
"""Paths that need no token, beside those of open routes. Every other one does, those included that
don't exist."""


def build(
    routes: Sequence[BaseRoute],
    *,
    open_routes: Sequence[BaseRoute] = (),
    callers: Callers,
    health: Health,
    bounds: Bounds,
    error_page: ErrorPage,
    proxies: Sequence[Network] = (),
    strict_transport: bool,
) -> App:
    """The application: what stands first here sees a request first and its answer last.

    What decorates an answer stands outside of what refuses, so that refusals are decorated too.
    ``open_routes`` need no token: they know their callers themselves.
    """
    app: App = _routing([Route(HEALTH, health.answer, methods=["GET"]), *routes, *open_routes])
    app = authentication(app, callers, is_open=_is_open(open_routes, routes))
    app = limits(app, bounds)
    app = errors(app, error_page)
    app = request_ids(app)
    app = clients(app, proxies)
    return security_headers(app, strict_transport=strict_transport)


def _is_open(
    open_routes: Sequence[BaseRoute], closed: Sequence[BaseRoute]
) -> Callable[[Scope], bool]:
    """Whether a request needs no token. Where a path is of both kinds, it needs one."""

    def is_open(scope: Scope) -> bool:
        return scope["path"] in PUBLIC or (
            _one_matches(open_routes, scope) and not _one_matches(closed, scope)
        )

    return is_open


def _one_matches(routes: Sequence[BaseRoute], scope: Scope) -> bool:
    return any(route.matches(scope)[0] != Match.NONE for route in routes)


def _routing(routes: Sequence[BaseRoute]) -> App:
    router = Router(routes, redirect_slashes=False, default=_nothing_here)

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        # With an app in its scope Starlette raises a wrong method, which `errors` then tells.
        scope["app"] = serve
        await router(scope, receive, send)

    return serve


async def _nothing_here(scope: Scope, receive: Receive, send: Send) -> None:
    raise HTTPException(404)
