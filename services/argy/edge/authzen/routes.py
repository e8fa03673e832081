"""The endpoints of the Authorization API: bytes in, values to the decider, bytes out."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from argy.base.errors import InvalidArgument
from argy.base.ids import parse_uuid
from argy.base.turns import Turns
from argy.client import Connection
from argy.client.connection import Endpoint
from argy.client.pep_tokens import PepToken
from argy.edge.authzen.decider import Decider
from argy.edge.authzen.domain import Batch, Evaluation, until_end
from argy.edge.authzen.pages import Asker, PageTokens
from argy.edge.authzen.searching import NOTHING_FOUND, search
from argy.edge.authzen.strict_json import parse_object
from argy.edge.authzen.wire import (
    UnknownType,
    decision_json,
    error_json,
    read_batch,
    read_evaluation,
    read_search,
)
from argy.edge.callers import Callers
from argy.edge.request import Receive, Scope, Send, header_values, state_of
from argy.rpc.pair_keys import IssuedKeys

_LARGE: Final = 100
"""Evaluations of one request; larger ones take turns."""
_EVALUATION: Final = "/access/v1/evaluation"
_EVALUATIONS: Final = "/access/v1/evaluations"
_SEARCH: Final = "/access/v1/search/"
_SEARCHED: Final = ("subject", "resource", "action")
_MEDIA_TYPE: Final = "application/json"
_METADATA_AGE_S: Final = 3600

Handler = Callable[[Request], Awaitable[Response]]
Work = Callable[[Request, Asker], Awaitable[Response]]


def routes(
    connection: Connection, endpoint: Endpoint, *, base_url: str, callers: Callers
) -> list[BaseRoute]:
    """The API's routes over a connection to the services; they know their ``callers`` themselves.

    Page tokens are authenticated with a key derived from the edge's own signing key, which every
    replica has; after that key is rotated a search starts at its first page again.
    """
    api = AuthZen(connection, PageTokens(_page_secret(endpoint)), callers)
    return [
        Route("/.well-known/authzen-configuration", _metadata(base_url), methods=["GET"]),
        Route(_EVALUATION, _Endpoint(api, api.evaluation)),
        Route(_EVALUATIONS, _Endpoint(api, api.evaluations)),
        *(Route(_SEARCH + kind, _Endpoint(api, api.searching(kind))) for kind in _SEARCHED),
    ]


class AuthZen:
    """The use cases behind the endpoints."""

    __slots__ = ("_callers", "_connection", "_pages", "_turns")

    def __init__(self, connection: Connection, pages: PageTokens, callers: Callers) -> None:
        self._callers = callers
        self._connection = connection
        self._pages = pages
        self._turns = Turns(1)

    async def evaluation(self, request: Request, asker: Asker) -> Response:
        """One decision."""
        decider = self.decider(request, asker)
        return _answer(request, await _one(decider, read_evaluation(await _body(request))))

    async def evaluations(self, request: Request, asker: Asker) -> Response:
        """Several decisions on one snapshot, or one when there is no list of them."""
        decider = self.decider(request, asker)
        body = await _body(request)
        batch = read_batch(body)
        if batch is None:
            return _answer(request, await _one(decider, read_evaluation(body)))
        if len(batch.items) <= _LARGE:
            return _answer(request, {"evaluations": await _many(decider, batch)})
        # One at a time, tenant by tenant: what it takes to write one holds up everybody's.
        await self._turns.take(asker.tenant_id)
        try:
            return _answer(request, {"evaluations": await _many(decider, batch)})
        finally:
            self._turns.give(asker.tenant_id)

    def searching(self, kind: str) -> Work:
        """The endpoint that searches for ``kind``."""

        async def answer(request: Request, asker: Asker) -> Response:
            decider = self.decider(request, asker)
            try:
                asked = read_search(await _body(request), kind)
            except UnknownType:
                # Nothing is of this type, which is no fault of the request.
                await decider.admit()
                return JSONResponse(NOTHING_FOUND)
            return JSONResponse(await search(decider, self._pages, asker, asked))

        return answer

    def asker(self, request: Request) -> Asker:
        """Who asks, and about which tenant.

        Raises:
            ArgyError: as ``Callers.identify_any``; or ``TENANT_REQUIRED``, ``MALFORMED_ID``.
        """
        who = self._callers.identify_any(request.scope)
        tenant_id, org_id = _uuid_header(request, "X-Tenant-Id"), _uuid_header(request, "X-Org-Id")
        if isinstance(who, PepToken):
            state_of(request.scope).service = who.service
            if tenant_id is None and who.tenant_id:
                tenant_id = UUID(who.tenant_id)
        if tenant_id is None:
            raise InvalidArgument(
                "X-Tenant-Id is required: the tenant's UUID (this token has no tenant of its own)",
                reason="TENANT_REQUIRED",
                field="X-Tenant-Id",
            )
        if isinstance(who, PepToken):
            return Asker(tenant_id, org_id, who.service)
        return Asker(tenant_id, org_id, who.digest, who.metadata)

    def decider(self, request: Request, asker: Asker) -> Decider:
        """Who decides for one request."""
        return Decider(self._connection, asker, state_of(request.scope).request_id)


class _Endpoint:
    """An ASGI application, so that whoever is nobody isn't told which methods there are."""

    __slots__ = ("_api", "_work")

    def __init__(self, api: AuthZen, work: Work) -> None:
        self._api = api
        self._work = work

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        asker = self._api.asker(request)
        try:
            answer = await self._answer(request, asker)
        except InvalidArgument:
            if asker.credential:
                # Whose credential is not good is told that, and not what is wrong with a request.
                await self._api.decider(request, asker).admit()
            raise
        state_of(scope).let_in = True
        await answer(scope, receive, send)

    async def _answer(self, request: Request, asker: Asker) -> Response:
        if request.method != "POST":
            raise InvalidArgument(
                "this path takes POST", reason="METHOD_NOT_ALLOWED", metadata={"allow": "POST"}
            )
        return await self._work(request, asker)


async def _one(decider: Decider, asked: Evaluation) -> dict[str, Any]:
    answer = await decider.check([asked])
    return decision_json(answer.decisions[0], answer.policy_revision, answer.revision)


async def _many(decider: Decider, batch: Batch) -> list[Any]:
    questions = batch.to_ask()
    answers: list[dict[str, Any]] = []
    if not questions:
        await decider.admit()
    else:
        response = await decider.check(questions)
        answers = [
            decision_json(decision, response.policy_revision, response.revision)
            for decision in response.decisions
        ]
    decided = iter(answers)
    results: list[dict[str, Any]] = []
    for item in batch.items:
        result = next(decided, None) if isinstance(item, Evaluation) else error_json(item)
        if result is None:
            break
        results.append(result)
    return list(until_end(results, batch.semantic))


def _answer(request: Request, told: dict[str, Any]) -> Response:
    """Decisions with what they stood on, or bare for who prefers that (RFC 7240)."""
    if not _prefers_minimal(request):
        return JSONResponse(told)
    bare = {
        name: value if name == "decision" else [{"decision": one["decision"]} for one in value]
        for name, value in told.items()
        if name != "context"
    }
    return JSONResponse(bare, headers={"preference-applied": "return=minimal"})


def _prefers_minimal(request: Request) -> bool:
    given = b",".join(header_values(request.scope, b"prefer")).decode("latin-1")
    names = (one.partition(";")[0] for one in given.lower().replace('"', "").split(","))
    return "return=minimal" in {"".join(name.split()) for name in names}


async def _body(request: Request) -> dict[str, Any]:
    """The JSON object that the request's body is."""
    given = header_values(request.scope, b"content-type")
    media_type, _, parameters = (
        (given[0] if len(given) == 1 else b"").decode("latin-1").partition(";")
    )
    charset = parameters.strip().lower().replace('"', "")
    if media_type.strip().lower() != _MEDIA_TYPE or charset not in ("", "charset=utf-8"):
        raise InvalidArgument(
            f"send Content-Type: {_MEDIA_TYPE}",
            # The specification has 400 for whatever is wrong with a request, not 415.
            reason="MEDIA_TYPE_NOT_JSON",
            field="Content-Type",
        )
    return parse_object(await request.body())


def _uuid_header(request: Request, name: str) -> UUID | None:
    given = header_values(request.scope, name.lower().encode())
    if len(given) > 1:
        raise InvalidArgument(f"{name} must be given once", reason="MALFORMED_ID", field=name)
    return parse_uuid(given[0].decode("latin-1"), field=name) if given else None


def _metadata(base_url: str) -> Handler:
    """The PDP's metadata (section "Policy Decision Point Metadata"); it depends on no request."""
    document = {
        "policy_decision_point": base_url,
        "access_evaluation_endpoint": base_url + _EVALUATION,
        "access_evaluations_endpoint": base_url + _EVALUATIONS,
        **{f"search_{kind}_endpoint": base_url + _SEARCH + kind for kind in _SEARCHED},
    }
    headers = {"cache-control": f"public, max-age={_METADATA_AGE_S}"}

    async def answer(_request: Request) -> Response:
        return JSONResponse(document, headers=headers)

    return answer


def _page_secret(endpoint: Endpoint) -> bytes:
    keys = IssuedKeys.load(Path(endpoint.keys_file))
    return keys.pair_key(keys.signing, endpoint.source, "authz")
