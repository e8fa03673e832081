"""Connecting a terminal or an agent (RFC 8628 §3.3): the code, what asks, and the decision."""

from typing import Final

from starlette.responses import Response

from argy.api.authn.v1.device_pb2 import DecideDeviceCodeRequest, DescribeDeviceCodeRequest
from argy.base.errors import FailedPrecondition, InvalidArgument, NotFound
from argy.edge.pages.visit import Visit
from argy.edge.pages.words import client_name, sentence
from argy.edge.problems import http_status

_MAX_CODE: Final = 32
_DECISIONS: Final = {"approve": True, "deny": False}


async def enter(visit: Visit) -> Response:
    """The page to type a code at; a code in the address is filled in but not sent (§5.4)."""
    code = visit.request.query_params.get("user_code", "")[:_MAX_CODE]
    return visit.render("device.html", code=code, error=None)


async def describe(visit: Visit) -> Response:
    """What asks, from where and for what, to be decided on."""
    code = visit.field("user_code", limit=_MAX_CODE)
    try:
        asked = await visit.services.devices.DescribeDeviceCode(
            DescribeDeviceCodeRequest(user_code=code, device=visit.device),
            metadata=visit.services.metadata,
        )
    except (InvalidArgument, NotFound, FailedPrecondition) as error:
        status = http_status(error)
        return visit.render("device.html", status, code=code, error=sentence(error.message))
    return visit.render(
        "device_decide.html",
        asked=asked,
        client=client_name(asked.client_id),
        scopes=asked.scope.split(),
        code=code,
        elsewhere=bool(asked.device.ip) and asked.device.ip != visit.device.ip,
    )


async def decide(visit: Visit) -> Response:
    """Let the device in, or refuse it."""
    approved = _DECISIONS.get(visit.field("decision"))
    if approved is None:
        raise InvalidArgument("Approve or refuse", field="decision")
    request = DecideDeviceCodeRequest(
        user_code=visit.field("user_code", limit=_MAX_CODE),
        approved=approved,
        device=visit.device,
    )
    await visit.services.devices.DecideDeviceCode(request, metadata=visit.services.metadata)
    return visit.render("device_done.html", approved=approved)
