"""One request to a page: of which tenant it is, who is signed in, and how it is answered."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from argy.api.authn.v1.session_pb2 import Device, NewSession
from argy.base.errors import InvalidArgument, Unauthenticated
from argy.edge.csrf import FormTokens
from argy.edge.pages.views import HEADERS, Views
from argy.edge.platform import Tenant, TenantServices
from argy.edge.sessions import (
    AFTER,
    BROWSER,
    Cookies,
    SignedIn,
    cookies_of,
    device_of,
    forget_session,
    keep,
    keep_session,
    new_secret,
)

SHOWN_NOTICES: Final = 3
"""On top of a page; the rest is on the security page."""
HOME: Final = "security"
"""Where people go who were going nowhere else."""
_NEXT: Final = re.compile(r"(security|enrol|device(\?user_code=[A-Za-z0-9%+-]{1,64})?)")
"""Where a sign-in may lead: pages of the same tenant, by name. Nothing else is followed."""


@dataclass(frozen=True, slots=True)
class Visit:
    """What a handler of a page works with."""

    request: Request
    tenant: Tenant
    services: TenantServices
    cookies: Cookies
    signed_in: SignedIn | None
    fields: Mapping[str, str]
    """The fields of a form; none for a page that is only looked at."""
    document: Mapping[str, Any]
    """What a script sent; empty for everything else."""
    views: Views
    tokens: FormTokens

    @property
    def person(self) -> SignedIn:
        """Who is signed in; raises Unauthenticated when nobody is."""
        if self.signed_in is None:
            raise Unauthenticated("Nobody is signed in here", reason="SESSION_REQUIRED")
        return self.signed_in

    @property
    def device(self) -> Device:
        """From where the request comes."""
        return device_of(self.request)

    def path(self, page: str) -> str:
        """The path of another page of this tenant."""
        return f"/{self.tenant.slug}/{page}"

    @property
    def after(self) -> str:
        """The page that this browser was going to before a mail had to be waited for."""
        return next_page(self.tenant.slug, cookies_of(self.request).get(AFTER, ""))

    def field(self, name: str, *, limit: int = 256) -> str:
        """A field of the form, without the spaces around it; empty when it is absent.

        Raises:
            InvalidArgument: for more than ``limit`` characters.
        """
        return _bounded(self.fields.get(name, ""), name, limit).strip()

    def sent(self, name: str, *, limit: int = 256) -> str:
        """A text that a script sent; empty when it is absent.

        Raises:
            InvalidArgument: for anything but a text of at most ``limit`` characters.
        """
        value = self.document.get(name, "")
        if not isinstance(value, str):
            raise InvalidArgument(f"{name} must be text", field=f"/{name}")
        return _bounded(value, f"/{name}", limit)

    def render(self, template: str, status: int = 200, **values: Any) -> Response:
        """A page of this tenant.

        A browser that has no cookie yet is given one, so that forms can be bound to it.
        """
        binding = self.cookies.binding
        fresh = "" if binding else new_secret()
        response = self.views.page(
            template,
            status,
            tenant=self.tenant,
            signed_in=self.signed_in,
            happened=self.signed_in.notices[:SHOWN_NOTICES] if self.signed_in else (),
            csrf=self.tokens.issue(binding or fresh),
            **values,
        )
        if fresh:
            keep(response, BROWSER, fresh)
        return response

    def go(self, page: str, **query: str) -> Response:
        """Send the browser to another page of this tenant (303, RFC 9110 §15.4.4)."""
        asked = f"?{urlencode(query)}" if query else ""
        return RedirectResponse(self.path(page) + asked, 303, headers=dict(HEADERS))

    def answer(self, **values: Any) -> Response:
        """An answer to a script."""
        return JSONResponse(values)

    def begin(self, response: Response, session: NewSession) -> None:
        """Let the browser keep a session for as long as the session can last."""
        kept = session.session
        life_s = max(kept.expire_time.seconds - kept.create_time.seconds, 0)
        keep_session(self.request, response, self.tenant.slug, session.secret, life_s=life_s)

    def end(self, response: Response) -> None:
        """Let the browser forget its session here."""
        forget_session(response, self.tenant.slug)

    def csrf_of(self, session: NewSession) -> str:
        """The token of forms in a session that is new to the browser."""
        return self.tokens.issue(Cookies(session.secret, "").binding)


def next_page(slug: str, asked: str) -> str:
    """The page of the tenant that ``asked`` names as a path; its security page for all others."""
    found = _NEXT.fullmatch(asked.removeprefix(f"/{slug}/"))
    return found[0] if found and asked.startswith(f"/{slug}/") else HOME


def _bounded(value: str, name: str, limit: int) -> str:
    if len(value) > limit:
        raise InvalidArgument(f"{name} is longer than {limit} characters", field=name)
    return value
