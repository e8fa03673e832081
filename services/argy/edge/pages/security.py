"""One's own security: passkeys, sessions, personal access tokens."""

import asyncio
import base64
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from starlette.responses import Response

from argy.api.authn.v1.credential_pb2 import (
    CREDENTIAL_KIND_PERSONAL_ACCESS_TOKEN,
    CreatePersonalAccessTokenRequest,
    ListCredentialsRequest,
    RevokeCredentialRequest,
)
from argy.api.authn.v1.passkey_pb2 import (
    ListPasskeysRequest,
    ListPasskeysResponse,
    RemovePasskeyRequest,
    RenamePasskeyRequest,
)
from argy.api.authn.v1.session_pb2 import (
    AcknowledgeSecurityNoticesRequest,
    EndSessionRequest,
    EndUserSessionsRequest,
    ListSecurityNoticesRequest,
    ListSessionsRequest,
)
from argy.base.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    Unimplemented,
)
from argy.edge.pages.front import STEP_UP, Handler
from argy.edge.pages.visit import SHOWN_NOTICES, Visit
from argy.edge.pages.words import NOTICES, sentence
from argy.edge.problems import http_status

_MAX_ID: Final = 36
_MAX_NAME: Final = 100
_MAX_SCOPES: Final = 4_096
_TOKENS: Final = 100
_TOLD: Final = 20
"""Of the last events, as many as anybody looks through."""
_DAYS: Final = (7, 30, 90, 180, 366)
_CORRECTABLE: Final = (
    InvalidArgument,
    FailedPrecondition,
    NotFound,
    AlreadyExists,
    ResourceExhausted,
)
Answer = TypeVar("Answer")


async def show(visit: Visit) -> Response:
    """Everything about one's own security, on one page."""
    notice = NOTICES.get(visit.request.query_params.get("done", ""), "")
    return await _page(visit, notice=notice)


def correctable(handler: Handler) -> Handler:
    """A handler of this page's forms: what can be corrected is told on the page itself."""

    async def answer(visit: Visit) -> Response:
        try:
            return await handler(visit)
        except _CORRECTABLE as error:
            if error.reason == STEP_UP:
                raise
            return await _page(visit, http_status(error), error=sentence(error.message))

    return answer


async def rename_passkey(visit: Visit) -> Response:
    """Call a passkey something else."""
    request = RenamePasskeyRequest(
        passkey_id=visit.field("passkey_id", limit=_MAX_ID),
        name=visit.field("name", limit=_MAX_NAME),
    )
    await visit.services.passkeys.RenamePasskey(request, metadata=visit.services.metadata)
    return visit.go("security", done="passkey-renamed")


async def remove_passkey(visit: Visit) -> Response:
    """Remove a passkey."""
    request = RemovePasskeyRequest(
        passkey_id=visit.field("passkey_id", limit=_MAX_ID), device=visit.device
    )
    await visit.services.passkeys.RemovePasskey(request, metadata=visit.services.metadata)
    return visit.go("security", done="passkey-removed")


async def end_session(visit: Visit) -> Response:
    """End one session."""
    request = EndSessionRequest(session_id=visit.field("session_id", limit=_MAX_ID))
    await visit.services.sessions.EndSession(request, metadata=visit.services.metadata)
    return visit.go("security", done="session-ended")


async def end_others(visit: Visit) -> Response:
    """End every session but this one."""
    request = EndUserSessionsRequest(keep_current=True, device=visit.device)
    await visit.services.sessions.EndUserSessions(request, metadata=visit.services.metadata)
    return visit.go("security", done="others-ended")


async def end_all(visit: Visit) -> Response:
    """End every session, this one too."""
    request = EndUserSessionsRequest(keep_current=False, device=visit.device)
    await visit.services.sessions.EndUserSessions(request, metadata=visit.services.metadata)
    response = visit.go("sign-in")
    visit.end(response)
    return response


async def acknowledge(visit: Visit) -> Response:
    """Put away notices that were shown, and no others."""
    shown = visit.field("notice_ids", limit=(_MAX_ID + 1) * SHOWN_NOTICES).split()
    if not shown:
        raise InvalidArgument("Say which notices were shown", field="notice_ids")
    request = AcknowledgeSecurityNoticesRequest(notice_ids=shown)
    await visit.services.sessions.AcknowledgeSecurityNotices(
        request, metadata=visit.services.metadata
    )
    return visit.go("security", done="notices-seen")


async def create_token(visit: Visit) -> Response:
    """Make a token; this one answer shows its secret."""
    days = visit.field("days", limit=4)
    if not days.isdecimal():
        raise InvalidArgument("Choose how many days the token is good", field="days")
    request = CreatePersonalAccessTokenRequest(
        name=visit.field("name", limit=_MAX_NAME),
        scopes=visit.field("scopes", limit=_MAX_SCOPES).replace(",", " ").split(),
        days=int(days),
        device=visit.device,
    )
    made = await visit.services.credentials.CreatePersonalAccessToken(
        request, metadata=visit.services.metadata
    )
    return await _page(visit, made=made)


async def revoke_token(visit: Visit) -> Response:
    """End a token at once."""
    request = RevokeCredentialRequest(credential_id=visit.field("credential_id", limit=_MAX_ID))
    await visit.services.credentials.RevokeCredential(request, metadata=visit.services.metadata)
    return visit.go("security", done="token-revoked")


async def _page(
    visit: Visit, status: int = 200, *, notice: str = "", error: str = "", made: Any = None
) -> Response:
    services = visit.services
    passkeys, sessions, credentials, told = await asyncio.gather(
        _part(services.passkeys.ListPasskeys(ListPasskeysRequest(), metadata=services.metadata)),
        _part(services.sessions.ListSessions(ListSessionsRequest(), metadata=services.metadata)),
        _part(
            services.credentials.ListCredentials(
                ListCredentialsRequest(page_size=_TOKENS), metadata=services.metadata
            )
        ),
        _part(
            services.sessions.ListSecurityNotices(
                ListSecurityNoticesRequest(), metadata=services.metadata
            )
        ),
    )
    tokens = None
    if credentials is not None:
        kind = CREDENTIAL_KIND_PERSONAL_ACCESS_TOKEN
        tokens = [one for one in credentials.credentials if one.kind == kind]
    return visit.render(
        "security.html",
        status,
        notice=notice,
        error=error,
        made=made,
        days=_DAYS,
        passkeys=None if passkeys is None else passkeys.passkeys,
        known=None if passkeys is None else known_of(passkeys),
        sessions=None if sessions is None else sessions.sessions,
        tokens=tokens,
        told=[] if told is None else told.notices[:_TOLD],
    )


@dataclass(frozen=True, slots=True)
class Known:
    """What passkey managers are told, with bytes in base64url as WebAuthn's JSON has them."""

    rp_id: str
    user_id: str
    accepted: Sequence[str]
    """The ids of all passkeys, blocked ones too: a manager may forget for good what is not here."""


def known_of(found: ListPasskeysResponse) -> Known | None:
    """What passkey managers may be told of a person; None for who has no handle to be known by."""
    if not found.user_handle:
        return None
    accepted = [_base64url(one.credential_id) for one in found.passkeys]
    return Known(found.rp_id, _base64url(found.user_handle), accepted)


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


async def _part(asked: Awaitable[Answer]) -> Answer | None:
    """A part of the page; None where policy keeps it from this person, or nobody serves it."""
    try:
        return await asked
    except (PermissionDenied, Unimplemented):
        return None
