"""Tokens and keys over HTTP, for terminals that are signed in: JSON in, JSON out.

    GET    /{tenant}/whoami                     whose access token this is
    GET    /{tenant}/credentials?subject=…      one's own live credentials, or a subject's
    POST   /{tenant}/credentials                make one; the answer alone holds its secret
    POST   /{tenant}/credentials/{id}/rotate    a new secret
    DELETE /{tenant}/credentials/{id}           end one
    GET    /{tenant}/sessions                   one's own sessions
    DELETE /{tenant}/sessions                   end them all; ?keep_current=true spares this one
    DELETE /{tenant}/sessions/{id}              end one

The bearer token goes to the services as it came: they verify it, nobody here does.
"""

import base64
import json
from collections.abc import Awaitable, Callable
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from argy.api.authn.v1 import credential_pb2 as pb
from argy.api.authn.v1.session_pb2 import ListSecurityNoticesRequest, SecurityNotice
from argy.api.directory.v1.user_pb2 import GetUserRequest
from argy.api.directory.v1.user_pb2_grpc import UserServiceStub
from argy.base.errors import (
    ArgyError,
    FailedPrecondition,
    InvalidArgument,
    PermissionDenied,
    Unauthenticated,
)
from argy.client import Connection
from argy.edge.authzen.strict_json import parse_object
from argy.edge.callers import refuse_basic
from argy.edge.pages.words import event, whence
from argy.edge.platform import Tenant, Tenants, TenantServices
from argy.edge.problems import from_service
from argy.edge.request import header_values, state_of
from argy.edge.session_api import end_session, end_sessions, list_sessions

_KIND: Final = {
    pb.CREDENTIAL_KIND_PERSONAL_ACCESS_TOKEN: "token",
    pb.CREDENTIAL_KIND_API_KEY: "key",
    pb.CREDENTIAL_KIND_SERVICE_KEY: "service_key",
}
_MAX_TOKEN: Final = 8_192
_PUBLIC_REASONS: Final = ("TOKEN_", "CREDENTIAL_", "PERSON_", "STEP_UP_", "SESSION_")
"""Of what the caller can mend; anything else is between the edge and the services."""

Answer = Callable[[Request], Awaitable[Response]]
Work = Callable[[Request, Tenant, TenantServices], Awaitable[Response]]


def routes(connection: Connection) -> list[BaseRoute]:
    """The endpoints; they take bearer tokens of people, so none of them needs one of the edge's."""
    api = _Api(connection)
    return [
        Route("/{tenant}/whoami", api.answer(api.whoami), methods=["GET"]),
        Route("/{tenant}/credentials", api.answer(_list), methods=["GET"]),
        Route("/{tenant}/credentials", api.answer(_make), methods=["POST"]),
        Route("/{tenant}/credentials/{id}/rotate", api.answer(_rotate), methods=["POST"]),
        Route("/{tenant}/credentials/{id}", api.answer(_revoke), methods=["DELETE"]),
        Route("/{tenant}/sessions", api.answer(list_sessions), methods=["GET"]),
        Route("/{tenant}/sessions", api.answer(end_sessions), methods=["DELETE"]),
        Route("/{tenant}/sessions/{id}", api.answer(end_session), methods=["DELETE"]),
    ]


class _Api:
    __slots__ = ("_connection", "_tenants")

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._tenants = Tenants(connection)

    def answer(self, work: Work) -> Answer:
        async def serve(request: Request) -> Response:
            token = _bearer(request)
            request_id = state_of(request.scope).request_id
            tenant = await self._tenants.find(request.path_params["tenant"], request_id=request_id)
            services = TenantServices(
                self._connection, tenant.tenant_id, request_id=request_id, access_token=token
            )
            try:
                answer = await work(request, tenant, services)
                state_of(request.scope).let_in = True
                return answer
            except (FailedPrecondition, Unauthenticated) as error:
                if error.reason.startswith(_PUBLIC_REASONS):
                    raise
                raise from_service(error, request_id) from error
            except ArgyError as error:
                raise from_service(error, request_id) from error

        return serve

    async def whoami(self, request: Request, tenant: Tenant, services: TenantServices) -> Response:
        # The service verifies the token; only then is anything believed that it says.
        try:
            await services.credentials.ListCredentials(
                pb.ListCredentialsRequest(page_size=1), metadata=services.metadata
            )
        except PermissionDenied as error:
            if error.reason != "SCOPE_INSUFFICIENT":
                raise
        claims = _claims(_bearer(request))
        told: dict[str, Any] = {
            "tenant": tenant.slug,
            "subject": claims["sub"],
            "client_id": claims.get("client_id", ""),
            "scope": claims.get("scope", ""),
            "acr": claims.get("acr", ""),
            "auth_time": claims.get("auth_time"),
            "expires_at": claims.get("exp"),
        }
        told["notices"] = await _notices(services)
        stub = UserServiceStub(self._connection.channel(tenant.tenant_id))
        try:
            asked = GetUserRequest(user_id=str(claims["sub"]).removeprefix("user:"))
            user = (await stub.GetUser(asked, metadata=services.metadata)).user
            told |= {"email": user.email, "name": user.display_name}
        except PermissionDenied:
            # Not everybody may read people, themselves included; who they are is told all the same.
            pass
        return JSONResponse(told)


async def _list(request: Request, _tenant: Tenant, services: TenantServices) -> Response:
    asked = pb.ListCredentialsRequest(
        subject=request.query_params.get("subject", ""),
        page_token=request.query_params.get("page_token", ""),
    )
    page = await services.credentials.ListCredentials(asked, metadata=services.metadata)
    return JSONResponse(
        {
            "credentials": [_told(one) for one in page.credentials],
            "next_page_token": page.next_page_token,
        }
    )


async def _make(request: Request, _tenant: Tenant, services: TenantServices) -> Response:
    body = parse_object(await request.body())
    kind, subject = _text(body, "kind"), _text(body, "subject")
    name, days = _text(body, "name"), _number(body, "days")
    scopes = body.get("scopes")
    if not isinstance(scopes, list) or not all(isinstance(scope, str) for scope in scopes):
        raise InvalidArgument("scopes must be a list of texts", field="/scopes")
    made: Any
    if kind == "token":
        made = await services.credentials.CreatePersonalAccessToken(
            pb.CreatePersonalAccessTokenRequest(name=name, scopes=scopes, days=days),
            metadata=services.metadata,
        )
    elif kind == "key":
        made = await services.credentials.CreateApiKey(
            pb.CreateApiKeyRequest(subject=subject, name=name, scopes=scopes, days=days),
            metadata=services.metadata,
        )
    else:
        raise InvalidArgument("kind must be token or key", field="/kind")
    return JSONResponse({**_told(made.credential), "secret": made.secret}, status_code=201)


async def _rotate(request: Request, _tenant: Tenant, services: TenantServices) -> Response:
    body = parse_object(await request.body())
    made = await services.credentials.RotateCredential(
        pb.RotateCredentialRequest(
            credential_id=request.path_params["id"], overlap_hours=_number(body, "overlap_hours")
        ),
        metadata=services.metadata,
    )
    # A service key's secret is of no use without the id that it signs under.
    signs = {"key_id": made.key_id} if made.key_id else {}
    return JSONResponse({**_told(made.credential), **signs, "secret": made.secret})


async def _revoke(request: Request, _tenant: Tenant, services: TenantServices) -> Response:
    await services.credentials.RevokeCredential(
        pb.RevokeCredentialRequest(credential_id=request.path_params["id"]),
        metadata=services.metadata,
    )
    return Response(status_code=204)


def _told(credential: pb.Credential) -> dict[str, Any]:
    used = credential.last_used_time.ToJsonString() if credential.HasField("last_used_time") else ""
    return {
        "id": credential.credential_id,
        "kind": _KIND.get(credential.kind, ""),
        "subject": credential.subject,
        "name": credential.name,
        "prefix": credential.prefix,
        "scopes": list(credential.scopes),
        "created_at": credential.create_time.ToJsonString(),
        "expires_at": credential.expire_time.ToJsonString(),
        "last_used_at": used,
    }


async def _notices(services: TenantServices) -> list[dict[str, str]]:
    """What the caller has not acknowledged of what happened elsewhere."""
    try:
        heard = await services.sessions.ListSecurityNotices(
            ListSecurityNoticesRequest(), metadata=services.metadata
        )
    except PermissionDenied:
        # A token may be bound to other scopes; whose it is is told all the same.
        return []
    return [_notice(one) for one in heard.notices if one.open]


def _notice(notice: SecurityNotice) -> dict[str, str]:
    """What happened to the caller's ways in, in words and in parts."""
    return {
        "id": notice.notice_id,
        "kind": notice.kind,
        "text": event(notice),
        "from": whence(notice.device),
        "at": notice.create_time.ToJsonString(),
    }


def _bearer(request: Request) -> str:
    given = header_values(request.scope, b"authorization")
    refuse_basic(given)
    scheme, _, token = (given[0] if len(given) == 1 else b"").decode("latin-1").partition(" ")
    token = token.strip(" ")
    if scheme.lower() != "bearer" or not token.isascii() or not 1 <= len(token) <= _MAX_TOKEN:
        raise Unauthenticated(
            "send Authorization: Bearer <access token>; `argy login` gets one",
            reason="TOKEN_MISSING",
        )
    return token


def _claims(token: str) -> dict[str, Any]:
    """The payload of a token that a service has just verified."""
    try:
        payload = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        return {"sub": claims["sub"], **claims}
    except (IndexError, ValueError, KeyError, TypeError) as error:
        raise Unauthenticated("this is no access token", reason="TOKEN_INVALID") from error


def _text(body: dict[str, Any], name: str) -> str:
    value = body.get(name, "")
    if not isinstance(value, str):
        raise InvalidArgument(f"{name} must be a text", field=f"/{name}")
    return value


def _number(body: dict[str, Any], name: str) -> int:
    value = body.get(name, 0)
    if type(value) is not int or not 0 <= value <= 1_000_000:
        raise InvalidArgument(f"{name} must be a whole number", field=f"/{name}")
    return value
