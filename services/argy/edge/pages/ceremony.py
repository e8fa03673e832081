"""Registering passkeys, and what both ceremonies of WebAuthn pass between script and service."""

import json
from typing import Any, Final

from starlette.responses import Response

from argy.api.authn.v1.passkey_pb2 import BeginRegistrationRequest, FinishRegistrationRequest
from argy.edge.pages.visit import HOME, Visit
from argy.edge.sessions import AFTER, forget

MAX_CEREMONY: Final = 128
MAX_CREDENTIAL: Final = 65_536
_MAX_NAME: Final = 100


async def enrol(visit: Visit) -> Response:
    """The page to make a passkey at."""
    return visit.render("enrol.html")


async def begin_registration(visit: Visit) -> Response:
    """The options of a new passkey, for the page's script."""
    begun = await visit.services.passkeys.BeginRegistration(
        BeginRegistrationRequest(), metadata=visit.services.metadata
    )
    return visit.answer(ceremony_id=begun.ceremony_id, options=options_of(begun.options_json))


async def finish_registration(visit: Visit) -> Response:
    """Keep the new passkey."""
    request = FinishRegistrationRequest(
        ceremony_id=visit.sent("ceremony_id", limit=MAX_CEREMONY),
        credential_json=visit.sent("credential", limit=MAX_CREDENTIAL),
        name=visit.sent("name", limit=_MAX_NAME).strip(),
        device=visit.device,
    )
    await visit.services.passkeys.FinishRegistration(request, metadata=visit.services.metadata)
    after = "security?done=passkey-added" if visit.after == HOME else visit.after
    response = visit.answer(next=visit.path(after), prove=visit.person.provisional)
    forget(response, AFTER)
    return response


def options_of(options_json: str) -> Any:
    """The options as the service made them; the script takes them as they are."""
    return json.loads(options_json)
