"""Errors as problem details (RFC 9457): a stable reason, the fields at fault, and no internals."""

import json
import logging
from collections.abc import Mapping
from typing import Final

from starlette.responses import Response

from argy.base import errors as family
from argy.base.errors import ArgyError, InvalidArgument, NotFound, ResourceExhausted, Unavailable
from argy.edge.request import Message

_LOG: Final = logging.getLogger("argy.edge")

_BY_REASON: Final[Mapping[str, int]] = {
    "METHOD_NOT_ALLOWED": 405,
    "BODY_TOO_SLOW": 408,
    "BODY_TOO_LARGE": 413,
    "UNSUPPORTED_MEDIA_TYPE": 415,
    "HEADERS_TOO_LARGE": 431,
    "TOO_BUSY": 503,
}
_BY_KIND: Final[Mapping[type[ArgyError], int]] = {
    family.InvalidArgument: 400,
    family.Unauthenticated: 401,
    family.PermissionDenied: 403,
    family.NotFound: 404,
    family.AlreadyExists: 409,
    family.Aborted: 409,
    family.FailedPrecondition: 409,
    family.ResourceExhausted: 429,
    family.Unimplemented: 501,
    family.Unavailable: 503,
    family.DeadlineExceeded: 504,
}
_SCOPE: Final = "SCOPE_INSUFFICIENT"
CHALLENGE: Final = 'Bearer realm="argy"'
_TYPE: Final = "urn:argy:error:"
_OWN: Final = frozenset({"BODY_TOO_SLOW", "PLATFORM_UNAVAILABLE", "TOO_SLOW"})
"""Reasons of the edge's own, which tell nothing of what is behind it."""


def http_status(error: ArgyError) -> int:
    """The HTTP status of an error; 500 for one that has no other."""
    if error.reason in _BY_REASON:
        return _BY_REASON[error.reason]
    return next((_BY_KIND[kind] for kind in type(error).__mro__ if kind in _BY_KIND), 500)


def problem(error: ArgyError, request_id: str) -> tuple[Message, Message]:
    """The two ASGI messages of an answer that tells an error."""
    status = http_status(error)
    told: dict[str, object] = {
        "type": _TYPE + error.reason,
        "title": error.reason.replace("_", " ").capitalize(),
        "status": status,
        "detail": error.message,
        "reason": error.reason,
        "request_id": request_id,
    }
    if error.violations:
        told["errors"] = [
            {"pointer": violation.field, "detail": violation.description}
            if violation.field.startswith("/") or not violation.field
            else {"header": violation.field, "detail": violation.description}
            for violation in error.violations
        ]
    body = json.dumps(told).encode()
    headers = [
        (b"content-type", b"application/problem+json"),
        (b"content-length", str(len(body)).encode()),
    ]
    if status == 401 or error.reason == _SCOPE:
        headers.append((b"www-authenticate", _challenge(error).encode()))
    if "allow" in error.metadata:
        headers.append((b"allow", error.metadata["allow"].encode()))
    if error.retry_after_ms is not None:
        headers.append((b"retry-after", str(-(-error.retry_after_ms // 1000)).encode()))
    return (
        {"type": "http.response.start", "status": status, "headers": headers},
        {"type": "http.response.body", "body": body},
    )


def in_words(answer: tuple[Message, Message], page: Response) -> tuple[Message, Message]:
    """A problem's answer with a page for people in place of its JSON; all else stays as it is."""
    start, _ = answer
    given = [(name.encode(), value.encode()) for name, value in page.headers.items()]
    replaced = {name for name, _ in given}
    kept = [pair for pair in start["headers"] if pair[0] not in replaced]
    return (
        {**start, "headers": [*kept, *given]},
        {"type": "http.response.body", "body": bytes(page.body)},
    )


def _challenge(error: ArgyError) -> str:
    """RFC 6750 §3.1: a request without a token is told no error."""
    if error.reason == "TOKEN_MISSING":
        return CHALLENGE
    told = "insufficient_scope" if error.reason == _SCOPE else "invalid_token"
    return f'{CHALLENGE}, error="{told}"'


def from_service(error: ArgyError, request_id: str) -> ArgyError:
    """What a service's error means to a caller of the edge.

    A refusal of the caller passes as it is. What is between the edge and the services (an address,
    a key, a signature) goes to the log alone.
    """
    if error.reason in _OWN:
        return error
    public = (InvalidArgument, family.PermissionDenied, NotFound, family.Aborted, ResourceExhausted)
    if isinstance(error, public) and error.reason != "TRANSPORT":
        # Fields are the gRPC request's own, which a caller of the edge has not made.
        return type(error)(error.message, reason=error.reason, retry_after_ms=error.retry_after_ms)
    _LOG.warning(
        "a service failed: %s [%s]", error.message, error.reason, extra={"request_id": request_id}
    )
    if isinstance(error, family.DeadlineExceeded):
        return family.DeadlineExceeded("the platform did not answer in time", reason="TOO_SLOW")
    if isinstance(error, Unavailable):
        return Unavailable(
            "the platform can't answer now: try again",
            reason="PLATFORM_UNAVAILABLE",
            retry_after_ms=1_000,
        )
    return ArgyError("the platform could not answer", reason="INTERNAL")
