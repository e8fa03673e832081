"""A grpc.aio server interceptor that enforces a permission for every method it guards."""

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias
from uuid import UUID

import grpc

from argy.base.errors import ArgyError, PermissionDenied, Unauthenticated
from argy.client.authorizer import Authorizer
from argy.client.token_replica import check_limits
from argy.rpc.access import auth_facts
from argy.rpc.claims import Claims
from argy.rpc.errors import abort
from argy.rpc.provisional import check_not_provisional

Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
Context = grpc.aio.ServicerContext[Any, Any]


@dataclass(frozen=True, slots=True)
class Caller:
    """On whose behalf a call is made."""

    subject: str
    tenant_id: UUID
    org_id: UUID | None = None
    claims: Claims | None = None
    """What the access token says that the caller brought: conditions see it as ``ctx.auth``, and
    its scopes and its org limit the caller. None for who brought no token."""

    @classmethod
    def of(cls, claims: Claims, org_id: UUID | None = None) -> "Caller":
        """The person of a verified access token, such as ``LocalAuthorizer.verify_token`` tells."""
        return cls(claims.subject, claims.tenant_id, org_id, claims)

    async def require(self, authorizer: Authorizer, action: str, resource: str) -> None:
        """Let the caller act, or raise.

        Raises:
            PermissionDenied: ``ACCESS_DENIED``, ``ORG_NOT_IN_TOKEN``, ``SCOPE_INSUFFICIENT``, or
                ``PASSKEY_REQUIRED`` for the token of a provisional session.
            ArgyError: when no decision could be had.
        """
        check_not_provisional(self.claims)
        if self.claims is not None:
            check_limits(self.claims, action, resource, self.org_id)
        await authorizer.require(
            self.subject,
            action,
            resource,
            tenant_id=self.tenant_id,
            org_id=self.org_id,
            context=auth_facts(self.claims, time.time_ns() // 1_000_000),
        )


@dataclass(frozen=True, slots=True)
class Requirement:
    """What a method needs: an action, and the resource made from its request."""

    action: str
    resource: Callable[[Any], str]


# The stubs call it generic, the class is not.
_ServerInterceptor: Any = grpc.aio.ServerInterceptor

Identify = Callable[[Context], Awaitable[Caller]]
"""Establishes the caller from the call's metadata; raises Unauthenticated when it can't."""


class PermissionInterceptor(_ServerInterceptor):  # type: ignore[misc]
    """Refuses every method without a requirement, and every caller without its permission.

    Guards unary-request methods; a client-streaming method is refused, since its resource is not
    known before the stream ends.
    """

    def __init__(
        self,
        authorizer: Authorizer,
        requirements: Mapping[str, Requirement],
        *,
        identify: Identify,
        public: frozenset[str] = frozenset(),
    ) -> None:
        """Guard ``requirements`` (full method name → need); ``public`` methods pass unasked."""
        self._authorizer = authorizer
        self._requirements = dict(requirements)
        self._identify = identify
        self._public = public

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], "Awaitable[Handler | None]"],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> "Handler | None":
        """Wrap the method's handler; see grpc.aio.ServerInterceptor."""
        handler = await continuation(handler_call_details)
        method = str(handler_call_details.method)
        if handler is None or method in self._public:
            return handler
        requirement = self._requirements.get(method)
        if requirement is None or handler.request_streaming:
            return _refusing(handler, method)
        if handler.response_streaming:
            return self._guard_stream(handler, requirement)
        return self._guard_unary(handler, requirement)

    async def _require(self, requirement: Requirement, request: Any, context: Context) -> None:
        try:
            caller = await self._identify(context)
            await caller.require(
                self._authorizer, requirement.action, requirement.resource(request)
            )
        except ArgyError as error:
            await abort(context, error)

    def _guard_unary(self, handler: Handler, requirement: Requirement) -> Handler:
        async def guarded(request: Any, context: Context) -> Any:
            await self._require(requirement, request, context)
            serve: Any = handler.unary_unary
            return await serve(request, context)

        return grpc.unary_unary_rpc_method_handler(
            guarded, handler.request_deserializer, handler.response_serializer
        )

    def _guard_stream(self, handler: Handler, requirement: Requirement) -> Handler:
        async def guarded(request: Any, context: Context) -> Any:
            await self._require(requirement, request, context)
            serve: Any = handler.unary_stream
            async for response in serve(request, context):
                yield response

        return grpc.unary_stream_rpc_method_handler(
            guarded, handler.request_deserializer, handler.response_serializer
        )


def _refusing(handler: Handler, method: str) -> Handler:
    async def refuse(_request: Any, context: Context) -> None:
        await abort(
            context,
            PermissionDenied(
                f"{method} declares no permission; list it in the interceptor's requirements",
                reason="ACCESS_UNDECLARED",
            ),
        )

    wrap = {
        (False, False): grpc.unary_unary_rpc_method_handler,
        (False, True): grpc.unary_stream_rpc_method_handler,
        (True, False): grpc.stream_unary_rpc_method_handler,
        (True, True): grpc.stream_stream_rpc_method_handler,
    }[(bool(handler.request_streaming), bool(handler.response_streaming))]
    return wrap(refuse, handler.request_deserializer, handler.response_serializer)


async def identify_nobody(_context: Context) -> Caller:
    """The default that establishes nobody: every guarded call is refused."""
    raise Unauthenticated("no caller was established", reason="CALLER_MISSING")
