"""OAuth 2.0 over HTTP: tokens, their end, their keys, and what the authorization server offers.

    POST /{tenant}/oauth/token        refresh_token (RFC 6749 §6) and the device flow's grant
    POST /{tenant}/oauth/revoke       RFC 7009
    POST /{tenant}/oauth/introspect   RFC 7662, for who holds a token of this edge
    GET  /.well-known/jwks.json       RFC 7517
    GET  /.well-known/oauth-authorization-server/{tenant}   RFC 8414 §3.1

Clients are public: none has a secret. There is no password grant, for there are no passwords.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from argy.api.authn.v1 import token_pb2 as pb
from argy.api.authn.v1.token_pb2_grpc import TokenServiceStub
from argy.base.errors import ArgyError, InvalidArgument, Unauthenticated
from argy.base.ids import PLATFORM_TENANT_ID
from argy.client import Connection
from argy.edge import device
from argy.edge.address_limits import AddressLimits
from argy.edge.callers import Callers
from argy.edge.oauth_form import (
    NOT_STORED,
    OAuthError,
    answering,
    malformed,
    needed,
    read_form,
    refuse_passwords,
    tokens_answer,
)
from argy.edge.platform import Tenant, Tenants, TenantServices
from argy.edge.problems import from_service
from argy.edge.request import header_values, state_of
from argy.edge.stages import inner_request_id
from argy.rpc.client import SignedChannel
from argy.rpc.declarations import permissions
from argy.rpc.jwt import PUBLISHED_AGE_S

_TOKEN: Final = "/{tenant}/oauth/token"  # noqa: S105 - a path
_REVOKE: Final = "/{tenant}/oauth/revoke"
_INTROSPECT: Final = "/{tenant}/oauth/introspect"
_DEVICE: Final = "/{tenant}/oauth/device_authorization"
_JWKS: Final = "/.well-known/jwks.json"
_METADATA: Final = "/.well-known/oauth-authorization-server/{tenant}"
_METADATA_AGE_S: Final = 3600
_GRANT_LOST: Final = frozenset({"REFRESH_TOKEN_INVALID", "REFRESH_TOKEN_REUSED", "USER_DISABLED"})


def routes(connection: Connection, *, base_url: str, callers: Callers) -> list[BaseRoute]:
    """The endpoints of clients, which are public, and of resource servers, which hold a token."""
    api, limits = OAuth(connection, base_url, callers), AddressLimits()
    return [
        Route(_TOKEN, answering(limits.guard(api.token)), methods=["POST"]),
        Route(_REVOKE, answering(limits.guard(api.revoke)), methods=["POST"]),
        Route(_INTROSPECT, answering(api.introspect), methods=["POST"]),
        Route(_JWKS, api.jwks, methods=["GET"]),
        Route(_METADATA, api.metadata, methods=["GET"]),
    ]


class OAuth:
    """The use cases behind the endpoints."""

    __slots__ = ("_base_url", "_callers", "_connection", "_grants", "_tenants")

    def __init__(self, connection: Connection, base_url: str, callers: Callers) -> None:
        self._connection = connection
        self._base_url = base_url
        self._callers = callers
        self._tenants = Tenants(connection)
        self._grants: dict[str, Callable[[Request, dict[str, str]], Awaitable[Response]]] = {
            "refresh_token": self._refresh,
            device.GRANT_TYPE: self._redeem,
        }

    async def token(self, request: Request) -> Response:
        """Tokens for a grant."""
        refuse_passwords(request)
        fields = await read_form(request)
        grant = needed(fields, "grant_type")
        if grant == "password":
            raise OAuthError("unsupported_grant_type", "there are no passwords here: use a passkey")
        if grant not in self._grants:
            raise OAuthError("unsupported_grant_type", f"use {' or '.join(self._grants)}")
        return await self._grants[grant](request, fields)

    async def revoke(self, request: Request) -> Response:
        """End a token; the answer is the same whether it was one."""
        refuse_passwords(request)
        fields = await read_form(request)
        asked = pb.RevokeTokenRequest(
            token=needed(fields, "token"), client_id=fields.get("client_id", "")
        )
        stub, metadata = await self._stub(request)
        await _asked(request, stub.RevokeToken(asked, metadata=metadata))
        return Response(status_code=200, headers=NOT_STORED)

    async def introspect(self, request: Request) -> Response:
        """What a token is, for a service that may ask."""
        caller = self._callers.identify(header_values(request.scope, b"authorization"))
        fields = await read_form(request)
        asked = pb.IntrospectTokenRequest(token=needed(fields, "token"))
        state_of(request.scope).service = caller.service
        state_of(request.scope).let_in = True
        stub, metadata = await self._stub(request, subject=f"service:{caller.service}")
        found = await _asked(request, stub.IntrospectToken(asked, metadata=metadata))
        return JSONResponse(self._described(request, found), headers=NOT_STORED)

    async def jwks(self, request: Request) -> Response:
        """The keys that verify access tokens, of every tenant."""
        stub, metadata = self._platform(request)
        found = await _asked(request, stub.GetJwks(pb.GetJwksRequest(), metadata=metadata))
        return Response(
            found.jwks_json,
            media_type="application/jwk-set+json",
            headers={"cache-control": f"public, max-age={PUBLISHED_AGE_S}"},
        )

    async def metadata(self, request: Request) -> Response:
        """What the tenant's authorization server offers."""
        tenant = await self._tenant(request)
        issuer = f"{self._base_url}/{tenant.slug}"

        def url(path: str) -> str:
            return self._base_url + path.format(tenant=tenant.slug)

        document = {
            "issuer": issuer,
            "token_endpoint": url(_TOKEN),
            "revocation_endpoint": url(_REVOKE),
            "introspection_endpoint": url(_INTROSPECT),
            "device_authorization_endpoint": url(_DEVICE),
            "jwks_uri": url(_JWKS),
            "grant_types_supported": list(self._grants),
            "response_types_supported": [],
            "scopes_supported": permissions(),
            "token_endpoint_auth_methods_supported": ["none"],
            "revocation_endpoint_auth_methods_supported": ["none"],
            # Who introspects holds a token of this edge (RFC 8414 §2 lets its type stand here).
            "introspection_endpoint_auth_methods_supported": ["Bearer"],
        }
        headers = {"cache-control": f"public, max-age={_METADATA_AGE_S}"}
        return JSONResponse(document, headers=headers)

    async def _refresh(self, request: Request, fields: dict[str, str]) -> Response:
        asked = pb.RefreshTokensRequest(
            refresh_token=needed(fields, "refresh_token"),
            client_id=needed(fields, "client_id"),
            scope=fields.get("scope", ""),
        )
        stub, metadata = await self._stub(request)
        try:
            answer = await stub.RefreshTokens(asked, metadata=metadata)
        except InvalidArgument as error:
            raise malformed(error) from error
        except Unauthenticated as error:
            if error.reason in _GRANT_LOST:
                raise OAuthError("invalid_grant", error.message) from error
            raise from_service(error, state_of(request.scope).request_id) from error
        except ArgyError as error:
            raise from_service(error, state_of(request.scope).request_id) from error
        return tokens_answer(answer.tokens)

    async def _redeem(self, request: Request, fields: dict[str, str]) -> Response:
        tenant = await self._tenant(request)
        request_id = state_of(request.scope).request_id
        services = TenantServices(self._connection, tenant.tenant_id, request_id=request_id)
        try:
            return await device.redeem(services, fields)
        except ArgyError as error:
            raise from_service(error, request_id) from error

    async def _tenant(self, request: Request) -> Tenant:
        request_id = state_of(request.scope).request_id
        return await self._tenants.find(request.path_params["tenant"], request_id=request_id)

    async def _stub(self, request: Request, *, subject: str = "") -> tuple[Any, Any]:
        tenant = await self._tenant(request)
        return _of(request, self._connection.channel(tenant.tenant_id, subject=subject))

    def _platform(self, request: Request) -> tuple[Any, Any]:
        return _of(request, self._connection.channel(PLATFORM_TENANT_ID))

    def _described(self, request: Request, found: pb.IntrospectTokenResponse) -> dict[str, Any]:
        if not found.active:
            return {"active": False}
        told: dict[str, Any] = {
            "active": True,
            # RFC 7662 §2.2 means RFC 6749 §5.1's; which of ours it is has a name of its own.
            "token_type": "Bearer",
            "token_kind": found.token_type,
            "aud": found.audience,
            "jti": found.token_id,
            "sub": found.subject,
            "iss": f"{self._base_url}/{request.path_params['tenant']}",
            "tenant": found.tenant_id,
            "org": found.org_id,
            "scope": found.scope,
            "client_id": found.client_id,
            "sid": found.session_id,
            "iat": found.issue_time.seconds,
            "exp": found.expire_time.seconds,
        }
        return {name: value for name, value in told.items() if value}


async def _asked(request: Request, call: Awaitable[Any]) -> Any:
    try:
        return await call
    except ArgyError as error:
        raise from_service(error, state_of(request.scope).request_id) from error


def _of(request: Request, channel: SignedChannel) -> tuple[Any, Any]:
    request_id = inner_request_id(state_of(request.scope).request_id)
    return TokenServiceStub(channel), (("x-request-id", request_id),)
