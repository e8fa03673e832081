"""Signing in and out: by passkey, and by a link in a mail."""

import logging
from typing import Final

from starlette.responses import Response

from argy.api.authn.v1.magic_link_pb2 import (
    DescribeLinkRequest,
    RedeemLinkRequest,
    RedeemLinkResponse,
    RequestLinkRequest,
)
from argy.api.authn.v1.passkey_pb2 import BeginSignInRequest, FinishSignInRequest
from argy.api.authn.v1.session_pb2 import EndSessionRequest
from argy.base.errors import ArgyError, FailedPrecondition, InvalidArgument
from argy.edge.pages.ceremony import MAX_CEREMONY, MAX_CREDENTIAL, options_of
from argy.edge.pages.visit import HOME, Visit, next_page
from argy.edge.pages.words import sentence
from argy.edge.sessions import AFTER, BROWSER, forget, keep

_PURPOSES: Final = {
    "sign_in": "Sign in",
    "invitation": "Accept the invitation",
    "recovery": "Get back in",
}
_MAIL_LIFE_S: Final = 3_600
_LOG: Final = logging.getLogger("argy.edge")


async def show(visit: Visit) -> Response:
    """The page to sign in at; who is signed in already goes on, unless they ask to do it again."""
    after = next_page(visit.tenant.slug, visit.request.query_params.get("next", ""))
    if visit.signed_in is not None and "again" not in visit.request.query_params:
        return visit.go(after)
    return visit.render("sign_in.html", after=after, email="", error=None)


async def send_link(visit: Visit) -> Response:
    """Ask for a link; what the page says does not depend on whether the address is known."""
    email = visit.field("email", limit=254)
    request = RequestLinkRequest(email=email, device=visit.device)
    after = next_page(visit.tenant.slug, visit.field("after"))
    try:
        sent = await visit.services.links.RequestLink(request, metadata=visit.services.metadata)
    except InvalidArgument as error:
        told = sentence(error.message)
        return visit.render("sign_in.html", 400, after=after, email=email, error=told)
    response = visit.go("mail-sent")
    keep(response, BROWSER, sent.browser_secret, max_age_s=_MAIL_LIFE_S)
    if after != HOME:
        keep(response, AFTER, visit.path(after), max_age_s=_MAIL_LIFE_S)
    return response


async def mail_sent(visit: Visit) -> Response:
    """What to do now that a mail is on its way."""
    return visit.render("mail_sent.html")


async def show_link(visit: Visit) -> Response:
    """What a link is for and who asked for it. Looking at it uses nothing: mail scanners look."""
    secret = visit.request.path_params["secret"]
    found = await visit.services.links.DescribeLink(
        DescribeLinkRequest(secret=secret, device=visit.device), metadata=visit.services.metadata
    )
    other = visit.signed_in is not None and not found.yours
    return visit.render(
        "link.html",
        link=found,
        other=other,
        purpose=_PURPOSES.get(found.purpose, "Sign in"),
        # Perhaps this very browser asked for it; only using it tells. Nobody else is signed out
        # here without a click.
        mine=bool(visit.cookies.browser) and found.purpose != "invitation" and not other,
        elsewhere=found.HasField("device") and found.device.ip != visit.device.ip,
    )


async def use_link(visit: Visit) -> Response:
    """Use a link, once, after a person said so on its page."""
    done = await _redeem(visit, confirmed=visit.field("confirmed") == "yes")
    return await _begun(visit, done, visit.go(_next(visit, done)))


async def use_own_link(visit: Visit) -> Response:
    """Use a link in the browser that asked for it, which needs no click: its cookie says who it is.

    In any other browser nothing happens, and there is nowhere to go next.
    """
    try:
        done = await _redeem(visit, confirmed=False)
    except FailedPrecondition as error:
        if error.reason != "CONFIRMATION_REQUIRED":
            raise
        return visit.answer(next="")
    return await _begun(visit, done, visit.answer(next=visit.path(_next(visit, done))))


async def begin(visit: Visit) -> Response:
    """The options of a sign-in by passkey, for the page's script."""
    begun = await visit.services.passkeys.BeginSignIn(
        BeginSignInRequest(device=visit.device), metadata=visit.services.metadata
    )
    return visit.answer(
        ceremony_id=begun.ceremony_id, options=options_of(begun.options_json), links=begun.links
    )


async def finish(visit: Visit) -> Response:
    """Verify an assertion; the browser gets a session."""
    done = await visit.services.passkeys.FinishSignIn(
        _assertion(visit), metadata=visit.services.metadata
    )
    after = next_page(visit.tenant.slug, visit.path(visit.sent("after")))
    response = visit.answer(next=visit.path(after))
    visit.begin(response, done.session)
    await _end_replaced(visit)
    return response


async def step_up(visit: Visit) -> Response:
    """Prove again who is signed in; the session goes on under a new secret."""
    request = _assertion(visit)
    request.session_secret = visit.cookies.session
    done = await visit.services.passkeys.FinishSignIn(request, metadata=visit.services.metadata)
    response = visit.answer(csrf=visit.csrf_of(done.session))
    visit.begin(response, done.session)
    return response


async def sign_out(visit: Visit) -> Response:
    """End this session, and forget it here even if it had ended before."""
    if visit.signed_in is not None:
        request = EndSessionRequest(session_id=visit.signed_in.session.session_id)
        await visit.services.sessions.EndSession(request, metadata=visit.services.metadata)
    response = visit.go("sign-in")
    visit.end(response)
    return response


async def _redeem(visit: Visit, *, confirmed: bool) -> RedeemLinkResponse:
    request = RedeemLinkRequest(
        secret=visit.request.path_params["secret"],
        browser_secret=visit.cookies.browser,
        confirmed=confirmed,
        device=visit.device,
    )
    return await visit.services.links.RedeemLink(request, metadata=visit.services.metadata)


def _next(visit: Visit, done: RedeemLinkResponse) -> str:
    return "enrol" if done.must_register else visit.after


async def _begun(visit: Visit, done: RedeemLinkResponse, response: Response) -> Response:
    visit.begin(response, done.session)
    await _end_replaced(visit)
    if not done.must_register:
        forget(response, AFTER)
    forget(response, BROWSER)
    return response


async def _end_replaced(visit: Visit) -> None:
    """End the session that this browser forgets for a new one: nobody could end it here later."""
    if visit.signed_in is None:
        return
    request = EndSessionRequest(session_id=visit.signed_in.session.session_id)
    try:
        await visit.services.sessions.EndSession(request, metadata=visit.services.metadata)
    except ArgyError as error:
        # The new session is made already, and the old one ends by itself.
        _LOG.warning("a replaced session was not ended: %s", error.reason)


def _assertion(visit: Visit) -> FinishSignInRequest:
    return FinishSignInRequest(
        ceremony_id=visit.sent("ceremony_id", limit=MAX_CEREMONY),
        credential_json=visit.sent("credential", limit=MAX_CREDENTIAL),
        device=visit.device,
    )
