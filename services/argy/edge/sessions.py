"""The cookies of a browser, and who is signed in with them.

Each name begins with ``__Host-`` (RFC 6265bis §4.1.3.2): set over TLS by this very host, for all of
its paths, so no other host of the domain can put one in its place.

That holds for the bytes of a name as the browser compares them. So names are read here as bytes,
with nothing around them taken away but what browsers take away themselves: a reader that takes more
for space, such as U+00A0, finds the prefix in a cookie that another host was free to set.
"""

import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from argy.api.authn.v1.session_pb2 import (
    CheckSessionRequest,
    Device,
    SecurityNotice,
    Session,
)
from argy.base.errors import NotFound, Unauthenticated
from argy.base.user_agents import browser_of
from argy.edge.platform import TenantServices
from argy.edge.request import header_values, state_of
from argy.rpc.claims import ACR_PROVISIONAL

MAX_SESSIONS: Final = 8
"""Tenants that one browser may be signed in to at a time: its cookies come with every request."""
_SESSION: Final = "__Host-session-"
"""And the tenant's name: the secret of a session there."""
BROWSER: Final = "__Host-browser"
"""Random; ties a link to the browser that asked for it, and forms to one that has no session."""
AFTER: Final = "__Host-after"
"""Where the person was going who was sent to sign in, while a mail is on its way."""
_SECRET: Final = re.compile(r"[A-Za-z0-9_-]{20,128}")
_OURS: Final = re.compile(rb"__Host-(browser|after|session-[a-z][a-z0-9-]{0,62})")
_SPACE: Final = b" \t"
"""Of what stands around a name or a value, the characters that belong to neither (§5.6)."""


@dataclass(frozen=True, slots=True)
class Cookies:
    """What the browser sent; empty where it sent nothing, or nothing of ours."""

    session: str
    browser: str

    @classmethod
    def of(cls, request: Request, slug: str) -> "Cookies":
        """Read those of a tenant; what can't be ours counts as absent."""
        return cls(_secret(request, _SESSION + slug), _secret(request, BROWSER))

    @property
    def binding(self) -> str:
        """What forms are bound to: the session, or without one the browser."""
        return f"session:{self.session}" if self.session else self.browser


@dataclass(frozen=True, slots=True)
class SignedIn:
    """Somebody, in one session."""

    session: Session
    access_token: str
    email: str
    display_name: str
    notices: Sequence[SecurityNotice]
    """What they should hear of in this session still, newest first."""

    @property
    def provisional(self) -> bool:
        """Whether a passkey must be registered next."""
        return self.session.acr == ACR_PROVISIONAL


async def who_is(services: TenantServices, cookies: Cookies) -> SignedIn | None:
    """Whose session the cookie holds; None when it is nobody's (any more).

    Raises:
        ArgyError: when the service can't say.
    """
    if not cookies.session:
        return None
    request = CheckSessionRequest(secret=cookies.session)
    try:
        found = await services.sessions.CheckSession(request, metadata=services.metadata)
    except (NotFound, Unauthenticated) as error:
        # Anything else that is missing or wrong is between the edge and the services.
        if not error.reason.startswith("SESSION_"):
            raise
        return None
    return SignedIn(
        session=found.session,
        access_token=found.access_token,
        email=found.email,
        display_name=found.display_name,
        notices=found.notices,
    )


def cookies_of(request: Request) -> Mapping[str, str]:
    """Our cookies by their exact names, the oldest first.

    A browser holds one of each. What comes twice was not sent by one alone, and counts as absent.
    """
    found: dict[str, str] = {}
    twice: set[str] = set()
    for pair in b";".join(header_values(request.scope, b"cookie")).split(b";"):
        name, _, value = pair.partition(b"=")
        if not _OURS.fullmatch(name := name.strip(_SPACE)):
            continue
        key = name.decode("ascii")
        if key in found:
            twice.add(key)
        found[key] = _unquoted(value.strip(_SPACE)).decode("latin-1")
    return {key: value for key, value in found.items() if key not in twice}


def slugs_of(request: Request) -> list[str]:
    """The tenants that this browser holds sessions of; whether those still last is not asked."""
    names = [one for one in cookies_of(request) if one.startswith(_SESSION)]
    return [name.removeprefix(_SESSION) for name in names if _secret(request, name)]


def device_of(request: Request) -> Device:
    """From where a request comes, as the edge sees it."""
    ip = state_of(request.scope).client_ip
    return Device(ip=ip[:64], user_agent=browser_of(request.headers.get("user-agent", "")))


def new_secret() -> str:
    """256 random bits in base64url."""
    return secrets.token_urlsafe(32)


def keep_session(
    request: Request, response: Response, slug: str, secret: str, *, life_s: int
) -> None:
    """Keep a session of a tenant beside those of others, of which the oldest may have to go."""
    name = _SESSION + slug
    # RFC 6265 §5.4: browsers name the oldest first.
    others = [one for one in cookies_of(request) if one.startswith(_SESSION) and one != name]
    for one in others[: max(len(others) + 1 - MAX_SESSIONS, 0)]:
        forget(response, one)
    keep(response, name, secret, max_age_s=life_s or None)


def forget_session(response: Response, slug: str) -> None:
    """Remove the session of a tenant, and of no other."""
    forget(response, _SESSION + slug)


def keep(response: Response, name: str, value: str, *, max_age_s: int | None = None) -> None:
    """Set a cookie; without ``max_age_s`` it ends with the browser."""
    response.set_cookie(
        name, value, max_age=max_age_s, path="/", secure=True, httponly=True, samesite="lax"
    )


def forget(response: Response, name: str) -> None:
    """Remove a cookie."""
    response.delete_cookie(name, path="/", secure=True, httponly=True, samesite="lax")


def _unquoted(value: bytes) -> bytes:
    """A value without the quotes that a path is set in; none of ours holds what needs more."""
    return value[1:-1] if len(value) > 1 and value[:1] == value[-1:] == b'"' else value


def _secret(request: Request, name: str) -> str:
    value = cookies_of(request).get(name, "")
    return value if _SECRET.fullmatch(value) else ""
