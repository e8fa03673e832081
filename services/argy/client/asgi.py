"""An ASGI middleware that enforces a permission for every HTTP route it guards."""

import json
import re
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from argy.base.errors import (
    ArgyError,
    InvalidArgument,
    PermissionDenied,
    ResourceExhausted,
    Unauthenticated,
)
from argy.client.authorizer import Authorizer
from argy.client.interceptor import Caller

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Identify = Callable[[Scope], Awaitable[Caller]]

_SEGMENT: Final = re.compile(r"\{([a-z_]+)\}")
_STATUS: Final = (
    (Unauthenticated, 401),
    (PermissionDenied, 403),
    (InvalidArgument, 400),
    (ResourceExhausted, 429),
)


@dataclass(frozen=True, slots=True)
class Route:
    """One guarded route: ``Route("GET", "/projects/{id}", "read", "project:{id}")``."""

    method: str
    path: str
    action: str
    resource: str


class PermissionMiddleware:
    """Refuses every route that is not declared, and every caller without the route's permission.

    Refusals are problem details (RFC 9457). WebSockets are refused, since no route declares them.
    """

    def __init__(
        self,
        app: App,
        authorizer: Authorizer,
        routes: Sequence[Route],
        *,
        identify: Identify,
        public: frozenset[str] = frozenset(),
    ) -> None:
        """Guard ``routes``; exact paths in ``public`` pass unasked."""
        self._app = app
        self._authorizer = authorizer
        self._identify = identify
        self._public = public
        self._routes = [(route, _compile(route.path)) for route in routes]
        for route in routes:
            unknown = set(_SEGMENT.findall(route.resource)) - set(_SEGMENT.findall(route.path))
            if unknown:
                raise InvalidArgument(f"{route.path} has no segment {{{unknown.pop()}}}")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["path"] not in self._public:
            try:
                await self._require(scope)
            except ArgyError as error:
                await _problem(send, error)
                return
        await self._app(scope, receive, send)

    async def _require(self, scope: Scope) -> None:
        route, segments = self._match(scope["method"], scope["path"])
        caller = await self._identify(scope)
        resource = _SEGMENT.sub(lambda m: segments[m[1]], route.resource)
        await caller.require(self._authorizer, route.action, resource)

    def _match(self, method: str, path: str) -> tuple[Route, Mapping[str, str]]:
        for route, pattern in self._routes:
            # HEAD reads what GET reads.
            if route.method == ("GET" if method == "HEAD" else method):
                found = pattern.fullmatch(path)
                if found:
                    return route, found.groupdict()
        raise PermissionDenied(
            f"{method} {path} declares no permission; list it in the middleware's routes",
            reason="ACCESS_UNDECLARED",
        )


def _compile(path: str) -> re.Pattern[str]:
    """A pattern without nested repetition, so matching is linear in the path.

    No segment is ``.`` or ``..``: what stands behind might resolve them to another path.
    """
    parts = _SEGMENT.split(path)
    return re.compile(
        "".join(
            rf"(?P<{part}>(?!\.\.?(?:/|\Z))[A-Za-z0-9._@+=-]+)" if index % 2 else re.escape(part)
            for index, part in enumerate(parts)
        )
    )


async def _problem(send: Send, error: ArgyError) -> None:
    status = next((code for kind, code in _STATUS if isinstance(error, kind)), 503)
    body = json.dumps(
        {"type": "about:blank", "status": status, "title": error.reason, "detail": error.message}
    ).encode()
    headers = [
        (b"content-type", b"application/problem+json"),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
