"""OAuth 2.0 over HTTP: forms in (RFC 6749 §3.2), errors out as JSON (RFC 6749 §5.2)."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Final
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from argy.api.authn.v1.token_pb2 import Tokens
from argy.base.errors import InvalidArgument, NotFound, Unauthenticated
from argy.edge.problems import CHALLENGE
from argy.edge.request import header_values

_MAX_BYTES: Final = 16_384
_MAX_FIELDS: Final = 32
_MEDIA_TYPE: Final = "application/x-www-form-urlencoded"
NOT_STORED: Final[Mapping[str, str]] = {"cache-control": "no-store", "pragma": "no-cache"}
"""RFC 6749 §5.1."""

Handler = Callable[[Request], Awaitable[Response]]


class OAuthError(Exception):
    """An answer of RFC 6749 §5.2; ``error`` is one of its registered names."""

    def __init__(self, error: str, description: str, *, status: int = 400) -> None:
        super().__init__(description)
        self.error = error
        self.description = description
        self.status = status

    def answer(self) -> JSONResponse:
        """The answer."""
        body = {"error": self.error, "error_description": self.description}
        challenge = {"www-authenticate": CHALLENGE} if self.status == 401 else {}
        return JSONResponse(body, status_code=self.status, headers={**NOT_STORED, **challenge})


def answering(work: Handler) -> Handler:
    """Tell OAuth's errors as RFC 6749 §5.2 does."""

    async def serve(request: Request) -> Response:
        try:
            return await work(request)
        except OAuthError as error:
            return error.answer()
        except InvalidArgument as error:
            # What does not even fit a service's rules; clients read ``error`` and nothing else.
            return malformed(error).answer()
        except Unauthenticated as error:
            return OAuthError("invalid_client", error.message, status=401).answer()
        except NotFound as error:
            # A tenant that isn't there has no clients either.
            return OAuthError("invalid_client", error.message, status=401).answer()

    return serve


def malformed(error: InvalidArgument) -> OAuthError:
    """What a service's rules refuse, as RFC 6749 §5.2 names it."""
    wrong = "invalid_scope" if error.field == "scopes" else "invalid_request"
    return OAuthError(wrong, error.message)


async def read_form(request: Request) -> dict[str, str]:
    """The fields of a form, each at most once; empty ones count as absent (RFC 6749 §3.2).

    Raises:
        OAuthError: ``invalid_request``, also for anything that stands in the address (§2.3.1).
    """
    if request.scope["query_string"]:
        raise OAuthError("invalid_request", "send all in the body, and nothing in the address")
    given = header_values(request.scope, b"content-type")
    media_type = (given[0] if len(given) == 1 else b"").decode("latin-1").partition(";")[0]
    if media_type.strip().lower() != _MEDIA_TYPE:
        raise OAuthError("invalid_request", f"send Content-Type: {_MEDIA_TYPE}")
    body = await request.body()
    if len(body) > _MAX_BYTES:
        raise OAuthError("invalid_request", f"more than {_MAX_BYTES} bytes")
    try:
        pairs = parse_qsl(
            body.decode("ascii"),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=_MAX_FIELDS,
        )
    except ValueError as error:
        raise OAuthError("invalid_request", "the body is no form") from error
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise OAuthError("invalid_request", "a parameter is there twice")
    return {name: value for name, value in fields.items() if value}


def refuse_passwords(request: Request) -> None:
    """Refuse Basic authentication: clients are public, and nobody has a password.

    Raises:
        OAuthError: ``invalid_client``.
    """
    if any(
        value[:6].lower() == b"basic " for value in header_values(request.scope, b"authorization")
    ):
        raise OAuthError(
            "invalid_client", "there are no passwords here: send client_id alone", status=401
        )


def tokens_answer(tokens: Tokens) -> Response:
    """A pair of tokens as RFC 6749 §5.1 has it; without limits there is no scope to tell."""
    told = {
        "access_token": tokens.access_token,
        "token_type": "Bearer",
        "expires_in": tokens.expires_in_s,
        "refresh_token": tokens.refresh_token,
        "scope": tokens.scope,
    }
    return JSONResponse(
        {name: value for name, value in told.items() if value != ""}, headers=NOT_STORED
    )


def needed(fields: dict[str, str], name: str) -> str:
    """A field that must be there; raises OAuthError ``invalid_request``."""
    if name not in fields:
        raise OAuthError("invalid_request", f"{name} is missing")
    return fields[name]
