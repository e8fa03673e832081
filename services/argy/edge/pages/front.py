"""What stands before every page: the tenant, the session, where a form comes from, and errors."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode

from starlette.requests import ClientDisconnect, Request
from starlette.responses import RedirectResponse, Response

from argy.base import errors as family
from argy.base.errors import ArgyError, InvalidArgument
from argy.base.origins import origin_of
from argy.client import Connection
from argy.edge.authzen.strict_json import parse_object
from argy.edge.csrf import FIELD, HEADER, FormTokens, check_same_origin
from argy.edge.pages.views import HEADERS, Views
from argy.edge.pages.visit import Visit
from argy.edge.pages.words import doing, told
from argy.edge.platform import SLUG, Tenants, TenantServices
from argy.edge.problems import from_service, http_status
from argy.edge.request import header_values, state_of
from argy.edge.sessions import Cookies, who_is

_LOG: Final = logging.getLogger("argy.edge")
_FORM: Final = "application/x-www-form-urlencoded"
_MAX_FIELDS: Final = 32
_SECRET: Final = "secret"  # noqa: S105 - a name
"""The part of an address that signs somebody in."""
STEP_UP: Final = "STEP_UP_REQUIRED"
Handler = Callable[[Visit], Awaitable[Response]]
Endpoint = Callable[[Request], Awaitable[Response]]


class Front:
    """Turns handlers of visits into endpoints of three kinds: pages, forms, scripts."""

    __slots__ = ("_connection", "_origin", "_tenants", "_tokens", "_views")

    def __init__(
        self, connection: Connection, tokens: FormTokens, views: Views, *, base_url: str
    ) -> None:
        self._connection = connection
        self._tokens = tokens
        self._views = views
        self._tenants = Tenants(connection)
        self._origin = origin_of(base_url)

    def page(
        self, handler: Handler, *, signed_in: bool = True, provisional: bool = False
    ) -> Endpoint:
        """A page to look at; where somebody must be signed in, others are sent to do so.

        Whoever came by a link and must use a passkey first is asked to, unless the page is for a
        ``provisional`` session.
        """

        async def answer(request: Request) -> Response:
            visit = await self._visit(request)
            if signed_in and visit.signed_in is None:
                return _to_sign_in(visit)
            if signed_in and visit.person.provisional and not provisional:
                return visit.render("prove.html", 403)
            return await handler(visit)

        return self._telling(answer)

    def form(self, handler: Handler, *, signed_in: bool = True) -> Endpoint:
        """A form that was sent; one that needs a fresh proof is sent again after that."""

        async def answer(request: Request) -> Response:
            fields = _fields(request, await request.body())
            check_same_origin(request.scope, origin=self._origin)
            visit = await self._visit(request, fields=fields)
            self._tokens.check(binding=visit.cookies.binding, token=fields.get(FIELD, ""))
            if signed_in and visit.signed_in is None:
                return _to_sign_in(visit)
            try:
                return await handler(visit)
            except ArgyError as error:
                if error.reason != STEP_UP:
                    raise
                again = [(name, value) for name, value in fields.items() if name != FIELD]
                path = request.scope["path"]
                return visit.render(
                    "step_up.html", 403, action=path, again=again, doing=doing(path)
                )

        return self._telling(answer)

    def script(self, handler: Handler, *, signed_in: bool = True) -> Endpoint:
        """A request of a page's script: JSON in, JSON or a problem (RFC 9457) out."""

        async def answer(request: Request) -> Response:
            if request.headers.get("content-type") != "application/json":
                raise InvalidArgument(
                    "Send Content-Type: application/json", reason="UNSUPPORTED_MEDIA_TYPE"
                )
            document = parse_object(await request.body())
            check_same_origin(request.scope, origin=self._origin)
            tokens = header_values(request.scope, HEADER)
            token = tokens[0].decode("latin-1") if len(tokens) == 1 else ""
            self._tokens.check(
                binding=Cookies.of(request, request.path_params["tenant"]).binding, token=token
            )
            try:
                visit = await self._visit(request, document=document)
                if signed_in:
                    _ = visit.person
                return await handler(visit)
            except ArgyError as error:
                raise for_person(error, state_of(request.scope).request_id) from error

        return answer

    def _telling(self, endpoint: Endpoint) -> Endpoint:
        """Errors become pages; what is unforeseen is logged, and told as nothing more."""

        async def answer(request: Request) -> Response:
            request_id = state_of(request.scope).request_id
            response = await self._told(endpoint, request, request_id)
            if _SECRET in request.path_params:
                # The address is a secret: not even our own log of referrers may hold it.
                response.headers["referrer-policy"] = "strict-origin"
            return response

        return answer

    async def _told(self, endpoint: Endpoint, request: Request, request_id: str) -> Response:
        try:
            return await endpoint(request)
        except ArgyError as error:
            public = for_person(error, request_id)
        except ClientDisconnect:
            raise
        except Exception:  # noqa: BLE001 - logged whole, and told as nothing but INTERNAL
            _LOG.exception("unforeseen", extra={"request_id": request_id})
            public = ArgyError("The page could not be made", reason="INTERNAL")
        slug = request.path_params["tenant"]
        # Who was refused before anybody looked may have put anything there.
        known = SLUG.fullmatch(slug) and public.reason != "TENANT_UNKNOWN"
        return error_page(self._views, public, request_id, slug=slug if known else "")

    async def _visit(
        self,
        request: Request,
        *,
        fields: Mapping[str, str] | None = None,
        document: Mapping[str, Any] | None = None,
    ) -> Visit:
        request_id = state_of(request.scope).request_id
        tenant = await self._tenants.find(request.path_params["tenant"], request_id=request_id)
        cookies = Cookies.of(request, tenant.slug)
        services = TenantServices(self._connection, tenant.tenant_id, request_id=request_id)
        signed_in = await who_is(services, cookies)
        state_of(request.scope).let_in = signed_in is not None
        if signed_in is not None:
            services = TenantServices(
                self._connection,
                tenant.tenant_id,
                request_id=request_id,
                access_token=signed_in.access_token,
            )
        return Visit(
            request=request,
            tenant=tenant,
            services=services,
            cookies=cookies,
            signed_in=signed_in,
            fields=fields or {},
            document=document or {},
            views=self._views,
            tokens=self._tokens,
        )


def error_page(views: Views, error: ArgyError, request_id: str, *, slug: str = "") -> Response:
    """An error in words, with what to do next; ``slug`` names the tenant, if there is one."""
    detail = "" if error.reason == "TOKEN_MISSING" else error.message
    return views.page(
        "error.html",
        http_status(error),
        error=told(type(error)(detail, reason=error.reason)),
        reference=request_id,
        slug=slug,
    )


_BETWEEN_US: Final = ("KEY_", "SIGNATURE_", "TIMESTAMP_", "METADATA_", "TRANSPORT")
_FOR_PEOPLE: Final = (family.FailedPrecondition, family.Unauthenticated, family.AlreadyExists)


def for_person(error: ArgyError, request_id: str) -> ArgyError:
    """What an error means to a person at a page; what is between edge and services is logged."""
    if isinstance(error, _FOR_PEOPLE) and not error.reason.startswith(_BETWEEN_US):
        return type(error)(error.message, reason=error.reason)
    return from_service(error, request_id)


def _fields(request: Request, body: bytes) -> dict[str, str]:
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != _FORM:
        raise InvalidArgument(f"Send Content-Type: {_FORM}", reason="UNSUPPORTED_MEDIA_TYPE")
    try:
        pairs = parse_qsl(
            body.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=bool(body),
            errors="strict",
            max_num_fields=_MAX_FIELDS,
        )
    except ValueError as error:
        raise InvalidArgument("The form can't be read", reason="MALFORMED_FORM") from error
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise InvalidArgument("A field of the form is there twice", reason="MALFORMED_FORM")
    return fields


def _to_sign_in(visit: Visit) -> Response:
    scope = visit.request.scope
    query = scope["query_string"].decode("latin-1")
    back = scope["path"] + (f"?{query}" if query else "")
    asked = urlencode({"next": back}) if visit.request.method == "GET" else ""
    return RedirectResponse(f"{visit.path('sign-in')}?{asked}", 303, headers=dict(HEADERS))
