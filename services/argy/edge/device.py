"""The device flow over HTTP (RFC 8628): where a device begins, and its grant for tokens."""

from typing import Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from argy.api.authn.v1 import device_pb2 as pb
from argy.base.errors import (
    ArgyError,
    InvalidArgument,
    PermissionDenied,
)
from argy.client import Connection
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
from argy.edge.platform import Tenants, TenantServices
from argy.edge.problems import from_service
from argy.edge.request import state_of
from argy.edge.sessions import device_of

GRANT_TYPE: Final = "urn:ietf:params:oauth:grant-type:device_code"
_PATH: Final = "/{tenant}/oauth/device_authorization"
_WAITING: Final = {
    pb.DEVICE_POLL_AUTHORIZATION_PENDING: (
        "authorization_pending",
        "nobody has decided yet: ask again after the interval",
    ),
    pb.DEVICE_POLL_SLOW_DOWN: ("slow_down", "wait five seconds longer between polls"),
    pb.DEVICE_POLL_ACCESS_DENIED: ("access_denied", "the person said no"),
    pb.DEVICE_POLL_EXPIRED: ("expired_token", "the code is no longer good: begin anew"),
}


def routes(connection: Connection, *, base_url: str) -> list[BaseRoute]:
    """The endpoint where devices begin; the token endpoint calls ``redeem``."""
    tenants = Tenants(connection)

    async def begin(request: Request) -> Response:
        return await _begin(request, connection, tenants, base_url)

    return [Route(_PATH, answering(begin), methods=["POST"])]


async def redeem(services: TenantServices, fields: dict[str, str]) -> Response:
    """The device's poll (RFC 8628 §3.4): tokens, or what to wait for.

    Raises:
        OAuthError: as §3.5 names it.
        ArgyError: when the service can't say.
    """
    asked = pb.RedeemDeviceCodeRequest(
        device_code=needed(fields, "device_code"), client_id=needed(fields, "client_id")
    )
    try:
        answer = await services.devices.RedeemDeviceCode(asked, metadata=services.metadata)
    except InvalidArgument as error:
        raise OAuthError("invalid_request", error.message) from error
    except PermissionDenied as error:
        raise OAuthError("access_denied", error.message) from error
    if answer.poll != pb.DEVICE_POLL_GRANTED:
        raise OAuthError(*_WAITING.get(answer.poll, ("invalid_grant", "the code is not good")))
    return tokens_answer(answer.tokens)


async def _begin(
    request: Request, connection: Connection, tenants: Tenants, base_url: str
) -> Response:
    refuse_passwords(request)
    fields = await read_form(request)
    request_id = state_of(request.scope).request_id
    try:
        tenant = await tenants.find(request.path_params["tenant"], request_id=request_id)
        services = TenantServices(connection, tenant.tenant_id, request_id=request_id)
        begun = await services.devices.AuthorizeDevice(
            pb.AuthorizeDeviceRequest(
                client_id=needed(fields, "client_id"),
                scope=fields.get("scope", ""),
                device=device_of(request),
            ),
            metadata=services.metadata,
        )
    except InvalidArgument as error:
        raise malformed(error) from error
    except ArgyError as error:
        raise from_service(error, request_id) from error
    page = f"{base_url}/{tenant.slug}/device"
    return JSONResponse(
        {
            "device_code": begun.device_code,
            "user_code": begun.user_code,
            "verification_uri": page,
            "verification_uri_complete": f"{page}?user_code={begun.user_code}",
            "expires_in": begun.expires_in_s,
            "interval": begun.interval_s,
        },
        headers=NOT_STORED,
    )
