"""A person's sessions over HTTP, for terminals that are signed in."""

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from argy.api.authn.v1 import session_pb2 as pb
from argy.edge.platform import Tenant, TenantServices


async def list_sessions(_request: Request, _tenant: Tenant, services: TenantServices) -> Response:
    """One's own sessions, newest first."""
    found = await services.sessions.ListSessions(
        pb.ListSessionsRequest(), metadata=services.metadata
    )
    return JSONResponse({"sessions": [_told(session) for session in found.sessions]})


async def end_session(request: Request, _tenant: Tenant, services: TenantServices) -> Response:
    """End one of one's own sessions."""
    asked = pb.EndSessionRequest(session_id=request.path_params["id"])
    await services.sessions.EndSession(asked, metadata=services.metadata)
    return Response(status_code=204)


async def end_sessions(request: Request, _tenant: Tenant, services: TenantServices) -> Response:
    """End every session of one's own; ``?keep_current=true`` spares the one that asks."""
    keep = request.query_params.get("keep_current") == "true"
    done = await services.sessions.EndUserSessions(
        pb.EndUserSessionsRequest(keep_current=keep), metadata=services.metadata
    )
    return JSONResponse({"ended": done.ended})


def _told(session: pb.Session) -> dict[str, Any]:
    return {
        "id": session.session_id,
        "methods": list(session.methods),
        "acr": session.acr,
        "ip": session.device.ip,
        "user_agent": session.device.user_agent,
        "created_at": session.create_time.ToJsonString(),
        "last_seen_at": session.last_seen_time.ToJsonString(),
        "expires_at": session.expire_time.ToJsonString(),
        "current": session.current,
    }
