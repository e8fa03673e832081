"""The ASGI middleware asks about exactly what the route serves, or refuses."""

import json
from typing import Any
from uuid import UUID

import pytest

from argy.base.errors import InvalidArgument, PermissionDenied, Unauthenticated, Unavailable
from argy.client import Caller, PermissionMiddleware, Route
from argy.rpc.claims import ACR_PROVISIONAL, Claims

TENANT = UUID(int=1)
ROUTES = [
    Route("GET", "/projects/{id}", "read", "project:{id}"),
    Route("POST", "/projects/{id}/runs/{run}", "start", "run:{id}-{run}"),
]


class Asked:
    """Stands where the authorizer does; remembers what it was asked."""

    def __init__(self, error: Exception | None = None) -> None:
        self.questions: list[tuple[str, str, str]] = []
        self._error = error

    async def require(self, subject: str, action: str, resource: str, **_: Any) -> None:
        self.questions.append((subject, action, resource))
        if self._error is not None:
            raise self._error


async def caller(scope: Any) -> Caller:
    if scope.get("anonymous"):
        raise Unauthenticated("sign in first", reason="CALLER_MISSING")
    return Caller("user:a", TENANT)


async def app(scope: Any, _receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})


async def status_of(asked: Asked, scope: dict[str, Any]) -> tuple[int, list[dict[str, Any]]]:
    sent: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        sent.append(message)

    authorizer: Any = asked
    guard: Any = PermissionMiddleware(
        app,
        authorizer,
        ROUTES,
        identify=caller,
        public=frozenset({"/healthz"}),
    )
    await guard({"type": "http", "method": "GET", **scope}, None, send)
    return int(sent[0].get("status", sent[0].get("code", 0))), sent


@pytest.mark.parametrize(
    ("method", "path", "question"),
    [
        ("GET", "/projects/alpha", ("user:a", "read", "project:alpha")),
        ("HEAD", "/projects/alpha", ("user:a", "read", "project:alpha")),
        ("POST", "/projects/a.b/runs/7", ("user:a", "start", "run:a.b-7")),
    ],
)
async def test_a_declared_route_asks_about_its_resource(
    method: str, path: str, question: tuple[str, str, str]
) -> None:
    asked = Asked()
    assert (await status_of(asked, {"method": method, "path": path}))[0] == 200
    assert asked.questions == [question]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("DELETE", "/projects/alpha"),
        ("get", "/projects/alpha"),
        ("OPTIONS", "/projects/alpha"),
        ("GET", "/projects/alpha/"),
        ("GET", "//projects/alpha"),
        ("GET", "/projects/.."),
        ("GET", "/projects/."),
        ("POST", "/projects/../runs/7"),
        ("GET", "/projects/a/b"),
        ("GET", "/projects/a:b"),
        ("GET", "/projects/*"),
        ("GET", "/projects/a%2fb"),
        ("GET", "/projects/alpha\n"),
        ("GET", "/projects/\u0430lpha"),
        ("GET", "/projects/"),
        ("GET", "/PROJECTS/alpha"),
        ("GET", "/healthz/"),
        ("GET", "/healthz/../projects/alpha"),
    ],
)
async def test_any_other_spelling_is_refused_unasked(method: str, path: str) -> None:
    asked = Asked()
    status, sent = await status_of(asked, {"method": method, "path": path})
    assert status == 403
    assert json.loads(sent[1]["body"])["title"] == "ACCESS_UNDECLARED"
    assert asked.questions == []


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (PermissionDenied("no"), 403),
        (Unavailable("away"), 503),
        (InvalidArgument("bad"), 400),
    ],
)
async def test_an_error_is_a_refusal_with_a_problem(error: Exception, status: int) -> None:
    code, sent = await status_of(Asked(error), {"path": "/projects/alpha"})
    assert code == status
    assert (b"content-type", b"application/problem+json") in sent[0]["headers"]


async def test_nobody_is_told_to_sign_in_and_websockets_are_closed() -> None:
    assert (await status_of(Asked(), {"path": "/projects/a", "anonymous": True}))[0] == 401
    assert (await status_of(Asked(), {"type": "websocket", "path": "/healthz"}))[0] == 1008


async def test_public_paths_pass_unasked() -> None:
    asked = Asked()
    assert (await status_of(asked, {"path": "/healthz", "anonymous": True}))[0] == 200
    assert asked.questions == []


def test_a_resource_names_segments_of_its_path_only() -> None:
    authorizer: Any = Asked()
    with pytest.raises(InvalidArgument, match="no segment"):
        PermissionMiddleware(
            app,
            authorizer,
            [Route("GET", "/x/{id}", "read", "x:{other}")],
            identify=caller,
        )


async def test_a_provisional_session_passes_no_guard_and_nobody_is_asked_about_it() -> None:
    claims = Claims(
        subject="user:a",
        tenant_id=TENANT,
        org_id=None,
        session_id="s",
        client_id="edge",
        acr=ACR_PROVISIONAL,
        amr=("magic_link",),
        auth_time_s=0,
        scope="",
        token_id="j",
        family_id="",
        revision="",
        issued_at_s=0,
        expires_at_s=600,
    )

    async def by_token(_scope: Any) -> Caller:
        return Caller.of(claims)

    asked, sent = Asked(), []

    async def send(message: Any) -> None:
        sent.append(message)

    authorizer: Any = asked
    guard: Any = PermissionMiddleware(app, authorizer, ROUTES, identify=by_token)
    await guard({"type": "http", "method": "GET", "path": "/projects/alpha"}, None, send)
    assert sent[0]["status"] == 403
    assert json.loads(sent[1]["body"])["title"] == "PASSKEY_REQUIRED"
    assert asked.questions == []
