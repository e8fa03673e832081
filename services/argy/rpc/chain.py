"""The checks around every handler, in their one order.

    errors → telemetry → deadline → signature → tenant → caller → access → validation → audit
    → handler

``compose`` builds them into a single coroutine per method when the method is registered, so a call
pays for its checks and not for the chain. Nothing of the body is parsed before its signature,
tenant and access have passed. A stage returns None when it is done, or something to await. A stream
is held to its tenant and its credential for as long as it lasts (``argy.rpc.readmission``), and is
one of a few of its tenant's (``argy.rpc.open_streams``).

While the replay cache is away, methods that declare ``read_only`` are still served and all others
are refused: a replayed read tells its sender nothing that the signer could not have asked again
within the window, which still bounds it; a replayed change would do something twice. With a service
key none is served then: whether it was revoked can't be told (``argy.rpc.service_keys``).
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, nullcontext
from typing import Any, Final

import grpc

from argy.base.errors import (
    ArgyError,
    DeadlineExceeded,
    PermissionDenied,
    Unauthenticated,
)
from argy.base.ids import uuid7
from argy.rpc.call import Call
from argy.rpc.declarations import Method
from argy.rpc.errors import Context, abort
from argy.rpc.readmission import while_good
from argy.rpc.stages import (
    Dependencies,
    Enter,
    Handler,
    Stage,
    access,
    caller,
    deadline,
    signature,
    tenant,
    validation,
)
from argy.rpc.telemetry import MethodStats, finish

Served = Callable[[bytes, Context], Any]
"""A handler behind its chain, as gRPC calls it."""
STAGES: Final[tuple[Stage, ...]] = (
    deadline,
    signature,
    tenant,
    caller,
    access,
    validation,
)
"""Between telemetry and audit, which stand around the handler in ``compose``."""


def compose(deps: Dependencies, method: Method, handler: Handler) -> Served:
    """The whole chain of one method as one handler of raw bytes."""
    enters = tuple(enter for stage in STAGES if (enter := stage(deps, method)) is not None)
    stats = deps.telemetry.stats(method.path)
    if method.streams:
        return _stream(deps, method, enters, handler, stats)
    guarded = not (method.read_only or method.public)
    clock = deps.clock

    async def serve(body: bytes, context: Context) -> Any:
        started_s = time.perf_counter()
        call = Call(method, body, clock.now_ms())
        error: ArgyError | None = None
        try:
            for enter in enters:
                waiting = enter(call, context)
                if waiting is not None:
                    await waiting
            response = await handler(call.request, call)
            if guarded and not call.audited:
                raise _unaudited(method)
            return response
        except Exception as failure:  # noqa: BLE001 - the one border where errors become statuses
            error = _as_ours(failure)
        finally:
            finish(stats, call, started_s, error)
        _record(deps, call, error)
        return await abort(context, error)

    return serve


def _stream(
    deps: Dependencies,
    method: Method,
    enters: tuple[Enter, ...],
    handler: Handler,
    stats: MethodStats,
) -> Served:
    async def serve(body: bytes, context: Context) -> AsyncIterator[Any]:
        started_s = time.perf_counter()
        call = Call(method, body, deps.clock.now_ms())
        error: ArgyError | None = None
        try:
            for enter in enters:
                waiting = enter(call, context)
                if waiting is not None:
                    await waiting
            responses = handler(call.request, call)
            if not method.public:
                responses = while_good(responses, deps, call)
            place = nullcontext() if method.public else deps.streams.one_of(call.tenant_id)
            with place:
                async with aclosing(responses):
                    async for response in responses:
                        yield response
            return
        except Exception as failure:  # noqa: BLE001 - the one border where errors become statuses
            error = _as_ours(failure)
        finally:
            finish(stats, call, started_s, error)
        _record(deps, call, error)
        await abort(context, error)

    return serve


def _record(deps: Dependencies, call: Call, error: ArgyError) -> None:
    """Record what a verified caller was refused; the others can't be believed to be anybody."""
    if call.source and isinstance(error, PermissionDenied | Unauthenticated):
        deps.audit.refused(call, error)


def _as_ours(failure: Exception) -> ArgyError:
    """The error to answer with: ours as it is; any other becomes opaque, with an incident id."""
    if isinstance(failure, ArgyError):
        return failure
    if isinstance(failure, TimeoutError | asyncio.TimeoutError):
        return DeadlineExceeded("the answer was not ready in time")
    if isinstance(failure, grpc.aio.AbortError):
        raise failure
    incident = str(uuid7())
    error = ArgyError(f"internal error; quote incident {incident}", metadata={"incident": incident})
    error.__cause__ = failure
    return error


def _unaudited(method: Method) -> ArgyError:
    return ArgyError(
        f"{method.name} changed something without its audit record",
        reason="INTERNAL_UNAUDITED",
    )
