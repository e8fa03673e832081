"""The stages around the routes: request id, errors, security headers."""

import asyncio
import hashlib
import logging
import re
import time
from collections.abc import Callable, Mapping
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from argy.base.errors import ArgyError, InvalidArgument, NotFound
from argy.base.ids import uuid7
from argy.edge.problems import in_words, problem
from argy.edge.request import App, Message, Receive, Scope, Send, header_values, state_of

_LOG: Final = logging.getLogger("argy.edge")
_ACCESS: Final = logging.getLogger("argy.edge.access")

_REQUEST_ID: Final = re.compile(rb"[\t\x20-\x7e\x80-\xff]+")
"""What a header may hold (RFC 9110 §5.5); heads are bounded by ``limits``."""
_SHOWN_ID: Final = 256
"""Characters of a request id that are logged and told in an error."""
_INNER_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,128}")
_LINK: Final = re.compile(r"(/link/).+", re.DOTALL)
"""What follows there signs somebody in, once: it must not stand in a log."""
_CLOSE: Final = (b"connection", b"close")
_DRAIN_BYTES: Final = 1024 * 1024
_DRAIN_S: Final = 1.0

ErrorPage = Callable[[ArgyError, str], Response]
"""Makes the page of an error and a request id."""
Extra = Callable[[Scope], Mapping[bytes, bytes]]


def security_headers(app: App, *, strict_transport: bool) -> App:
    """Every answer, refusals included, says how little a browser may do with it."""
    fixed = {
        b"cache-control": b"no-store",
        b"content-security-policy": b"default-src 'none'; frame-ancestors 'none'",
        b"cross-origin-resource-policy": b"same-origin",
        b"referrer-policy": b"no-referrer",
        b"x-content-type-options": b"nosniff",
    }
    if strict_transport:
        fixed[b"strict-transport-security"] = b"max-age=31536000"
    return _with_headers(app, lambda _scope: fixed)


def request_ids(app: App) -> App:
    """Each request has an id, its caller's or one made here, which every answer repeats.

    Raises nothing: a malformed id is refused by ``errors`` below, under an id made here.
    """

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        state = state_of(scope)
        given = header_values(scope, b"x-request-id")
        well_formed = len(given) == 1 and _REQUEST_ID.fullmatch(given[0]) is not None
        request_id = given[0] if well_formed else str(uuid7()).encode()
        state.request_id = request_id.decode("latin-1")[:_SHOWN_ID]
        started_s = time.monotonic()
        status = 0

        async def noting(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            await _with_headers(app, lambda _scope: {b"x-request-id": request_id})(
                scope, receive, noting
            )
        finally:
            _ACCESS.info(
                "%s %s %d",
                scope["method"],
                _LINK.sub(r"\1…", scope["path"])[:200],
                status,
                extra={
                    "request_id": state.request_id,
                    "service": state.service,
                    "millis": round((time.monotonic() - started_s) * 1000, 1),
                },
            )

    return serve


def inner_request_id(request_id: str) -> str:
    """The id under which the services know a request.

    It is the same, or, where the caller's has characters that theirs may not have, the first 32
    digits of its SHA-256.
    """
    if _INNER_REQUEST_ID.fullmatch(request_id):
        return request_id
    return hashlib.sha256(request_id.encode("latin-1")).hexdigest()[:32]


def errors(app: App, page: ErrorPage) -> App:
    """Every error becomes a problem, or a page for who asks for one as browsers do.

    What is unforeseen is logged and told as INTERNAL. An answer to a request that was not read to
    its end is the last one of its connection.
    """

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        state = state_of(scope)
        unread = True

        async def reading() -> Message:
            nonlocal unread
            message = await receive()
            unread = message["type"] == "http.request" and bool(message.get("more_body"))
            return message

        async def sending(message: Message) -> None:
            state.started = True
            if message["type"] == "http.response.start" and unread and _has_body(scope):
                # What still comes of the body would hold the connection for as long as it likes.
                if not header_values(scope, b"expect"):
                    # Who expects to be asked for the body has not sent it (RFC 9110 §10.1.1).
                    await _drain(reading)
                message = {**message, "headers": [*message.get("headers", ()), _CLOSE]}
            await send(message)

        try:
            _check_request_id(scope)
            await app(scope, reading, sending)
            return
        except ClientDisconnect:
            return
        except ArgyError as error:
            told = error
        except HTTPException as error:
            told = _of_routing(error)
        except Exception:  # noqa: BLE001 - logged whole, and told as nothing but INTERNAL
            _LOG.exception("unforeseen", extra={"request_id": state.request_id})
            told = ArgyError("something went wrong here", reason="INTERNAL")
        if state.started:
            # An answer that has begun can't become another one: uvicorn ends the connection.
            _LOG.error("failed while answering: %s", told.message)
            return
        answer = problem(told, state.request_id)
        if _is_a_visit(scope):
            answer = in_words(answer, page(told, state.request_id))
        for message in answer:
            await sending(message)

    return serve


def _with_headers(app: App, extra: Extra) -> App:
    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        async def adding(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = list(message.get("headers", ()))
                there = {name.lower() for name, _ in headers}
                headers += [pair for pair in extra(scope).items() if pair[0] not in there]
                message = {**message, "headers": headers}
            await send(message)

        await app(scope, receive, adding)

    return serve


def _check_request_id(scope: Scope) -> None:
    given = header_values(scope, b"x-request-id")
    if len(given) > 1 or (any(given) and not _REQUEST_ID.fullmatch(given[0])):
        raise InvalidArgument(
            "X-Request-ID must be given once, without control characters",
            reason="MALFORMED_ID",
            field="X-Request-ID",
        )


def _of_routing(error: HTTPException) -> ArgyError:
    if error.status_code == 405:
        allowed = dict(error.headers or {}).get("Allow", "")
        return InvalidArgument(
            f"this path takes {allowed}", reason="METHOD_NOT_ALLOWED", metadata={"allow": allowed}
        )
    return NotFound("there is nothing here", reason="PATH_UNKNOWN")


def _is_a_visit(scope: Scope) -> bool:
    """Whether somebody looks at an address with a browser; programs don't ask for HTML."""
    accepted = b",".join(header_values(scope, b"accept"))
    return scope["method"] == "GET" and b"text/html" in accepted


def _has_body(scope: Scope) -> bool:
    length = header_values(scope, b"content-length")
    return bool(header_values(scope, b"transfer-encoding") or (length and length[0] != b"0"))


async def _drain(receive: Receive) -> None:
    """Read a little of a body that nobody wants: most clients look for an answer only after it."""
    left = _DRAIN_BYTES
    try:
        async with asyncio.timeout(_DRAIN_S):
            while left > 0:
                message = await receive()
                left -= len(message.get("body", b""))
                if not message.get("more_body"):
                    return
    except TimeoutError:
        return
